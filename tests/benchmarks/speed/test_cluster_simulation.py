"""The simulated cluster against cases worked by hand, and against a simulation of every picture."""

import heapq
import math

import numpy as np
import pytest

from benchmarks.speed.cluster_simulation import (
    Cluster,
    Driver,
    Outcome,
    draw_parts,
    part_sizes,
    simulate,
)

SIZE = 128


def run(pictures: int, picture_s: float, cluster: Cluster, driver: Driver | None = None) -> Outcome:
    """Simulate pictures that all take as long, in parts of 128."""
    sizes = part_sizes(pictures, SIZE)
    return simulate(sizes, [size * picture_s for size in sizes], cluster, driver or Driver())


def test_parts_hold_all_pictures() -> None:
    assert part_sizes(300, 128) == [128, 128, 44]
    assert part_sizes(256, 128) == [128, 128]
    assert part_sizes(5, 128) == [5]


def test_one_worker_takes_the_sum_of_everything() -> None:
    """300 pictures of 0.1 s, 4 s to start, 3 parts of 0.5 s, (0.01 + 0.02 + 0.04) s a picture."""
    outcome = run(300, 0.1, Cluster(1, start=4), Driver(0.01, 0.02, 0.5, 0.04))
    assert outcome.seconds == pytest.approx(30 + 4 + 1.5 + 21)
    assert outcome.ideal == pytest.approx(30)
    assert outcome.lost == 0
    assert outcome.busy == pytest.approx(
        {
            "workers": 30 / 56.5, "store": 0, "driver: list": 9 / 56.5, "driver: ledger": 1.5 / 56.5,
            "driver: table": 12 / 56.5, "start of workers": 4 / 56.5,
        }
    )  # fmt: skip
    assert sum(outcome.busy.values()) == pytest.approx(1)


@pytest.mark.parametrize(("workers", "rounds"), [(1, 10), (3, 4), (4, 3), (10, 1), (64, 1)])
def test_a_driver_without_costs_leaves_whole_rounds_of_parts(workers: int, rounds: int) -> None:
    """Ten equal parts of 12.8 s take ceil(10 / workers) rounds."""
    outcome = run(10 * SIZE, 0.1, Cluster(workers))
    assert outcome.seconds == pytest.approx(12.8 * rounds)
    assert outcome.bottleneck == "workers"


def test_a_slow_driver_serves_one_part_after_another() -> None:
    """1,000 workers wait for the driver: 100 parts of 2 s, and the 12.8 s of the last."""
    outcome = run(100 * SIZE, 0.1, Cluster(1000), Driver(listing=2 / SIZE))
    assert outcome.seconds == pytest.approx(100 * 2 + 12.8)
    assert outcome.bottleneck == "driver: list"
    outcome = run(100 * SIZE, 0.001, Cluster(10), Driver(ledger=2))
    assert outcome.seconds == pytest.approx(100 * 2 + 0.128)
    assert outcome.bottleneck == "driver: ledger"


def test_the_driver_counts_as_one_resource() -> None:
    """Workers 40 of 100 s; the driver's tasks 10, 20 and 30 s."""
    outcome = run(SIZE, 40 / SIZE, Cluster(1), Driver(5 / SIZE, 5 / SIZE, 20, 30 / SIZE))
    assert outcome.busy["workers"] == pytest.approx(0.4)
    assert outcome.bottleneck == "driver: table"


def test_a_slow_store_gives_its_bandwidth() -> None:
    """1,000 parts of 128 pictures of 1 MB at 100 MB/s are 1,280 s; the last picture takes 1 ms more."""
    outcome = run(1000 * SIZE, 0.001, Cluster(64, bytes_per_second=1e8, picture_bytes=1e6))
    assert outcome.seconds == pytest.approx(1280.001)
    assert outcome.busy["store"] == pytest.approx(1, abs=1e-4)
    assert outcome.bottleneck == "store"


def test_a_fast_store_adds_only_the_reading() -> None:
    """One worker: 128 times (0.1 s and 1 MB at 100 MB/s)."""
    outcome = run(SIZE, 0.1, Cluster(1, bytes_per_second=1e8, picture_bytes=1e6))
    assert outcome.seconds == pytest.approx(SIZE * 0.11)


@pytest.mark.parametrize(("workers", "error"), [(4, 0.01), (20, 0.02), (41, 0.1), (60, 0.02), (120, 0.01)])
def test_the_store_is_shared_as_if_every_picture_were_an_event(workers: int, error: float) -> None:
    """A picture takes 0.1 s on average and 0.0025 s of the store, which 41 workers fill."""
    rng = np.random.default_rng(0)
    parts, size, reading = 40 * workers, 32, 0.0025
    times = rng.uniform(0, 0.2, (parts, size))
    shared = Cluster(workers, bytes_per_second=1 / reading, picture_bytes=1)
    simulated = simulate([size] * parts, times.sum(axis=1).tolist(), shared, Driver()).seconds
    expected = picture_by_picture(times, workers, reading)
    assert simulated == pytest.approx(expected, rel=error)


def picture_by_picture(times: np.ndarray, workers: int, reading: float) -> float:
    """Seconds until all parts are done, if every picture queues at the store and is then assessed."""
    remaining = iter(times.tolist())
    events: list[tuple[float, int, list[float]]] = [(0.0, number, []) for number in range(workers)]
    stored = last = 0.0
    while events:
        now, worker, pictures = heapq.heappop(events)
        pictures = pictures or list(next(remaining, []))
        last = max(last, now)
        if pictures:
            stored = max(now, stored) + reading
            heapq.heappush(events, (stored + pictures.pop(), worker, pictures))
    return last


def test_throughput_is_bounded_by_each_resource() -> None:
    """A closed queue: at most workers / (their cycle), at most one part for each time of the driver."""
    driver = Driver(listing=0.002, ledger=0.1)
    before = math.inf
    for workers in (1, 4, 16, 64, 256):
        outcome = run(2000 * SIZE, 0.05, Cluster(workers), driver)
        cycle, served = SIZE * 0.05 + SIZE * 0.002 + 0.1, SIZE * 0.002 + 0.1
        assert outcome.seconds >= max(2000 * cycle / workers, 2000 * served) * (1 - 1e-9)
        assert outcome.seconds <= before
        assert all(0 <= share <= 1 + 1e-9 for share in outcome.busy.values())
        before = outcome.seconds
    assert before == pytest.approx(2000 * served, rel=0.02)


def test_a_lost_part_is_done_again_from_its_start() -> None:
    """The mean time of a part of d s that is lost at a rate of r is (exp(r d) - 1) / r."""
    size, picture_s, rate = 100, 0.1, 1 / 10
    sizes = [size] * 4000
    outcome = simulate(sizes, [size * picture_s] * 4000, Cluster(1, lost_per_hour=3600 * rate), Driver())
    assert outcome.seconds / 4000 == pytest.approx((math.e - 1) / rate, rel=0.03)
    assert outcome.lost / 4000 == pytest.approx(math.e - 1, rel=0.05)


def test_a_loss_costs_its_notice_and_a_start() -> None:
    """One worker: every loss adds 30 s and 5 s to the time that losses of no notice and no start take."""
    sizes, times = [SIZE] * 500, [12.8] * 500
    prompt = simulate(sizes, times, Cluster(1, lost_per_hour=50), Driver(), seed=3)
    slow = simulate(sizes, times, Cluster(1, start=5, lost_per_hour=50, notice=30), Driver(), seed=3)
    assert prompt.lost == slow.lost > 10
    assert slow.seconds - prompt.seconds == pytest.approx(5 + 35 * prompt.lost)


def test_an_idle_worker_takes_a_lost_part() -> None:
    """With a worker to spare, nobody waits for the start of another: two parts cost no 1,000 s."""
    for seed in range(20):
        cluster = Cluster(3, start=1000, lost_per_hour=100, notice=1)
        outcome = simulate([SIZE] * 2, [12.8] * 2, cluster, Driver(), seed)
        if outcome.lost == 1:
            assert 1012.8 < outcome.seconds < 1000 + 2 * 12.8 + 1
            return
    raise AssertionError("no seed loses one part")


def test_part_times_are_sums_of_the_measured_distribution() -> None:
    """Quantiles of a uniform time of 1 to 3: mean 2, variance 1/3; the sum of 128 has 256 and 128/3."""
    times = draw_parts([1.0, 1.5, 2.0, 2.5, 3.0], [SIZE] * 20_000 + [3])
    assert len(times) == 20_001
    assert times[:-1].mean() == pytest.approx(2 * SIZE, rel=1e-3)
    assert times[:-1].var() == pytest.approx(SIZE / 3, rel=0.05)
    assert 3 <= times[-1] <= 9
