"""Evaluation: hand-worked predictions, then a run and a bundle from the table to the report."""

import csv
import json
import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from typer.testing import CliRunner

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import temperature_scaling
from edgeskin.decision.decide import probabilities
from edgeskin.errors import SettingError
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from edgeskin.taxonomy import CANCER, ISIC_2019
from tests.conftest import MICRO_PRIORS, write_manifest
from train.cli import app
from train.data.split import split_sha256
from train.data.table import DataError, Sample, read_table, select
from train.evaluate import report
from train.evaluate.evaluation import Measures, Predictions, evaluate, measure, of_lesions
from train.evaluate.metrics import Estimate, bootstrap_weights, partial_auroc, roc
from train.evaluate.outputs import Outputs
from train.evaluate.predict import open_network, predict
from train.fit.run import load_run

SMALL = ("MEL", "NV", "BKL")
# image, lesion, label, source, probabilities of MEL, NV, BKL
ROWS = [
    ("a", "L1", "MEL", "X", (0.7, 0.2, 0.1)),
    ("b", "L1", "MEL", "X", (0.3, 0.6, 0.1)),
    ("c", "L2", "MEL", "Y", (0.1, 0.8, 0.1)),
    ("d", "L3", "NV", "X", (0.2, 0.7, 0.1)),
    ("e", "L4", "NV", "X", (0.5, 0.3, 0.2)),
    ("f", "L5", "BKL", "X", (0.05, 0.25, 0.7)),
]


AGES = {"a": 39.0, "b": 40.0, "c": 59.0, "d": 60.0}


def drawn() -> tuple[list[Sample], np.ndarray]:
    """The rows as samples and logits; the first three are of women, the first nevus is proven."""
    samples = [
        Sample(
            Path(image), image, label, lesion, None, lesion, AGES.get(image),
            "female" if image < "d" else None, None, "histo" if image == "d" else "follow_up", "test", source,
        )
        for image, lesion, label, source, _ in ROWS
    ]  # fmt: skip
    return samples, np.log(np.array([p for *_, p in ROWS], np.float32))


@pytest.fixture(scope="module")
def by_hand() -> Measures:
    return measure(*drawn(), SMALL, ("MEL",), threshold=0.25)


def values(*estimates: Estimate) -> tuple[float, ...]:
    return tuple(estimate.value for estimate in estimates)


def test_cancers_by_hand(by_hand: Measures) -> None:
    """At 0.25 a, b and e are found. Of nine pairs six are in order."""
    found = by_hand.screening
    assert found.threshold == 0.25
    assert values(found.recall, found.precision, found.f1, found.specificity) == pytest.approx((2 / 3,) * 4)
    assert by_hand.cancer_auroc.value == pytest.approx(6 / 9)


def test_classes_by_hand(by_hand: Measures) -> None:
    """By argmax a, d and f are right, b and c are read as nevi and e as melanoma."""
    assert by_hand.confusion == ((1, 2, 0), (1, 1, 0), (0, 0, 1))
    assert values(by_hand.accuracy, by_hand.balanced_accuracy) == pytest.approx((1 / 2, 11 / 18))
    assert by_hand.macro_f1.value == pytest.approx((0.4 + 0.4 + 1) / 3)
    expected = {"MEL": (3, 1 / 3, 1 / 2, 2 / 3), "NV": (2, 1 / 2, 1 / 3, 1 / 2), "BKL": (1, 1, 1, 0)}
    for name, (images, *numbers) in expected.items():
        one = by_hand.classes[name]
        assert one.images == images
        assert values(one.recall, one.precision, one.referred) == pytest.approx(tuple(numbers))


def test_thresholds_by_hand(by_hand: Measures) -> None:
    """At 0.45 only a and e are found."""
    assert [s.threshold for s in by_hand.thresholds] == pytest.approx(np.arange(0.20, 0.61, 0.05))
    assert by_hand.thresholds[1] == by_hand.screening
    at = by_hand.thresholds[5]
    assert values(at.recall, at.precision, at.f1, at.specificity) == pytest.approx((1 / 3, 1 / 2, 0.4, 2 / 3))


def test_subgroups_by_hand(by_hand: Measures) -> None:
    """In X five of six pairs are in order, both cancers found, e is a false alarm; Y has no benign lesion."""
    sources = by_hand.subgroups["source"]
    x = sources["X"]
    assert values(x.cancer_auroc, x.recall, x.specificity) == pytest.approx((5 / 6, 1, 2 / 3))
    assert (sources["Y"].images, sources["Y"].cancers) == (1, 1)
    assert math.isnan(sources["Y"].cancer_auroc.value)
    assert sources["Y"].cancer_auroc.undefined == 2000
    assert math.isnan(sources["Y"].specificity.value)
    assert {name: one.images for name, one in by_hand.subgroups["age"].items()} == {
        "under 40": 1, "40 to 59": 2, "60 and over": 1, "not known": 2
    }  # fmt: skip
    assert {name: one.images for name, one in by_hand.subgroups["sex"].items()} == {
        "female": 3,
        "not known": 3,
    }
    assert {name: one.images for name, one in by_hand.subgroups["nevus"].items()} == {
        "histology-proven": 1, "others": 1
    }  # fmt: skip


def test_lesions_by_hand() -> None:
    """L1's two images are one lesion of mean probabilities 0.5, 0.4, 0.1: its class and P(cancer) by hand."""
    samples, logits = drawn()
    lesions, log_p = of_lesions(samples, logits, None)
    assert [lesion.image_id for lesion in lesions] == ["a", "c", "d", "e", "f"]
    np.testing.assert_allclose(np.exp(log_p[0]), (0.5, 0.4, 0.1), rtol=1e-6)
    measures = measure(lesions, log_p, SMALL, ("MEL",), threshold=0.25)
    assert measures.confusion == ((1, 1, 0), (1, 1, 0), (0, 0, 1))
    assert measures.screening.recall == Estimate(
        0.5, pytest.approx(0.0126, abs=1e-4), pytest.approx(0.9874, abs=1e-4), exact=True
    )
    contrary = [replace(samples[0], label="NV"), *samples[1:]]
    with pytest.raises(DataError, match="different labels: L1"):
        of_lesions(contrary, logits, None)


def test_stored_predictions_are_read_back(tmp_path: Path, micro_run: Path, lesion_folder: Path) -> None:
    evaluation, predictions = evaluate(micro_run, lesion_folder, "test")
    ages = [
        replace(sample, age=50.0 if position % 2 else None)
        for position, sample in enumerate(predictions.samples)
    ]
    report.write(evaluation, replace(predictions, samples=ages), tmp_path)
    provenance, again = report.read(tmp_path)
    assert provenance == evaluation.provenance
    assert again.samples == [replace(sample, image=Path(sample.image_id)) for sample in ages]
    np.testing.assert_array_equal(again.logits, predictions.logits)


def test_intervals_draw_lesions(by_hand: Measures) -> None:
    assert (by_hand.images, by_hand.lesions, by_hand.groups) == (6, 5, 5)
    weights = bootstrap_weights([lesion for _, lesion, *_ in ROWS])
    drawn = [(a + b) / (a + b + c) for a, b, c, *_ in weights if a + b + c]  # c is the one missed
    assert by_hand.screening.recall.undefined == len(weights) - len(drawn)
    bounds = (by_hand.screening.recall.low, by_hand.screening.recall.high)
    assert bounds == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))


def write_index(folder: Path, samples: Sequence[Sample], rows: Sequence[Sequence[object]] = ()) -> Path:
    """``index.csv`` over pictures that stay where they are; rows: path, id, label, split of further ones."""
    columns = "path image_id dataset label split group_id lesion_id patient_id age sex site dx_type"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns.split())
        known = [(s.image, s.image_id, s.label, s.split) for s in samples]
        for path, image_id, label, split in [*known, *rows]:
            writer.writerow([path, image_id, "drawn", label, split, image_id, image_id, "", "", "", "", ""])
    return folder


def test_a_run(micro_run: Path, lesion_folder: Path) -> None:
    evaluation, predictions = evaluate(micro_run, lesion_folder, "test")

    net, config = load_run(micro_run)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for sample, logits in list(zip(predictions.samples, predictions.logits, strict=True))[::5]:
        picture = torch.from_numpy(preprocess(load_photo(sample.image, 64).image, config.preprocessing))
        image = ((picture / 255 - mean) / std).permute(2, 0, 1)
        views = [
            torch.rot90(side, quarters, (1, 2)) for side in (image, image.flip(2)) for quarters in range(4)
        ]
        with torch.inference_mode():
            expected = net(torch.stack(views)).mean(dim=0).numpy()
        np.testing.assert_allclose(expected, logits, atol=1e-3)

    measures = evaluation.images
    truth = [ISIC_2019.index(sample.label) for sample in predictions.samples]
    decided = predictions.logits.argmax(axis=1)
    assert (measures.images, measures.lesions) == (24, 24)
    assert measures.balanced_accuracy.value == pytest.approx(sk.balanced_accuracy_score(truth, decided))
    assert measures.macro_f1.value == pytest.approx(sk.f1_score(truth, decided, average="macro"))
    np.testing.assert_array_equal(measures.confusion, sk.confusion_matrix(truth, decided))
    is_cancer, p_cancer = cancers(predictions)
    assert measures.cancer_auroc.value == pytest.approx(sk.roc_auc_score(is_cancer, p_cancer))

    assert evaluation.provenance.same_split
    assert evaluation.provenance.split_sha256 == split_sha256(read_table(lesion_folder))
    assert evaluation.provenance.calibration is None
    assert evaluation.provenance.left_out == {}
    assert {"torch", "timm", "numpy", "opencv", "python"} <= set(evaluation.provenance.versions)


def cancers(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    p = torch.from_numpy(predictions.logits).double().softmax(dim=1).numpy()
    is_cancer = np.array([sample.label in CANCER for sample in predictions.samples])
    return is_cancer, p[:, [name in CANCER for name in ISIC_2019]].sum(axis=1)


def test_the_threshold_of_a_run_comes_from_validation(micro_run: Path, lesion_folder: Path) -> None:
    on_val, predictions = evaluate(micro_run, lesion_folder, "val")
    on_test, _ = evaluate(micro_run, lesion_folder, "test")
    threshold = on_val.images.screening.threshold
    assert on_test.images.screening.threshold == threshold
    assert "on val" in on_test.provenance.threshold_from
    is_cancer, p_cancer = cancers(predictions)
    # Of eight cancers 0.95 leaves none out, so it is the lowest P(cancer) among them.
    assert threshold == pytest.approx(p_cancer[is_cancer].min(), abs=1e-12)
    assert on_val.images.screening.recall.value == 1


def test_a_given_threshold_needs_no_validation(micro_run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    tested = write_index(tmp_path, select(read_table(lesion_folder), "test"))
    with pytest.raises(SettingError, match="no split 'val' to fit the threshold on; give --threshold"):
        evaluate(micro_run, tested, "test")
    evaluation, _ = evaluate(micro_run, tested, "test", threshold=0.4)
    assert (evaluation.images.screening.threshold, evaluation.provenance.threshold_from) == (0.4, "given")
    assert evaluation.provenance.same_split is False
    assert "not the one the network was trained with" in report.markdown(evaluation)


@pytest.mark.parametrize("precision", [None, "int8", "fp32"])
def test_a_bundle(shared_micro_bundle: Path, lesion_folder: Path, precision: str | None) -> None:
    evaluation, predictions = evaluate(shared_micro_bundle, lesion_folder, "test", precision)
    bundle, name = open_bundle(shared_micro_bundle), precision or "int8"
    engine = Engine(bundle.ir(name))
    for sample, logits in list(zip(predictions.samples, predictions.logits, strict=True))[::7]:
        picture = preprocess(load_photo(sample.image, 64).image, bundle.manifest.preprocessing)
        np.testing.assert_array_equal(engine.infer(picture).logits, logits)

    assert evaluation.provenance.network == f"bundle micro 0 {name}"
    assert evaluation.provenance.sha256 == bundle.sha256
    assert evaluation.provenance.calibration == temperature_scaling(1.5, 8)
    assert evaluation.images.screening.threshold == 0.3
    assert "screen" in evaluation.provenance.threshold_from
    assert evaluation.provenance.same_split is None  # this manifest does not tell
    assert {"openvino", "instructions"} <= set(evaluation.provenance.versions)
    p = torch.from_numpy(predictions.logits).double().div(1.5).softmax(dim=1)
    p_cancer = p[:, [c in CANCER for c in ISIC_2019]].sum(dim=1).numpy()
    is_cancer = [sample.label in CANCER for sample in predictions.samples]
    recall = sk.recall_score(is_cancer, p_cancer >= 0.3)
    assert evaluation.images.screening.recall.value == pytest.approx(recall)
    assert evaluation.images.cancer_auroc.value == pytest.approx(sk.roc_auc_score(is_cancer, p_cancer))


def test_a_bundle_knows_the_split_it_was_trained_with(micro_bundle: Path, lesion_folder: Path) -> None:
    hashed = split_sha256(read_table(lesion_folder))
    for recorded, same in ((hashed, True), ("0" * 64, False)):
        write_manifest(micro_bundle, training={"split_sha256": recorded})
        evaluation, _ = evaluate(micro_bundle, lesion_folder, "test")
        assert evaluation.provenance.same_split is same


def test_other_labels_are_left_out_and_counted(
    shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    table = read_table(lesion_folder)
    picture = table[0].image
    strangers = [
        (picture, "b1", "BENIGN", "external"),
        (picture, "b2", "BENIGN", "external"),
        (picture, "o1", "OOD", "external"),
        (picture, "m1", "MEL", "external"),
        (picture, "n1", "NV", "external"),
        (picture, "o2", "OOD", "ood_test"),
    ]
    folder = write_index(tmp_path, table, strangers)
    evaluation, predictions = evaluate(shared_micro_bundle, folder, "external")
    assert evaluation.provenance.left_out == {"BENIGN": 2, "OOD": 1}
    assert [sample.image_id for sample in predictions.samples] == ["m1", "n1"]
    assert "left out for their labels: 2 BENIGN, 1 OOD" in report.markdown(evaluation)
    with pytest.raises(DataError, match=r"split 'ood_test' has only .*OOD"):
        evaluate(shared_micro_bundle, folder, "ood_test")
    with pytest.raises(DataError, match="no image in split 'nowhere'; there are: external"):
        evaluate(shared_micro_bundle, folder, "nowhere")


@pytest.mark.parametrize("kind", ["run", "bundle"])
def test_every_unreadable_image_is_listed(
    kind: str, micro_run: Path, shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    damaged = [tmp_path / "text.png", tmp_path / "cut.png"]
    damaged[0].write_text("no picture", encoding="utf-8")
    table = read_table(lesion_folder)
    damaged[1].write_bytes(table[0].image.read_bytes()[:200])
    rows = [(path, path.stem, "MEL", "test") for path in damaged]
    folder = write_index(tmp_path, table, rows)
    with pytest.raises(DataError, match="2 images cannot be read") as caught:
        evaluate(micro_run if kind == "run" else shared_micro_bundle, folder, "test")
    assert all(str(path) in str(caught.value) for path in damaged)


def test_logits_that_are_no_numbers_are_refused(micro_run: Path, lesion_folder: Path) -> None:
    samples = select(read_table(lesion_folder), "test")
    network = replace(
        open_network(micro_run), infer=lambda s: Outputs(np.full((len(s), 1, 8), np.nan, np.float32))
    )
    with pytest.raises(DataError, match="no finite logits for 24 images"):
        predict(network, samples)


def test_what_does_not_fit(
    micro_run: Path, shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=r"neither of manifest\.json and run\.json"):
        evaluate(tmp_path, lesion_folder, "test")
    shutil.copytree(micro_run, tmp_path / "mixed")
    (tmp_path / "mixed" / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SettingError, match="both of"):
        evaluate(tmp_path / "mixed", lesion_folder, "test")
    with pytest.raises(SettingError, match="a run has no precision"):
        evaluate(micro_run, lesion_folder, "test", precision="int8")
    with pytest.raises(SettingError, match="precision 'fp16': choose one of int8, fp32"):
        evaluate(shared_micro_bundle, lesion_folder, "test", precision="fp16")
    for threshold in (-0.1, 1.5, math.nan):
        with pytest.raises(SettingError, match="choose 0 to 1"):
            evaluate(shared_micro_bundle, lesion_folder, "test", threshold=threshold)


def test_command_on_a_run(micro_run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(micro_run, tmp_path / "run")
    result = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(lesion_folder), "--split", "test"])
    assert result.exit_code == 0, result.output
    assert "cancer AUROC" in result.stdout
    assert "melanoma recall" in result.stdout

    out = run / "evaluation-test"
    evaluation = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["provenance"]["split"] == "test"
    assert evaluation["provenance"]["command"] == "python -m train evaluate run --data=DIR --split=test"
    assert set(evaluation["images"]["cancer_auroc"]) == {"value", "low", "high", "undefined", "exact"}
    text = (out / "evaluation.md").read_text(encoding="utf-8")
    assert evaluation["provenance"]["sha256"] in text
    assert evaluation["provenance"]["split_sha256"] in text
    assert f"{evaluation['images']['cancer_auroc']['value']:.3f}" in text
    figure = cv2.imread(str(out / "confusion.png"))
    assert figure is not None
    assert min(figure.shape[:2]) > 400
    with np.load(out / "logits.npz", allow_pickle=False) as saved:
        assert saved["logits"].shape == (24, 8)
        assert saved["logits"].dtype == np.float32
        right = saved["logits"].argmax(axis=1) == [ISIC_2019.index(label) for label in saved["label"]]
        assert right.mean() == pytest.approx(evaluation["images"]["accuracy"]["value"])
        expected = [sample.image_id for sample in select(read_table(lesion_folder), "test")]
        assert saved["image_id"].tolist() == expected


def test_command_on_a_bundle_writes_here(
    shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", str(shared_micro_bundle), "--data", str(lesion_folder), "--split", "val"]
    result = CliRunner().invoke(app, [*arguments, "--precision", "fp32", "--threshold", "1"])
    assert result.exit_code == 0, result.output
    assert "undefined" in result.stdout  # at threshold 1 nothing is found, so there is no precision
    content = (tmp_path / "evaluation-val-fp32" / "evaluation.json").read_text(encoding="utf-8")
    measures = json.loads(content, parse_constant=pytest.fail)["images"]
    assert measures["screening"]["recall"]["value"] == 0
    assert measures["screening"]["precision"]["value"] is None
    elsewhere = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "there")])
    assert elsewhere.exit_code == 0, elsewhere.output
    assert (tmp_path / "there" / "confusion.png").is_file()
    assert (tmp_path / "there" / "reliability.png").is_file()


def test_the_official_isic_scorer_says_the_same(
    shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

    arguments = ["evaluate", str(shared_micro_bundle), "--data", str(lesion_folder), "--split", "test"]
    result = CliRunner().invoke(app, [*arguments, "--isic-csv", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas, about the scorer
        score = ClassificationScore.from_file(
            tmp_path / "isic_truth.csv",
            tmp_path / "isic_submission.csv",
            ClassificationMetric.BALANCED_ACCURACY,
        )
    images = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["images"]
    assert score.overall == pytest.approx(images["balanced_accuracy"]["value"], abs=1e-6)
    for name, row in score.per_category.iterrows():
        assert row["auc"] == pytest.approx(images["classes"][name]["auroc"]["value"], abs=1e-6)
    # Its area above 80 % sensitivity goes down to the axis; ours, as ISIC 2024's, to the line at 0.8.
    _, predictions = report.read(tmp_path)
    p = probabilities(predictions.logits, temperature_scaling(1.5, 8)) / MICRO_PRIORS
    p /= p.sum(axis=1, keepdims=True)
    for position, name in enumerate(ISIC_2019):
        truth = np.array([sample.label == name for sample in predictions.samples])
        fpr, tpr = roc(truth, p[:, position])
        last = np.flatnonzero(tpr >= 0.8)[0]
        left = np.interp(0.8, tpr[last - 1 : last + 1], fpr[last - 1 : last + 1])
        below = 0.8 * (1 - left)
        ours = partial_auroc(truth, p[:, position])
        assert score.per_category.loc[name, "auc_sens_80"] == pytest.approx(ours + below, abs=1e-6)
