"""Paths of output files: where they go, and what is refused before any work."""

import os
from pathlib import Path

import pytest

from edgeskin.cli.outputs import delete_stale_outputs, output_paths, refuse_overwriting_inputs
from edgeskin.errors import SettingError
from tests.conftest import run_cli


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


@pytest.mark.hazard("H-20")
@pytest.mark.parametrize(
    ("command", "target"),
    [
        ("report {photo} --out", "bundle/manifest.json"),
        ("report {photo} --require-signature key.json --out", "key.json"),
        ("predict {photo} --explain", "bundle/notes.png"),
        ("compare {photo} {photo} --out", "bundle/notes.png"),
        ("bench --out", "bundle/int8.bin"),
        ("bench --png", "bundle/notes.png"),
        ("bench --data data/index.csv --out", "data/index.csv"),
        ("bench --data data --split val --png", "data/NV/test.png"),
        ("bench --data classes --out", "classes/NV/a.png"),
    ],
)
def test_a_command_writes_over_nothing_that_it_reads(
    micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, command: str, target: str
) -> None:
    """Nor over other files of the bundle, and pictures of the other splits."""
    for name in ("key.json", "bundle/notes.png", "data/NV/test.png", "classes/NV/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("kept")
    (tmp_path / "data" / "index.csv").write_text("path,label,split\nNV/test.png,NV,test\n")
    content = (tmp_path / target).read_bytes()
    places = ("bundle", "data", "key.json", "classes")
    words = [
        str(tmp_path / word) if word.startswith(places) else word
        for word in (*command.format(photo=lesion_jpg).split(), target)
    ]
    done = run_cli(*words, "--bundle", micro_bundle)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"error: {tmp_path / target}: ")
    assert (tmp_path / target).read_bytes() == content


def test_stale_outputs_are_deleted(tmp_path: Path) -> None:
    stale = tmp_path / "map.png"
    stale.touch()
    delete_stale_outputs([stale, tmp_path / "missing.png"])
    assert not stale.exists()


def test_inputs_are_looked_at_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each output: with 2,000 pictures that took half a minute."""
    photos, outputs = ([tmp_path / f"{n}.{suffix}" for n in range(50)] for suffix in ("jpg", "png"))
    for path in (*photos, *outputs):
        path.touch()
    looked_at = []
    stat = Path.stat

    def counted(path: Path, **options: bool) -> os.stat_result:
        looked_at.append(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", counted)
    refuse_overwriting_inputs(outputs, photos)
    assert len(looked_at) == len(photos) + len(outputs)


def test_outputs_that_cannot_be_replaced_are_returned(tmp_path: Path) -> None:
    folder, long = tmp_path / "map.png", tmp_path / f"{'x' * 300}.png"
    folder.mkdir()
    (tmp_path / "other.png").touch()
    outputs = [folder, long, tmp_path / "other.png"]
    refuse_overwriting_inputs(outputs, [tmp_path / "a.jpg", long])
    blocked = delete_stale_outputs(outputs)
    assert list(blocked) == [folder, long]
    assert {error.code for error in blocked.values()} == {"not_written"}
    assert all(str(error).startswith(str(path)) for path, error in blocked.items())
    assert not (tmp_path / "other.png").exists()
