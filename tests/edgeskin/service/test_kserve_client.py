"""The Open Inference Protocol, as the public tritonclient speaks it in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.edgeskin.service.conftest import Service, plain

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from edgeskin import Assessment, Classifier, PatientContext
from tests.conftest import ROOT
from tests.edgeskin.service.test_schema import validator

TEXTS = ("status", "risk", "action_code", "error_code", "assessment")


@pytest.fixture(scope="module")
def pictures(lesion_jpg: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A lesion, its mirror image, and a black square that has to be taken again, without loss."""
    image = cv2.resize(cv2.imread(str(lesion_jpg)), (256, 256))
    folder = tmp_path_factory.mktemp("pictures")
    for name, picture in (("one", image), ("two", cv2.flip(image, 1)), ("three", image * 0)):
        assert cv2.imwrite(str(folder / f"{name}.png"), picture)
    return [folder / f"{name}.png" for name in ("one", "two", "three")]


@pytest.fixture(scope="module")
def expected(micro_classifier: Classifier, pictures: list[Path]) -> list[Assessment]:
    found = [micro_classifier.assess(path.read_bytes()) for path in pictures]
    assert [one.status for one in found] == ["assessed", "assessed", "retake"]
    return found


@pytest.fixture(scope="module")
def calls(service: Service, pictures: list[Path]) -> dict[str, Any]:
    """What tritonclient got."""
    pytest.importorskip("tritonclient.http", reason="the extra reference is not installed")
    script = Path(__file__).with_name("triton_calls.py")
    done = subprocess.run(
        [sys.executable, str(script), f"127.0.0.1:{service.port}", "micro", "0", *map(str, pictures)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def require_same(found: dict[str, Any], expected: list[Assessment], name: str) -> None:
    """Raise AssertionError unless outputs are those of assessments. name: of the input."""
    none = [float("nan")]
    rows = [list((one.probabilities or {}).values()) or none * 8 for one in expected]
    np.testing.assert_allclose(np.array(found["probabilities"], float), np.float32(rows))
    p = [np.nan if one.cancer_probability is None else one.cancer_probability for one in expected]
    np.testing.assert_allclose(np.array(found["cancer_probability"], float), np.float32(p))
    for key in ("status", "risk", "action_code"):
        assert found[key] == [getattr(one, key) or "" for one in expected]
    for place, (text, one) in enumerate(zip(found["assessment"], expected, strict=True)):
        assert plain(json.loads(text)) == plain(one.to_dict() | {"image": f"{name}[{place}]"})


def test_health_and_metadata(calls: dict[str, Any]) -> None:
    assert (calls["live"], calls["ready"]) == (True, True)
    assert (calls["model_ready"], calls["other_ready"]) == ([True, True], False)
    assert calls["server"]["extensions"] == ["binary_tensor_data"]
    model = calls["model"]
    assert (model["name"], model["versions"], model["platform"]) == ("micro", ["0"], "openvino")
    assert {one["name"]: (one["datatype"], one["shape"]) for one in model["inputs"]} == {
        "image": ("BYTES", [-1]),
        "pixels": ("UINT8", [-1, -1, -1, 3]),
    }
    expected = {"cancer_probability": ("FP32", [-1]), "probabilities": ("FP32", [-1, 8])}
    assert {one["name"]: (one["datatype"], one["shape"]) for one in model["outputs"]} == (
        expected | dict.fromkeys(TEXTS, ("BYTES", [-1]))
    )


@pytest.mark.parametrize("kind", ["default", "binary", "json", "gzip", "deflate"])
def test_pictures_get_the_answers_of_the_classifier(
    kind: str, calls: dict[str, Any], expected: list[Assessment]
) -> None:
    found = calls[kind]
    require_same(found, expected, "image")
    assert (found["model_name"], found["model_version"]) == ("micro", "0")
    assert found.get("id") == ("7" if kind == "default" else None)


def test_calls_at_once_are_all_answered(calls: dict[str, Any], expected: list[Assessment]) -> None:
    assert len(calls["asynchronous"]) == 9
    for found, one in zip(calls["asynchronous"], expected * 3, strict=True):
        require_same(found, [one], "image")


def test_pixels_are_assessed_as_arrays(
    calls: dict[str, Any], pictures: list[Path], micro_classifier: Classifier
) -> None:
    images = [np.asarray(cv2.imread(str(path))[..., ::-1], np.uint8) for path in pictures]
    expected = [micro_classifier.assess(np.ascontiguousarray(image)) for image in images]
    require_same(calls["pixels"], expected, "pixels")
    require_same(calls["pixels_json"], expected[:1], "pixels")


def test_options_are_those_of_the_classifier(
    calls: dict[str, Any], pictures: list[Path], micro_classifier: Classifier
) -> None:
    expected = micro_classifier.assess(
        pictures[0].read_bytes(),
        explain="grad-cam",
        mc_samples=5,
        seed=3,
        context=PatientContext(30.5, "nail"),
    )
    require_same(calls["options"], [expected], "image")


def test_the_outputs_are_those_asked_for(calls: dict[str, Any]) -> None:
    assert set(calls["one"]) == {"cancer_probability", "model_name", "model_version"}


@pytest.mark.hazard("H-01")
def test_a_picture_that_cannot_be_read_has_no_probability_and_no_risk(calls: dict[str, Any]) -> None:
    for found, statuses in (
        (calls["broken"], ["assessed", "error"]),
        (calls["broken_json"], ["error"]),
    ):
        assert found["status"] == statuses
        assert (found["error_code"][-1], found["risk"][-1], found["action_code"][-1]) == (
            "unsupported_format",
            "",
            "",
        )
        assert np.isnan(found["cancer_probability"][-1])
        assert np.isnan(found["probabilities"][-1]).all()
        validator("Assessment").validate(json.loads(found["assessment"][-1]))


def test_errors_are_texts_that_the_client_shows(calls: dict[str, Any]) -> None:
    not_found = ("model", "version", "metadata", "extension")
    assert set(calls["errors"]) > set(not_found)
    for kind, (status, text) in calls["errors"].items():
        assert int(status) == (404 if kind in not_found else 422), kind
        assert text
        assert "decoding the response" not in text, kind
