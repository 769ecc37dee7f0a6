"""The reference of a bundle: one picture a lesion, assessed as the runtime does, with cases by hand."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.bundle.manifest import OOD, DecisionRules, OperatingPoint
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.decision.ood import read_statistics
from edgeskin.imaging.preprocess import preprocess
from edgeskin.monitoring.reference import fit_reference, measures_of, values_of
from edgeskin.results import QUALITY_MEASURES, Quality
from edgeskin.taxonomy import CANCER, ISIC_2019
from quantize.fitting.reference import first_of_each_lesion, fit_bundle_reference, measure_quality
from tests.conftest import ROOT
from train.evaluate.outputs import Outputs

RULES = DecisionRules(
    ISIC_2019,
    CANCER,
    temperature_scaling(1.0, len(ISIC_2019)),
    (OperatingPoint("screen", 0.3, 0.95, 0.96, 0.6), OperatingPoint("balanced", 0.6, 0.87, 0.88, 0.8)),
    ood_threshold=5.0,
)


def quality(brightness: float, *failed: str) -> Quality:
    measures = dict.fromkeys(QUALITY_MEASURES, 0.0) | {"brightness": brightness}
    return Quality(measures, retake=failed, advice=(), failed=failed, advised=())


def test_the_first_image_of_each_lesion_in_their_order() -> None:
    assert first_of_each_lesion(("b", "a", "b", "c", "a")).tolist() == [0, 1, 3]


def test_pictures_are_counted_by_what_the_gates_leave() -> None:
    """Of five pictures the second is to be taken again, and the fourth is out of scope."""
    logits = np.full((5, 1, len(ISIC_2019)), -9, np.float32)
    for position, name in enumerate(("MEL", "NV", "NV", "MEL", "BCC")):
        logits[position, 0, ISIC_2019.index(name)] = 9
    qualities = [quality(60), quality(20, "brightness_low"), quality(70), quality(80), quality(90)]
    distances = np.array([[0.5, 1], [9, 9], [1, 1], [3, 2.5], [-1, 0]])
    fitted = fit_bundle_reference(qualities, Outputs(logits), distances, RULES)
    assert fitted["retake"].counts == (4, 1)
    assert fitted["out_of_scope"].counts == (3, 1)
    assert fitted["risk"].counts == (1, 0, 2)  # NV alone is LOW
    assert fitted["predicted_class"].counts == tuple(int(name in ("MEL", "NV", "BCC")) for name in ISIC_2019)
    # The picture that is out of scope has a score, and the one to be taken again has not.
    assert fitted["ood_score"].pictures == 4
    assert fitted["ood_score"].upper[0] == -1
    assert fitted["ood_features"].upper[-1] == 3
    assert fitted["quality_brightness"].pictures == 5
    assert fitted["quality_brightness"].bounds[0] == 20
    assert fitted["cancer_probability"].pictures == 3
    # These rules have no confidence.
    assert {"confidence_score", "confidence_level"}.isdisjoint(fitted)


def test_quality_is_the_runtimes(lesion_jpg: Path) -> None:
    (one,) = measure_quality([lesion_jpg], 224)
    assert one.failed == ()
    assert set(one.measures) == set(QUALITY_MEASURES)


def test_it_is_what_the_runtimes_results_give(shared_micro_bundle: Path) -> None:
    draw_lesion = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]
    rng = np.random.default_rng(0)
    pictures = [draw_lesion(name, rng, 160) for name in ISIC_2019] + [np.zeros((160, 160, 3), np.uint8)]
    with Classifier(shared_micro_bundle, "fp32", threads=1) as classifier:
        rows = [classifier.assess(picture).to_row() for picture in pictures]
        prepared = [preprocess(picture, classifier.manifest.preprocessing) for picture in pictures]
        outputs = [classifier.engine.infer(one) for one in prepared]
        statistics = read_statistics(classifier.bundle.read(OOD))
        distances = np.stack(
            [statistics.of_image(of, one) for of, one in zip(outputs, prepared, strict=True)]
        )
        qualities = [classifier.assess_quality(picture) for picture in pictures]
        rules = classifier.rules
    logits = np.concatenate([one.view_logits for one in outputs])
    fitted = fit_bundle_reference(qualities, Outputs(logits), distances, rules)
    measures = measures_of(ISIC_2019)
    expected = fit_reference(values_of(rows, measures), measures)
    assert [row["status"] for row in rows] == ["assessed"] * 8 + ["retake"]
    assert set(fitted) == set(expected) == {measure.name for measure in measures}
    for name, one in expected.items():
        assert (fitted[name].sizes, fitted[name].counts) == (one.sizes, one.counts)
        assert fitted[name].bounds == pytest.approx(one.bounds)
        assert fitted[name].upper == pytest.approx(one.upper)
