"""``edgeskin compare``: two photos of one lesion, compared or refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import change_rules, run_cli


@pytest.fixture
def mirrored(lesion_jpg: Path, tmp_path: Path) -> Path:
    """A picture that cannot be aligned with the example."""
    cv2.imwrite(str(tmp_path / "mirrored.jpg"), cv2.imread(str(lesion_jpg))[:, ::-1])
    return tmp_path / "mirrored.jpg"


def test_two_photos_are_compared_and_drawn(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    out = tmp_path / "changes.png"
    done = run_cli("compare", lesion_jpg, lesion_jpg, "-o", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert "correlation 1.00" in done.stdout
    assert done.stdout.startswith(f"before {lesion_jpg}: ")
    assert done.stderr.count("not a medical device") == 1
    assert cv2.imread(str(out)).shape == (536, 1408, 3)


def test_the_json_holds_both_and_their_changes(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    command = ("compare", lesion_jpg, lesion_jpg, "--json", "--bundle", shared_micro_bundle)
    values = json.loads(run_cli(*command).stdout)
    assert set(values) == {"before", "after", "registration", "changes", "limits_of"}
    assert values["registration"]["overlap"] == 1
    assert values["before"]["status"] == values["after"]["status"] == "assessed"
    fp32 = json.loads(run_cli(*command, "--precision", "fp32").stdout)
    assert fp32["before"]["model"]["precision"] == "fp32"


def test_photos_that_cannot_be_aligned_are_shown_one_by_one(
    shared_micro_bundle: Path, lesion_jpg: Path, mirrored: Path
) -> None:
    done = run_cli("compare", lesion_jpg, mirrored, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert f"error: {lesion_jpg}, {mirrored}: " in done.stderr
    assert done.stdout.count("P(cancer)") == 2
    values = json.loads(
        run_cli("compare", lesion_jpg, mirrored, "--json", "--bundle", shared_micro_bundle).stdout
    )
    assert (values["before"]["status"], values["after"]["status"]) == ("assessed", "assessed")
    assert values["registration"] is None


def test_a_photo_that_is_not_assessed_is_not_compared(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), np.zeros((300, 300, 3), np.uint8))
    done = run_cli("compare", lesion_jpg, dark, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert str(dark) in done.stderr
    assert done.stdout.count("P(cancer)") == 1
    missing = run_cli("compare", lesion_jpg, tmp_path / "missing.jpg", "--bundle", shared_micro_bundle)
    assert (missing.returncode, missing.stdout) == (1, "")


def test_warnings_of_the_gates_are_shown_for_both(lesion_jpg: Path, micro_bundle: Path) -> None:
    change_rules(micro_bundle, ood_threshold=-1000.0)
    command = ("compare", lesion_jpg, lesion_jpg, "--bundle", micro_bundle)
    assert run_cli(*command).returncode == 1
    ungated = run_cli(*command, "--no-scope-gate")
    assert ungated.returncode == 0
    assert ungated.stdout.count("WARNING") == 2


@pytest.mark.parametrize("name", ["", "changes.json", "missing/changes.png"])
def test_a_figure_without_a_place_is_refused(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    done = run_cli("compare", lesion_jpg, lesion_jpg, "-o", out, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(out) in done.stderr


@pytest.mark.hazard("H-20")
@pytest.mark.parametrize("place", [0, 1])
def test_a_figure_never_replaces_a_photo(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, place: int
) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), cv2.imread(str(lesion_jpg)))
    content = photo.read_bytes()
    photos = [photo, lesion_jpg] if place == 0 else [lesion_jpg, photo]
    done = run_cli("compare", *photos, "-o", photo, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(photo) in done.stderr
    assert photo.read_bytes() == content


def test_a_stale_figure_is_deleted(
    shared_micro_bundle: Path, lesion_jpg: Path, mirrored: Path, tmp_path: Path
) -> None:
    out = tmp_path / "changes.png"
    out.write_bytes(b"the changes of another lesion")
    done = run_cli("compare", lesion_jpg, mirrored, "-o", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert not out.exists()


def test_each_photo_that_cannot_be_read_is_named(shared_micro_bundle: Path, tmp_path: Path) -> None:
    photos = [tmp_path / "one.jpg", tmp_path / "two.jpg"]
    done = run_cli("compare", *photos, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == list(map(str, photos))


def test_a_figure_without_a_place_is_an_error_after_the_comparison(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"{'x' * 300}.png"
    done = run_cli("compare", lesion_jpg, lesion_jpg, "-o", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert f"error: {out}: " in done.stderr
    assert "correlation 1.00" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["x.jpg"], 2),
        (["x.jpg", "y.jpg", "--bundle", "nowhere"], 3),
        (["x.jpg", "y.jpg", "--precision", "int4"], 2),
        (["", "y.jpg"], 2),
        (["x.jpg", ""], 2),
        (["x.jpg", "y.jpg", "-o", ""], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run_cli("compare", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
