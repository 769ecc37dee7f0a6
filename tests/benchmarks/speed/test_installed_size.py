"""The installed size counts each distribution once."""

import importlib.metadata
from pathlib import Path

import pytest

from benchmarks.speed.installed_size import installed_mb, is_installed


def test_what_is_required_counts_once() -> None:
    def alone(name: str) -> float:
        files = [Path(str(file.locate())) for file in importlib.metadata.files(name) or ()]
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

    needs_numpy = installed_mb(("opencv-python-headless",))
    assert needs_numpy == pytest.approx(alone("opencv-python-headless") + alone("numpy"))
    assert installed_mb(("opencv-python-headless", "NumPy")) == needs_numpy


def test_what_is_absent_takes_nothing() -> None:
    assert not is_installed("no-such-distribution")
    assert installed_mb(("no-such-distribution",)) == 0
