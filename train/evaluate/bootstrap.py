"""Intervals of measures: a bootstrap over lesions, and the exact interval of small counts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import beta

from train.evaluate.metrics import Bools, Float64s, recall

SMALL_COUNT = 30
"""The interval of a share is exact when fewer are counted, or fewer are not."""


@dataclass(frozen=True)
class Estimate:
    """A measure with its 95% interval; nan where undefined.

    Attributes:
        value: The measure.
        low: Lower end of the interval.
        high: Upper end of the interval.
        undefined: Bootstrap replicates without a value; the interval is that of the rest.
        exact: Whether the interval is Clopper and Pearson's instead of the bootstrap's.
    """

    value: float
    low: float
    high: float
    undefined: int = 0
    exact: bool = False


def bootstrap_weights(groups: Sequence[str], replicates: int = 2000, seed: int = 0) -> Float64s:
    """How often each image occurs in each replicate when groups are drawn with replacement.

    As many groups are drawn as there are, each with all its images (the cluster bootstrap; Field & Welsh, J.
    R. Stat. Soc. B 69, 2007). The number of images may vary between replicates.

    Args:
        groups: A name for each image (n,), such as its lesion id.
        replicates: R.
        seed: Seed of the draws.

    Returns:
        (R, n).
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    even = np.full(len(names), 1 / len(names))
    counts = np.random.default_rng(seed).multinomial(len(names), even, size=replicates)
    return counts[:, group_of].astype(np.float64)


def estimate(measure: Callable[..., Float64s], *data: Any, weights: Float64s) -> Estimate:
    """``measure(*data)`` with the interval of its values over the replicates ``weights`` (R, n)."""
    values = measure(*data, weights=weights)
    low, high = interval(values)
    return Estimate(float(measure(*data)), low, high, int(np.isnan(values).sum()))


def basic_interval(estimate: Estimate) -> Estimate:
    """The basic bootstrap interval, 2 value - high to 2 value - low, at least 0 (Davison & Hinkley, 1997).

    It suits a measure that noise can only raise, such as a calibration error, whose replicates are biased
    upwards.
    """
    low, high = 2 * estimate.value - estimate.high, 2 * estimate.value - estimate.low
    return replace(estimate, low=max(0.0, low), high=max(0.0, high))


def estimate_share(of: Bools, found: Bools, weights: Float64s) -> Estimate:
    """The share of ``of`` (n,) that is ``found`` (n,), such as a recall.

    The interval is exact (Clopper & Pearson, Biometrika 26, 1934) where fewer than SMALL_COUNT are found, or
    are not: there the bootstrap's interval is too narrow, and at 0 and 1 it has no width.

    Args:
        of: What is counted.
        found: What counts as a hit.
        weights: Bootstrap replicates (R, n).
    """
    total, hits = int(of.sum()), int((of & found).sum())
    if not total or min(hits, total - hits) >= SMALL_COUNT:
        return estimate(recall, of, found, weights=weights)
    low = beta.ppf(0.025, hits, total - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, total - hits) if hits < total else 1.0
    return Estimate(hits / total, float(low), float(high), exact=True)


def interval(values: Float64s) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of (R,) values without the undefined ones; (nan, nan) if all are."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def text(estimate: Estimate) -> str:
    """Value and interval, such as ``0.911 (0.895 to 0.926)``."""
    if math.isnan(estimate.value):
        return "undefined"
    undefined = f"; undefined in {estimate.undefined}" if estimate.undefined else ""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}{undefined})"
