"""Patterns find what Python's glob finds, but follow no links below ``**`` and give no file twice."""

import glob
import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgeskin.photo.patterns import matching

pytestmark = pytest.mark.hazard("H-14")

FILES = (
    "b.jpg",
    "a.jpg",
    ".c.jpg",
    "x/a.jpg",
    "x/b.png",
    "x/y/a.jpg",
    "x/y/x/b.jpg",
    ".h/a.jpg",
    "z/x/b.jpg",
)
PARTS = st.sampled_from(["**", "*", "x", "?", "*.jpg", "a.jpg", "[ab].*", ".*", "y", "missing"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(pattern: Path) -> list[Path]:
    return list(matching(str(pattern)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, min_size=1, max_size=4))
def test_files_are_those_of_glob(tree: Path, parts: list[str]) -> None:
    pattern = tree.joinpath(*parts)
    assume(glob.has_magic(str(pattern)) and parts[-1] != "**")  # which also stands for files before it
    files = [path for path in found(pattern) if path.is_file()]
    assert len(files) == len(set(files))
    by_glob = map(Path, glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    assert set(files) == {path for path in by_glob if path.is_file()}


def test_each_folder_comes_by_name_and_then_those_below(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["a.jpg", "b.jpg", "x/a.jpg", "x/y/a.jpg", "x/y/x/b.jpg", "z/x/b.jpg"]
    assert found(tree / "**" / "*.jpg") == [tree / name for name in wanted]
    monkeypatch.chdir(tree)
    assert found(Path("**/*.jpg")) == [Path(name) for name in wanted]


def test_folders_that_hold_no_further_matches_are_matches(tree: Path) -> None:
    assert found(tree / "[xz]") == [tree / "x", tree / "z"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_not_followed_by_any_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "a.jpg").touch()
    (tmp_path / "g" / "link.jpg").symlink_to(tmp_path / "g" / "a.jpg")
    for name in ("loop", "other"):
        (tmp_path / "g" / name).symlink_to(tmp_path / "g")
    for pattern in ("g/**/*.jpg", "g/**", "**/*.jpg", "g/**/*"):
        with caplog.at_level(logging.WARNING):
            assert found(tmp_path / pattern) == [tmp_path / "g" / "a.jpg", tmp_path / "g" / "link.jpg"]
        assert (tmp_path / "g", 2) in [record.args for record in caplog.records]
        caplog.clear()
    assert found(tmp_path / "g" / "lo*" / "a.jpg") == [tmp_path / "g" / "loop" / "a.jpg"]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="a superuser may list all folders")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    try:
        assert found(tmp_path / "**" / "*.jpg") == [tmp_path / "closed"]
    finally:
        (tmp_path / "closed").chmod(0o700)
