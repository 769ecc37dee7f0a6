"""Decoding in child processes: the same photos, and children that hang, crash or lack memory."""

import base64
import concurrent.futures
import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.errors import PhotoError, SettingError
from edgeskin.photo import isolation
from edgeskin.photo.decode import decode, load_photo
from edgeskin.photo.isolation import _READY, IsolatedDecoder, _read_answer
from tests.conftest import ROOT, run_cli
from tests.edgeskin.pictures import BMP, IEND, JPEG, PNG, RGB, RGBA, WEBP, encode, ihdr, png
from tests.edgeskin.tiffs import tiff

pytestmark = pytest.mark.hazard("H-18")

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds child processes in /proc")


def children(of: int) -> set[int]:
    """Process ids of the living children of a process."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ended meanwhile
            continue
        if int(parent) == of and state != "Z":
            found.add(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    isolated = IsolatedDecoder()
    yield isolated
    isolated.close()


@pytest.mark.parametrize(
    "data",
    [JPEG, PNG, WEBP, BMP, tiff(RGB), encode(RGBA, "PNG")],
    ids=["jpeg", "png", "webp", "bmp", "tiff", "alpha"],
)
def test_photos_are_the_same(decoder: IsolatedDecoder, data: bytes) -> None:
    isolated, own = decoder.decode(data, 112), decode(data, 112)
    np.testing.assert_array_equal(isolated.image, own.image)
    assert isolated.image.flags.c_contiguous
    assert (isolated.width, isolated.height) == (own.width, own.height)
    found, expected = ((one.format, one.transparent, one.may_be_damaged) for one in (isolated, own))
    assert found == expected


def test_errors_are_the_same(decoder: IsolatedDecoder, tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    for data, code in ((JPEG[:5000], "cut_off"), (b"text", "unsupported_format"), (b"", "empty_file")):
        path.write_bytes(data)
        with pytest.raises(PhotoError) as own:
            load_photo(path, 224)
        with pytest.raises(PhotoError) as isolated:
            load_photo(path, 224, decoder.decode)
        assert (str(isolated.value), isolated.value.code) == (str(own.value), code)


def test_threads_share_children() -> None:
    isolated = IsolatedDecoder(workers=2)
    pictures = [encode(np.roll(RGB, shift, axis=1), "PNG") for shift in range(12)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        photos = list(pool.map(lambda data: isolated.decode(data, 112), pictures))
    isolated.close()
    for shift, photo in enumerate(photos):
        np.testing.assert_array_equal(photo.image, np.roll(RGB, shift, axis=1))


@needs_proc
@pytest.mark.parametrize(
    ("signals", "error", "code"),
    [
        ([], PhotoError, "timed_out"),
        ([signal.SIGSEGV, signal.SIGCONT], PhotoError, "decoder_crashed"),
        ([signal.SIGKILL], MemoryError, None),
    ],
    ids=["hang", "crash", "kill"],
)
def test_a_child_that_fails_costs_one_photo(
    signals: list[signal.Signals], error: type[Exception], code: str | None
) -> None:
    before = children(os.getpid())
    isolated = IsolatedDecoder(seconds=60 if signals else 2)
    isolated.decode(PNG, 112)
    (child,) = children(os.getpid()) - before
    os.kill(child, signal.SIGSTOP)

    def end() -> None:
        time.sleep(0.3)  # the photo is on its way
        for one in signals:
            os.kill(child, one)

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(error) as caught:
        isolated.decode(PNG, 112)
    thread.join()
    assert getattr(caught.value, "code", None) == code
    np.testing.assert_array_equal(isolated.decode(PNG, 112).image, RGB)
    isolated.close()
    assert children(os.getpid()) == before


@needs_proc
def test_a_child_that_ended_between_photos_costs_none() -> None:
    before = children(os.getpid())
    isolated = IsolatedDecoder()
    isolated.decode(PNG, 112)
    (child,) = children(os.getpid()) - before
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while child in children(os.getpid()):
        assert time.monotonic() < deadline, "the child outlives its end"
        time.sleep(0.01)
    isolated.decode(PNG, 112)
    isolated.close()


@pytest.mark.skipif(os.name != "posix", reason="of POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_does_not_end_a_child(number: signal.Signals) -> None:
    """A service manager or a terminal sends it, and running requests are still to be answered."""
    before = children(os.getpid())
    decoder = IsolatedDecoder()
    decoder.decode(PNG, 112)
    (child,) = children(os.getpid()) - before
    os.kill(child, number)
    decoder.decode(PNG, 112)
    assert children(os.getpid()) - before == {child}
    decoder.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
def test_memory_is_limited() -> None:
    isolated = IsolatedDecoder(memory=60 * 2**20)
    large = png(ihdr(5000, 5000, 8, 6), (b"IDAT", zlib.compress(bytes(20_001 * 5000), 1)), IEND)
    with pytest.raises(MemoryError, match="MB"):
        isolated.decode(large, 112)
    np.testing.assert_array_equal(isolated.decode(PNG, 112).image, RGB)
    isolated.close()
    ample = IsolatedDecoder()
    assert ample.decode(large, 112).width == 5000
    ample.close()


def test_closed_is_closed() -> None:
    isolated = IsolatedDecoder()
    isolated.close()
    isolated.close()
    with pytest.raises(SettingError):
        isolated.decode(PNG, 112)


@needs_proc
def test_no_child_outlives_the_interpreter() -> None:
    code = (
        "import os; from edgeskin.photo.isolation import IsolatedDecoder\n"
        "from tests.edgeskin.pictures import PNG\n"
        "from tests.edgeskin.test_isolation import children\n"
        "decoder = IsolatedDecoder(); decoder.decode(PNG, 112); print(*children(os.getpid()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    (child,) = map(int, done.stdout.split())
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text()


def answer(pixels: bytes = bytes(48), **changes: object) -> io.BytesIO:
    values = {"rows": 4, "columns": 4, "width": 8, "height": 8, "format": "png", "transparent": 0.0}
    values |= {"may_be_damaged": False} | changes
    text = json.dumps(values).encode()
    return io.BytesIO(struct.pack(">I", len(text)) + text + pixels)


@pytest.mark.parametrize(
    "lie",
    [
        answer(rows=-4),
        answer(columns=100_000),
        answer(width="x"),
        answer(format="exe"),
        answer(transparent="much"),
        answer(pixels=bytes(47)),
        answer(error="failed", code="../x"),
        io.BytesIO(struct.pack(">I", 2**31)),
        io.BytesIO(struct.pack(">I", 4) + b"null"),
        io.BytesIO(struct.pack(">I", 4) + b"\xff\xfe\xfd\xfc"),
        io.BytesIO(b""),
    ],
)
def test_answers_are_not_trusted(lie: io.BytesIO) -> None:
    assert _read_answer(answer()).image.shape == (4, 4, 3)  # type: ignore[union-attr]
    with pytest.raises((ValueError, EOFError, KeyError, TypeError)):
        _read_answer(lie)


@pytest.mark.parametrize(
    "lie", [b"[" * 60_000, answer(rows=float("inf")).getvalue()[4:]], ids=["deep", "infinite"]
)
def test_a_child_that_lies_costs_one_photo(monkeypatch: pytest.MonkeyPatch, lie: bytes) -> None:
    said = _READY + struct.pack(">I", len(lie)) + lie
    packed = base64.b85encode(zlib.compress(said))
    code = f"import base64, sys, zlib; sys.stdout.buffer.write(zlib.decompress(base64.b85decode({packed!r})))"
    with monkeypatch.context() as patch:
        patch.setattr(isolation, "_PROGRAM", f"{code}; sys.stdout.flush(); sys.stdin.buffer.read()")
        isolated = IsolatedDecoder()
    with pytest.raises(PhotoError) as caught:
        isolated.decode(PNG, 112)
    assert caught.value.code == "decoder_crashed"
    np.testing.assert_array_equal(isolated.decode(PNG, 112).image, RGB)
    isolated.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
def test_a_file_that_the_child_cannot_hold_is_no_request() -> None:
    isolated = IsolatedDecoder(seconds=20, memory=16 * 2**20)
    with pytest.raises(MemoryError):
        isolated.decode(BMP + bytes(40 * 2**20), 112)
    np.testing.assert_array_equal(isolated.decode(PNG, 112).image, RGB)
    isolated.close()


@needs_proc
def test_the_classifier_decodes_in_children(shared_micro_bundle: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(PNG[:100])
    own = Classifier(shared_micro_bundle, threads=1, quality_gate=False)
    before = children(os.getpid())
    with Classifier(shared_micro_bundle, threads=1, quality_gate=False, isolate=True) as isolated:
        assert len(children(os.getpid()) - before) == 1
        assert isolated.assess(PNG) == own.assess(PNG)
        assert isolated.assess(RGB) == own.assess(RGB)
        results = list(isolated.assess_many([PNG, bad, PNG]))
        assert [one.status for one in results] == ["assessed", "error", "assessed"]
        with pickle.loads(pickle.dumps(isolated)) as copy:
            assert len(children(os.getpid()) - before) == 2
            assert copy.assess(PNG) == own.assess(PNG)
    assert children(os.getpid()) == before


def test_the_command_line_option(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    options = ["--bundle", shared_micro_bundle, "--json", "--isolate", "--no-scope-gate"]
    done = run_cli("predict", lesion_jpg, text, *options)
    assert done.returncode == 1
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["status"] == "assessed"
    assert second["error"]["code"] == "unsupported_format"


@needs_proc
@pytest.mark.parametrize(
    "command", ["predict {photo} {photo}", "report {photo} -o {out}", "compare {photo} {photo}"]
)
def test_every_command_that_assesses_decodes_in_children(
    shared_micro_bundle: Path, tmp_path: Path, command: str
) -> None:
    """By a decoder that is defective in the process of the command alone."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(encode(np.kron(RGB, np.ones((4, 4, 1), np.uint8)), "PNG"))
    words = command.format(photo=photo, out=tmp_path / "report.json").split()
    code = (
        "import sys; from unittest import mock; from edgeskin.__main__ import main; import cv2\n"
        "cv2.imdecode = mock.Mock(side_effect=SystemExit(9)); main()"
    )
    options = ["--bundle", str(shared_micro_bundle), "--no-quality-gate", "--no-scope-gate"]
    for isolate, returncode in ((["--isolate"], 0), ([], 9)):
        done = subprocess.run(
            [sys.executable, "-c", code, *words, *options, *isolate],
            capture_output=True, check=False, timeout=60, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == returncode, done.stderr
