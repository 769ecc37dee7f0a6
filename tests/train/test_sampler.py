"""What an epoch holds: counts, caps, oversampling, and the same order again for the same seed and epoch."""

from collections import Counter

import numpy as np
import pytest

from train.config import SamplerConfig
from train.input.sampler import EpochSampler

LABELS = [0] * 5 + [1] * 20 + [2] * 3
IS_CANCER = [True, False, True]


def sampler(config: SamplerConfig, seed: int = 1) -> EpochSampler:
    return EpochSampler(LABELS, IS_CANCER, config, seed)


def epoch(source: EpochSampler, number: int) -> list[int]:
    source.set_epoch(number)
    return list(source)


def test_without_settings_every_image_once_in_another_order() -> None:
    drawn = epoch(sampler(SamplerConfig()), 0)
    assert sorted(drawn) == list(range(28))
    assert drawn != list(range(28))


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        (SamplerConfig(), [5, 20, 3]),
        (SamplerConfig(epoch_cap=4), [4, 4, 3]),
        (SamplerConfig(cancer_oversampling=2), [10, 20, 6]),
        (SamplerConfig(cancer_oversampling=3, epoch_cap=4), [12, 4, 9]),
        (SamplerConfig(epoch_cap=1000), [5, 20, 3]),
    ],
)
def test_counts_are_what_is_drawn(config: SamplerConfig, counts: list[int]) -> None:
    source = sampler(config)
    drawn = Counter(LABELS[i] for i in epoch(source, 2))
    assert [drawn[c] for c in range(3)] == counts
    assert source.counts() == counts
    assert len(source) == sum(counts)


def test_oversampled_cancers_all_come_as_often() -> None:
    drawn = Counter(epoch(sampler(SamplerConfig(cancer_oversampling=2)), 0))
    assert {drawn[i] for i in range(28) if LABELS[i] != 1} == {2}
    assert {drawn[i] for i in range(28) if LABELS[i] == 1} == {1}


def test_a_cap_draws_again_every_epoch_and_reaches_everything() -> None:
    source = sampler(SamplerConfig(epoch_cap=4))
    nevi = [frozenset(i for i in epoch(source, number) if LABELS[i] == 1) for number in range(40)]
    assert all(len(drawn) == 4 for drawn in nevi)  # none twice within an epoch
    assert len(set(nevi)) > 30
    assert frozenset.union(*nevi) == set(np.flatnonzero(np.array(LABELS) == 1))


def test_seed_and_epoch_alone_decide() -> None:
    config = SamplerConfig(cancer_oversampling=2, epoch_cap=4)
    first = sampler(config)
    run = [epoch(first, number) for number in range(4)]
    resumed = sampler(config)
    assert epoch(resumed, 3) == run[3]
    assert list(resumed) == run[3]  # asking again changes nothing
    assert run[0] != run[1]
    assert epoch(sampler(config, seed=2), 0) != run[0]
