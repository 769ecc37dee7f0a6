"""Datasets and loaders."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.taxonomy import ISIC_2019
from train.config import TrainConfig
from train.data.table import Sample, read_table, select
from train.input.dataset import LesionData, LesionImages, SoftLabelled, batches


@pytest.fixture(scope="module")
def samples(lesion_folder: Path) -> list[Sample]:
    return read_table(lesion_folder)


def test_each_image_comes_with_its_own_teachers(samples: list[Sample], micro_config: TrainConfig) -> None:
    train = select(samples, "train")
    soft = np.repeat(np.arange(len(train), dtype=np.float32)[:, None], 8, axis=1)
    images = LesionImages(train, ISIC_2019, Preprocessing(size=64))
    order = list(reversed(range(len(train))))
    loaded = list(batches(SoftLabelled(images, soft), 8, workers=0, sampler=order))
    assert torch.cat([rows for *_, rows in loaded])[:, 0].tolist() == order
    assert torch.cat([labels for _, labels, _ in loaded]).tolist() == [images[i][1] for i in order]


def test_training_images_come_evenly_from_the_table(samples: list[Sample], micro_config: TrainConfig) -> None:
    train = select(samples, "train")
    data = LesionData(train, select(samples, "val"), micro_config)
    images = data.training_images(8)
    assert (images.shape, images.dtype) == ((8, 3, 64, 64), torch.uint8)
    everything = LesionImages(train, ISIC_2019, micro_config.preprocessing)
    assert all(torch.equal(image, everything[4 * i][0]) for i, image in enumerate(images))
