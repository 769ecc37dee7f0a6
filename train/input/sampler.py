"""Which images an epoch holds, and in which order."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from train.config import SamplerConfig


class EpochSampler(Sampler[int]):
    """Every image once, cancers ``cancer_oversampling`` times, no class beyond ``epoch_cap`` images.

    What a cap leaves out changes from epoch to epoch. The order depends on the seed and the epoch
    alone, so that a resumed run continues as the first would have.

    labels: (n,) class indices. is_cancer: (C,) booleans.
    """

    def __init__(
        self, labels: Sequence[int], is_cancer: Sequence[bool], config: SamplerConfig, seed: int
    ) -> None:
        self._by_class = [np.flatnonzero(np.asarray(labels) == c) for c in range(len(is_cancer))]
        self._repeats = [config.cancer_oversampling if cancer else 1 for cancer in is_cancer]
        self._cap = config.epoch_cap or len(labels)
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self._epoch = epoch

    def counts(self) -> list[int]:
        """Images of each class in one epoch, (C,); what the class weights are computed from."""
        return [
            min(len(members), self._cap) * repeats
            for members, repeats in zip(self._by_class, self._repeats, strict=True)
        ]

    def __len__(self) -> int:
        return sum(self.counts())

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self._seed, self._epoch))
        drawn = [
            np.tile(rng.permutation(members)[: self._cap], repeats)
            for members, repeats in zip(self._by_class, self._repeats, strict=True)
        ]
        return iter(rng.permutation(np.concatenate(drawn)).tolist())
