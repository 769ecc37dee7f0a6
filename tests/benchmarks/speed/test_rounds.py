"""Rounds alternate, and times are paired by their place."""

import time
from functools import partial

import pytest

from benchmarks.speed.rounds import alternate, laps, paired_rounds, spread


def test_every_second_round_is_reversed() -> None:
    assert list(alternate("ab", 3)) == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]


def test_times_are_of_the_rounds_that_count() -> None:
    calls: list[str] = []
    runs = {name: partial(calls.append, name) for name in "ab"}
    times = paired_rounds(runs, 3, warm_up=2, repeats=2, prime=True)
    assert {name: len(values) for name, values in times.items()} == {"a": 6, "b": 6}
    # Five rounds of one untimed and two timed calls each.
    assert "".join(calls) == "aaabbb" + "bbbaaa" + "aaabbb" + "bbbaaa" + "aaabbb"


def test_laps_are_milliseconds() -> None:
    (lap,) = laps(partial(time.sleep, 0.01), 1)
    assert 10 <= lap < 1000


def test_a_spread_is_median_and_quartiles() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == {"median": 3, "quartile_1": 1.5, "quartile_3": 4.5, "n": 5}
    assert spread([7.0]) == pytest.approx({"median": 7, "quartile_1": 7, "quartile_3": 7, "n": 1})
