"""Inference on many images: what the network sees, and older instruction sets."""

from pathlib import Path

import numpy as np
import openvino
import pytest

from edgeskin.bundle.bundle import IR
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from quantize.inference import NATIVE, InferenceError, instruction_sets, load, predict
from tests.conftest import MICRO_SIZE
from train.config import TrainConfig
from train.data.table import read_table, select


@pytest.fixture
def fp32_xml(export_folder: Path, fp32: openvino.Model) -> Path:
    return export_folder / "fp32.xml"


def test_prepared_images_are_preprocessed_as_in_the_runtime(
    val_images: Path, lesion_folder: Path, micro_config: TrainConfig
) -> None:
    file = select(read_table(lesion_folder), "val")[3].image
    photo = load_photo(file, MICRO_SIZE)
    np.testing.assert_array_equal(load(val_images)[3], preprocess(photo.image, micro_config.preprocessing))


@pytest.mark.parametrize("views", [1, 8])
def test_outputs_are_those_of_the_engine(fp32_xml: Path, val_images: Path, views: int) -> None:
    outputs = predict(fp32_xml, val_images, views=views)
    assert outputs.view_logits.shape == (16, views, 8)
    engine = Engine(
        IR.from_bytes(fp32_xml.read_bytes(), fp32_xml.with_suffix(".bin").read_bytes()), views=views
    )
    expected = engine.infer(load(val_images)[5])
    np.testing.assert_array_equal(outputs.view_logits[5], expected.view_logits[0])
    assert outputs.features is not None
    np.testing.assert_array_equal(outputs.features[5], expected.features[0])


def test_older_instruction_sets_agree(fp32_xml: Path, val_images: Path) -> None:
    native = predict(fp32_xml, val_images)
    assert instruction_sets()[0] == NATIVE
    assert native.logits.shape == (16, 8)
    assert native.logits.dtype == np.float32
    for isa in instruction_sets()[1:]:
        older = predict(fp32_xml, val_images, isa)
        np.testing.assert_allclose(older.logits, native.logits, atol=1e-4)
        np.testing.assert_allclose(older.features, native.features, atol=1e-4)


def test_a_failing_process_is_reported(val_images: Path, tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match=r"absent\.xml with ONEDNN_MAX_CPU_ISA=AVX2"):
        predict(tmp_path / "absent.xml", val_images, "AVX2")
