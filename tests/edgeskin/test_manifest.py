"""The manifest's parts: what fits together, and what is refused."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import (
    LARGEST_FILE,
    LONGEST_NAME,
    Calibration,
    ConfidenceRule,
    DecisionRules,
    FileRecord,
    LesionScores,
    Manifest,
    MeasureReference,
    PredictionSets,
)
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.results import SensitivityBound

pytestmark = pytest.mark.hazard("H-07")


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return open_bundle().manifest


@pytest.fixture(scope="module")
def rules(manifest: Manifest) -> DecisionRules:
    return manifest.decision_rules["int8"]


def without_ood(manifest: Manifest) -> dict[str, DecisionRules]:
    return {
        name: dataclasses.replace(rules, ood_threshold=None)
        for name, rules in manifest.decision_rules.items()
    }


def test_cancer_classes_by_position(rules: DecisionRules) -> None:
    assert rules.is_cancer.tolist() == [True, False, True, True, False, False, False, True]
    assert rules.screening_threshold == rules.operating_points[0].threshold == 0.045235


@pytest.mark.parametrize(
    ("weights", "bias"),
    [
        (((1.0, 0.0), (0.0, 1.0)), (0.0,)),
        (((1.0, 0.0),), (0.0, 0.0)),
        (((1.0,), (0.0, 1.0)), (0.0, 0.0)),
        (((101.0, 0.0), (0.0, 1.0)), (0.0, 0.0)),
        (((1.0, 0.0), (0.0, 1.0)), (float("nan"), 0.0)),
        (((1.0, 0.0), (0.0, 0.0)), (0.0, 0.0)),
        (((1.0, 0.0), (0.0, -1.0)), (0.0, 0.0)),
    ],
    ids=["short-bias", "few-rows", "ragged", "too-large", "nan", "zero-diagonal", "negative-diagonal"],
)
def test_calibrations_out_of_range_are_refused(
    weights: tuple[tuple[float, ...], ...], bias: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Calibration("by hand", weights, bias)


@pytest.mark.parametrize(
    "scores",
    [
        ((2.0,), (), ()),
        ((0.5, 0.1), (), ()),
        ((), (0.2, 0.1), ()),
        ((0.1,), (-0.1,), ()),
        ((float("nan"),), (), ()),
        ((0.1, 0.2), (), (0.8, 0.9)),
        ((0.1,), (), (1.2,)),
        ((0.1,), (), (0.9, 0.8)),
    ],
)
def test_lesion_scores_out_of_range_are_refused(scores: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"scores|bounds"):
        LesionScores(*scores)


@pytest.mark.parametrize(
    "values",
    [(1.2, 0.95, 10, 1), (0.9, -1, 10, 1), (0.9, 0.95, 10, 11), (0.9, 0.95, 10, -1)],
)
def test_bounds_out_of_range_are_refused(values: tuple[float, float, int, int]) -> None:
    with pytest.raises(ValueError, match="SensitivityBound"):
        SensitivityBound(*values)


@pytest.mark.parametrize("thresholds", [(0.1,), (0.1, 1.5), (0.1, float("nan"))])
def test_prediction_sets_that_do_not_fit_are_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="prediction sets"):
        PredictionSets(0.9, thresholds, (5, 5))


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": (1.0,)},
        {"weights": (2.0, 0, 0, 0)},
        {"gaps": (0.1,)},
        {"bounds": (0.5, 0.1)},
        {"low": 0.9},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_confidence_rules_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    rule = ConfidenceRule((0.1, 0.2, 0.3, 0.4), (0.1, 0.5), (0.0, 0.2, 0.4), low=0.4, high=0.7)
    with pytest.raises(ValueError, match="confidence"):
        dataclasses.replace(rule, **changes)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda rules: {"cancer_classes": ("MEL", "XYZ")}, "XYZ"),
        (lambda rules: {"cancer_classes": ()}, "cancer classes"),
        (lambda rules: {"classes": ("MEL",) * 8}, "classes"),
        (lambda rules: {"calibration": temperature_scaling(1.0, 7)}, "calibration"),
        (lambda rules: {"operating_points": ()}, "thresholds"),
        (lambda rules: {"operating_points": rules.operating_points[::-1]}, "thresholds"),
        (lambda rules: {"operating_points": rules.operating_points[1:]}, "screen"),
        (
            lambda rules: {
                "operating_points": (dataclasses.replace(rules.operating_points[0], threshold=1.2),)
            },
            "thresholds",
        ),
        (lambda rules: {"class_priors": (0.5, 0.5)}, "priors"),
        (lambda rules: {"class_priors": (0.0,) + (0.1,) * 7}, "priors"),
        (lambda rules: {"class_priors": (float("nan"),) + (0.1,) * 7}, "priors"),
        (lambda rules: {"prediction_sets": PredictionSets(0.9, (0.1,), (5,))}, "prediction sets"),
        (lambda rules: {"ood_threshold": float("nan")}, "ood_threshold"),
    ],
)
def test_rules_that_do_not_fit_are_refused(
    change: Callable[[DecisionRules], dict[str, object]], names: str, rules: DecisionRules
) -> None:
    with pytest.raises(ValueError, match=names):
        dataclasses.replace(rules, **change(rules))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda whole: {"files": dict(list(whole.files.items())[1:])}, "files"),
        (lambda whole: {"files": {**whole.files, "../../passwd": whole.files["head.npz"]}}, "passwd"),
        (lambda whole: {"decision_rules": {"int8": whole.decision_rules["int8"]}}, "fp32"),
        (lambda whole: {"cancer_classes": ("MEL",)}, "classes"),
        (lambda whole: {"ood": None}, "ood"),
        (lambda whole: {"decision_rules": without_ood(whole)}, "ood_threshold"),
        (lambda whole: {"name": "a\x1b[2J"}, "printable"),
        (lambda whole: {"name": "a\ud800"}, "printable"),
        (lambda whole: {"version": "1\n2"}, "printable"),
        (lambda whole: {"version": "1" * (LONGEST_NAME + 1)}, "printable"),
    ],
)
def test_manifests_whose_parts_do_not_fit_are_refused(
    change: Callable[[Manifest], dict[str, object]], names: str, manifest: Manifest
) -> None:
    manifest.require_consistent()
    changed = dataclasses.replace(manifest, **change(manifest))
    with pytest.raises(ValueError, match=names):
        changed.require_consistent()


def test_temperature_scaling_is_a_calibration() -> None:
    found = temperature_scaling(2.0, 3)
    np.testing.assert_array_equal(found.weights, np.eye(3) / 2)
    assert found.bias == (0.0, 0.0, 0.0)


def test_a_file_has_a_bounded_size() -> None:
    assert FileRecord("00" * 32, LARGEST_FILE).size == LARGEST_FILE
    for size in (-1, LARGEST_FILE + 1, 10**400):
        with pytest.raises(ValueError, match="bytes"):
            FileRecord("00" * 32, size)


REFERENCE = MeasureReference(4, (0.1, 0.1), (0.2, 0.7), (1, 2, 2), (0.1,), (3, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"bounds": (0.2, 0.1)},
        {"bounds": (0.1,)},
        {"ties": (0.7, 0.2)},
        {"ties": (0.2, 1.7)},
        {"sizes": (1, 2, 3)},
        {"sizes": (0, 3, 2)},
        {"sizes": (3, 2)},
        {"upper": (0.2, 0.1), "counts": (1, 2, 1)},
        {"upper": (0.1, 0.1), "counts": (1, 2, 1)},
        {"counts": (4,)},
        {"counts": (5, -1)},
        {"pictures": 5},
    ],
    ids=str,
)
def test_references_that_do_not_add_up_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="of a reference must"):
        dataclasses.replace(REFERENCE, **changes)


def test_a_reference_is_of_both_precisions(manifest: Manifest) -> None:
    assert manifest.reference is None
    whole = dataclasses.replace(manifest, reference={one: {"risk": REFERENCE} for one in ("int8", "fp32")})
    whole.require_consistent()
    with pytest.raises(ValueError, match="a reference for"):
        dataclasses.replace(manifest, reference={"int8": {"risk": REFERENCE}}).require_consistent()
