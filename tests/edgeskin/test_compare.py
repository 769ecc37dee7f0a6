"""The commands that write files: maps, reports, comparisons; as a user types them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import run_cli


def test_explain_draws_beside_the_answer(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    settings = ("--bundle", shared_micro_bundle)
    done = run_cli("predict", lesion_jpg, "--explain", picture, "--target", "NV", *settings)
    plain = run_cli("predict", lesion_jpg, *settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:-2] == plain.stdout.splitlines()[:-2]  # but for the time it took
    assert cv2.imread(str(picture)).shape == (536, 944, 3)


def test_explain_draws_several_into_a_folder(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """One that cannot be read stops nothing and gets no drawing."""
    out = tmp_path / "out"
    out.mkdir()
    photos = (tmp_path / "missing.jpg", lesion_jpg)
    done = run_cli("predict", *photos, "--json", "--explain", out, "--bundle", shared_micro_bundle)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [one["status"] for one in told] == ["error", "assessed"]
    assert told[1]["explanation"]["method"] == "grad-cam"
    assert [path.name for path in out.iterdir()] == ["lesion.jpg.png"]


@pytest.mark.parametrize(
    ("photos", "out", "says"),
    [
        (2, "map.png", "an existing folder for several"),
        (1, "map.jpg", "name a PNG file"),
        (1, "missing/map.png", "its folder does not exist"),
        (2, ".", "lesion.jpg.png"),
    ],
)
def test_a_drawing_that_has_no_place_is_refused_before_any_work(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, photos: int, out: str, says: str
) -> None:
    done = run_cli(
        "predict", *[lesion_jpg] * photos, "--explain", tmp_path / out, "--bundle", shared_micro_bundle
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_report_writes_every_file_named(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"report.{suffix}" for suffix in ("html", "json", "png")]
    named = [part for file in files for part in ("-o", file)]
    done = run_cli("report", lesion_jpg, *named, "--bundle", shared_micro_bundle, "--age", 30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(file) for file in files]
    told = json.loads(files[1].read_text())
    assert told["uncertainty"]["samples"] == 30
    assert any(spot.startswith("under 40 years") for spot in told["blind_spots"])
    assert "Research software" in files[0].read_text()


def test_report_of_a_picture_that_is_turned_away_is_written_and_says_so(
    shared_micro_bundle: Path, tmp_path: Path
) -> None:
    dark, out = tmp_path / "dark.png", tmp_path / "report.html"
    cv2.imwrite(str(dark), np.zeros((300, 300, 3), np.uint8))
    done = run_cli("report", dark, "-o", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert "not assessed (retake)" in done.stderr
    assert "Not assessed" in out.read_text()


@pytest.mark.parametrize(
    ("photo", "out", "code"), [("lesion", "report.pdf", 2), ("missing", "report.html", 1)]
)
def test_report_that_cannot_be_made_leaves_no_file(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, photo: str, out: str, code: int
) -> None:
    source = lesion_jpg if photo == "lesion" else tmp_path / "missing.jpg"
    done = run_cli("report", source, "-o", tmp_path / out, "--bundle", shared_micro_bundle)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / out).exists()


def test_compare_tells_and_draws_or_refuses(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    out = tmp_path / "changes.png"
    done = run_cli("compare", lesion_jpg, lesion_jpg, "-o", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert "correlation 1.00" in done.stdout
    assert cv2.imread(str(out)).shape == (536, 1408, 3)
    told = run_cli("compare", lesion_jpg, lesion_jpg, "--json", "--bundle", shared_micro_bundle)
    assert json.loads(told.stdout)["registration"]["overlap"] == 1
    turned = tmp_path / "mirrored.jpg"
    cv2.imwrite(str(turned), cv2.imread(str(lesion_jpg))[:, ::-1])
    refused = run_cli("compare", lesion_jpg, turned, "--bundle", shared_micro_bundle)
    assert refused.returncode == 1
    assert f"{lesion_jpg}, {turned}: the photos cannot be aligned" in refused.stderr
    assert refused.stdout.count("action") == 2  # what each says alone
    for wrong in (tmp_path, tmp_path / "changes.json"):
        refused = run_cli("compare", lesion_jpg, lesion_jpg, "-o", wrong, "--bundle", shared_micro_bundle)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"{wrong}: name a PNG file to draw into" in refused.stderr


def test_no_output_takes_the_place_of_a_photo_or_stays_from_another(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    photo, dark, out = tmp_path / "photo.png", tmp_path / "dark.png", tmp_path / "map.png"
    cv2.imwrite(str(photo), cv2.imread(str(lesion_jpg)))
    cv2.imwrite(str(dark), np.zeros((300, 300, 3), np.uint8))
    content = photo.read_bytes()
    for command in (
        ("predict", photo, "--explain", photo),
        ("report", photo, "-o", photo),
        ("compare", photo, lesion_jpg, "-o", photo),
    ):
        done = run_cli(*command, "--bundle", shared_micro_bundle)
        assert done.returncode == 2
        assert f"{photo}: this is an input picture" in done.stderr
    assert photo.read_bytes() == content
    out.write_bytes(b"the map of another picture")
    done = run_cli("predict", dark, "--explain", out, "--bundle", tmp_path / "missing")
    assert done.returncode == 3
    assert out.exists()  # what cannot work takes nothing away
    done = run_cli("predict", dark, "--explain", out, "--bundle", shared_micro_bundle)
    assert "no map is drawn" in done.stderr
    assert not out.exists()


def test_a_map_is_chosen_only_where_one_is_drawn(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    done = run_cli("predict", lesion_jpg, "--target", "MEL", "--bundle", shared_micro_bundle)
    assert done.returncode == 2
    assert "--explain" in done.stderr
