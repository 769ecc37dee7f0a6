"""Evaluation of a run and of a bundle, from the table to the measures."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

from edgeskin.bundle.bundle import open_bundle
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.errors import SettingError
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from edgeskin.taxonomy import CANCER, ISIC_2019
from tests.conftest import write_manifest
from tests.training_fixtures import write_index
from train.data.split import split_sha256
from train.data.table import DataError, read_table, select
from train.evaluate import report
from train.evaluate.evaluation import Predictions, evaluate
from train.fit.run import load_run


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
    predicted = predictions.logits.argmax(axis=1)
    assert (measures.images, measures.lesions) == (24, 24)
    assert measures.balanced_accuracy.value == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    assert measures.macro_f1.value == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    np.testing.assert_array_equal(measures.confusion, sk.confusion_matrix(truth, predicted))
    is_cancer, p_cancer = cancers(predictions)
    assert measures.cancer_auroc.value == pytest.approx(sk.roc_auc_score(is_cancer, p_cancer))

    assert evaluation.provenance.same_split
    assert evaluation.provenance.split_sha256 == split_sha256(read_table(lesion_folder))
    assert not evaluation.provenance.is_calibrated
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
        np.testing.assert_array_equal(engine.infer(picture).logits[0], logits)

    assert evaluation.provenance.network == f"bundle micro 0 {name}"
    assert evaluation.provenance.sha256 == bundle.sha256
    assert evaluation.provenance.is_calibrated
    assert evaluation.provenance.rules.calibration == temperature_scaling(1.5, 8)
    assert evaluation.images.screening.threshold == 0.3
    assert "screen" in evaluation.provenance.threshold_from
    assert evaluation.provenance.same_split is None  # this manifest does not record it
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
    outside = [
        (picture, "b1", "BENIGN", "external"),
        (picture, "b2", "BENIGN", "external"),
        (picture, "o1", "OOD", "external"),
        (picture, "m1", "MEL", "external"),
        (picture, "n1", "NV", "external"),
        (picture, "o2", "OOD", "ood_test"),
    ]
    folder = write_index(tmp_path, table, outside)
    evaluation, predictions = evaluate(shared_micro_bundle, folder, "external")
    assert evaluation.provenance.left_out == {"BENIGN": 2, "OOD": 1}
    assert [sample.image_id for sample in predictions.samples] == ["m1", "n1"]
    assert "2 BENIGN, 1 OOD" in report.markdown(evaluation)
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
    with pytest.raises(DataError, match=r"^2 ") as caught:
        evaluate(micro_run if kind == "run" else shared_micro_bundle, folder, "test")
    assert caught.value.code == "unreadable"
    assert all(str(path) in str(caught.value) for path in damaged)


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
