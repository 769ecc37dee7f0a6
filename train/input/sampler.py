"""Which images an epoch holds, and in which order."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from train.config import SamplerConfig


class EpochSampler(Sampler[int]):
    """Every image once, cancers ``cancer_oversampling`` times, at most ``epoch_cap`` images of a class.

    A cap keeps other images in each epoch. The order depends only on the seed and the epoch, so that a
    resumed run continues as it would have.

    Args:
        labels: Class indices (n,).
        is_cancer: Whether each class is a cancer (C,).
        config: Oversampling and cap.
        seed: Seed of the order.
    """

    def __init__(
        self,
        labels: Sequence[int] | npt.NDArray[np.int64],
        is_cancer: Sequence[bool],
        config: SamplerConfig,
        seed: int,
    ) -> None:
        """Group the images by class."""
        self._by_class = [np.flatnonzero(np.asarray(labels) == c) for c in range(len(is_cancer))]
        self._repeats = [config.cancer_oversampling if cancer else 1 for cancer in is_cancer]
        self._cap = config.epoch_cap or len(labels)
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch. Lightning calls this before each."""
        self._epoch = epoch

    def counts(self) -> list[int]:
        """Images of each class in an epoch (C,), which class weights are computed from."""
        return [
            min(len(members), self._cap) * repeats
            for members, repeats in zip(self._by_class, self._repeats, strict=True)
        ]

    def __len__(self) -> int:
        """Images in an epoch."""
        return sum(self.counts())

    def __iter__(self) -> Iterator[int]:
        """Positions of the images, in the epoch's order."""
        rng = np.random.default_rng((self._seed, self._epoch))
        drawn = [
            np.tile(rng.permutation(members)[: self._cap], repeats)
            for members, repeats in zip(self._by_class, self._repeats, strict=True)
        ]
        return iter(rng.permutation(np.concatenate(drawn)).tolist())
