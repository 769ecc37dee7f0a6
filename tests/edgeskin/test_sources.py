"""The photos that files and folders stand for."""

import logging
import os
import socket
import sys
from pathlib import Path

import pytest

from edgeskin.errors import PhotoError
from edgeskin.photo.decode import load_photo
from edgeskin.photo.sources import photos_in

pytestmark = pytest.mark.hazard("H-14")


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in photos_in(paths)]


def test_a_folder_gives_its_photos_by_name_and_a_file_itself(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.jpg", "a.PNG", "c.heic", "deeper/d.jpg"):
        (folder / name).touch()
    assert names([tmp_path / "text.txt", folder]) == ["text.txt", "a.PNG", "b.jpg", "c.heic"]


def test_pictures_of_formats_that_are_not_read_are_not_passed_over(tmp_path: Path) -> None:
    unread = ["a.CR3", "a.jp2", "a.jxl", "a.psd", "a.tif"]
    for name in unread:
        (tmp_path / name).touch()
    assert names([tmp_path]) == unread


def test_what_holds_no_photo_is_given_itself(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    missing = tmp_path / "missing"
    assert list(photos_in([tmp_path, missing])) == [tmp_path, missing]


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFO, and links need rights there")
def test_what_is_named_like_a_photo_and_is_no_file_is_not_passed_over(tmp_path: Path) -> None:
    """Decoding then gives an error by name."""
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "missing")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.JPG")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.png"))
    assert names([tmp_path]) == ["dangling.jpg", "folder.jpg", "loop.jpg", "pipe.JPG", "socket.png"]
    codes = []
    for path in photos_in([tmp_path]):
        with pytest.raises(PhotoError, match=path.name) as caught:
            load_photo(path, 64)
        codes.append(caught.value.code)
    assert codes == ["not_found", "is_folder", "unreadable", "not_a_file", "not_a_file"]


def test_files_of_operating_systems_are_passed_over_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = ("._a.jpg", "Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX")
    for name in (*left, "a.jpg"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert names([tmp_path]) == ["a.jpg"]
    assert [record.args for record in caplog.records] == [(tmp_path, len(left))]


def test_sub_folders_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("one", "two", "__MACOSX"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "b.jpg").touch()
    (tmp_path / "a.jpg").touch()
    with caplog.at_level(logging.WARNING):
        assert names([tmp_path]) == ["a.jpg"]
    assert [record.args for record in caplog.records] == [(tmp_path, 1), (tmp_path, 2)]


def test_skipped_files_are_counted_where_no_photo_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a folder of DICOM files, which archives name without an ending."""
    for name in ("IM000001", "IM000002"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert names([tmp_path]) == [tmp_path.name]
    assert [record.args for record in caplog.records] == [(tmp_path, 2)]


def test_skipped_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "without_suffix", "notes.txt"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert names([tmp_path]) == ["a.jpg"]
    (record,) = caplog.records
    assert record.args == (tmp_path, 2)
