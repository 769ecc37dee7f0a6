"""The schema of the results, held to real results by the package jsonschema."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgeskin import Assessment, Classifier, PatientContext, compare_photos
from edgeskin.photo.decode import Source
from edgeskin.service.schema import reference, schemas
from tests.conftest import ROOT, change_rules, write_micro_bundle

Plain = dict[str, Any]


def validator(name: str) -> jsonschema.Draft202012Validator:
    document = {**reference(name), "components": {"schemas": schemas()}}
    return jsonschema.Draft202012Validator(document)


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle, "fp32", threads=1)


@pytest.fixture(scope="module")
def explained(classifier: Classifier, lesion_jpg: Path) -> Assessment:
    return classifier.assess(
        lesion_jpg, explain="grad-cam", mc_samples=20, context=PatientContext(30, "nail")
    )


@pytest.fixture(scope="module")
def results(
    classifier: Classifier,
    explained: Assessment,
    lesion_jpg: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Plain]:
    """The JSON of a result of every status, read back, and of one without a rule for anything optional."""
    out_of_scope = write_micro_bundle(tmp_path_factory.mktemp("scope") / "bundle")
    change_rules(out_of_scope, ood_threshold=-1e3)
    bare = write_micro_bundle(tmp_path_factory.mktemp("bare") / "bundle")
    change_rules(bare, class_priors=[], prediction_sets=None, confidence=None)
    sources: list[tuple[str, Classifier, Source]] = [
        ("plain", classifier, lesion_jpg),
        ("retake", classifier, np.zeros((300, 300, 3), np.uint8)),
        ("out_of_scope", Classifier(out_of_scope, "fp32", threads=1), lesion_jpg),
        ("bare", Classifier(bare, "fp32", threads=1), lesion_jpg),
        ("error", classifier, b"not a picture"),
    ]
    found = {name: next(one.assess_many([source])) for name, one, source in sources}
    found["eigen-cam"] = classifier.assess(lesion_jpg, explain="eigen-cam")
    found["explained"] = explained
    return {name: json.loads(json.dumps(one.to_dict(), allow_nan=False)) for name, one in found.items()}


def objects_in(value: Any) -> Iterator[Plain]:
    """Every object of a result whose keys are a dataclass's, the result itself first."""
    if isinstance(value, dict):
        if not all(isinstance(one, float | int) for one in value.values()):
            yield value
        for one in value.values():
            yield from objects_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from objects_in(one)


def test_the_schemas_are_schemas() -> None:
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_an_openapi_document_takes_them() -> None:
    validator_of_documents = pytest.importorskip("openapi_spec_validator").OpenAPIV31SpecValidator
    answer = {"description": "", "content": {"application/json": {"schema": reference("Assessment")}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "edgeskin", "version": "0"},
        "paths": {"/v1/assess": {"post": {"responses": {"200": answer}}}},
        "components": {"schemas": schemas()},
    }
    validator_of_documents(document).validate()


def test_results_of_every_status_follow_the_schema(results: dict[str, Plain]) -> None:
    statuses = {one["status"] for one in results.values()}
    assert statuses == {"assessed", "retake", "out_of_scope", "error"}
    for result in results.values():
        validator("Assessment").validate(result)


def test_every_part_of_a_result_is_seen_filled_in(results: dict[str, Plain]) -> None:
    """Or the tests below would show less than they say."""
    filled = {key for result in results.values() for key, value in result.items() if value not in (None, [])}
    assert filled == set(results["plain"])


def test_a_key_more_or_less_fails_at_any_depth(results: dict[str, Plain]) -> None:
    for name in ("explained", "error"):
        for place, found in enumerate(objects_in(results[name])):
            for key in found:
                changed = copy.deepcopy(results[name])
                del list(objects_in(changed))[place][key]
                assert not validator("Assessment").is_valid(changed), f"{name} without {key}"
            changed = copy.deepcopy(results[name])
            list(objects_in(changed))[place]["unknown"] = "text"
            assert not validator("Assessment").is_valid(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"risk": "NONE"},
        {"cancer_probability": "0.5"},
        {"limitations": None},
        {"probabilities": {"MEL": "1"}},
        {"schema_version": 1.5},
    ],
)
def test_values_of_another_kind_fail(change: Plain, results: dict[str, Plain]) -> None:
    assert not validator("Assessment").is_valid(results["plain"] | change)


def test_pairs_have_two_numbers(results: dict[str, Plain]) -> None:
    for pair in ([0.1], [0.1, 0.2, 0.3]):
        changed = copy.deepcopy(results["explained"])
        changed["uncertainty"]["cancer_interval"] = pair
        assert not validator("Assessment").is_valid(changed)


def test_a_comparison_follows_its_schema(explained: Assessment) -> None:
    comparison = json.loads(json.dumps(compare_photos(explained, explained).to_dict(), allow_nan=False))
    validator("Comparison").validate(comparison)
    for key in comparison:
        assert not validator("Comparison").is_valid({k: v for k, v in comparison.items() if k != key})


def test_quality_and_error_follow_theirs(results: dict[str, Plain]) -> None:
    validator("Quality").validate(results["retake"]["quality"])
    body = {"error": results["error"]["error"], "request_id": "4f2a"}
    validator("Error").validate(body)
    assert not validator("Error").is_valid({"error": body["error"]})
    assert not validator("Error").is_valid(body | {"detail": []})


def test_the_keys_are_those_that_the_documentation_lists() -> None:
    rows = (ROOT / "docs" / "json.md").read_text(encoding="utf-8").splitlines()
    documented = {row.split("`")[1] for row in rows if row.startswith("| `")}
    assert set(schemas()["Assessment"]["properties"]) <= documented
