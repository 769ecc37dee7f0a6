"""Starts and what they keep, as a user types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_cli


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_what_prepare_keeps_is_used_and_nothing_is_kept_without(
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
    # What is not there is compiled, and only `prepare` adds it.
    for kept in (one, other):
        kept.unlink()
    assert alone == {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    assert not list((tmp_path / "edgeskin").iterdir())


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_prepare_refuses_a_cache_that_is_not_the_users_alone(
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
    for done, said in ((open_to_all, "others may write it"), (a_file, "cannot be written")):
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_predict_passes_over_a_cache_that_is_not_the_users_alone_and_says_so(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "edgeskin"
    folder.mkdir()
    folder.chmod(0o777)
    done = run_cli("predict", lesion_jpg, "--bundle", shared_micro_bundle, XDG_CACHE_HOME=str(tmp_path))
    assert f"cache {folder}: passed over: no folder, or others may write it" in done.stderr
    assert "P(cancer)" in done.stdout
    assert not list(folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_prepare_says_when_nothing_could_be_kept(shared_micro_bundle: Path, tmp_path: Path) -> None:
    """As on a full disk: no file may grow beyond 4 KB."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"sys.argv = ['edgeskin', 'prepare', '--bundle', {str(shared_micro_bundle)!r}, "
        f"'--cache', {str(tmp_path)!r}]; from edgeskin.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "could not be written; make room on the disk" in done.stderr
    assert not list(tmp_path.iterdir())


def test_prepare_says_when_something_is_in_the_way(shared_micro_bundle: Path, tmp_path: Path) -> None:
    command = ["prepare", "--bundle", shared_micro_bundle, "--cache", tmp_path]
    assert run_cli(*command).returncode == 0
    for blob in tmp_path.iterdir():
        blob.unlink()
        blob.mkdir()
    done = run_cli(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "or remove what is in its place" in done.stderr


def test_a_cache_named_by_the_environment(
    lesion_jpg: Path, shared_micro_bundle: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--json"]
    first, second = (run_cli(*command, EDGESKIN_CACHE=str(cache)) for _ in range(2))
    assert [path.suffix for path in cache.iterdir()] == [".blob"]
    shares = [json.loads(done.stdout)["probabilities"] for done in (first, second)]
    assert shares[0] == shares[1]
