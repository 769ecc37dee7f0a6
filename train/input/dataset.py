"""From the table to batches: photos through the runtime's own preprocessing, then augmentation."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import v2

from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.photo.decode import load_photo
from train.config import TrainConfig
from train.data.table import Sample
from train.distill.soft_labels import Logits
from train.input.augment import MARGIN, augmentation
from train.input.sampler import EpochSampler
from train.models.lesion_net import IMAGENET_MEAN, IMAGENET_STD


class LesionImages(Dataset[tuple[Tensor, int]]):
    """uint8 (3, s, s) and the class index. A picture that cannot be read raises PhotoError."""

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        transform: v2.Transform | None = None,
    ) -> None:
        self._samples = samples
        self._index = {name: i for i, name in enumerate(classes)}
        self._preprocessing = preprocessing
        self._transform = transform

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        sample = self._samples[position]
        photo = load_photo(sample.image, self._preprocessing.size)
        image = torch.from_numpy(preprocess(photo.image, self._preprocessing)).permute(2, 0, 1)
        if self._transform is not None:
            image = self._transform(image)
        return image, self._index[sample.label]


class SoftLabelled(Dataset[tuple[Tensor, int, Tensor]]):
    """Images with their class index and their teachers' logits. soft: (n, C)."""

    def __init__(self, images: LesionImages, soft: Logits) -> None:
        self._images, self._soft = images, torch.from_numpy(soft)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, position: int) -> tuple[Tensor, int, Tensor]:
        return *self._images[position], self._soft[position]


def batches(
    images: LesionImages | SoftLabelled,
    batch_size: int,
    workers: int,
    sampler: Sampler[int] | None = None,
    seed: int = 0,
) -> DataLoader[Any]:
    """Batches in the sampler's order (dropping a last short one), or in the table's order without one.

    seed: of the workers' augmentation. With workers, OpenCV is left at one thread in this process too.
    """
    if workers:
        # A forked worker that changes the number of threads waits for ever for those that its parent had.
        cv2.setNumThreads(1)
    return DataLoader(
        images,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=sampler is not None,
        worker_init_fn=_one_thread,
        # Its own, so that starting an epoch, or starting it again, leaves the global one as it was.
        generator=torch.Generator().manual_seed(seed),
        pin_memory=torch.cuda.is_available(),
    )


def _one_thread(worker: int) -> None:
    # The training step wants the cores; a worker's OpenCV would otherwise start a thread for each.
    cv2.setNumThreads(1)


class LesionData(pl.LightningDataModule):
    """Training batches at the size of the epoch's stage, validation always as it is served.

    soft: the teachers' logits of the training images (n, C), which then come third in a batch.
    """

    def __init__(
        self,
        train: Sequence[Sample],
        val: Sequence[Sample],
        config: TrainConfig,
        soft: Logits | None = None,
    ) -> None:
        super().__init__()
        self._train, self._val, self._config, self._soft = train, val, config, soft
        index = {name: i for i, name in enumerate(config.classes)}
        self.sampler = EpochSampler(
            [index[sample.label] for sample in train],
            [name in config.cancer for name in config.classes],
            config.sampler,
            config.seed,
        )

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer

    def normalized_training_images(self, count: int) -> Tensor:
        """float32 (n, 3, s, s), ImageNet-normalised: up to ``count``, evenly from the table, as served."""
        evenly = self._train[:: max(1, len(self._train) // count)][:count]
        images = LesionImages(evenly, self._config.classes, self._config.preprocessing)
        stacked = torch.stack([images[position][0] for position in range(len(images))])
        return v2.functional.normalize(stacked.float() / 255, IMAGENET_MEAN, IMAGENET_STD)

    def train_dataloader(self) -> DataLoader[Any]:
        epoch = self._trainer().current_epoch
        size = self._config.stage_of(epoch).image_size
        prepared = dataclasses.replace(self._config.preprocessing, size=round(size * MARGIN))
        images = LesionImages(
            self._train, self._config.classes, prepared, augmentation(self._config.augment, size)
        )
        labelled = images if self._soft is None else SoftLabelled(images, self._soft)
        seed = self._config.seed_of(epoch, self._trainer().global_rank)
        return batches(labelled, self._config.batch_size, self._config.workers, self.sampler, seed)

    def val_dataloader(self) -> DataLoader[Any]:
        images = LesionImages(self._val, self._config.classes, self._config.preprocessing)
        return batches(images, self._config.batch_size, self._config.workers)
