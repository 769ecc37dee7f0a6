"""`build_loss` makes the loss that the settings name."""

import pytest

from edgeskin.errors import SettingError
from train.config import CrossEntropyConfig, MaxRecallConfig, TrainConfig
from train.losses import build_loss
from train.losses.cross_entropy import CrossEntropyLoss
from train.losses.max_recall import MaxRecallLoss

COUNTS = [3100, 9000, 2300, 600, 1900, 170, 180, 440]


def test_max_recall_is_the_default() -> None:
    assert isinstance(build_loss(TrainConfig(), COUNTS), MaxRecallLoss)
    loss = build_loss(TrainConfig(loss=MaxRecallConfig(temperature=2.0)), COUNTS)
    assert isinstance(loss, MaxRecallLoss)
    assert loss.config.temperature == 2


def test_cross_entropy() -> None:
    loss = build_loss(TrainConfig(loss=CrossEntropyConfig(label_smoothing=0.1)), COUNTS)
    assert isinstance(loss, CrossEntropyLoss)
    assert loss.label_smoothing == 0.1
    assert loss.weight is None


@pytest.mark.parametrize("loss", [MaxRecallConfig(), CrossEntropyConfig()])
def test_a_class_without_images_is_refused(loss: MaxRecallConfig | CrossEntropyConfig) -> None:
    with pytest.raises(SettingError, match="AK") as caught:
        build_loss(TrainConfig(loss=loss), [1, 1, 1, 0, 1, 1, 1, 1])
    assert not any(name in str(caught.value) for name in ("MEL", "NV", "SCC"))
