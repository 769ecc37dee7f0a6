"""The comparison with peers measures what it says."""

import importlib.metadata
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from edgeskin.bundle.ir import ir_of

from benchmarks.speed import runtimes as peers
from edgeskin.errors import EdgeskinError
from edgeskin.imaging.dihedral import transform
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from tests.conftest import MICRO_SIZE
from tests.edgeskin.test_imports import modules_after


@pytest.fixture
def folder(shared_micro_bundle: Path, tmp_path: Path) -> Path:
    for part in ("xml", "bin"):
        (tmp_path / f"fp32.{part}").write_bytes((shared_micro_bundle / f"fp32.{part}").read_bytes())
    (tmp_path / "peers.json").write_text(json.dumps({"size": MICRO_SIZE, "cancer": [0, 2, 3, 7]}))
    return tmp_path


def test_a_way_runs_in_its_own_process_and_says_what_the_engine_says(folder: Path, lesion_jpg: Path) -> None:
    prepared = preprocess(load_photo(lesion_jpg, MICRO_SIZE).image, Preprocessing(MICRO_SIZE, "none"))
    views = np.stack([transform(prepared, view) for view in range(8)])
    np.save(folder / "pictures.npy", views[None])
    engine = Engine(ir_of(*((folder / f"fp32.{part}").read_bytes() for part in ("xml", "bin"))), views=8)
    with peers.running("openvino fp32", folder, 1) as peer:
        (said,) = peer.ask(do="logits", pictures=str(folder / "pictures.npy"))
        np.testing.assert_allclose(said, engine.infer(prepared).logits, atol=1e-4)
        assert len(peer.ask(do="infer", pictures=str(folder / "pictures.npy"), repeats=3)) == 3
        assert len(peer.ask(do="answer", photo=str(lesion_jpg), repeats=2)) == 2
        assert peer.ask(do="folder", photo=str(lesion_jpg), photos=4) > 0
        assert 20 < peer.ask(do="peak") < 1000


def test_a_way_that_does_not_start_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(EdgeskinError, match="openvino fp32 has ended"),
        peers.running("openvino fp32", tmp_path, 1),
    ):
        pass


def test_agreement_of_a_case_worked_by_hand() -> None:
    """Two classes decide the second image: MEL by ln 3 over NV, against NV by as much: 0.75 and 0.25."""
    reference = np.full((2, 8), -40.0)
    reference[:, 0] = 0
    other = reference.copy()
    reference[1, 1], other[1, 1] = -np.log(3), np.log(3)
    found = peers.agreement(other, reference, [0, 2, 3, 7])
    assert found["same_class"] == 0.5
    assert found["largest"] == pytest.approx(0.5)
    assert found["median"] == pytest.approx(0.25)
    assert found["largest_logit"] == pytest.approx(2 * np.log(3))


def test_what_is_installed_counts_what_that_needs_once() -> None:
    def alone(name: str) -> float:
        files = [Path(str(file.locate())) for file in importlib.metadata.files(name) or ()]
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

    needs_numpy = peers.installed_mb(("opencv-python-headless",))
    assert needs_numpy == pytest.approx(alone("opencv-python-headless") + alone("numpy"))
    assert peers.installed_mb(("opencv-python-headless", "NumPy")) == needs_numpy


def test_a_way_is_asked_until_the_cores_share_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apart before the first, together after it, apart after the second, together after the third and on."""

    class Fake:
        said = 0

        def ask(self, **command: object) -> list[float]:
            self.said += 1
            return [self.said]

    apart = iter([200.0, 50.0, 200.0, 50.0, 51.0])
    monkeypatch.setattr(peers, "hand_over_ns", lambda: next(apart))
    assert peers.asked_together(Fake(), do="infer") == ([4], [50, 51])
    monkeypatch.setattr(peers, "PATIENCE", 0)
    monkeypatch.setattr(peers, "hand_over_ns", lambda: 200.0)
    assert peers.asked_together(Fake(), do="infer") == ([1], [200, 200])
    monkeypatch.setattr(peers, "hand_over_ns", lambda: None)
    assert peers.asked_together(Fake(), do="infer") == ([1], [])


def test_an_answer_that_is_none_is_no_measurement(tmp_path: Path) -> None:
    """A gate turns a grey picture away: timed, it would look like a quick answer."""
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((450, 600, 3), 128, np.uint8))
    with (
        peers.running("edgeskin lite int8", tmp_path, 1) as peer,
        pytest.raises(EdgeskinError, match="edgeskin lite int8 has ended"),
    ):
        peer.ask(do="answer", photo=str(tmp_path / "grey.png"), repeats=1)


def test_torch_is_timed_without_the_other_engines(tmp_path: Path) -> None:
    """Its whole process would else be slowed by what edgeskin's quantization imports."""
    told = {"backbone": "test_efficientnet", "classes": 8}
    (tmp_path / "peers.json").write_text(json.dumps(told))
    code = (
        "from pathlib import Path; from benchmarks import peer; from contextlib import suppress\n"
        f"with suppress(FileNotFoundError): peer.torch(compiled=False)(Path({str(tmp_path)!r}), 1)"
    )
    loaded = modules_after(code)
    assert "torch" in loaded
    assert loaded.isdisjoint(["openvino", "onnxruntime", "onnx", "nncf", "lightning"])
