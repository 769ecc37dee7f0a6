"""Cores are timed where there are two; times are compared within one state of them."""

import os

import pytest

from benchmarks.quickness import ratios_of
from benchmarks.speed import hand_over

cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@pytest.mark.skipif(cores < 2, reason="one core")
def test_two_cores_are_some_way_apart() -> None:
    nanoseconds = hand_over.hand_over_ns()
    assert nanoseconds is not None
    assert 0 < nanoseconds < 1e6


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system chooses no core")
def test_one_core_hands_nothing_over() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert hand_over.hand_over_ns() is None
    finally:
        os.sched_setaffinity(0, allowed)


def test_what_tables_tell() -> None:
    assert hand_over.told([None]) == "one core"
    assert hand_over.told([]) == "how far apart the cores were is not known"
    assert hand_over.told([32.4, 38.6]) == "cores 32 to 39 ns apart"
    together_and_apart = "cores 32 to 200 ns apart, without a cache in common 1 times of 2"
    assert hand_over.told([32.4, 200.0]) == together_and_apart


def test_ratios_are_of_rounds_in_one_state() -> None:
    """In the second round the cores of ours shared a cache and theirs did not."""

    def row(times: list[float], apart: list[float] | None) -> dict[str, dict[str, list[float]] | None]:
        return {"infer_ms": {"rounds": times}, "hand_over_ns": {"rounds": apart} if apart else None}

    ours = row([100, 100, 160], [30, 40, 200])
    assert ratios_of(row([150, 300, 200], [50, 210, 190]), ours) == [1.5, 1.25]
    assert ratios_of(row([150, 300, 200], None), row([100, 100, 160], None)) == [1.5, 3, 1.25]
