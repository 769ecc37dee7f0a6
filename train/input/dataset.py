"""From the table to batches: prepared photos, augmentation and data loaders."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import v2

from edgeskin.imaging.preprocess import Preprocessing
from train.config import TrainConfig
from train.data.table import Sample, targets
from train.distill.soft_labels import Logits
from train.input.augment import MARGIN, augmentation
from train.input.photos import prepared
from train.input.sampler import EpochSampler


class LesionImages(Dataset[tuple[Tensor, int]]):
    """Images uint8 (3, s, s) with their class index.

    Args:
        samples: The samples; each label is in ``classes``.
        classes: Codes of the classes.
        preprocessing: How photos are preprocessed.
        transform: Augmentation of a prepared image.

    Raises:
        DataError: A label is not in ``classes``.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        transform: v2.Transform | None = None,
    ) -> None:
        """Look up the class indices; no picture is read yet."""
        self._samples = samples
        self._targets = targets(samples, classes).tolist()
        self._preprocessing = preprocessing
        self._transform = transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self._samples)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """An image and its class index; PhotoError if it cannot be read."""
        image = torch.from_numpy(prepared(self._samples[position], self._preprocessing)).permute(2, 0, 1)
        if self._transform is not None:
            image = self._transform(image)
        return image, self._targets[position]


class SoftLabelled(Dataset[tuple[Tensor, int, Tensor]]):
    """Images with their class index and their teachers' logits.

    Args:
        images: The images, n.
        soft: The teachers' logits (n, C).
    """

    def __init__(self, images: LesionImages, soft: Logits) -> None:
        """Join images and logits."""
        self._images, self._soft = images, torch.from_numpy(soft)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def __getitem__(self, position: int) -> tuple[Tensor, int, Tensor]:
        """An image, its class index and its teachers' logits (C,)."""
        return *self._images[position], self._soft[position]


def batches(
    images: LesionImages | SoftLabelled,
    batch_size: int,
    workers: int,
    sampler: Sampler[int] | Sequence[int] | None = None,
    seed: int = 0,
) -> DataLoader[Any]:
    """A loader of batches.

    With workers, OpenCV is limited to one thread in this process too.

    Args:
        images: The images.
        batch_size: Images a batch.
        workers: Processes that prepare images; 0: this one does.
        sampler: The order. A last batch that is not full is dropped. Without a sampler all images come in the
            order of the table.
        seed: Of the workers' augmentation.
    """
    if workers:
        # A forked worker that changes the number of threads deadlocks on the threads of its parent.
        cv2.setNumThreads(1)
    return DataLoader(
        images,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=sampler is not None,
        worker_init_fn=_use_one_thread,
        # A generator of its own, so that starting an epoch leaves the global one unchanged.
        generator=torch.Generator().manual_seed(seed),
        pin_memory=torch.cuda.is_available(),
    )


def _use_one_thread(worker: int) -> None:
    # The training step needs the cores; OpenCV would start a thread for each of them in every worker.
    cv2.setNumThreads(1)


class LesionData(pl.LightningDataModule):
    """Training batches at the image size of the epoch's stage, and validation batches as they are served.

    Args:
        train: Training samples, n.
        val: Validation samples.
        config: The settings.
        soft: The teachers' logits of the training samples (n, C), the third part of a batch then.
    """

    def __init__(
        self,
        train: Sequence[Sample],
        val: Sequence[Sample],
        config: TrainConfig,
        soft: Logits | None = None,
    ) -> None:
        """Build the sampler."""
        super().__init__()
        self._train, self._val, self._config, self._soft = train, val, config, soft
        is_cancer = [name in config.cancer for name in config.classes]
        self.sampler = EpochSampler(targets(train, config.classes), is_cancer, config.sampler, config.seed)

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer

    def training_images(self, count: int) -> Tensor:
        """Up to ``count`` training images, evenly from the table, as they are served: uint8 (n, 3, s, s)."""
        chosen = self._train[:: max(1, len(self._train) // count)][:count]
        images = LesionImages(chosen, self._config.classes, self._config.preprocessing)
        return torch.stack([images[position][0] for position in range(len(images))])

    def train_dataloader(self) -> DataLoader[Any]:
        """The batches of the current epoch."""
        epoch = self._trainer().current_epoch
        size = self._config.stage_of(epoch).image_size
        enlarged = dataclasses.replace(self._config.preprocessing, size=round(size * MARGIN))
        images = LesionImages(
            self._train, self._config.classes, enlarged, augmentation(self._config.augment, size)
        )
        labelled = images if self._soft is None else SoftLabelled(images, self._soft)
        seed = self._config.seed_of(epoch, self._trainer().global_rank)
        return batches(labelled, self._config.batch_size, self._config.workers, self.sampler, seed)

    def val_dataloader(self) -> DataLoader[Any]:
        """All validation images in order."""
        images = LesionImages(self._val, self._config.classes, self._config.preprocessing)
        return batches(images, self._config.batch_size, self._config.workers)
