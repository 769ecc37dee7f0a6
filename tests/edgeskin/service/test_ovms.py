"""The repository for OpenVINO Model Server: its graph run by OpenVINO on what OpenCV decodes."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import numpy.typing as npt
import pytest

from edgeskin.arrays import Float64s, Image
from edgeskin.bundle.bundle import SHIPPED, Bundle, open_bundle
from edgeskin.decision.calibration import cancer_probability, probabilities
from edgeskin.errors import BundleError, ResourceError, SettingError
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.network.engine import Engine
from edgeskin.results import Precision, to_plain
from edgeskin.service.ovms import served_graph, write_repository
from edgeskin.taxonomy import ISIC_2019
from tests.conftest import MICRO_SIZE, change_rules, run_cli, write_manifest, write_micro_bundle

OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": False}
TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 1}
OF_MODEL = {
    **OBJECT,
    "required": ["name", "base_path"],
    "properties": {
        **dict.fromkeys(("name", "base_path", "target_device"), TEXT),
        "nireq": NUMBER,
        "plugin_config": {
            "type": "object",
            "additionalProperties": {"type": ["string", "boolean", "number"]},
        },
        "model_version_policy": {
            **OBJECT,
            "maxProperties": 1,
            "properties": {"latest": {**OBJECT, "properties": {"num_versions": NUMBER}}},
        },
    },
}
CONFIG_SCHEMA = {
    **OBJECT,
    "required": ["model_config_list"],
    "properties": {
        "model_config_list": {
            "type": "array",
            "minItems": 1,
            "items": {**OBJECT, "required": ["config"], "properties": {"config": OF_MODEL}},
        },
        "monitoring": {
            **OBJECT,
            "properties": {
                "metrics": {**OBJECT, "required": ["enable"], "properties": {"enable": {"type": "boolean"}}}
            },
        },
    },
}
"""What Model Server reads of the keys that are written here; it refuses any that it does not know, among them
``mean``, ``scale`` and ``color_format``, which its documentation has."""


def plain_micro_bundle(folder: Path, **changes: object) -> Path:
    """A micro-bundle without colour constancy, as the shipped ones."""
    write_micro_bundle(folder)
    settings = to_plain(Preprocessing(size=MICRO_SIZE, color_constancy="none"))
    write_manifest(folder, **({"preprocessing": settings} | changes))
    rng = np.random.default_rng(2)
    weights = np.eye(len(ISIC_2019)) + 0.05 * rng.normal(size=(len(ISIC_2019),) * 2)
    bias = rng.normal(size=len(ISIC_2019))
    fitted = {"method": "by hand", "weights": weights.tolist(), "bias": bias.tolist()}
    change_rules(folder, calibration=fitted)
    return folder


@pytest.fixture(scope="module")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_micro_bundle(tmp_path_factory.mktemp("plain") / "bundle")


def answers(model: Any, bgr: Image, **changes: int) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs of a model for pictures (n, s, s, 3) in BGR, by name; ``batch=`` fixes its shape."""
    import openvino

    core = openvino.Core()
    read = core.read_model(model) if isinstance(model, Path) else model
    if changes:
        read.reshape([changes["batch"], *bgr.shape[1:]])
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    outputs = core.compile_model(read, "CPU", settings)(bgr)
    return {output.get_any_name(): values for output, values in outputs.items()}


def one_view(bundle: Bundle, precision: Precision, rgb: Image) -> tuple[Float64s, Float64s]:
    """What the project itself makes of one view: probabilities (n, C) and P(cancer) (n,)."""
    outputs = Engine(bundle.ir(precision), threads=1, views=1).infer_batch(rgb)
    rules = bundle.manifest.decision_rules[precision]
    p = probabilities(outputs.logits, rules.calibration)
    return p, cancer_probability(p, rules.is_cancer)


def decoded(path: Path, bundle: Bundle) -> Image:
    """A photo as OpenCV decodes it, its centre square at the network's size: BGR (1, s, s, 3)."""
    photo = cv2.imread(str(path))
    assert photo is not None
    return preprocess(np.asarray(photo, np.uint8), bundle.manifest.preprocessing)[np.newaxis]


@pytest.mark.hazard("H-03")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_written_graph_answers_as_the_project_does_for_one_view(
    precision: Precision, plain_bundle: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(plain_bundle)
    write_repository(tmp_path / "served", bundle, precision)
    bgr = np.random.default_rng(1).integers(0, 256, (3, MICRO_SIZE, MICRO_SIZE, 3)).astype(np.uint8)
    found = answers(tmp_path / "served" / "models" / "micro" / "1" / "model.xml", bgr)
    p, p_cancer = one_view(bundle, precision, np.ascontiguousarray(bgr[..., ::-1]))
    assert set(found) == {"logits", "probabilities", "cancer_probability"}
    np.testing.assert_allclose(found["probabilities"], p, atol=1e-5)
    np.testing.assert_allclose(found["cancer_probability"], p_cancer, atol=1e-5)
    assert found["cancer_probability"].shape == (3,)
    assert np.abs(p - probabilities(found["logits"])).max() > 0.01  # the calibration does something
    assert np.abs(one_view(bundle, precision, bgr)[0] - p).max() > 1e-3  # and so does the order of colours


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_networks_in_fp32_and_any_shape(name: str, lesion_jpg: Path) -> None:
    bundle = open_bundle(name)
    bgr = decoded(lesion_jpg, bundle)
    p, p_cancer = one_view(bundle, "fp32", np.ascontiguousarray(bgr[..., ::-1]))
    for shape in ({}, {"batch": 1}):
        found = answers(served_graph(bundle, "fp32"), bgr, **shape)
        np.testing.assert_allclose(found["probabilities"], p, atol=1e-5)
        np.testing.assert_allclose(found["cancer_probability"], p_cancer, atol=1e-5)


@pytest.mark.hazard("H-03")
@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_networks_in_int8_take_bgr_in_any_shape(name: str, lesion_jpg: Path) -> None:
    """Kernels round INT8 differently, and colours in the wrong order change it by far more than that."""
    bundle = open_bundle(name)
    bgr = decoded(lesion_jpg, bundle)
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    p, _ = one_view(bundle, "int8", rgb)
    for shape in ({}, {"batch": 1}):
        model = served_graph(bundle, "int8")
        assert np.abs(answers(model, bgr, **shape)["probabilities"] - p).max() < 0.03
        assert np.abs(answers(model, rgb, **shape)["probabilities"] - p).max() > 0.1


def test_the_graph_keeps_an_open_batch_and_names_its_layout(plain_bundle: Path) -> None:
    """With an open batch Model Server refuses pictures of another size, which it would else distort."""
    model = served_graph(open_bundle(plain_bundle), "fp32")
    assert model.input("image").get_partial_shape()[0].is_dynamic
    assert str(model.get_parameters()[0].get_layout()) == "[N,H,W,C]"


def test_the_config_is_one_that_model_server_takes(plain_bundle: Path, tmp_path: Path) -> None:
    path = write_repository(tmp_path, open_bundle(plain_bundle), "int8")
    config = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(config, CONFIG_SCHEMA)
    model = config["model_config_list"][0]["config"]
    assert (tmp_path / model["base_path"] / "1" / "model.bin").is_file()
    assert model["target_device"] == "CPU"
    refused = json.loads(json.dumps(config))
    refused["model_config_list"][0]["config"]["mean"] = "1"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(refused, CONFIG_SCHEMA)


def test_the_client_of_the_readme_prepares_as_the_project_does(
    plain_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(plain_bundle)
    write_repository(tmp_path, bundle, "int8")
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "$" not in readme.replace('"$PWD"', "")
    assert bundle.sha256 in readme
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    client: dict[str, Any] = {"__name__": "client"}
    exec(code, client)
    for side in (1, MICRO_SIZE - 10):
        picture = tmp_path / "picture.png"
        photo = cv2.imread(str(lesion_jpg))
        assert photo is not None
        assert cv2.imwrite(str(picture), photo if side == 1 else photo[:side, : side + 7])
        assert np.array_equal(client["prepared"](str(picture))[np.newaxis], decoded(picture, bundle))


def test_a_folder_that_holds_something_is_left_alone(plain_bundle: Path, tmp_path: Path) -> None:
    bundle = open_bundle(plain_bundle)
    kept = tmp_path / "kept.txt"
    kept.write_text("precious")
    for folder in (tmp_path, kept):
        with pytest.raises(SettingError):
            write_repository(folder, bundle, "int8")
    assert list(tmp_path.iterdir()) == [kept]
    with pytest.raises(ResourceError) as caught:
        write_repository(kept / "below", bundle, "int8")
    assert caught.value.code == "not_written"


def test_preprocessing_that_a_graph_has_not_is_refused(tmp_path: Path) -> None:
    for place, changes in enumerate(({"color_constancy": "gray_world"}, {"hair_removal": True})):
        settings = to_plain(Preprocessing(size=MICRO_SIZE, color_constancy="none")) | changes
        folder = plain_micro_bundle(tmp_path / str(place), preprocessing=settings)
        with pytest.raises(SettingError):
            write_repository(tmp_path / "served", open_bundle(folder), "int8")
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize("name", ["../../out", "a/b", "", "..", "two words", "-rf", "ä"])
def test_a_name_that_would_leave_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder = plain_micro_bundle(tmp_path / "bundle", name=name)
    with pytest.raises(BundleError):
        write_repository(tmp_path / "served", open_bundle(folder), "int8")
    assert not (tmp_path / "served").exists()


def test_an_altered_network_is_not_written(tmp_path: Path) -> None:
    folder = plain_micro_bundle(tmp_path / "bundle")
    (folder / "int8.bin").write_bytes(b"0" * (folder / "int8.bin").stat().st_size)
    with pytest.raises(BundleError) as caught:
        write_repository(tmp_path / "served", open_bundle(folder), "int8")
    assert caught.value.code == "bundle_altered"
    assert not (tmp_path / "served").exists()


def test_the_command(plain_bundle: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    command = ("bundle", "ovms", served, "--bundle", plain_bundle, "--precision", "fp32")
    done = run_cli(*command)
    assert (done.returncode, done.stdout) == (0, f"{served / 'config.json'}\n"), done.stderr
    assert "`fp32`" in (served / "README.md").read_text(encoding="utf-8")
    again = run_cli(*command)
    assert (again.returncode, again.stdout) == (2, "")


@pytest.mark.hazard("H-07")
def test_the_command_requires_a_signature_where_one_is_asked_for(
    signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = plain_micro_bundle(tmp_path / "bundle")
    command = ("bundle", "ovms", tmp_path / "served", "--bundle", folder)
    key = {"EDGESKIN_REQUIRE_SIGNATURE": str(signing_keys[1])}
    refused = run_cli(*command, **key)
    assert (refused.returncode, refused.stdout) == (3, "")
    open_bundle(folder).sign(signing_keys[0])
    assert run_cli(*command, **key).returncode == 0
