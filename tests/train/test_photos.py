"""Every file of a table is looked at before the first step, and all bad ones are named in one error."""

import runpy
import shutil
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import quantize.cli
import train.cli
from tests.conftest import ROOT
from train.data.table import DataError, read_table
from train.input.photos import read_tables, require_readable, unreadable

pytestmark = pytest.mark.hazard("H-22")

draw_lesion = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]


def lesion(suffix: str) -> bytes:
    image = draw_lesion("MEL", np.random.default_rng(0), 300)
    return bytes(cv2.imencode(suffix, image[..., ::-1])[1])


def heic() -> bytes:
    return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)


BAD = {
    "gif.jpg": lambda: b"GIF89a" + bytes(100),
    "phone.heic": heic,
    "cut.jpg": lambda: lesion(".jpg")[:-2000],
    "empty.jpg": lambda: b"",
    "text.png": lambda: b"no picture",
    "small.png": lambda: bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1]),
}


@pytest.fixture
def folder(lesion_folder: Path, tmp_path: Path) -> Path:
    """Class folders with every kind of bad file among the training pictures."""
    data = Path(shutil.copytree(lesion_folder, tmp_path / "data"))
    for name, content in BAD.items():
        (data / "train" / "MEL" / name).write_bytes(content())
    (data / "val" / "NV" / "folder.jpg").mkdir()
    (data / "val" / "NV" / "dangling.jpg").symlink_to("nowhere")
    return data


EXPECTED = {*BAD, "folder.jpg", "dangling.jpg"}


def test_all_bad_files_are_named_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"^8 of 80 ") as caught:
        read_tables([folder])
    assert caught.value.code == "unreadable"
    assert {line.split(": ")[0].split("/")[-1] for line in str(caught.value).splitlines()[1:]} == EXPECTED


def test_a_readable_table_is_the_table(lesion_folder: Path) -> None:
    assert read_tables([lesion_folder]) == read_table(lesion_folder)


def test_the_first_20_are_named_and_all_are_counted(folder: Path) -> None:
    samples = read_table(folder, require_files=False)
    bad = [sample for sample in samples if sample.image.name == "empty.jpg"] * 23
    assert len(unreadable(bad)) == 23
    with pytest.raises(DataError, match=r"^23 of 23 ") as caught:
        require_readable(bad)
    assert str(caught.value).count("empty.jpg") == 20


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["merge", "DATA", "--out", "OUT"]),
        ("train", ["merge", "DATA", "--out", "OUT", "--trust-groups"]),
        ("train", ["fit", "--data", "DATA", "--out", "OUT", "--weights", "none"]),
        ("train", ["soft-labels", "RUN", "--data", "DATA", "--out", "OUT"]),
        ("train", ["evaluate", "RUN", "--data", "DATA", "--split", "test", "--out", "OUT"]),
        ("train", ["evaluate", "BUNDLE", "--data", "DATA", "--split", "test", "--out", "OUT"]),
        ("quantize", ["RUN", "--data", "DATA", "--out", "OUT"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_every_command_stops_before_its_first_step(
    command: str,
    arguments: list[str],
    folder: Path,
    micro_run: Path,
    shared_micro_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    places = {"DATA": folder, "OUT": tmp_path / "out", "RUN": micro_run, "BUNDLE": shared_micro_bundle}
    monkeypatch.setattr(sys, "argv", [command, *(str(places.get(word, word)) for word in arguments)])
    with pytest.raises(SystemExit) as ended:
        (train if command == "train" else quantize).cli.main()
    assert ended.value.code == 2
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert errors.count("error: ") == 1
    assert all(name in errors for name in EXPECTED)
    assert not (tmp_path / "out").exists()


def test_check_prints_every_bad_file(folder: Path) -> None:
    result = CliRunner().invoke(train.cli.app, ["check", str(folder)])
    assert result.exit_code == 2
    assert {Path(line.split(": ")[0]).name for line in result.stdout.splitlines()} == EXPECTED


def test_check_of_a_good_folder_prints_nothing(lesion_folder: Path) -> None:
    result = CliRunner().invoke(train.cli.app, ["check", str(lesion_folder)])
    assert result.exit_code == 0
    assert result.stdout == ""
