"""Each runtime runs in a process of its own and gives what the engine gives."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.speed.runtime_client import running
from edgeskin.bundle.bundle import IR
from edgeskin.errors import EdgeskinError
from edgeskin.imaging.dihedral import transform
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from tests.conftest import MICRO_SIZE
from tests.edgeskin.test_architecture import modules_after


@pytest.fixture
def folder(shared_micro_bundle: Path, tmp_path: Path) -> Path:
    for part in ("xml", "bin"):
        (tmp_path / f"fp32.{part}").write_bytes((shared_micro_bundle / f"fp32.{part}").read_bytes())
    (tmp_path / "network.json").write_text(json.dumps({"size": MICRO_SIZE, "cancer": [0, 2, 3, 7]}))
    return tmp_path


def test_a_runtime_measures_itself_and_gives_what_the_engine_gives(folder: Path, lesion_jpg: Path) -> None:
    prepared = preprocess(load_photo(lesion_jpg, MICRO_SIZE).image, Preprocessing(MICRO_SIZE, "none"))
    views = np.stack([transform(prepared, view) for view in range(8)])
    np.save(folder / "views.npy", views[None])
    engine = Engine(
        IR.from_bytes(*((folder / f"fp32.{part}").read_bytes() for part in ("xml", "bin"))), views=8
    )
    with running("openvino fp32", folder, 1) as runtime:
        (logits,) = runtime.ask(do="logits", views=str(folder / "views.npy"))
        np.testing.assert_allclose(logits, engine.infer(prepared).logits[0], atol=1e-4)
        assert len(runtime.ask(do="infer", views=str(folder / "views.npy"), repeats=3)) == 3
        assert len(runtime.ask(do="assess", photo=str(lesion_jpg), repeats=2)) == 2
        assert runtime.ask(do="folder", photo=str(lesion_jpg), photos=4) > 0
        assert 20 < runtime.ask(do="peak") < 1000


def test_a_runtime_that_does_not_start_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(EdgeskinError, match="openvino fp32 has ended"),
        running("openvino fp32", tmp_path, 1),
    ):
        pass


def test_a_refused_photo_is_no_measurement(tmp_path: Path) -> None:
    """The quality gate refuses a grey image: timed, it would look like a fast answer."""
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((450, 600, 3), 128, np.uint8))
    with (
        running("edgeskin lite int8", tmp_path, 1) as runtime,
        pytest.raises(EdgeskinError, match="edgeskin lite int8 has ended"),
    ):
        runtime.ask(do="assess", photo=str(tmp_path / "grey.png"), repeats=1)


def test_torch_is_timed_without_the_other_engines(tmp_path: Path) -> None:
    """What edgeskin's quantization imports would slow its whole process down."""
    facts = {"backbone": "test_efficientnet", "classes": 8}
    (tmp_path / "network.json").write_text(json.dumps(facts))
    code = (
        "from contextlib import suppress; from pathlib import Path\n"
        "from benchmarks.speed import runtime_process\n"
        f"with suppress(FileNotFoundError): runtime_process.torch(compiled=False)(Path({str(tmp_path)!r}), 1)"
    )
    loaded = modules_after(code)
    assert "torch" in loaded
    assert loaded.isdisjoint(["openvino", "onnxruntime", "onnx", "nncf", "lightning"])
