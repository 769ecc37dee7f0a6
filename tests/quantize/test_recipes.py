"""The search for a recipe that passes the gate, on a micro-network."""

from pathlib import Path

import numpy as np
import openvino
import pytest

from quantize import gate, recipes
from quantize.fitting.decision_rules import fit_decision_rules
from quantize.fitting.labels import labels_of
from quantize.inference import Images, instruction_sets, predict
from quantize.recipes import QuantizationInputs, search
from train.config import TrainConfig
from train.data.table import Sample, read_table, select
from train.models.lesion_net import ServedNet

pytestmark = pytest.mark.hazard("H-09")


@pytest.fixture(scope="module")
def inputs(
    served: ServedNet,
    fp32: openvino.Model,
    export_folder: Path,
    train_samples: list[Sample],
    train_images: Images,
    val_images: Path,
    lesion_folder: Path,
    micro_config: TrainConfig,
) -> QuantizationInputs:
    labels = labels_of(select(read_table(lesion_folder), "val"), micro_config.classes, micro_config.cancer)
    outputs = predict(export_folder / "fp32.xml", val_images, views=micro_config.preprocessing.views)
    return QuantizationInputs(
        config=micro_config,
        seed=0,
        served=served,
        fp32=fp32,
        train=train_samples,
        calibration=train_images,
        cancers=train_images[:8],
        validation=val_images,
        labels=labels,
        outputs=outputs,
        rules=fit_decision_rules(outputs, labels, "temperature"),
    )


def two_recipes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names = list(recipes.RECIPES)[:2]
    monkeypatch.setattr(recipes, "RECIPES", {name: recipes.RECIPES[name] for name in names})
    return names


def set_limits(monkeypatch: pytest.MonkeyPatch, limit: float) -> None:
    for name in vars(gate):
        if name.startswith("MAX_"):
            monkeypatch.setattr(gate, name, limit)


def test_the_first_recipe_that_passes_ends_the_search(
    inputs: QuantizationInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = two_recipes(monkeypatch)
    set_limits(monkeypatch, 1.0)
    ((attempt, outputs),) = search(inputs, tmp_path)
    assert (attempt.name, attempt.passed, attempt.failed_checks) == (names[0], True, [])
    assert [comparison.isa for comparison in attempt.comparisons] == list(instruction_sets())
    files = [tmp_path / "int8.xml", tmp_path / "int8.bin"]
    assert attempt.bytes == sum(file.stat().st_size for file in files)
    assert attempt.counts.int8_convolutions > 0
    assert attempt.rules.calibration.method == "temperature"
    again = predict(files[0], inputs.validation, views=inputs.config.preprocessing.views)
    np.testing.assert_array_equal(outputs.view_logits, again.view_logits)


def test_every_recipe_is_tried_while_none_passes(
    inputs: QuantizationInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = two_recipes(monkeypatch)
    set_limits(monkeypatch, 1.0)
    monkeypatch.setattr(gate, "MAX_OTHER_CLASS", -1.0)
    attempts = [attempt for attempt, _ in search(inputs, tmp_path)]
    assert [attempt.name for attempt in attempts] == names
    for attempt in attempts:
        # Older instruction sets are not run after a failure.
        assert [comparison.isa for comparison in attempt.comparisons] == ["native"]
        assert attempt.failed_checks == ["share given another class"]
    # The second recipe leaves more convolutions in FP32.
    assert attempts[1].counts.int8_convolutions < attempts[0].counts.int8_convolutions
