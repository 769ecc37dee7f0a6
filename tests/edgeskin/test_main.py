"""The command line as a whole: exit codes, streams, and colour on a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from edgeskin import NOTICE, __version__
from tests.conftest import ROOT, run_cli


def test_version_and_help() -> None:
    assert run_cli("--version").stdout == f"edgeskin {__version__}\n"
    for arguments, code in ((["--help"], 0), ([], 2), (["nonsense"], 2)):
        done = run_cli(*arguments)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
    page = " ".join(run_cli("--help").stdout.split())
    assert NOTICE in page
    assert all(command in page for command in ("predict", "report", "compare", "prepare", "info", "bench"))


@pytest.mark.parametrize("command", ["predict", "report", "compare", "prepare", "info", "bench"])
def test_every_command_has_help(command: str) -> None:
    done = run_cli(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--bundle" in done.stdout


@pytest.mark.hazard("H-14")
def test_exit_code_0_all_assessed_1_some_failed_2_usage_3_bundle(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    bundle = ("--bundle", shared_micro_bundle)
    codes = [
        run_cli("predict", lesion_jpg, *bundle).returncode,
        run_cli("predict", lesion_jpg, tmp_path / "missing.jpg", *bundle).returncode,
        run_cli("predict", lesion_jpg, *bundle, "--sensitivity", 2).returncode,
        run_cli("predict", lesion_jpg, "--bundle", tmp_path).returncode,
    ]
    assert codes == [0, 1, 2, 3]


@pytest.mark.hazard("H-14")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_result_that_cannot_be_written_is_one_line(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgeskin", "predict", lesion_jpg, "--bundle", shared_micro_bundle],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 1
    assert [line.startswith("error: ") for line in done.stderr.splitlines()].count(True) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that closes")
def test_a_reader_that_leaves_is_no_traceback(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    """As ``edgeskin predict ... | head -1`` does."""
    command = [sys.executable, "-m", "edgeskin", "predict", *[str(lesion_jpg)] * 50]
    with subprocess.Popen(
        [*command, "--bundle", str(shared_micro_bundle)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in errors


def on_a_terminal(*arguments: str | Path, **environment: str) -> str:
    """What a command writes to a terminal."""
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "edgeskin", *map(str, arguments)]
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(
        command, stdout=terminal, stderr=subprocess.DEVNULL, cwd=ROOT, env={**clean, **environment}
    ) as process:
        os.close(terminal)
        written = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:  # Linux's end of a terminal
                break
            if not part:
                break
            written += part
    os.close(main)
    assert process.returncode == 0
    return written.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such terminals")
def test_colour_on_a_terminal_unless_no_color_is_set(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    command = ("predict", lesion_jpg, "--bundle", shared_micro_bundle)
    colored = on_a_terminal(*command).splitlines()
    assert "\x1b[1;3" in colored[0]
    assert colored[0].endswith("\x1b[0m")
    assert not any("\x1b" in line for line in colored[1:])
    assert "\x1b[1;3" in on_a_terminal(*command, NO_COLOR="")  # no-color.org: an empty one does not count
    assert "\x1b" not in on_a_terminal(*command, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(*command, "--json")
    assert "\x1b" not in run_cli(*command).stdout
