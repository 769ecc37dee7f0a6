"""Options that commands share: who decides under MC-dropout, which cache is read, and when colour is used."""

import os
import sys
from pathlib import Path

import pytest

from edgeskin.cli.options import cache_settings, open_classifier
from edgeskin.results import Precision


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
