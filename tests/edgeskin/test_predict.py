"""``edgeskin predict`` as a user types it, judged by its output and exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, change_rules, run_cli


def results_of(stdout: str) -> list[dict[str, object]]:
    """The results of ``--json``, one a line."""
    return [json.loads(line) for line in stdout.splitlines()]


def verdicts(stdout: str) -> list[str]:
    """The first lines of the results, which name the picture and its risk."""
    return [line for line in stdout.splitlines() if line and not line.startswith(" ")]


@pytest.fixture
def dark_png(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "dark.png"), np.zeros((300, 300, 3), np.uint8))
    return tmp_path / "dark.png"


def test_results_are_on_stdout_and_the_notice_once_on_stderr(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    done = run_cli("predict", lesion_jpg, lesion_jpg, "--bundle", shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert [line.startswith(f"{lesion_jpg}: ") for line in verdicts(done.stdout)] == [True, True]
    assert done.stdout.count("P(cancer)") == 2
    assert done.stderr.count("not a medical device") == 1
    assert "\x1b" not in done.stdout


@pytest.mark.hazard("H-14")
def test_json_is_one_object_a_line_and_a_bad_picture_stops_nothing(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.jpg"
    done = run_cli("predict", missing, lesion_jpg, "--json", "--bundle", shared_micro_bundle, "--threads", 1)
    first, second = results_of(done.stdout)
    assert done.returncode == 1
    assert (first["status"], second["status"]) == ("error", "assessed")
    assert first["error"]["code"] == "not_found"
    assert str(missing) in first["error"]["message"]


@pytest.mark.hazard("H-14")
def test_a_picture_that_cannot_be_read_is_one_line_on_stderr(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    done = run_cli("predict", tmp_path / "missing.jpg", lesion_jpg, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert len(verdicts(done.stdout)) == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] != []


def test_a_folder_stands_for_its_photos(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(lesion_jpg.read_bytes())
    (tmp_path / "a.JPG").write_bytes(b"")
    (tmp_path / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "notes.txt").write_text("left alone")
    done = run_cli("predict", tmp_path, "--json", "--bundle", shared_micro_bundle)
    results = results_of(done.stdout)
    assert [Path(str(result["image"])).name for result in results] == ["a.JPG", "b.jpg", "c.HEIC"]
    assert [result["status"] for result in results] == ["error", "assessed", "error"]
    assert [result["error"] and result["error"]["code"] for result in results] == [
        "empty_file", None, "unsupported_format"
    ]  # fmt: skip
    assert done.returncode == 1


@pytest.mark.hazard("H-14")
def test_skipped_files_of_a_folder_are_counted(
    lesion_jpg: Path, shared_micro_bundle: Path, tmp_path: Path
) -> None:
    for name in ("a.jpg", "without_suffix", "notes.txt"):
        (tmp_path / name).write_bytes(lesion_jpg.read_bytes())
    done = run_cli("predict", tmp_path, "--json", "--bundle", shared_micro_bundle)
    assert done.returncode == 0
    assert [result["image"] for result in results_of(done.stdout)] == [str(tmp_path / "a.jpg")]
    assert " 2 file" in done.stderr


def test_an_empty_folder_is_an_error(shared_micro_bundle: Path, tmp_path: Path) -> None:
    done = run_cli("predict", tmp_path, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr


@pytest.mark.hazard("H-14")
def test_names_that_cannot_be_opened_or_shown_stop_nothing(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    unusual = tmp_path / "皮膚.jpg"
    unusual.write_bytes(lesion_jpg.read_bytes())
    done = run_cli(
        "predict", "x" * 300, unusual, lesion_jpg, "--bundle", shared_micro_bundle, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 1
    assert len(verdicts(done.stdout)) == 2
    assert "Traceback" not in done.stderr


@pytest.mark.hazard("H-15")
def test_workers_answer_many_photos_in_order(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(lesion_jpg.read_bytes() if number % 5 else b"")
    several, one = (
        run_cli("predict", tmp_path, "--json", "--bundle", shared_micro_bundle, "--threads", 2, *options)
        for options in (("--workers", 2), ())
    )
    assert (several.returncode, one.returncode) == (1, 1)
    results = [results_of(done.stdout) for done in (several, one)]
    assert [Path(str(result["image"])).name for result in results[0]] == [f"{n:02}.jpg" for n in range(20)]
    kept = ("image", "status", "probabilities", "error")
    assert len({json.dumps([[one[key] for key in kept] for one in each]) for each in results}) == 1


def test_both_precisions_of_the_default_bundle(lesion_jpg: Path) -> None:
    int8, fp32 = (
        json.loads(run_cli("predict", lesion_jpg, "--json", "--precision", precision).stdout)
        for precision in ("int8", "fp32")
    )
    assert (int8["model"]["precision"], fp32["model"]["precision"]) == ("int8", "fp32")
    assert int8["predicted_class"] == fp32["predicted_class"]
    assert int8["cancer_probability"] == pytest.approx(fp32["cancer_probability"], abs=0.1)


# Gates, context and sensitivity


def test_a_refused_picture_has_no_risk_and_the_others_go_on(
    shared_micro_bundle: Path, lesion_jpg: Path, dark_png: Path
) -> None:
    command = ["predict", dark_png, lesion_jpg, "--bundle", shared_micro_bundle]
    done = run_cli(*command)
    assert done.returncode == 1
    assert len(verdicts(done.stdout)) == 2
    assert " RISK" not in verdicts(done.stdout)[0]
    assert done.stdout.count("P(cancer)") == 1
    refused, assessed = results_of(run_cli(*command, "--json").stdout)
    assert (refused["status"], refused["action_code"], refused["risk"]) == ("retake", "retake", None)
    assert "brightness_low" in refused["quality"]["failed"]
    assert assessed["status"] == "assessed"
    ungated = run_cli(*command, "--no-quality-gate", "--json")
    assert ungated.returncode == 0
    assert [result["status"] for result in results_of(ungated.stdout)] == ["assessed", "assessed"]
    assert results_of(ungated.stdout)[0]["quality"] == refused["quality"]


def test_without_the_scope_gate_there_is_a_warning(lesion_jpg: Path, micro_bundle: Path) -> None:
    change_rules(micro_bundle, ood_threshold=-1000.0)
    refused = run_cli("predict", lesion_jpg, "--bundle", micro_bundle)
    assert refused.returncode == 1
    assert " RISK" not in refused.stdout
    ungated = run_cli("predict", lesion_jpg, "--bundle", micro_bundle, "--no-scope-gate")
    assert ungated.returncode == 0
    assert " RISK" in ungated.stdout
    assert "WARNING" in ungated.stdout
    assert "-1000.0" in ungated.stdout
    assert "Certified" not in ungated.stdout


def test_age_and_site_select_the_limitations(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    command = [
        "predict",
        lesion_jpg,
        "--bundle",
        shared_micro_bundle,
        "--json",
        "--age",
        30,
        "--site",
        "nail",
    ]
    values = json.loads(run_cli(*command).stdout)
    assert [limitation["code"] for limitation in values["limitations"]] == [
        "age_under_40", "site_nail", "skin_tone", "amelanotic_melanoma"
    ]  # fmt: skip
    assert values["blind_spots"] == [limitation["text"] for limitation in values["limitations"]]


def test_a_custom_sensitivity(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--json", "--sensitivity"]
    point = json.loads(run_cli(*command, 0.9).stdout)["operating_point"]
    assert point["threshold"] == pytest.approx(5 / 101)
    assert point["certificate"]["missed"] == 4
    refused = run_cli(*command, 0.99)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "0.97 " in refused.stderr


# MC-dropout


def test_fp32_decides_under_mc_dropout_and_stderr_says_so(
    lesion_jpg: Path, shared_micro_bundle: Path
) -> None:
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--json"]
    sampled = run_cli(*command, "--mc-dropout", 20, "--seed", 3)
    values = json.loads(sampled.stdout)
    assert values["model"]["precision"] == "fp32"
    assert (values["uncertainty"]["samples"], values["uncertainty"]["seed"]) == (20, 3)
    assert "FP32" in sampled.stderr
    plain = json.loads(run_cli(*command, "--precision", "fp32").stdout)
    assert values["probabilities"] == plain["probabilities"]
    assert values["operating_points"] == plain["operating_points"]
    assert values["risk"] == plain["risk"]


def test_int8_decides_under_mc_dropout_if_it_is_named(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--json"]
    sampled = run_cli(*command, "--mc-dropout", 20, "--precision", "int8")
    values, plain = json.loads(sampled.stdout), json.loads(run_cli(*command).stdout)
    assert values["model"]["precision"] == plain["model"]["precision"] == "int8"
    assert values["probabilities"] == plain["probabilities"]
    assert "INT8" in sampled.stderr
    assert plain["uncertainty"] is None
    assert values["uncertainty"]["samples"] == 20


def test_the_interval_of_the_samples_is_shown(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--mc-dropout", 20]
    low, high = json.loads(run_cli(*command, "--json").stdout)["uncertainty"]["cancer_interval"]
    text = run_cli(*command).stdout
    assert f"{low:.3f}" in text
    assert f"{high:.3f}" in text


@pytest.mark.parametrize("samples", [1, -1, 1001])
def test_other_numbers_of_samples_are_refused(
    lesion_jpg: Path, shared_micro_bundle: Path, samples: int
) -> None:
    done = run_cli("predict", lesion_jpg, "--bundle", shared_micro_bundle, "--mc-dropout", samples)
    assert (done.returncode, done.stdout) == (2, "")


# Maps


def test_explain_writes_a_map_beside_the_answer(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "map.png"
    settings = ("--bundle", shared_micro_bundle)
    done = run_cli("predict", lesion_jpg, "--explain", picture, "--target", "NV", *settings)
    plain = run_cli("predict", lesion_jpg, *settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:-2] == plain.stdout.splitlines()[:-2]  # but for the time it took
    assert cv2.imread(str(picture)).shape == (536, 944, 3)


def test_explain_writes_several_maps_into_a_folder(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """A picture that cannot be read stops nothing and gets no map."""
    out = tmp_path / "out"
    out.mkdir()
    photos = (tmp_path / "missing.jpg", lesion_jpg)
    done = run_cli(
        "predict",
        *photos,
        "--json",
        "--explain",
        out,
        "--method",
        "layer-cam",
        "--bundle",
        shared_micro_bundle,
    )
    failed, assessed = results_of(done.stdout)
    assert done.returncode == 1
    assert (failed["status"], assessed["status"]) == ("error", "assessed")
    assert assessed["explanation"]["method"] == "layer-cam"
    assert assessed["descriptors"] is not None
    assert [path.name for path in out.iterdir()] == ["lesion.jpg.png"]


@pytest.mark.parametrize(
    ("photos", "out"), [(2, "map.png"), (1, "map.jpg"), (1, "missing/map.png"), (2, ".")]
)
def test_a_map_without_a_place_is_refused_before_any_work(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, photos: int, out: str
) -> None:
    done = run_cli(
        "predict", *[lesion_jpg] * photos, "--explain", tmp_path / out, "--bundle", shared_micro_bundle
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert str(tmp_path / out) in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="has other limits")
def test_a_map_that_has_no_place_is_one_error_and_the_others_are_written(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """A name that is too long with its suffix, and a folder in the map's place."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (out / "b.jpg.png").mkdir(parents=True)
    long = f"c{'x' * 250}.jpg"
    for name in ("a.jpg", "b.jpg", long):
        (photos / name).write_bytes(lesion_jpg.read_bytes())
    done = run_cli("predict", photos, "--json", "--explain", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert [result["status"] for result in results_of(done.stdout)] == ["assessed"] * 3
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [Path(line.split(": ")[1]).name for line in errors] == ["b.jpg.png", f"{long}.png"]
    assert cv2.imread(str(out / "a.jpg.png")).shape == (536, 944, 3)
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg.png", "b.jpg.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_map_on_a_full_disk_is_an_error_and_its_result_is_printed(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """As on a full disk: no file may grow beyond 4 KB."""
    out = tmp_path / "map.png"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"sys.argv = ['edgeskin', 'predict', {str(lesion_jpg)!r}, '--json', '--explain', {str(out)!r}, "
        f"'--bundle', {str(shared_micro_bundle)!r}]; from edgeskin.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "assessed"
    assert f"error: {out}: " in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "{lesion}", "{lesion}"),
        ("report", "{lesion}", "-o", "{folder}/report.json"),
        ("compare", "{lesion}", "{lesion}"),
    ],
    ids=["predict", "report", "compare"],
)
def test_access_is_not_asked_for_before_a_picture_is_read(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """typer refuses a path, and so the whole run, where `os.access` denies it."""
    named = [part.format(lesion=lesion_jpg, folder=tmp_path) for part in arguments]
    code = (
        "import os, sys; os.access = lambda *_, **__: False;"
        f"sys.argv = ['edgeskin', *{named!r}, '--bundle', {str(shared_micro_bundle)!r}];"
        "from edgeskin.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="a superuser may read all files")
def test_a_denied_picture_is_one_error_line(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    denied = tmp_path / "denied.jpg"
    denied.write_bytes(lesion_jpg.read_bytes())
    denied.chmod(0)
    bundle = ("--bundle", shared_micro_bundle)
    done = run_cli("predict", denied, lesion_jpg, *bundle)
    assert (done.returncode, len(verdicts(done.stdout))) == (1, 1)
    for arguments in (
        ("predict", denied, lesion_jpg),
        ("report", denied, "-o", tmp_path / "report.html"),
        ("compare", denied, lesion_jpg),
        ("compare", lesion_jpg, denied),
    ):
        done = run_cli(*arguments, *bundle)
        assert done.returncode == 1
        assert [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("error: ")] == [
            str(denied)
        ]


def test_target_and_method_need_a_map(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    for option in (("--target", "MEL"), ("--method", "grad-cam")):
        done = run_cli("predict", lesion_jpg, *option, "--bundle", shared_micro_bundle)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--explain" in done.stderr


def test_a_map_never_replaces_a_photo_and_a_stale_one_is_deleted(
    shared_micro_bundle: Path, lesion_jpg: Path, dark_png: Path, tmp_path: Path
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "map.png"
    cv2.imwrite(str(photo), cv2.imread(str(lesion_jpg)))
    content = photo.read_bytes()
    done = run_cli("predict", photo, "--explain", photo, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(photo) in done.stderr
    assert photo.read_bytes() == content
    out.write_bytes(b"the map of another picture")
    done = run_cli("predict", dark_png, "--explain", out, "--bundle", tmp_path / "missing")
    assert done.returncode == 3
    assert out.exists()  # settings that cannot work delete nothing
    done = run_cli("predict", dark_png, "--explain", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 1
    assert str(dark_png) in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["examples/lesion.jpg", "--bundle", "nowhere"], 3),
        ([], 2),
        (["x.jpg", "--precision", "int4"], 2),
        (["x.jpg", "--threads", "0"], 2),
        (["x.jpg", "--workers", "0"], 2),
        (["x.jpg", "--threads", "1", "--workers", "2"], 2),
        (["x.jpg", "--site", "elbow"], 2),
        (["x.jpg", "--cache-dir", ""], 2),
        ([""], 2),
        (["x.jpg", " "], 2),
        (["x.jpg", "--explain", ""], 2),
        (["x.jpg", "--bundle", ""], 2),
        (["x.jpg", "--age", "nan"], 2),
        (["x.jpg", "--sensitivity", "nan"], 2),
        (["x.jpg", "--age", "-3"], 2),
        (["x.jpg", "--seed", "-1"], 2),
        (["x.jpg", "--sensitivity", "2"], 2),
        (["x.jpg", "--explain", "map.png", "--target", "XYZ"], 2),
        (["x.jpg", "--explain", "map.png", "--method", "gradcam"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run_cli("predict", *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
