"""``edgeskin report``: the files it writes, and that it decides as ``predict`` does."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import run_cli


def test_every_named_file_is_written(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"report.{suffix}" for suffix in ("html", "json", "png")]
    named = [part for file in files for part in ("-o", file)]
    done = run_cli("report", lesion_jpg, *named, "--bundle", shared_micro_bundle, "--age", 30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(file) for file in files]
    assert done.stderr.count("not a medical device") == 1
    values = json.loads(files[1].read_text())
    assert values["limitations"][0]["code"] == "age_under_40"
    assert values["explanation"]["method"] == "grad-cam"
    assert f"{values['cancer_probability']:.3f}" in files[0].read_text()
    assert cv2.imread(str(files[2])) is not None


DECIDED = ("probabilities", "cancer_probability", "risk", "action_code", "operating_points", "model")


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ((), "int8"),
        (("--precision", "fp32"), "fp32"),
        (("--mc-dropout", 20, "--seed", 3), "fp32"),
        (("--mc-dropout", 20, "--precision", "int8"), "int8"),
        (("--sensitivity", 0.9), "int8"),
    ],
    ids=["default", "fp32", "sampled", "sampled-int8", "sensitivity"],
)
def test_a_report_decides_as_predict_does(
    shared_micro_bundle: Path,
    lesion_jpg: Path,
    tmp_path: Path,
    options: tuple[str | float, ...],
    precision: str,
) -> None:
    shared = (*options, "--bundle", shared_micro_bundle)
    report = run_cli("report", lesion_jpg, "-o", tmp_path / "report.json", *shared)
    predict = run_cli("predict", lesion_jpg, "--json", *shared)
    assert report.returncode == predict.returncode == 0, report.stderr
    written, printed = json.loads((tmp_path / "report.json").read_text()), json.loads(predict.stdout)
    assert {key: written[key] for key in DECIDED} == {key: printed[key] for key in DECIDED}
    assert written["uncertainty"] == printed["uncertainty"]
    assert report.stderr == predict.stderr  # which names the network that decides under MC-dropout
    assert written["model"]["precision"] == precision
    assert (precision.upper() in report.stderr) == ("--mc-dropout" in options)


def test_only_a_report_with_mc_dropout_has_an_uncertainty(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    for options, samples in (((), None), (("--mc-dropout", 20), 20)):
        run_cli(
            "report", lesion_jpg, "-o", tmp_path / "report.json", *options, "--bundle", shared_micro_bundle
        )
        uncertainty = json.loads((tmp_path / "report.json").read_text())["uncertainty"]
        assert (uncertainty and uncertainty["samples"]) == samples


def test_a_refused_picture_has_a_report_too(shared_micro_bundle: Path, tmp_path: Path) -> None:
    dark, out = tmp_path / "dark.png", tmp_path / "report.json"
    cv2.imwrite(str(dark), np.zeros((300, 300, 3), np.uint8))
    done = run_cli("report", dark, "-o", out, "-o", tmp_path / "report.html", "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert "retake" in done.stderr
    values = json.loads(out.read_text())
    assert (values["status"], values["action_code"], values["risk"]) == ("retake", "retake", None)
    assert " RISK" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("photo", "out", "code"),
    [
        ("lesion", "report.pdf", 2),
        ("lesion", "missing/report.html", 2),
        ("missing", "report.html", 1),
    ],
)
def test_a_report_that_cannot_be_made_leaves_no_file(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, photo: str, out: str, code: int
) -> None:
    source = lesion_jpg if photo == "lesion" else tmp_path / "missing.jpg"
    done = run_cli("report", source, "-o", tmp_path / out, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / out).exists()


@pytest.mark.hazard("H-20")
def test_a_report_never_replaces_its_photo_and_a_stale_one_is_deleted(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "report.html"
    cv2.imwrite(str(photo), cv2.imread(str(lesion_jpg)))
    content = photo.read_bytes()
    done = run_cli("report", photo, "-o", photo, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(photo) in done.stderr
    assert photo.read_bytes() == content
    out.write_text("the report of another picture")
    assert run_cli("report", photo, "-o", out, "--bundle", tmp_path / "missing").returncode == 3
    assert out.exists()  # settings that cannot work delete nothing
    missing = tmp_path / "missing.jpg"
    assert run_cli("report", missing, "-o", out, "--bundle", shared_micro_bundle).returncode == 1
    assert not out.exists()


def test_one_file_without_a_place_is_an_error_and_the_others_are_written(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    long, out = tmp_path / f"{'x' * 300}.html", tmp_path / "report.json"
    done = run_cli("report", lesion_jpg, "-o", long, "-o", out, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (1, f"{out}\n")
    assert done.stderr.startswith(f"error: {long}: ")
    assert json.loads(out.read_text())["status"] == "assessed"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["x.jpg"], 2),
        (["examples/lesion.jpg", "-o", "/tmp/report.html", "--bundle", "nowhere"], 3),
        (["examples/lesion.jpg", "-o", "report.html", "--target", "XYZ"], 2),
        (["examples/lesion.jpg", "-o", "report.html", "--method", "gradcam"], 2),
        (["examples/lesion.jpg", "-o", "report.html", "--mc-dropout", "1"], 2),
        (["examples/lesion.jpg", "-o", "report.html", "--sensitivity", "1"], 2),
        (["examples/lesion.jpg", "-o", "report.html", "--site", "elbow"], 2),
        (["", "-o", "report.html"], 2),
        (["x.jpg", "-o", ""], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run_cli("report", *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
