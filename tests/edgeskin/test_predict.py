"""The commands as a user types them: in processes of their own, judged by output and exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_cli


def test_a_readable_answer_on_stdout_and_the_disclaimer_once_on_stderr(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    done = run_cli("predict", lesion_jpg, lesion_jpg, "--bundle", shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("risk") == 2
    assert "P(cancer)" in done.stdout
    assert done.stderr.count("not a medical device") == 1


def test_json_is_one_object_a_line_and_bad_images_do_not_stop_it(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.jpg"
    done = run_cli("predict", missing, lesion_jpg, "--json", "--bundle", shared_micro_bundle, "--threads", 1)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [result["status"] for result in results] == ["error", "assessed"]
    assert str(missing) in results[0]["error"]["message"]


def test_a_folder_stands_for_its_photos(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(lesion_jpg.read_bytes())
    (tmp_path / "a.JPG").write_bytes(b"")
    (tmp_path / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "notes.txt").write_text("left alone")
    done = run_cli("predict", tmp_path, "--json", "--bundle", shared_micro_bundle)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(result["image"]).name for result in results] == ["a.JPG", "b.jpg", "c.HEIC"]
    assert [result["status"] for result in results] == ["error", "assessed", "error"]
    assert done.returncode == 1


def test_names_that_cannot_be_listed_or_shown_stop_nothing(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    unusual = tmp_path / "皮膚.jpg"
    unusual.write_bytes(lesion_jpg.read_bytes())
    done = run_cli(
        "predict", "x" * 300, unusual, lesion_jpg, "--bundle", shared_micro_bundle, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 1
    assert done.stdout.count("risk") == 2
    assert "Traceback" not in done.stderr


def test_many_photos_are_answered_in_order_by_several_streams(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(lesion_jpg.read_bytes() if number % 5 else b"")
    whole, one = (
        run_cli("predict", tmp_path, "--json", "--bundle", shared_micro_bundle, "--threads", 2, *options)
        for options in (("--streams", 2), ())
    )
    several, single = ([json.loads(line) for line in done.stdout.splitlines()] for done in (whole, one))
    assert [Path(result["image"]).name for result in several] == [f"{n:02}.jpg" for n in range(20)]
    told = [
        [(result["status"], result["probabilities"], result["error"]) for result in results]
        for results in (several, single)
    ]
    assert told[0] == told[1]
    assert whole.returncode == 1


def test_an_empty_folder_is_an_error(shared_micro_bundle: Path, tmp_path: Path) -> None:
    done = run_cli("predict", tmp_path, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["predict", "examples/lesion.jpg", "--bundle", "nowhere"], 3),
        (["predict"], 2),
        (["predict", "x.jpg", "--precision", "int4"], 2),
        (["predict", "x.jpg", "--threads", "0"], 2),
        (["predict", "x.jpg", "--site", "elbow"], 2),
        (["predict", "x.jpg", "--cache", ""], 2),
        (["predict", "x.jpg", "--age", "-3"], 2),
        (["predict", "x.jpg", "--sensitivity", "2"], 2),
        (["info", "--bundle", "nowhere"], 3),
        (["bench", "--bundle", "nowhere"], 3),
        (["bench", "--out", "nowhere/bench.json"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run_cli(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_files_of_a_folder_that_are_passed_over_are_counted(
    lesion_jpg: Path, shared_micro_bundle: Path, tmp_path: Path
) -> None:
    for name in ("a.jpg", "without_suffix", "notes.txt"):
        (tmp_path / name).write_bytes(lesion_jpg.read_bytes())
    done = run_cli("predict", tmp_path, "--json", "--bundle", shared_micro_bundle)
    assert done.returncode == 0
    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [str(tmp_path / "a.jpg")]
    assert "2 files" in done.stderr


def test_the_decided_class_is_among_the_shares_however_small_its_own(
    lesion_jpg: Path, micro_bundle: Path
) -> None:
    """With a prior of nearly nothing the least probable class is decided for."""
    told = json.loads(run_cli("predict", lesion_jpg, "--json", "--bundle", micro_bundle).stdout)
    least = min(told["probabilities"], key=told["probabilities"].get)
    manifest = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))
    priors = [1e-12 if name == least else 0.1 for name in manifest["classes"]]
    for variant in manifest["variants"].values():
        variant["class_priors"] = priors
    (micro_bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    lines = run_cli("predict", lesion_jpg, "--bundle", micro_bundle).stdout.splitlines()
    assert f"{least:<6}{told['probabilities'][least]:.3f}" in "\n".join(lines)


def test_dropout_samples_are_of_fp32_unless_asked_otherwise(
    lesion_jpg: Path, shared_micro_bundle: Path
) -> None:
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--mc-dropout", "20", "--seed", "3"]
    told = json.loads(run_cli(*command, "--json").stdout)
    assert (told["model"]["precision"], told["uncertainty"]["samples"], told["uncertainty"]["seed"]) == (
        "fp32", 20, 3
    )  # fmt: skip
    assert (
        json.loads(run_cli(*command, "--json", "--precision", "int8").stdout)["model"]["precision"] == "int8"
    )
    low, high = told["uncertainty"]["cancer_interval"]
    assert f"of 20 networks 95 % between {low:.3f} and {high:.3f}" in run_cli(*command).stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_result_that_cannot_be_written_is_one_line(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgeskin", "predict", lesion_jpg, "--bundle", shared_micro_bundle],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "error: the result cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_info_tells_what_is_in_the_bundle(shared_micro_bundle: Path) -> None:
    done = run_cli("info", "--bundle", shared_micro_bundle)
    assert done.returncode == 0
    assert "micro 0" in done.stdout
    assert "every file verified" in done.stdout
    assert json.loads(run_cli("info", "--json", "--bundle", shared_micro_bundle).stdout)["name"] == "micro"


def test_info_refuses_an_altered_bundle(micro_bundle: Path) -> None:
    (micro_bundle / "head.npz").write_bytes(b"0" * (micro_bundle / "head.npz").stat().st_size)
    done = run_cli("info", "--bundle", micro_bundle)
    assert done.returncode == 3
    assert "head.npz" in done.stderr
    assert run_cli("bench", "--bundle", micro_bundle).returncode == 3


def test_the_default_bundle_answers_with_both_precisions(lesion_jpg: Path) -> None:
    results = [
        json.loads(run_cli("predict", lesion_jpg, "--json", "--precision", p).stdout)
        for p in ("int8", "fp32")
    ]
    assert [result["model"]["precision"] for result in results] == ["int8", "fp32"]
    assert results[0]["predicted_class"] == results[1]["predicted_class"]
    assert results[0]["cancer_probability"] == pytest.approx(results[1]["cancer_probability"], abs=0.1)


def test_what_a_person_reads(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    told = run_cli(
        "predict", lesion_jpg, "--bundle", shared_micro_bundle, "--age", 30, "--site", "nail"
    ).stdout
    assert "above it are at least 95 % of cancers like the 100 it was chosen on" in told.replace("\n  ", " ")
    assert "where 25% of pictures are cancers (screen threshold 0.300)" in told
    assert "certainty " in told
    assert "plausible " in told
    assert "the most serious: " in told or "," not in told.split("plausible ")[1].splitlines()[0]
    assert "under 40 years" in told
    assert "nails: no pictures" in told
    assert "should be examined" in told


def test_a_sensitivity_of_ones_own(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--json", "--sensitivity"]
    point = json.loads(run_cli(*command, 0.9).stdout)["operating_point"]
    assert point["threshold"] == pytest.approx(5 / 101)
    assert point["certificate"]["missed"] == 4
    refused = run_cli(*command, 0.99)
    assert refused.returncode == 2
    assert "certify 0.97 at most" in refused.stderr


def test_what_a_gate_would_have_turned_away_is_told(lesion_jpg: Path, micro_bundle: Path) -> None:
    manifest = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))
    for variant in manifest["variants"].values():
        variant["ood_threshold"] = -1000.0
    (micro_bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    turned_away = run_cli("predict", lesion_jpg, "--bundle", micro_bundle)
    assert turned_away.returncode == 1
    assert "risk " not in turned_away.stdout
    assert "not assessed (out of scope: " in turned_away.stdout
    assert "should be examined" in turned_away.stdout
    let_through = run_cli("predict", lesion_jpg, "--bundle", micro_bundle, "--no-scope-gate").stdout
    assert "WARNING   out of scope" in let_through
    assert "above it are at least" not in let_through
    assert "risk " in let_through
