"""Nothing leaves the machine, only named files are written, and no metadata of a picture reach an output.

Processes run under an audit hook and, where the system allows, without a network interface. Native code
raises no audit events, so folders are compared too, and one command runs under strace.
"""

import base64
import functools
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from tests.conftest import ROOT

pytestmark = pytest.mark.hazard("H-17")

AUDITED = r"""
import os, sys
record = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
WATCHED = (
    "socket.", "http.", "urllib.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn",
    "os.system", "pty.", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "shutil.", "tempfile.",
)

def watch(event, arguments):
    if event == "open":
        path, _, flags = arguments
        if flags & WRITING and not isinstance(path, int):
            os.write(record, f"open {os.path.abspath(os.fsdecode(path))}\n".encode())
    elif event.startswith(WATCHED):
        first = arguments[0] if arguments else ""
        is_path = isinstance(first, str | os.PathLike)
        about = os.path.abspath(os.fsdecode(first)) if is_path else repr(arguments)
        os.write(record, f"{event} {about}\n".encode())

sys.addaudithook(watch)
"""
COMMAND = AUDITED + "from edgeskin.__main__ import main; main()"
LIBRARY = (
    AUDITED
    + r"""
import threading
from edgeskin import Classifier, compare_photos, open_bundle, render_html, render_text
bundle, photo = sys.argv[1:]
open_bundle(bundle).verify()
with Classifier(bundle, threads=2, workers=2) as classifier:
    results = list(classifier.assess_many([photo] * 4 + ["missing.jpg"], explain="grad-cam", mc_samples=5))
    render_html(results[0]), render_text(results[0]), results[0].to_dict(), results[0].to_row()
    compare_photos(results[0], results[1])
assert [one.status for one in results] == ["assessed"] * 4 + ["error"]
assert threading.enumerate() == [threading.main_thread()]
assert sys.modules["openvino_telemetry"] is None
"""
)
MARK, AUTHOR = b"edgeskin-marker-7f3a", "Marker Author Qx9"
LATITUDE = 0x5EC2E7
SECRETS = [
    *(MARK, MARK.decode().encode("utf-16-le"), base64.b64encode(MARK)[3:-3]),
    *(AUTHOR.encode(), AUTHOR.encode("utf-16-le")),
    *(struct.pack("<I", LATITUDE), struct.pack(">I", LATITUDE), str(LATITUDE).encode()),
]
PART = r"\.edgeskin-[0-9a-f]{16}\.part"
"""What a file is called until it is whole."""
PLANTED = ["planted.jpg", "planted.png", "planted.webp"]


@functools.cache
def without_network() -> tuple[str, ...]:
    """The start of a command without a network interface; empty where the system does not allow it."""
    for start in (("unshare", "-n"), ("unshare", "-rn")):
        if shutil.which("unshare") and not subprocess.run([*start, "true"], capture_output=True).returncode:
            return start
    return ()


class Place:
    """A working folder, a home, a folder for temporary files and one for outputs, in which a process runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.out = root, root / "out"
        for name in ("home", "tmp", "cwd", "out"):
            (root / name).mkdir()

    def run(self, code: str, *arguments: str | Path, start: tuple[str, ...] | None = None) -> list[str]:
        """Run code under the audit hook; returns the events. It must end well."""
        record = self.root / "events"
        record.touch()
        leave_out = ("CI", "XDG_CACHE_HOME", "EDGESKIN_CACHE")
        inherited = {name: value for name, value in os.environ.items() if name not in leave_out}
        places = {"HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp"), "PYTHONPATH": str(ROOT)}
        start = without_network() if start is None else start
        self.done = subprocess.run(
            [*start, sys.executable, "-B", "-c", code, str(record), *map(str, arguments)],
            capture_output=True,
            check=False,
            timeout=120,
            cwd=self.root / "cwd",
            env={**inherited, **places, "OPENVINO_LOG_LEVEL": "5", "OPENCV_LOG_LEVEL": "VERBOSE"},
        )
        assert self.done.returncode == 0, self.done.stderr.decode()
        # The null device keeps nothing: the command lets libraries write their lines there.
        return [event for event in record.read_text().splitlines() if event != f"open {os.devnull}"]

    def written(self) -> set[str]:
        """What is in the folders now, but for the record of events."""
        paths = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*"))
        return set(paths) - {"home", "tmp", "cwd", "out", "events"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def icc_profile() -> bytes:
    """Pillow's sRGB with the mark behind its tags."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + MARK
    return struct.pack(">I", len(profile)) + profile[4:]


def exif() -> Image.Exif:
    """Author, description, comment, maker note and position of a camera, all marked."""
    values = Image.Exif()
    values[ExifTags.Base.Artist] = AUTHOR
    values[ExifTags.Base.ImageDescription] = MARK.decode()
    values[ExifTags.Base.XPAuthor] = AUTHOR.encode("utf-16-le")
    values[ExifTags.Base.DateTime] = "2031:01:02 03:04:05"
    values.get_ifd(ExifTags.IFD.Exif).update(
        {ExifTags.Base.MakerNote: MARK, ExifTags.Base.UserComment: b"ASCII\0\0\0" + MARK}
    )
    values.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            ExifTags.GPS.GPSLatitudeRef: "N",
            ExifTags.GPS.GPSLatitude: (51.0, 30.0, TiffImagePlugin.IFDRational(LATITUDE, 1000003)),
            ExifTags.GPS.GPSProcessingMethod: b"ASCII\0\0\0" + MARK,
        }
    )
    return values


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with a mark in every kind of metadata that their format has, in a folder named by the mark."""
    folder = tmp_path_factory.mktemp("planted") / MARK.decode()
    folder.mkdir()
    with Image.open(ROOT / "examples" / "lesion.jpg") as example:
        picture = Image.fromarray(np.asarray(example.convert("RGB")))  # without metadata of its own
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + MARK + b"</x:xmpmeta>"
    shared = {"exif": exif().tobytes(), "icc_profile": icc_profile()}
    picture.save(folder / PLANTED[0], quality=95, xmp=xmp, comment=MARK, **shared)
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", AUTHOR)
    text.add_text("Comment", MARK.decode(), zip=True)
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    picture.save(folder / PLANTED[1], pnginfo=text, **shared)
    picture.save(folder / PLANTED[2], quality=95, xmp=xmp, **shared)
    return folder


def test_the_marks_are_in_the_files(planted: Path) -> None:
    """Otherwise the tests below would find nothing anywhere."""
    for name in PLANTED:
        content = (planted / name).read_bytes()
        assert MARK in content
        assert AUTHOR.encode() in content
        assert struct.pack("<I", LATITUDE) in content or struct.pack(">I", LATITUDE) in content
        with Image.open(planted / name) as picture:
            gps = picture.getexif().get_ifd(ExifTags.IFD.GPSInfo)
            assert gps[ExifTags.GPS.GPSProcessingMethod].endswith(MARK)


def commands(bundle: Path, planted: Path, out: Path) -> dict[str, tuple[list[str | Path], list[str]]]:
    """Arguments of each command, and the files that they name."""
    options: list[str | Path] = ["--bundle", bundle, "--no-quality-gate"]
    first, second = planted / PLANTED[0], planted / PLANTED[1]
    return {
        "predict": (
            ["predict", planted, "--json", "--explain", out, "--mc-dropout", "5", *options],
            [f"{name}.png" for name in PLANTED],
        ),
        "report": (
            [
                "report",
                first,
                *(x for name in ("r.html", "r.json", "r.png") for x in ("-o", out / name)),
                *options,
            ],
            ["r.html", "r.json", "r.png"],
        ),
        "compare": (["compare", first, second, "-o", out / "changes.png", *options], ["changes.png"]),
        "info": (["info", "--bundle", bundle], []),
    }


@pytest.mark.parametrize("command", ["predict", "report", "compare", "info"])
def test_a_command_writes_what_was_named_and_nothing_else(
    place: Place, shared_micro_bundle: Path, planted: Path, command: str
) -> None:
    arguments, names = commands(shared_micro_bundle, planted, place.out)[command]
    before = sorted(planted.iterdir())
    events = place.run(COMMAND, *arguments)
    # What an earlier run left there would be deleted. Each file is written under another name, then renamed.
    parts = [event.split(" ", 1)[1] for event in events if event.startswith("open ")]
    assert len(parts) == len(names)
    assert all(re.fullmatch(re.escape(f"{place.out}/") + PART, path) for path in parts)
    removed = {f"os.remove {place.out / name}" for name in names}
    expected = {f"{event} {path}" for path in parts for event in ("open", "os.rename")}
    assert set(events) - removed == expected
    assert place.written() == {f"out/{name}" for name in names}
    assert sorted(planted.iterdir()) == before


def test_the_library_writes_nothing(place: Place, shared_micro_bundle: Path, planted: Path) -> None:
    photo = planted / PLANTED[0]
    assert place.run(LIBRARY, shared_micro_bundle, photo) == []
    assert place.written() == set()


def test_a_cache_is_written_where_it_was_named(place: Place, shared_micro_bundle: Path) -> None:
    cache = place.out / "cache"
    events = place.run(COMMAND, "prepare", "--bundle", shared_micro_bundle, "--cache-dir", cache)
    assert all(str(cache) in event for event in events)
    assert {Path(name).parent.as_posix() for name in place.written()} == {"out", "out/cache"}


def test_prepare_fills_the_users_cache_and_predict_leaves_it(
    place: Place, shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    place.run(COMMAND, "prepare", "--bundle", shared_micro_bundle)
    written = place.written()
    assert {name for name in written if name.endswith(".blob")}
    assert all(name.startswith("home/.cache") for name in written)
    (place.root / "events").unlink()
    assert place.run(COMMAND, "predict", lesion_jpg, "--bundle", shared_micro_bundle) == []
    assert place.written() == written


@pytest.mark.skipif(not without_network(), reason="no process may leave the network on this system")
def test_the_default_bundle_answers_without_a_network(place: Place, lesion_jpg: Path) -> None:
    interfaces = (
        "import sys; print(*(line.split(':')[0] for line in list(open('/proc/net/dev'))[2:]), flush=True)\n"
    )
    assert place.run(interfaces + COMMAND, "predict", lesion_jpg, "--json") == []
    names, *lines = place.done.stdout.decode().splitlines()
    assert set(names.split()) <= {"lo"}
    (result,) = (json.loads(line) for line in lines if line.startswith("{"))  # beside OpenCV's verbose log
    assert result["status"] == "assessed"


@pytest.fixture(scope="module")
def strace() -> tuple[str, ...]:
    """The start of a command under strace; skips where it is not installed or not allowed."""
    start = ("strace", "-f", "-qq", "-e", "trace=%network,%process,%file,openat,creat", "-o")
    if (
        not shutil.which("strace")
        or subprocess.run([*start, os.devnull, "true"], capture_output=True).returncode
    ):
        pytest.skip("strace is not installed, or may not trace here")
    return start


def test_the_system_calls_of_native_code(place: Place, strace: tuple[str, ...], lesion_jpg: Path) -> None:
    """OpenVINO and OpenCV raise no audit events."""
    log, chart = place.root / "strace.log", place.out / "map.png"
    place.run(COMMAND, "predict", lesion_jpg, "--explain", chart, start=(*strace, str(log)))
    calls = [line.split(maxsplit=1)[1] for line in log.read_text(errors="replace").splitlines()]
    log.unlink()
    assert place.written() == {"out/map.png"}
    parts = set(re.findall(f'"({re.escape(f"{place.out}/")}{PART})"', "\n".join(calls)))
    assert len(parts) == 1
    found = list(suspicious(calls, {*parts, str(chart), str(place.root / "events"), os.devnull}))
    assert found == []


def suspicious(calls: list[str], named: set[str]) -> Iterator[str]:
    """System calls that talk to others, start programs or change files that were not named."""
    changing = r"(mkdir|unlink|rmdir|rename|link|symlink|chmod|chown|utime|truncate|mknod|creat)\w*\("
    started = False
    for call in calls:
        name = call.partition("(")[0]
        if " = -1 E" in call or call.startswith(("+++", "---", "<...")):
            continue
        if name.startswith("execve"):
            if started:
                yield call
            started = True
        elif name in ("clone", "clone3", "fork", "vfork"):
            if "CLONE_THREAD" not in call:
                yield call
        elif name in ("socket", "connect", "bind", "listen", "accept", "sendto", "recvfrom", "socketpair"):
            yield call
        elif name in ("open", "openat") and re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", call):
            path = call.split('"')[1]
            if path not in named and not path.startswith("/proc/self/"):
                yield call
        elif re.match(changing, call) and call.split('"')[1] not in named:
            yield call


def pictures_in(content: bytes) -> list[bytes]:
    """The file itself, and the pictures that an HTML page holds as base64."""
    return [content, *map(base64.b64decode, re.findall(rb"base64,([A-Za-z0-9+/=]+)", content))]


def test_metadata_reach_no_output(place: Place, shared_micro_bundle: Path, planted: Path) -> None:
    neutral = place.root / "cwd"  # The planted folder's name is a mark too, and paths are part of results.
    for name in PLANTED:
        shutil.copy(planted / name, neutral)
    said = b""
    for arguments, _ in commands(shared_micro_bundle, neutral, place.out).values():
        place.run(COMMAND, *arguments)
        said += place.done.stdout + place.done.stderr
    outputs = {path.name: path.read_bytes() for path in place.out.iterdir()}
    assert len(outputs) == 7
    parts = [(name, part) for name, content in outputs.items() for part in pictures_in(content)]
    assert sum(name == "r.html" for name, _ in parts) > 1
    for name, part in [*parts, ("stdout and stderr", said)]:
        assert [secret for secret in SECRETS if secret in part] == [], name
        if part[:4] == b"\x89PNG":
            with Image.open(io.BytesIO(part)) as picture:
                picture.load()
                assert not picture.getexif(), name
                assert not picture.info.keys() - {"dpi", "srgb", "gamma"}, name
        if part[:2] == b"\xff\xd8":
            with Image.open(io.BytesIO(part)) as picture:
                assert not picture.info.keys() & {"exif", "comment", "icc_profile", "xmp"}, name


def test_a_report_names_the_file_and_not_its_folder(
    place: Place, shared_micro_bundle: Path, planted: Path
) -> None:
    """Folders may name the patient."""
    arguments, _ = commands(shared_micro_bundle, planted, place.out)["report"]
    place.run(COMMAND, *arguments)
    for part in pictures_in((place.out / "r.html").read_bytes()):
        assert [secret for secret in SECRETS if secret in part] == []


LOGGED = """
import io, logging, sys
lines = io.StringIO()
logging.basicConfig(level=logging.DEBUG, stream=lines)
from edgeskin import Classifier, PhotoError, compare_photos, render_html
from edgeskin.photo.sources import photos_in
from pathlib import Path
bundle, folder = sys.argv[1:]
photos = list(photos_in([Path(folder)]))
damaged = Path(folder) / "planted-damaged.jpg"
damaged.write_bytes(photos[0].read_bytes()[:4000])
logging.getLogger("test").debug("logging works")
with Classifier(bundle, quality_gate=False) as classifier:
    results = list(classifier.assess_many([*photos, damaged], explain="grad-cam", mc_samples=5))
    classifier.assess(photos[0].read_bytes())
    compare_photos(results[0], results[1])
    render_html(results[0])
assert [one.status for one in results].count("error") == 1
print(lines.getvalue())
"""


def test_logs_name_no_picture_and_quote_no_metadata(
    place: Place, shared_micro_bundle: Path, planted: Path
) -> None:
    folder = place.out
    for name in PLANTED:
        shutil.copy(planted / name, folder)
    place.run("import sys; del sys.argv[1]\n" + LOGGED, shared_micro_bundle, folder)
    logged = place.done.stdout + place.done.stderr
    assert b"logging works" in logged
    assert [secret for secret in [*SECRETS, b"planted", str(folder).encode()] if secret in logged] == []


def test_the_hook_sees_sockets_programs_and_files(place: Place) -> None:
    """Otherwise the tests above would find nothing anywhere."""
    code = "import socket, subprocess; socket.socket(); open('x', 'w'); subprocess.run(['true'])"
    events = [event.split()[0] for event in place.run(f"{AUDITED}\n{code}")]
    assert {"socket.__new__", "open", "subprocess.Popen"} <= set(events)
    assert place.written() == {"cwd/x"}


def test_suspicious_system_calls_are_found() -> None:
    harmless = [
        'execve("python", ["python"], 0x7f) = 0',
        'openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3',
        'openat(AT_FDCWD, "/named", O_WRONLY|O_CREAT, 0666) = 3',
        'mkdir("/there", 0777) = -1 EEXIST (File exists)',
        "clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 7",
    ]
    found = [
        'execve("/bin/sh", ["sh"], 0x7f) = 0',
        'openat(AT_FDCWD, "/home/id", O_WRONLY|O_CREAT, 0666) = 3',
        'mkdir("/home/intel", 0777) = 0',
        "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 4",
        "clone(child_stack=NULL, flags=SIGCHLD) = 8",
    ]
    assert list(suspicious([*harmless, *found], {"/named"})) == found
