"""The commands as a user types them: in processes of their own, judged by output and exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def edgeskin(*arguments: str | Path | int, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeskin", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_a_readable_answer_on_stdout_and_the_disclaimer_once_on_stderr(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    done = edgeskin("predict", lesion_jpg, lesion_jpg, "--bundle", shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("risk") == 2
    assert "P(cancer)" in done.stdout
    assert done.stderr.count("not a medical device") == 1


def test_json_is_one_object_a_line_and_bad_images_do_not_stop_it(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.jpg"
    done = edgeskin("predict", missing, lesion_jpg, "--json", "--bundle", shared_micro_bundle, "--threads", 1)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [result["status"] for result in results] == ["error", "assessed"]
    assert str(missing) in results[0]["error"]["message"]


def test_a_folder_stands_for_its_photos(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(lesion_jpg.read_bytes())
    (tmp_path / "a.JPG").write_bytes(b"")
    (tmp_path / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "notes.txt").write_text("left alone")
    done = edgeskin("predict", tmp_path, "--json", "--bundle", shared_micro_bundle)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(result["image"]).name for result in results] == ["a.JPG", "b.jpg", "c.HEIC"]
    assert [result["status"] for result in results] == ["error", "assessed", "error"]
    assert done.returncode == 1


def test_names_that_cannot_be_listed_or_shown_stop_nothing(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    unusual = tmp_path / "皮膚.jpg"
    unusual.write_bytes(lesion_jpg.read_bytes())
    done = edgeskin(
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
        edgeskin("predict", tmp_path, "--json", "--bundle", shared_micro_bundle, "--threads", 2, *options)
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


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_what_prepare_keeps_is_used_and_nothing_is_kept_without(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    here = {"XDG_CACHE_HOME": str(tmp_path)}

    def p_cancer(precision: str) -> float:
        options = ("--bundle", shared_micro_bundle, "--threads", 1, "--precision", precision, "--json")
        return float(
            json.loads(edgeskin("predict", lesion_jpg, *options, **here).stdout)["cancer_probability"]
        )

    alone = {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    assert not list(tmp_path.iterdir())
    prepared = edgeskin("prepare", "--bundle", shared_micro_bundle, "--threads", 1, **here)
    assert prepared.stdout == f"{tmp_path / 'edgeskin'}\n"
    assert alone == {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    one, other = (tmp_path / "edgeskin").iterdir()
    # Each in the other's place shows that they are read.
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0])
    one.write_bytes(contents[1])
    changed = {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    assert changed["int8"] != alone["int8"]
    assert changed["fp32"] != alone["fp32"]
    # What is not there is compiled, and only `prepare` adds it.
    for kept in (one, other):
        kept.unlink()
    assert alone == {precision: p_cancer(precision) for precision in ("int8", "fp32")}
    assert not list((tmp_path / "edgeskin").iterdir())


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_prepare_refuses_a_cache_that_is_not_the_users_alone(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    command = ("prepare", "--bundle", shared_micro_bundle)
    folder = tmp_path / "edgeskin"
    folder.mkdir()
    folder.chmod(0o777)
    open_to_all = edgeskin(*command, XDG_CACHE_HOME=str(tmp_path))
    assert not list(folder.iterdir())
    folder.rmdir()
    folder.touch()
    a_file = edgeskin(*command, XDG_CACHE_HOME=str(tmp_path))
    for done, said in ((open_to_all, "others may write there"), (a_file, "cannot be written")):
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_predict_passes_over_a_cache_that_is_not_the_users_alone_and_says_so(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "edgeskin"
    folder.mkdir()
    folder.chmod(0o777)
    done = edgeskin("predict", lesion_jpg, "--bundle", shared_micro_bundle, XDG_CACHE_HOME=str(tmp_path))
    assert f"cache {folder}: passed over, since others may write there" in done.stderr
    assert "P(cancer)" in done.stdout
    assert not list(folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_prepare_says_when_nothing_could_be_kept(shared_micro_bundle: Path, tmp_path: Path) -> None:
    """As on a full disk: no file may grow beyond 4 KB."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"sys.argv = ['edgeskin', 'prepare', '--bundle', {str(shared_micro_bundle)!r}, "
        f"'--cache', {str(tmp_path)!r}]; from edgeskin.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "could not be written; make room on the disk" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_an_error(shared_micro_bundle: Path, tmp_path: Path) -> None:
    done = edgeskin("predict", tmp_path, "--bundle", shared_micro_bundle)
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
    done = edgeskin(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_files_of_a_folder_that_are_passed_over_are_counted(
    lesion_jpg: Path, shared_micro_bundle: Path, tmp_path: Path
) -> None:
    for name in ("a.jpg", "without_suffix", "notes.txt"):
        (tmp_path / name).write_bytes(lesion_jpg.read_bytes())
    done = edgeskin("predict", tmp_path, "--json", "--bundle", shared_micro_bundle)
    assert done.returncode == 0
    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [str(tmp_path / "a.jpg")]
    assert "2 files passed over" in done.stderr


def test_the_decided_class_is_among_the_shares_however_small_its_own(
    lesion_jpg: Path, micro_bundle: Path
) -> None:
    """With a prior of nearly nothing the least probable class is decided for."""
    told = json.loads(edgeskin("predict", lesion_jpg, "--json", "--bundle", micro_bundle).stdout)
    least = min(told["probabilities"], key=told["probabilities"].get)
    manifest = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))
    priors = [1e-12 if name == least else 0.1 for name in manifest["classes"]]
    for variant in manifest["variants"].values():
        variant["class_priors"] = priors
    (micro_bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    lines = edgeskin("predict", lesion_jpg, "--bundle", micro_bundle).stdout.splitlines()
    assert f"{least:<6}{told['probabilities'][least]:.3f}" in "\n".join(lines)


def test_dropout_samples_are_of_fp32_unless_asked_otherwise(
    lesion_jpg: Path, shared_micro_bundle: Path
) -> None:
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--mc-dropout", "20", "--seed", "3"]
    told = json.loads(edgeskin(*command, "--json").stdout)
    assert (told["model"]["precision"], told["uncertainty"]["samples"], told["uncertainty"]["seed"]) == (
        "fp32", 20, 3
    )  # fmt: skip
    assert (
        json.loads(edgeskin(*command, "--json", "--precision", "int8").stdout)["model"]["precision"] == "int8"
    )
    low, high = told["uncertainty"]["cancer_interval"]
    assert f"of 20 networks 95 % between {low:.3f} and {high:.3f}" in edgeskin(*command).stdout


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
    done = edgeskin("info", "--bundle", shared_micro_bundle)
    assert done.returncode == 0
    assert "micro 0" in done.stdout
    assert "every file verified" in done.stdout
    assert json.loads(edgeskin("info", "--json", "--bundle", shared_micro_bundle).stdout)["name"] == "micro"


def test_info_refuses_an_altered_bundle(micro_bundle: Path) -> None:
    (micro_bundle / "head.npz").write_bytes(b"0" * (micro_bundle / "head.npz").stat().st_size)
    done = edgeskin("info", "--bundle", micro_bundle)
    assert done.returncode == 3
    assert "head.npz" in done.stderr
    assert edgeskin("bench", "--bundle", micro_bundle).returncode == 3


def test_the_default_bundle_answers_with_both_precisions(lesion_jpg: Path) -> None:
    results = [
        json.loads(edgeskin("predict", lesion_jpg, "--json", "--precision", p).stdout)
        for p in ("int8", "fp32")
    ]
    assert [result["model"]["precision"] for result in results] == ["int8", "fp32"]
    assert results[0]["predicted_class"] == results[1]["predicted_class"]
    assert results[0]["cancer_probability"] == pytest.approx(results[1]["cancer_probability"], abs=0.1)


def test_what_a_person_reads(lesion_jpg: Path, shared_micro_bundle: Path) -> None:
    told = edgeskin(
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
    point = json.loads(edgeskin(*command, 0.9).stdout)["operating_point"]
    assert point["threshold"] == pytest.approx(5 / 101)
    assert point["certificate"]["missed"] == 4
    refused = edgeskin(*command, 0.99)
    assert refused.returncode == 2
    assert "certify 0.97 at most" in refused.stderr


def test_what_a_gate_would_have_turned_away_is_told(lesion_jpg: Path, micro_bundle: Path) -> None:
    manifest = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))
    for variant in manifest["variants"].values():
        variant["ood_threshold"] = -1000.0
    (micro_bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    turned_away = edgeskin("predict", lesion_jpg, "--bundle", micro_bundle)
    assert turned_away.returncode == 1
    assert "risk " not in turned_away.stdout
    assert "not assessed (out of scope: " in turned_away.stdout
    assert "should be examined" in turned_away.stdout
    let_through = edgeskin("predict", lesion_jpg, "--bundle", micro_bundle, "--no-scope-gate").stdout
    assert "WARNING   out of scope" in let_through
    assert "above it are at least" not in let_through
    assert "risk " in let_through


def test_a_cache_named_by_the_environment(
    lesion_jpg: Path, shared_micro_bundle: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    command = ["predict", lesion_jpg, "--bundle", shared_micro_bundle, "--json"]
    first, second = (edgeskin(*command, EDGESKIN_CACHE=str(cache)) for _ in range(2))
    assert [path.suffix for path in cache.iterdir()] == [".blob"]
    shares = [json.loads(done.stdout)["probabilities"] for done in (first, second)]
    assert shares[0] == shares[1]


def test_explain_draws_beside_the_answer(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    settings = ("--bundle", shared_micro_bundle)
    done = edgeskin("predict", lesion_jpg, "--explain", picture, "--target", "NV", *settings)
    plain = edgeskin("predict", lesion_jpg, *settings)
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
    done = edgeskin("predict", *photos, "--json", "--explain", out, "--bundle", shared_micro_bundle)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [one["status"] for one in told] == ["error", "assessed"]
    assert told[1]["explanation"]["method"] == "grad-cam"
    assert [path.name for path in out.iterdir()] == ["lesion.jpg.png"]


@pytest.mark.parametrize(
    ("photos", "out", "says"),
    [
        (2, "map.png", "a folder that exists for several"),
        (1, "map.jpg", "name a PNG file"),
        (1, "missing/map.png", "its folder does not exist"),
        (2, ".", "would be drawn into lesion.jpg.png"),
    ],
)
def test_a_drawing_that_has_no_place_is_refused_before_any_work(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, photos: int, out: str, says: str
) -> None:
    done = edgeskin(
        "predict", *[lesion_jpg] * photos, "--explain", tmp_path / out, "--bundle", shared_micro_bundle
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_report_writes_every_file_named(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"report.{suffix}" for suffix in ("html", "json", "png")]
    named = [part for file in files for part in ("-o", file)]
    done = edgeskin("report", lesion_jpg, *named, "--bundle", shared_micro_bundle, "--age", 30)
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
    done = edgeskin("report", dark, "-o", out, "--bundle", shared_micro_bundle)
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
    done = edgeskin("report", source, "-o", tmp_path / out, "--bundle", shared_micro_bundle)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / out).exists()


def test_compare_tells_and_draws_or_refuses(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    out = tmp_path / "changes.png"
    done = edgeskin("compare", lesion_jpg, lesion_jpg, "-o", out, "--bundle", shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert "correlation 1.00" in done.stdout
    assert cv2.imread(str(out)).shape == (536, 1408, 3)
    told = edgeskin("compare", lesion_jpg, lesion_jpg, "--json", "--bundle", shared_micro_bundle)
    assert json.loads(told.stdout)["registration"]["overlap"] == 1
    turned = tmp_path / "mirrored.jpg"
    cv2.imwrite(str(turned), cv2.imread(str(lesion_jpg))[:, ::-1])
    refused = edgeskin("compare", lesion_jpg, turned, "--bundle", shared_micro_bundle)
    assert refused.returncode == 1
    assert f"{lesion_jpg}, {turned}: these cannot be laid on each other" in refused.stderr
    assert refused.stdout.count("action") == 2  # what each says alone


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
        done = edgeskin(*command, "--bundle", shared_micro_bundle)
        assert done.returncode == 2
        assert "this is the picture itself" in done.stderr
    assert photo.read_bytes() == content
    out.write_bytes(b"the map of another picture")
    done = edgeskin("predict", dark, "--explain", out, "--bundle", tmp_path / "missing")
    assert done.returncode == 3
    assert out.exists()  # what cannot work takes nothing away
    done = edgeskin("predict", dark, "--explain", out, "--bundle", shared_micro_bundle)
    assert "no map is drawn" in done.stderr
    assert not out.exists()


def test_a_map_is_chosen_only_where_one_is_drawn(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    done = edgeskin("predict", lesion_jpg, "--target", "MEL", "--bundle", shared_micro_bundle)
    assert done.returncode == 2
    assert "--explain" in done.stderr
