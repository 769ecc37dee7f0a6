"""Paths of output files: where they go, and what is refused before any work."""

from pathlib import Path

import pytest

from edgeskin.cli.outputs import delete_stale_outputs, output_paths, refuse_overwriting_inputs
from edgeskin.errors import SettingError


def test_one_file_for_one_photo_and_a_folder_for_several(tmp_path: Path) -> None:
    photos = [Path("x/a.jpg"), Path("y/b.png")]
    assert output_paths(None, photos) == []
    assert output_paths(tmp_path / "map.PNG", photos[:1]) == [tmp_path / "map.PNG"]
    assert output_paths(tmp_path, photos) == [tmp_path / "a.jpg.png", tmp_path / "b.png.png"]


@pytest.mark.parametrize(
    ("out", "photos"),
    [
        ("map.png", ["a.jpg", "b.jpg"]),
        ("map.jpg", ["a.jpg"]),
        ("missing/map.png", ["a.jpg"]),
        (".", ["x/a.jpg", "y/a.jpg"]),
    ],
    ids=["one-file-for-two", "other-format", "no-folder", "same-name-twice"],
)
def test_output_without_a_place_is_refused(out: str, photos: list[str], tmp_path: Path) -> None:
    with pytest.raises(SettingError):
        output_paths(tmp_path / out, [Path(photo) for photo in photos])


@pytest.mark.hazard("H-20")
def test_an_input_is_not_overwritten_under_any_name(tmp_path: Path) -> None:
    photo, link = tmp_path / "photo.png", tmp_path / "link.png"
    photo.touch()
    link.symlink_to(photo)
    other = tmp_path / "other.png"
    with pytest.raises(SettingError):
        output_paths(photo, [photo])
    with pytest.raises(SettingError):
        output_paths(photo, [tmp_path / "missing.jpg"], photo)
    with pytest.raises(SettingError):
        refuse_overwriting_inputs([other, link], [photo])
    refuse_overwriting_inputs([other], [photo])


def test_stale_outputs_are_deleted(tmp_path: Path) -> None:
    stale = tmp_path / "map.png"
    stale.touch()
    delete_stale_outputs([stale, tmp_path / "missing.png"])
    assert not stale.exists()
