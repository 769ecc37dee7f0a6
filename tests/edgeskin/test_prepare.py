"""``edgeskin prepare``: networks compiled beforehand, which later commands load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_cli


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_prepared_networks_are_used_and_only_prepare_writes_them(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    here = {"XDG_CACHE_HOME": str(tmp_path)}

    def p_cancer(precision: str) -> float:
        options = ("--bundle", shared_micro_bundle, "--threads", 1, "--precision", precision, "--json")
        return float(
            json.loads(run_cli("predict", lesion_jpg, *options, **here).stdout)["cancer_probability"]
        )

    alone = {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    assert not list(tmp_path.iterdir())
    prepared = run_cli("prepare", "--bundle", shared_micro_bundle, "--threads", 1, **here)
    assert prepared.stdout == f"{tmp_path / 'edgeskin'}\n"
    assert alone == {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    one, other = (tmp_path / "edgeskin").iterdir()
    # Each in the other's place shows that they are read.
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0])
    one.write_bytes(contents[1])
    changed = {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    assert changed["int8"] != alone["int8"]
    assert changed["fp32"] != alone["fp32"]
    # What is missing is compiled, and only `prepare` adds it.
    for file in (one, other):
        file.unlink()
    assert alone == {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    assert not list((tmp_path / "edgeskin").iterdir())


@pytest.mark.hazard("H-08")
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_a_cache_that_is_not_private_is_refused(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    command = ("prepare", "--bundle", shared_micro_bundle)
    folder = tmp_path / "edgeskin"
    folder.mkdir()
    folder.chmod(0o777)
    open_to_all = run_cli(*command, XDG_CACHE_HOME=str(tmp_path))
    assert not list(folder.iterdir())
    folder.rmdir()
    folder.touch()
    a_file = run_cli(*command, XDG_CACHE_HOME=str(tmp_path))
    for done in (open_to_all, a_file):
        assert (done.returncode, done.stdout) == (2, "")
        assert str(folder) in done.stderr


@pytest.mark.hazard("H-08")
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_predict_skips_a_cache_that_is_not_private_and_says_so(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "edgeskin"
    folder.mkdir()
    folder.chmod(0o777)
    done = run_cli("predict", lesion_jpg, "--bundle", shared_micro_bundle, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0
    assert str(folder) in done.stderr
    assert "P(cancer)" in done.stdout
    assert not list(folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_network_that_could_not_be_written_is_an_error(shared_micro_bundle: Path, tmp_path: Path) -> None:
    """As on a full disk: no file may grow beyond 4 KB."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"sys.argv = ['edgeskin', 'prepare', '--bundle', {str(shared_micro_bundle)!r}, "
        f"'--cache-dir', {str(tmp_path)!r}]; from edgeskin.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_something_in_the_place_of_a_network_is_an_error(shared_micro_bundle: Path, tmp_path: Path) -> None:
    command = ["prepare", "--bundle", shared_micro_bundle, "--cache-dir", tmp_path]
    assert run_cli(*command).returncode == 0
    for file in list(tmp_path.iterdir()):
        file.unlink()
        file.mkdir()
    done = run_cli(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert ".blob" in done.stderr


def test_a_cache_named_by_the_environment(
    lesion_jpg: Path, shared_micro_bundle: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--json"]
    first, second = (run_cli(*command, EDGESKIN_CACHE=str(cache)) for _ in range(2))
    assert [path.suffix for path in cache.iterdir()] == [".blob"]
    shares = [json.loads(done.stdout)["probabilities"] for done in (first, second)]
    assert shares[0] == shares[1]


def test_workers_are_prepared_too(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    """Three threads of two workers: a network of two threads and one of one, in each precision."""
    settings = ("--bundle", shared_micro_bundle, "--threads", 3, "--workers", 2, "--cache-dir", tmp_path)
    assert run_cli("prepare", *settings).returncode == 0
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 4
    assert run_cli("predict", lesion_jpg, *settings).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--bundle", "nowhere"], 3), (["--threads", "0"], 2), (["--threads", "1", "--workers", "2"], 2)],
)
def test_exit_codes(arguments: list[str], code: int, tmp_path: Path) -> None:
    done = run_cli("prepare", *arguments, "--cache-dir", tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def test_prepare_fills_the_cache_that_the_environment_names(
    shared_micro_bundle: Path, tmp_path: Path
) -> None:
    done = run_cli("prepare", "--bundle", shared_micro_bundle, EDGESKIN_CACHE="~/cache", HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'cache'}\n"), done.stderr
    assert len(list((tmp_path / "cache").iterdir())) == 2
    (tmp_path / "file").touch()
    refused = run_cli("prepare", "--bundle", shared_micro_bundle, EDGESKIN_CACHE=str(tmp_path / "file"))
    assert (refused.returncode, refused.stdout) == (2, "")
