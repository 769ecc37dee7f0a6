"""Assessments: equality, JSON of schema 1, rows for tables, and maps as they are shown."""

import copy
import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Assessment, Classifier, PatientContext, compare_photos
from edgeskin.results import (
    LOW_EVIDENCE,
    Explanation,
    Limitation,
    ModelInfo,
    Pixels,
    SensitivityBound,
    to_plain,
)
from tests.conftest import MICRO_SIZE, change_rules, write_micro_bundle

MODEL = ModelInfo("micro", "0", "0" * 64, "fp32", "generic")


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle, "fp32", threads=1)


@pytest.fixture(scope="module")
def explained(classifier: Classifier, lesion_jpg: Path) -> Assessment:
    return classifier.assess(
        lesion_jpg, explain="grad-cam", target="NV", mc_samples=20, context=PatientContext(30, "nail")
    )


@pytest.fixture(scope="module")
def by_status(
    classifier: Classifier,
    explained: Assessment,
    lesion_jpg: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Assessment]:
    """An assessment of every status."""
    bundle = write_micro_bundle(tmp_path_factory.mktemp("scope") / "bundle")
    change_rules(bundle, ood_threshold=-1e3)
    (failed,) = classifier.assess_many([tmp_path_factory.mktemp("none") / "missing.jpg"])
    return {
        "assessed": explained,
        "retake": classifier.assess(np.zeros((300, 300, 3), np.uint8)),
        "out_of_scope": Classifier(bundle, "fp32", threads=1).assess(lesion_jpg),
        "error": failed,
    }


def test_every_status_is_there(by_status: dict[str, Assessment]) -> None:
    assert {status: result.status for status, result in by_status.items()} == {
        status: status for status in by_status
    }


@pytest.mark.parametrize("status", ["assessed", "retake", "out_of_scope", "error"])
def test_copies_are_equal(status: str, by_status: dict[str, Assessment]) -> None:
    result = by_status[status]
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert other == result
        assert other.to_dict() == result.to_dict()
    assert dataclasses.replace(result, image="another") != result
    assert result != result.to_dict()


def test_assessments_that_differ_in_an_array_are_not_equal(explained: Assessment) -> None:
    assert explained.explanation is not None
    assert explained.pixels is not None
    for change in (
        {"explanation": dataclasses.replace(explained.explanation, map=explained.explanation.map + 1)},
        {"explanation": dataclasses.replace(explained.explanation, map=explained.explanation.map[:4])},
        {"explanation": None},
        {"pixels": dataclasses.replace(explained.pixels, square=255 - explained.pixels.square)},
        {"pixels": Pixels(explained.pixels.square)},
    ):
        assert dataclasses.replace(explained, **change) != explained


def test_results_that_hold_arrays_compare_by_value_and_have_no_hash(
    classifier: Classifier, explained: Assessment
) -> None:
    outputs = classifier.engine.infer(np.zeros((MICRO_SIZE, MICRO_SIZE, 3), np.uint8), fmaps=True)
    for result in (explained, compare_photos(explained, explained), outputs, classifier.bundle):
        other = pickle.loads(pickle.dumps(result))
        assert (result == other, result != other, result == 3) == (True, False, False)
        with pytest.raises(TypeError, match="unhashable"):
            hash(result)


def test_equal_arrays_may_hold_nan() -> None:
    nan = np.full((2, 2), np.nan, np.float32)
    assert Explanation("grad-cam", "NV", nan, MODEL) == Explanation("grad-cam", "NV", nan.copy(), MODEL)


def test_results_are_frozen(explained: Assessment) -> None:
    for part in (explained, explained.model, explained.quality, explained.ood, explained.explanation):
        name = next(iter(vars(part)))
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, None)


KEYS_OF_0_11_0 = {
    "": [
        "schema_version", "image", "status", "probabilities", "cancer_probability", "predicted_class",
        "class_priors", "prevalence", "operating_point", "operating_points", "risk", "action", "label_set",
        "leading_label", "certainty", "uncertainty", "ood", "quality", "model", "timing_ms", "error",
        "blind_spots", "safety_net", "notice", "cancer_classes", "descriptors", "explanation",
    ],
    "operating_point": ["name", "threshold", "certificate"],
    "operating_point.certificate": ["sensitivity", "confidence", "lesions", "missed"],
    "certainty": ["score", "level", "parts"],
    "certainty.parts": ["confidence", "calibration", "clarity", "stability"],
    "uncertainty": [
        "samples", "seed", "probabilities", "cancer_probability", "cancer_std", "cancer_interval",
        "entropy", "aleatoric", "epistemic",
    ],
    "ood": ["score", "threshold", "features", "picture"],
    "quality": ["measures", "retake", "advice"],
    "quality.measures": [
        "resolution", "sharpness", "brightness", "contrast", "overexposed", "black", "unnatural_colour",
        "hair", "lesion_area", "lesion_offset",
    ],
    "model": ["name", "version", "sha256", "precision", "isa"],
    "descriptors": [
        "asymmetry", "border_irregularity", "colors", "area_fraction", "diameter_fraction", "cut_off"
    ],
    "explanation": ["schema_version", "method", "target", "map", "model", "faint"],
}  # fmt: skip
NEW_KEYS = {
    "": {"action_code", "limitations"},
    "quality": {"failed", "advised"},
    "quality.measures": {"transparent", "colour_variation", "red_excess", "misfit"},
    "model": {"classes"},
}


def test_the_json_has_every_key_of_0_11_0(explained: Assessment) -> None:
    values = json.loads(json.dumps(explained.to_dict(), allow_nan=False))
    assert values["schema_version"] == 1
    for path, keys in KEYS_OF_0_11_0.items():
        part = values
        for name in filter(None, path.split(".")):
            part = part[name]
        assert set(part) == set(keys) | NEW_KEYS.get(path, set()), path
    assert values["error"] is None
    assert isinstance(values["uncertainty"]["cancer_interval"], list)


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize("status", ["assessed", "retake", "out_of_scope", "error"])
def test_every_status_has_the_same_keys(status: str, by_status: dict[str, Assessment]) -> None:
    values = json.loads(json.dumps(by_status[status].to_dict(), allow_nan=False))
    assert set(values) == set(KEYS_OF_0_11_0[""]) | NEW_KEYS[""]
    if status == "error":
        assert set(values["error"]) == {"type", "message", "code"}
        assert (values["error"]["type"], values["error"]["code"]) == ("PhotoError", "not_found")


def test_old_keys_hold_the_new_fields(explained: Assessment) -> None:
    values = explained.to_dict()
    assert explained.confidence is not None
    assert explained.prediction_set is not None
    assert values["label_set"] == list(explained.prediction_set)
    assert values["leading_label"] == explained.most_serious_label
    assert values["certainty"]["score"] == explained.confidence.score
    assert values["certainty"]["parts"]["confidence"] == explained.confidence.parts.decisiveness
    assert values["certainty"]["parts"]["clarity"] == explained.confidence.parts.margin
    assert values["blind_spots"] == [limitation.text for limitation in explained.limitations]
    assert values["operating_point"] == values["operating_points"][0]
    assert explained.operating_point is not None
    assert values["operating_point"]["certificate"] == vars(explained.operating_point.bound)


def test_codes_are_stable(by_status: dict[str, Assessment]) -> None:
    codes = {status: result.to_dict()["action_code"] for status, result in by_status.items()}
    assert codes.pop("assessed") in ("refer_urgently", "refer", "no_referral")
    assert codes == {"retake": "retake", "out_of_scope": "out_of_scope", "error": None}
    retake = by_status["retake"].to_dict()
    assert "brightness_low" in retake["quality"]["failed"]
    assert len(retake["quality"]["failed"]) == len(retake["quality"]["retake"])
    assessed = by_status["assessed"].to_dict()
    assert [one["code"] for one in assessed["limitations"]] == [
        "age_under_40", "site_nail", "skin_tone", "amelanotic_melanoma"
    ]  # fmt: skip
    assert all(set(one) == {"code", "subject", "text"} for one in assessed["limitations"])


@pytest.mark.hazard("H-16")
def test_only_what_was_assessed_has_a_risk(by_status: dict[str, Assessment]) -> None:
    for status, result in by_status.items():
        values = (result.risk, result.cancer_probability, result.predicted_class, result.prediction_set)
        assert all((value is None) == (status != "assessed") for value in values)


def test_pixels_are_not_part_of_the_json(explained: Assessment) -> None:
    assert explained.pixels is not None
    assert "pixels" not in explained.to_dict()
    assert "square" not in json.dumps(explained.to_dict())


ROW = [
    "image", "status", "risk", "action_code", "cancer_probability", "threshold", "urgent_threshold",
    "predicted_class", "prediction_set", "most_serious_label", "confidence_level", "confidence_score",
    "ood_score", "ood_threshold", "ood_features", "ood_picture", "quality_failed", "quality_advised",
    "limitations", "model", "model_version", "model_sha256", "precision", "isa", "total_ms",
    "error_code", "error",
    "quality_transparent", "quality_resolution", "quality_sharpness", "quality_brightness",
    "quality_contrast", "quality_overexposed", "quality_black", "quality_unnatural_colour",
    "quality_colour_variation", "quality_red_excess", "quality_hair", "quality_misfit",
    "quality_lesion_area", "quality_lesion_offset",
]  # fmt: skip


@pytest.mark.parametrize("status", ["assessed", "retake", "out_of_scope", "error"])
def test_rows_are_flat_and_have_the_same_columns(status: str, by_status: dict[str, Assessment]) -> None:
    result = by_status[status]
    row = result.to_row()
    assert [name for name in row if not name.startswith("p_")] == ROW
    assert all(value is None or type(value) in (str, float, int) for value in row.values())
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    probabilities = {name[2:]: value for name, value in row.items() if name.startswith("p_")}
    assert probabilities == (result.probabilities or dict.fromkeys(result.model.classes))
    measured = {name[8:]: row[name] for name in ROW if name.startswith("quality_")}
    del measured["failed"], measured["advised"]
    assert measured == (dict(result.quality.measures) if result.quality else dict.fromkeys(measured))
    parts = (row["ood_features"], row["ood_picture"])
    assert parts == ((result.ood.features, result.ood.picture) if result.ood else (None, None))
    assert (row["image"], row["status"], row["action_code"]) == (result.image, status, result.action_code)


def test_a_row_joins_its_lists(by_status: dict[str, Assessment]) -> None:
    assessed, retake = by_status["assessed"].to_row(), by_status["retake"].to_row()
    assert assessed["prediction_set"] == "|".join(by_status["assessed"].prediction_set or ())
    assert assessed["quality_failed"] == ""
    assert assessed["limitations"] == "age_under_40|site_nail|skin_tone|amelanotic_melanoma"
    assert "brightness_low" in str(retake["quality_failed"]).split("|")
    assert by_status["error"].to_row()["error_code"] == "not_found"


def test_plain_data_of_nested_parts() -> None:
    bound = SensitivityBound(0.951, 0.95, 100, 1)
    assert to_plain({"a": (bound, [Limitation("c", "s", "t")]), "b": None}) == {
        "a": [
            {"sensitivity": 0.951, "confidence": 0.95, "lesions": 100, "missed": 1},
            [{"code": "c", "subject": "s", "text": "t"}],
        ],
        "b": None,
    }


def explanation(values: np.ndarray) -> Explanation:
    return Explanation("grad-cam", "cancer", values.astype(np.float32), MODEL)


def test_the_hottest_part_has_its_share_and_an_empty_map_has_none() -> None:
    hot = explanation(np.arange(49).reshape(7, 7)).hottest(100, 0.2)
    assert hot.mean() == pytest.approx(0.2)
    assert hot[-15:].all()
    assert not hot[:70].any()
    few = np.zeros((7, 7))
    few[3, 3] = 1
    assert 0.05 < explanation(few).hottest(100, 0.2).mean() < 0.18
    none = explanation(np.zeros((7, 7)))
    assert not none.hottest(100).any()
    assert not none.normalized(100).any()


def test_normalized_maps_run_from_0_to_1() -> None:
    heat = explanation(np.random.default_rng(0).random((7, 7))).normalized(64)
    assert (heat.min(), heat.max()) == (0, 1)
    assert (heat == 0).mean() == pytest.approx(0.1, abs=0.01)
    assert (heat == 1).mean() == pytest.approx(0.01, abs=0.002)


def test_resized_maps_are_never_below_0() -> None:
    peak = np.zeros((7, 7))
    peak[3, 3] = 1
    assert explanation(peak).resized(100).min() == 0


@pytest.mark.parametrize(("factor", "low"), [(0.99, True), (1.01, False)])
def test_low_evidence_is_a_matter_of_grad_cam(factor: float, low: bool) -> None:
    one = explanation(np.eye(7) * factor * LOW_EVIDENCE)
    assert one.low_evidence is low
    assert one.to_dict()["faint"] is low
    assert not dataclasses.replace(one, method="occlusion").low_evidence


def test_a_map_is_rounded_in_the_json() -> None:
    values = explanation(np.array([[1 / 3, 0], [2, 1e-9]])).to_dict()
    assert values["map"] == [[0.333333, 0.0], [2.0, 0.0]]
    assert values["schema_version"] == 1
