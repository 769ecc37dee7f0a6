"""The photos that files and folders stand for."""

import logging
from pathlib import Path

import pytest

from edgeskin.photo.sources import photos_in


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in photos_in(paths)]


def test_a_folder_gives_its_photos_by_name_and_a_file_itself(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper.jpg").mkdir(parents=True)
    for name in ("b.jpg", "a.PNG", "c.heic", "deeper.jpg/d.jpg"):
        (folder / name).touch()
    assert names([tmp_path / "text.txt", folder]) == ["text.txt", "a.PNG", "b.jpg", "c.heic"]


def test_what_holds_no_photo_is_given_itself(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    missing = tmp_path / "missing"
    assert list(photos_in([tmp_path, missing])) == [tmp_path, missing]


def test_skipped_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "without_suffix", "notes.txt"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert names([tmp_path]) == ["a.jpg"]
    (record,) = caplog.records
    assert record.args == (tmp_path, 2)
