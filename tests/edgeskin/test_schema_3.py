"""Manifests of schema 3: their bounds against scipy's beta quantiles, and what becomes of each field."""

import json
from typing import Any

import pytest

from edgeskin.bundle.bundle import SHIPPED, open_bundle
from edgeskin.bundle.manifest import SCHEMA_VERSION, LesionScores, Manifest, OperatingPoint
from edgeskin.bundle.plain_data import from_plain
from edgeskin.bundle.schema_3 import MOST_LESIONS, upgraded
from edgeskin.decision.operating_points import certified_threshold
from edgeskin.errors import SettingError
from edgeskin.results import SensitivityBound

POINT = {"name": "screen", "threshold": 0.3, "target_recall": 0.95, "recall": 0.96, "specificity": 0.6}


def manifest(lesions: int, **variant: object) -> dict[str, Any]:
    """A manifest of schema 3 of two classes, with lesion scores of so many cancers."""
    one = {
        "calibration": {"method": "by hand", "weights": [[1.0, 0.0], [0.0, 1.0]], "bias": [0.0, 0.0]},
        "operating_points": [POINT],
        "class_priors": [0.4, 0.6],
        "lesion_scores": {"cancer": [place / (lesions + 1) for place in range(lesions)], "others": [0.1]},
    }
    return {
        "schema_version": 3, "name": "by hand", "version": "1", "classes": ["MEL", "NV"],
        "cancer_classes": ["MEL"], "preprocessing": {"size": 64}, "ood": None, "validation": {},
        "training": {}, "gate": {}, "versions": {},
        "files": {name: ["00", 3] for name in ("fp32.xml", "fp32.bin", "int8.xml", "int8.bin", "head.npz")},
        "variants": {"fp32": one | variant, "int8": one | variant},
    }  # fmt: skip


def scores(lesions: int) -> LesionScores:
    found = from_plain(Manifest, upgraded(manifest(lesions))).decision_rules["int8"].lesion_scores
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("lesions", "missed", "bound"),
    [
        (14, 0, 0.8073638243498646),
        (29, 0, 0.9018553723227043),
        (46, 1, 0.900975683180102),
        (58, 0, 0.9496606616695799),
        (59, 0, 0.950492390111773),
        (61, 2, 0.9003651198057676),
        (93, 1, 0.9500060216120116),
        (103, 5, 0.9006440849622228),
        (124, 2, 0.950099828771688),
        (208, 5, 0.9501240335982841),
        (289, 8, 0.9506084998125421),
        (289, 27, 0.8734676977509872),
        (289, 46, 0.8011114892310719),
        (293, 8, 0.9512753163629033),
        (1000, 100, 0.8830084679036321),
        (5000, 200, 0.9551379240028459),
    ],
)
def test_bounds_are_those_of_clopper_and_pearson(lesions: int, missed: int, bound: float) -> None:
    """Literals are scipy.stats.beta.ppf(0.05, lesions - missed, missed + 1)."""
    assert scores(lesions).bounds[missed] == pytest.approx(bound, abs=1e-12)


@pytest.mark.parametrize(("lesions", "count"), [(0, 0), (10, 0), (13, 0), (14, 1), (289, 47)])
def test_only_useful_bounds_are_kept(lesions: int, count: int) -> None:
    """At 0.8 or more: of 289 lesions, 46 misses certify 0.8011 and 47 certify 0.7974."""
    assert len(scores(lesions).bounds) == count


@pytest.mark.hazard("H-10")
@pytest.mark.parametrize(
    ("lesions", "sensitivity", "missed"),
    [
        # Exact binomial, 95% confidence: the fewest lesions for so many misses, and one less.
        (59, 0.95, 0), (58, 0.95, None), (93, 0.95, 1), (92, 0.95, 0), (124, 0.95, 2), (153, 0.95, 3),
        (208, 0.95, 5), (207, 0.95, 4),
        (29, 0.9, 0), (28, 0.9, None), (46, 0.9, 1), (61, 0.9, 2), (103, 0.9, 5),
    ],
)  # fmt: skip
def test_the_misses_allowed_are_the_published_ones(
    lesions: int, sensitivity: float, missed: int | None
) -> None:
    if missed is None:
        with pytest.raises(SettingError):
            certified_threshold(scores(lesions), sensitivity)
    else:
        assert certified_threshold(scores(lesions), sensitivity)[1].missed == missed


def test_every_part_finds_its_place() -> None:
    certificate = {"sensitivity": 0.951, "confidence": 0.95, "lesions": 100, "missed": 1}
    rules = from_plain(
        Manifest,
        upgraded(
            manifest(
                100,
                operating_points=[POINT | {"certificate": certificate}],
                label_sets={"coverage": 0.9, "thresholds": [0.1, 0.2], "lesions": [20, 30]},
                certainty={
                    "weights": [0.25] * 4, "bounds": [0.5], "gaps": [0.1, 0.2], "low": 0.3, "high": 0.7
                },
            )
        ),
    ).decision_rules["fp32"]  # fmt: skip
    assert (rules.classes, rules.cancer_classes) == (("MEL", "NV"), ("MEL",))
    bound = SensitivityBound(0.951, 0.95, 100, 1)
    assert rules.operating_points == (OperatingPoint("screen", 0.3, 0.95, 0.96, 0.6, bound),)
    assert rules.lesion_scores is not None
    assert rules.lesion_scores.benign == (0.1,)
    assert rules.prediction_sets is not None
    assert rules.prediction_sets.thresholds == (0.1, 0.2)
    assert rules.confidence is not None
    assert rules.confidence.gaps == (0.1, 0.2)
    assert rules.class_priors == (0.4, 0.6)


def test_parts_that_a_manifest_lacks_stay_absent() -> None:
    values = manifest(0)
    for variant in values["variants"].values():
        del variant["lesion_scores"], variant["class_priors"]
    rules = from_plain(Manifest, upgraded(values)).decision_rules["int8"]
    assert (rules.lesion_scores, rules.prediction_sets, rules.confidence) == (None, None, None)
    assert (rules.class_priors, rules.ood_threshold) == ((), None)
    assert rules.operating_points[0].bound is None


@pytest.mark.hazard("H-10")
@pytest.mark.parametrize("bundle", [*SHIPPED])
def test_shipped_manifests_keep_their_numbers(bundle: str) -> None:
    opened = open_bundle(bundle)
    stored = json.loads((opened.folder / "manifest.json").read_text(encoding="utf-8"))
    read = opened.manifest
    assert read.schema_version == SCHEMA_VERSION
    assert (read.name, read.version, list(read.classes)) == tuple(
        stored[key] for key in ("name", "version", "classes")
    )
    for precision, rules in read.decision_rules.items():
        variant = stored["variants"][precision]
        assert [point.threshold for point in rules.operating_points] == [
            point["threshold"] for point in variant["operating_points"]
        ]
        assert rules.lesion_scores is not None
        assert list(rules.lesion_scores.cancer) == variant["lesion_scores"]["cancer"]
        assert list(rules.lesion_scores.benign) == variant["lesion_scores"]["others"]
        assert rules.prediction_sets is not None
        assert list(rules.prediction_sets.thresholds) == variant["label_sets"]["thresholds"]
        assert rules.confidence is not None
        assert list(rules.confidence.weights) == variant["certainty"]["weights"]
        assert rules.ood_threshold == variant["ood_threshold"]
    assert {name: [record.sha256, record.size] for name, record in read.files.items()} == stored["files"]


def test_the_training_record_is_read_whole() -> None:
    """Scores of the selected epoch were at the record's top level, under ``val_`` and their name."""
    record = open_bundle().manifest.training
    stored = json.loads((open_bundle().folder / "manifest.json").read_text(encoding="utf-8"))["training"]
    assert record.split_sha256 == stored["split_sha256"]
    assert record.images is not None
    assert record.images == stored["images"]
    assert record.run is not None
    run = stored["run"]
    scores = {name: value for name, value in run.items() if name.startswith("val_")}
    assert f"val_{run['config']['selection']}" in scores
    assert record.run.scores == scores
    assert record.run.config == run["config"]
    assert record.run.epoch == run["epoch"]
    assert record.run.initial_weights.source == run["initial_weights"]["source"]


def test_more_lesions_than_bounds_can_be_computed_for_are_refused() -> None:
    """A manifest of 4 MiB could list a million, whose bounds would take terabytes."""
    with pytest.raises(ValueError, match="lesions"):
        upgraded(manifest(MOST_LESIONS + 1))
