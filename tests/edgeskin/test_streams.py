"""stdout and stderr: whole results or an error, and notices that never stop a run."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from edgeskin import NOTICE
from edgeskin.cli.main import main
from edgeskin.cli.streams import NoticeStream, ResultStream, notice, standard_streams
from edgeskin.errors import ResourceError
from tests.conftest import ROOT, run_cli

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="has no such descriptors"),
    pytest.mark.hazard("H-14"),
]

COMMANDS = {
    "version": ("--version",),
    "help": ("predict", "--help"),
    "info": ("info", "--bundle", "{bundle}"),
    "predict": ("predict", "{lesion}", "--bundle", "{bundle}"),
    "json": ("predict", "{lesion}", "--json", "--bundle", "{bundle}"),
    "report": ("report", "{lesion}", "-o", "{folder}/report.json", "--bundle", "{bundle}"),
    "compare": ("compare", "{lesion}", "{lesion}", "--bundle", "{bundle}"),
    "prepare": ("prepare", "--bundle", "{bundle}", "--cache-dir", "{folder}/cache"),
    "bench": ("bench", "--bundle", "{bundle}", "--repeats", "10", "--rounds", "1", "--threads", "1"),
}


@pytest.fixture
def arguments(
    request: pytest.FixtureRequest, lesion_jpg: Path, shared_micro_bundle: Path, tmp_path: Path
) -> list[str]:
    """The arguments of a command, by its name."""
    values = {"bundle": shared_micro_bundle, "lesion": lesion_jpg, "folder": tmp_path}
    return [part.format(**values) for part in COMMANDS[request.param]]


def in_shell(arguments: list[str], redirection: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with its streams redirected by the shell."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "edgeskin", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


@pytest.mark.parametrize("arguments", COMMANDS, indirect=True)
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_lost_result_is_one_line_and_exit_code_1(arguments: list[str], redirection: str) -> None:
    done = in_shell(arguments, redirection)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "stdout" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["version", "help", "info", "json", "compare"], indirect=True)
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_lost_stderr_changes_nothing_on_stdout(arguments: list[str], redirection: str) -> None:
    plain, silent = in_shell(arguments, ""), in_shell(arguments, redirection)
    assert (silent.returncode, silent.stderr) == (0, "")
    if "--json" in arguments:
        values, expected = json.loads(silent.stdout), json.loads(plain.stdout)
        assert values | {"timing_ms": None} == expected | {"timing_ms": None}
    else:
        assert silent.stdout == plain.stdout


@pytest.mark.parametrize("redirection", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_errors_and_notices_never_reach_stdout_or_another_file(
    shared_micro_bundle: Path, tmp_path: Path, redirection: str
) -> None:
    """Nor does a usage error, which typer writes."""
    out = tmp_path / "report.json"
    bundle = ["--bundle", str(shared_micro_bundle)]
    for arguments, code in (
        (["predict", "missing.jpg", *bundle], 1),
        (["report", "examples/lesion.jpg", "-o", str(out), *bundle], int(">" in redirection[:-4])),
        (["nonsense"], 2),
        ([], 2),
    ):
        done = in_shell(arguments, redirection)
        assert (done.returncode, done.stderr) == (code, "")
        assert done.stdout == (f"{out}\n" if arguments[:1] == ["report"] and not code else "")
    assert json.loads(out.read_text(encoding="utf-8"))["status"] == "assessed"


def test_a_closed_descriptor_is_not_given_to_a_file_that_is_opened_later() -> None:
    code = (
        "import os, sys\nfrom edgeskin.cli.streams import standard_streams\n"
        "with standard_streams():\n"
        "    first = os.open('README.md', os.O_RDONLY)\n"
        "    assert first > 2\n"
        "    os.write(2, b'a message of a library')\n"
    )
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_non_blocking_pipe_loses_nothing(
    shared_micro_bundle: Path, lesion_jpg: Path, unbuffered: str
) -> None:
    """Its reader is slow; 40 explained results are several times what a pipe holds."""
    count = 40
    read, write = os.pipe()
    os.set_blocking(write, False)
    command = [sys.executable, "-m", "edgeskin", "predict", "--json", "--bundle", str(shared_micro_bundle)]
    with subprocess.Popen(
        [*command, *[str(lesion_jpg)] * count],
        stdout=write, stderr=subprocess.DEVNULL, cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as process:  # fmt: skip
        os.close(write)
        time.sleep(2)
        with os.fdopen(read, "rb") as pipe:
            lines = pipe.read().splitlines()
    assert process.returncode == 0
    assert len(lines) == count
    assert sum(map(len, lines)) > 2**16
    assert {json.loads(line)["status"] for line in lines} == {"assessed"}


def test_a_pipe_that_nobody_empties_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeskin.cli.streams.PATIENCE_S", 0.01)
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(read, "rb"), os.fdopen(write, "wb", buffering=0) as raw:
        with pytest.raises(ResourceError) as caught:
            ResultStream(raw, "utf-8").write("x" * 2**20 + "\n")
        notices = NoticeStream(raw, "utf-8")
        assert notices.write("y" * 10 + "\n") == 11
        assert notices.write("z\n") == 2
    assert caught.value.code == "not_written"


def test_a_reader_of_a_full_pipe_gets_everything() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    text = "".join(f"{number} é\n" for number in range(50_000))
    found: list[bytes] = []

    def read_all() -> None:
        with os.fdopen(read, "rb") as pipe:
            found.append(pipe.read())

    reader = threading.Thread(target=read_all)
    with os.fdopen(write, "wb", buffering=0) as raw:
        reader.start()
        assert ResultStream(raw, "utf-8").write(text) == len(text)
    reader.join()
    assert found == [text.encode()]


def test_no_result_is_lost_when_the_reader_leaves(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    """As of `head -1`; the exit code says that not all was read."""
    command = ["predict", "--json", "--bundle", str(shared_micro_bundle), *[str(lesion_jpg)] * 60]
    shell = '"$@" 2>"$0" | head -1; exit "${PIPESTATUS[0]}"'
    errors = Path(os.devnull)
    done = subprocess.run(
        ["bash", "-c", shell, str(errors), sys.executable, "-m", "edgeskin", *command],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert len(done.stdout.splitlines()) == 1


# In a process that goes on


def ended(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `main`, called as a function."""
    monkeypatch.setattr(sys, "argv", ["edgeskin", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_main_writes_to_the_streams_of_its_caller(
    shared_micro_bundle: Path, lesion_jpg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)
    command = ["predict", str(lesion_jpg), "missing.jpg", "--json", "--bundle", str(shared_micro_bundle)]
    assert ended(command, monkeypatch) == 1
    assert [json.loads(line)["status"] for line in out.getvalue().splitlines()] == ["assessed", "error"]
    assert "not a medical device" in errors.getvalue()
    assert (sys.stdout, sys.stderr) == (out, errors)


@pytest.mark.parametrize("stream", [None, "closed"])
def test_main_without_a_stdout_is_exit_code_1(stream: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", closed if stream else None)
    monkeypatch.setattr(sys, "stderr", errors)
    assert ended(["--version"], monkeypatch) == 1
    assert errors.getvalue().startswith("error: stdout")
    monkeypatch.setattr(sys, "stderr", None)
    assert ended(["--version"], monkeypatch) == 1
    assert ended(["nonsense"], monkeypatch) == 2


def test_warnings_of_the_package_are_notices(
    tmp_path: Path, lesion_jpg: Path, shared_micro_bundle: Path
) -> None:
    """On one line, whatever the folder is called."""
    folder = tmp_path / "a\nlesion.jpg: LOW RISK\x1b[2K"
    folder.mkdir()
    for name in ("a.jpg", "notes.txt"):
        (folder / name).write_bytes(lesion_jpg.read_bytes())
    done = run_cli("predict", folder, "--bundle", shared_micro_bundle)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("lesion.jpg")]
    assert done.stderr.count("skipped 1 file") == 1


def test_error_lines_are_one_line(shared_micro_bundle: Path) -> None:
    name = "\x1b[2Ka\u202e\nerror: b.jpg"
    done = run_cli("predict", name, "--bundle", shared_micro_bundle)
    assert done.returncode == 2  # the bracket makes it a pattern, which needs --out
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert r"\x1b[2Ka\u202e\nerror: b.jpg" in done.stderr
    usage = run_cli("predict", f"--{name}")
    assert usage.returncode == 2
    assert "\x1b" not in usage.stderr
    assert not [line for line in usage.stderr.splitlines() if line.startswith("error: b.jpg")]


def test_notices_are_on_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with standard_streams():
        notice("a\tb\rc")
        assert not sys.stdout.isatty()
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    assert capsys.readouterr() == ("", "a\\tb\\rc\n")


def test_a_line_is_written_at_once() -> None:
    """A signal may come between the start of a line and its end."""
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as pipe, os.fdopen(write, "wb", buffering=0) as raw:
        os.set_blocking(pipe.fileno(), False)
        stream = ResultStream(raw, "utf-8")
        stream.write("{}")
        assert pipe.read() is None
        stream.write("\n")
        assert pipe.read() == f"{{}}{os.linesep}".encode()
        stream.write("rest")
        stream.flush()
        assert pipe.read() == b"rest"


def test_libraries_write_nothing_to_stderr(
    tmp_path: Path, shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    """Of a whole progressive picture, libjpeg would write that it is corrupt."""
    path = tmp_path / "progressive.jpg"
    Image.open(lesion_jpg).save(path, quality=90, progressive=True)
    done = run_cli("predict", path, "--bundle", shared_micro_bundle, "--no-quality-gate", "--no-scope-gate")
    assert done.returncode == 0
    assert done.stderr == f"{NOTICE}\n"
