"""Options that commands share: who decides under MC-dropout, which cache is read, and when colour is used."""

import os
import sys
from pathlib import Path

import pytest
import typer

from edgeskin.cli.options import cache_path, cache_settings, named_path, open_classifier, shared_cache
from edgeskin.errors import SettingError
from edgeskin.results import Precision
from tests.conftest import run_cli


@pytest.mark.hazard("H-10")
@pytest.mark.parametrize(
    ("precision", "mc_dropout", "chosen", "named"),
    [
        (None, 0, "int8", ""),
        ("fp32", 0, "fp32", ""),
        ("int8", 0, "int8", ""),
        (None, 30, "fp32", "FP32"),
        ("fp32", 30, "fp32", "FP32"),
        ("int8", 30, "int8", "INT8"),
    ],
)
def test_the_network_that_decides_is_named_when_sampling(
    precision: Precision | None,
    mc_dropout: int,
    chosen: str,
    named: str,
    shared_micro_bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = str(shared_micro_bundle)
    with open_classifier(bundle, precision, None, None, mc_dropout=mc_dropout) as classifier:
        assert classifier.model.precision == chosen
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == bool(mc_dropout)
    assert f"the {named} network decides" in output.err if named else output.err == ""


@pytest.mark.hazard("H-10")
def test_a_changed_threshold_is_named(shared_micro_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both thresholds are on stderr, and nothing is where the bundle decides."""
    with open_classifier(str(shared_micro_bundle), None, None, None, sensitivity=0.93) as classifier:
        threshold = classifier.rules.screening_threshold
    output = capsys.readouterr()
    assert output.out == ""
    assert f"{threshold:.3f}" in output.err
    assert "0.300" in output.err
    with open_classifier(str(shared_micro_bundle), None, None, None):
        assert capsys.readouterr() == ("", "")


def test_a_named_cache_is_written(tmp_path: Path) -> None:
    assert cache_settings(tmp_path) == {"cache_dir": tmp_path}


def test_the_environment_names_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option goes before it, an empty variable names none, and ``~`` is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("EDGESKIN_CACHE", "~/shared")
    assert cache_settings(None) == {"cache_dir": tmp_path / "shared"}
    assert cache_settings(tmp_path / "named") == {"cache_dir": tmp_path / "named"}
    assert cache_path("~/named") == tmp_path / "named"
    for empty in ("", " "):
        monkeypatch.setenv("EDGESKIN_CACHE", empty)
        assert shared_cache() is None


def test_a_cache_of_the_environment_that_may_not_be_written_is_read(
    shared_micro_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One notice where a network is missing in it, none where it is there."""
    cache, bundle = tmp_path / "cache", str(shared_micro_bundle)
    with open_classifier(bundle, "int8", None, cache):
        (network,) = cache.iterdir()
    monkeypatch.setenv("EDGESKIN_CACHE", str(cache))

    def refuse(folder: Path, mode: int = 0o755) -> None:
        raise SettingError(f"cache {folder}: cannot be written")

    monkeypatch.setattr("edgeskin.cli.options.require_writable", refuse)
    assert cache_settings(None) == {"cache_dir": cache, "cache_read_only": True}
    with open_classifier(bundle, "int8", None, None) as classifier:
        assert classifier.engine.cached_files == {network}
    assert capsys.readouterr() == ("", "")
    with open_classifier(bundle, "fp32", None, None):
        output = capsys.readouterr()
    assert output.out == ""
    assert str(cache) in output.err
    assert len(output.err.splitlines()) == 1
    assert list(cache.iterdir()) == [network]


@pytest.mark.parametrize("place", ["{file}", "{file}/inside", "/proc/none"])
def test_a_cache_of_the_environment_without_a_place_does_not_end_the_run(
    place: str, shared_micro_bundle: Path, tmp_path: Path, lesion_jpg: Path
) -> None:
    (tmp_path / "file").touch()
    done = run_cli(
        "predict", lesion_jpg, "--bundle", shared_micro_bundle,
        EDGESKIN_CACHE=place.format(file=tmp_path / "file"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.startswith("cache ") for line in done.stderr.splitlines()].count(True) == 1


def test_an_empty_name_is_refused() -> None:
    for text in ("", " ", "\t"):
        with pytest.raises(typer.BadParameter):
            named_path(text)
    assert named_path("a b") == Path("a b")


@pytest.mark.hazard("H-08")
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_the_users_own_cache_is_read_if_it_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "edgeskin"
    assert cache_settings(None) == {}
    folder.mkdir(mode=0o700)
    assert cache_settings(None) == {"cache_dir": folder, "cache_read_only": True}
    assert capsys.readouterr() == ("", "")
    folder.chmod(0o777)
    assert cache_settings(None) == {}
    output = capsys.readouterr()
    assert output.out == ""
    assert str(folder) in output.err


@pytest.mark.hazard("H-08")
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_the_users_own_cache_is_not_read_where_a_signature_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "edgeskin").mkdir(mode=0o700)
    assert cache_settings(None, tmp_path / "key.pub") == {}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_a_cache_that_may_not_be_looked_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a user whose home is another's, in a container."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert cache_settings(None) == {}
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_settings(None) == {}
