import dataclasses
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.special import softmax

from edgeskin import Classifier
from edgeskin.errors import BundleError, EdgeskinError, PhotoError, SettingError
from edgeskin.imaging.preprocess import preprocess
from tests.conftest import MICRO_PRIORS, write_manifest


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle, "fp32", threads=1, quality_gate=False)


def test_an_assessment_is_the_network_temperature_and_threshold_put_together(
    classifier: Classifier, lesion_jpg: Path
) -> None:
    image = cv2.cvtColor(cv2.imdecode(np.fromfile(lesion_jpg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    result = classifier.assess(image)
    logits = classifier.engine.infer(preprocess(image, classifier.manifest.preprocessing)).logits
    expected = softmax(logits.astype(np.float64) / 1.5)
    np.testing.assert_allclose(list(result.probabilities.values()), expected, atol=1e-9)
    assert result.cancer_probability == pytest.approx(expected[[0, 2, 3, 7]].sum())
    assert result.prevalence == pytest.approx(0.1 + 0.05 + 0.05 + 0.05)
    assert result.predicted_class == classifier.manifest.classes[(expected / MICRO_PRIORS).argmax()]
    assert result.risk == (
        "LOW" if result.cancer_probability < 0.3 else "MEDIUM" if result.cancer_probability < 0.6 else "HIGH"
    )
    assert result.operating_point.threshold == 0.3
    assert [(point.name, point.threshold) for point in result.operating_points] == [
        ("screen", 0.3), ("balanced", 0.6)
    ]  # fmt: skip


def test_path_bytes_and_array_agree(classifier: Classifier, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    path = tmp_path / "é ü 皮膚.png"
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    results = [classifier.assess(source) for source in (path, str(path), path.read_bytes(), image)]
    assert len({result.cancer_probability for result in results}) == 1
    assert [result.image for result in results] == [str(path), str(path), "<bytes>", "<ndarray>"]


def test_one_bad_image_stops_nothing(classifier: Classifier, lesion_jpg: Path, tmp_path: Path) -> None:
    bad = tmp_path / "text.jpg"
    bad.write_text("no picture")
    results = list(classifier.assess_many([lesion_jpg, bad, lesion_jpg]))
    assert [result.status for result in results] == ["assessed", "error", "assessed"]
    assert results[1].risk is None
    assert results[1].action is None
    assert results[1].error.type == "PhotoError"
    assert "text.jpg" in results[1].error.message
    with pytest.raises(PhotoError, match=r"text\.jpg"):
        classifier.assess(bad)


def test_streams_give_the_same_answers_in_order(
    shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    photos = sorted(lesion_folder.rglob("*.png"))[:20]
    photos.insert(7, tmp_path / "missing.jpg")
    one, several = (
        list(Classifier(shared_micro_bundle, threads=3, quality_gate=False, streams=n).assess_many(photos))
        for n in (1, 3)
    )
    assert [result.image for result in several] == [str(photo) for photo in photos]
    assert [result.status for result in several] == [result.status for result in one]
    p = [[result.cancer_probability or 0 for result in results] for results in (one, several)]
    np.testing.assert_allclose(*p, atol=1e-6)


def test_streams_work_at_the_same_time(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    """Each photo is opened only once another is being worked on: one after the other, this breaks."""
    meeting = threading.Barrier(2, timeout=30)

    class Photo(os.PathLike[str]):
        asked = 0

        def __fspath__(self) -> str:
            self.asked += 1
            if self.asked == 1:
                meeting.wait()
            return str(lesion_jpg)

    results = Classifier(shared_micro_bundle, threads=2, streams=2).assess_many([Photo() for _ in range(4)])
    assert [result.status for result in results] == ["assessed"] * 4


def test_streams_take_no_more_photos_than_they_can_work_on(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    """And whoever stops asking stops the work: there is no end to these photos."""
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield lesion_jpg

    results = Classifier(shared_micro_bundle, threads=2, streams=2).assess_many(endless())
    for _ in range(10):
        next(results)
    results.close()
    assert taken <= 10 + 2 * 2


def test_an_error_of_the_bundle_stops_every_stream(micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(micro_bundle, threads=2, streams=2, quality_gate=False)
    (micro_bundle / "head.npz").write_bytes(b"")  # which is read when it is needed
    with pytest.raises(BundleError):
        list(classifier.assess_many([lesion_jpg] * 5, mc_samples=5))


@pytest.mark.parametrize("streams", [0, 3, 1.5])
def test_streams_out_of_range_are_refused(shared_micro_bundle: Path, streams: int) -> None:
    with pytest.raises(SettingError, match="choose 1 to the number of threads, 2"):
        Classifier(shared_micro_bundle, threads=2, streams=streams)


def test_the_json_is_the_contract(classifier: Classifier, lesion_jpg: Path) -> None:
    result = classifier.assess(lesion_jpg)
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert list(values) == [
        "schema_version", "image", "status", "probabilities", "cancer_probability", "predicted_class",
        "class_priors", "prevalence", "operating_point", "operating_points", "risk", "action", "label_set",
        "leading_label",
        "certainty", "uncertainty", "ood", "quality", "model", "timing_ms", "error", "blind_spots",
        "safety_net", "notice", "cancer_classes",
    ]  # fmt: skip
    assert values["schema_version"] == 1
    assert set(values["operating_point"]) == {"name", "threshold", "certificate"}
    assert set(values["model"]) == {"name", "version", "sha256", "precision", "isa"}
    assert all(values[part] is not None for part in ("label_set", "leading_label", "certainty", "ood"))
    assert all(values[part] is None for part in ("uncertainty", "error"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.risk = "LOW"


def test_an_unknown_precision_is_refused(shared_micro_bundle: Path) -> None:
    with pytest.raises(SettingError, match="int4"):
        Classifier(shared_micro_bundle, "int4")


def test_a_network_of_other_classes_is_refused(micro_bundle: Path) -> None:
    point = {"name": "screen", "threshold": 0.3, "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    variants = {key: {"temperature": 1.0, "operating_points": [point]} for key in ("fp32", "int8")}
    write_manifest(
        micro_bundle,
        schema_version=1,
        ood=None,
        classes=["MEL", "NV"],
        cancer_classes=["MEL"],
        variants=variants,
    )
    with pytest.raises(BundleError, match="pack the bundle anew"):
        Classifier(micro_bundle)


def test_a_network_of_another_size_than_the_manifest_is_refused(micro_bundle: Path) -> None:
    write_manifest(micro_bundle, preprocessing={"size": 96})
    with pytest.raises(BundleError, match="96"):
        Classifier(micro_bundle)


def test_what_is_far_from_training_gets_no_risk(micro_bundle: Path, lesion_jpg: Path) -> None:
    values = json.loads((micro_bundle / "manifest.json").read_text())
    variants = {name: variant | {"ood_threshold": -1e3} for name, variant in values["variants"].items()}
    write_manifest(micro_bundle, variants=variants)
    result = Classifier(micro_bundle, quality_gate=False).assess(lesion_jpg)
    assert (result.status, result.risk, result.cancer_probability) == ("out_of_scope", None, None)
    assert "refer on clinical grounds" in result.action
    assert result.ood.score > result.ood.threshold == -1e3
    gated = Classifier(micro_bundle, quality_gate=False, scope_gate=False).assess(lesion_jpg)
    assert (gated.status, gated.ood) == ("assessed", result.ood)


def test_the_ood_score_is_that_of_the_outputs(classifier: Classifier, lesion_jpg: Path) -> None:
    """The formula written out, on the stored arrays."""
    image = cv2.cvtColor(cv2.imdecode(np.fromfile(lesion_jpg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    result = classifier.assess(image)
    prepared = preprocess(image, classifier.manifest.preprocessing)
    outputs = classifier.engine.infer(prepared)
    with np.load(classifier.bundle.folder / "ood.npz") as stored:
        values = {name: stored[name].astype(np.float64) for name in stored.files}
    features = outputs.features.mean(axis=0).astype(np.float64)
    centred = features / np.linalg.norm(features) - values["feature_mean"]
    off = np.linalg.norm(centred - values["feature_basis"] @ (values["feature_basis"].T @ centred))
    logits = outputs.logits.astype(np.float64)
    energy = np.log(np.exp(logits - logits.mean()).sum())
    small = cv2.resize(prepared, (16, 16), interpolation=cv2.INTER_AREA).reshape(-1) / 255
    apart = small - values["picture_mean"]
    off_picture = np.linalg.norm(apart - values["picture_basis"] @ (values["picture_basis"].T @ apart))
    assert result.ood.features == pytest.approx(2 * off - energy - 1, abs=1e-3)
    assert result.ood.picture == pytest.approx((off_picture - 2) / 3, abs=1e-3)
    assert result.ood.score == pytest.approx(result.ood.features + result.ood.picture)


def test_statistics_of_another_network_are_refused(micro_bundle: Path, lesion_jpg: Path) -> None:
    rng = np.random.default_rng(0)
    with np.load(micro_bundle / "ood.npz") as stored:
        values = {name: stored[name] for name in stored.files}
    basis = np.linalg.qr(rng.random((20, 4), np.float32))[0]
    changed = {"feature_mean": rng.random(20, np.float32), "feature_basis": basis}
    np.savez(micro_bundle / "ood.npz", **values | changed)
    write_manifest(micro_bundle)
    with pytest.raises(BundleError, match="another network"):
        Classifier(micro_bundle, quality_gate=False).assess(lesion_jpg)


def test_a_sensitivity_of_the_users_own_moves_the_screening_point(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    """Of 100 lesions at 1 / 101, 2 / 101, ... four misses certify 0.9, five do not."""
    classifier = Classifier(shared_micro_bundle, quality_gate=False, sensitivity=0.9)
    point = classifier.operating_points[0]
    assert (point.name, point.threshold, point.certificate.missed) == ("screen", 5 / 101, 4)
    assert point.certificate.sensitivity >= 0.9
    assert (point.recall, point.specificity) == (0.96, 0.0)
    assert [point.name for point in classifier.operating_points] == ["screen", "balanced"]
    assert classifier.assess(lesion_jpg).operating_point.threshold == 5 / 101
    # Certainty's rule belongs to the bundle's own point.
    assert classifier.assess(lesion_jpg).certainty is None
    for refused in (0.09, 1.0, float("nan")):
        with pytest.raises(SettingError, match=r"choose 0\.8 or more"):
            Classifier(shared_micro_bundle, sensitivity=refused)
    with pytest.raises(SettingError, match=r"100 cancer lesions certify 0\.97 at most"):
        Classifier(shared_micro_bundle, sensitivity=0.99)


def test_the_label_set_and_its_most_serious_class(classifier: Classifier, lesion_jpg: Path) -> None:
    result = classifier.assess(lesion_jpg)
    plausible = {name for name, share in result.probabilities.items() if share >= 0.1}
    assert set(result.label_set) == plausible | {max(result.probabilities, key=result.probabilities.get)}
    shares = [result.probabilities[name] for name in result.label_set]
    assert shares == sorted(shares, reverse=True)
    serious = [name for name in ("MEL", "SCC", "BCC", "AK") if name in result.label_set]
    assert result.leading_label == (serious or result.label_set)[0]


@pytest.mark.parametrize("version", [1, 2])
def test_bundles_of_before_assess_without_the_new_parts(
    micro_bundle: Path, lesion_jpg: Path, version: int
) -> None:
    values = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))["variants"]["int8"]
    kept = {name: values[name] for name in ("class_priors", "calibration")}
    if version == 1:
        kept = {"temperature": 1.5}
    point = {"name": "screen", "threshold": 0.3, "target_recall": 0.95, "recall": 0.96, "specificity": 0.6}
    variant = kept | {"operating_points": [point]}
    before = Classifier(micro_bundle, quality_gate=False).assess(lesion_jpg)
    write_manifest(
        micro_bundle, schema_version=version, ood=None, variants={"fp32": variant, "int8": variant}
    )
    result = Classifier(micro_bundle, quality_gate=False).assess(lesion_jpg)
    assert result.cancer_probability == before.cancer_probability
    assert all(getattr(result, part) is None for part in ("ood", "label_set", "leading_label", "certainty"))
    assert result.operating_point.certificate is None
    with pytest.raises(SettingError, match="no lesions to certify"):
        Classifier(micro_bundle, sensitivity=0.9)


def test_a_score_that_is_no_number_is_no_answer(
    shared_micro_bundle: Path, lesion_jpg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(shared_micro_bundle, quality_gate=False)
    monkeypatch.setattr(type(classifier._statistics), "of_image", lambda *_: np.array([np.nan, 0.0]))
    with pytest.raises(EdgeskinError, match="no finite answer"):
        classifier.assess(lesion_jpg)
