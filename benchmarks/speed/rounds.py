"""Paired rounds: everything that is compared runs once a round, so that a drift of the machine hits all."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import Any, TypeVar

T = TypeVar("T")
K = TypeVar("K")


def alternate(items: Iterable[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Yield each item once a round, in the reverse order in every second round.

    Yields:
        The number of the round, from 0 on, and the item.
    """
    ordered = list(items)
    for number in range(rounds):
        for item in ordered[:: -1 if number % 2 else 1]:
            yield number, item


def paired_rounds(
    runs: Mapping[K, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 1,
    repeats: int = 1,
    prime: bool = False,
) -> dict[K, list[float]]:
    """Time functions in alternating rounds.

    Args:
        runs: What is timed.
        rounds: That count.
        warm_up: Rounds before them that do not count.
        repeats: Timed calls of each function in a round.
        prime: Whether each function is called once untimed before it is timed, so that the CPU's caches hold
            its own data.

    Returns:
        Milliseconds of each call, ``rounds * repeats`` for each function. Equal positions are paired.
    """
    times: dict[K, list[float]] = {name: [] for name in runs}
    for number, name in alternate(runs, warm_up + rounds):
        if prime:
            runs[name]()
        called = laps(runs[name], repeats)
        if number >= warm_up:
            times[name] += called
    return times


def laps(run: Callable[[], Any], repeats: int) -> list[float]:
    """Time a function: milliseconds of each call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - started))
    return times


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Summarize samples: median, quartiles and their number. The quartiles of one sample are itself."""
    low, _, high = quantiles(samples, n=4) if len(samples) > 1 else 3 * list(samples)
    return {"median": median(samples), "quartile_1": low, "quartile_3": high, "n": len(samples)}
