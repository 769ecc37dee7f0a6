"""The script still fits the engine: it runs on the micro bundle, and its result is what its tables show."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.environment import read_result
from benchmarks.speed import scaling_plan
from benchmarks.speed.cluster_costs import LARGE, PART, USUAL, mean_ms


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return read_result(scaling_plan.RESULT)


def measured(**tasks: float) -> dict[str, Any]:
    """Times of tasks, whose names have spaces for underscores."""
    return {task.replace("_", " "): {"median": value} for task, value in tasks.items()}


def test_it_runs(
    shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_result(*_: object) -> None:
        raise AssertionError("--quick writes no result")

    monkeypatch.setattr(scaling_plan, "write_result", write_result)
    monkeypatch.setattr(sys, "argv", ["scaling_plan", "--quick", "--bundle", str(shared_micro_bundle)])
    scaling_plan.main()
    printed = capsys.readouterr().out
    for cell in ("decode", "network", "pictures an hour a core", "keep a part of 128", "| 1,024 |"):
        assert cell in printed


def test_the_driver_has_the_times_of_its_form_part_and_workers() -> None:
    """4 ms for the ledger, 0.5 + 1.5 for Ray, and 3 for 16 workers, on the line from 2 for 8 to 10 for 72."""
    tasks = measured(
        count=0.01, list=0.02, write_flat_128=4.0, read_flat_128=12.8, table_csv=0.3, submit_128=0.5,
        fetch_128=1.5, wait_8=2.0, wait_72=10.0,
    )  # fmt: skip
    driver = scaling_plan.driver_of(tasks, "csv", 128, 16)
    assert driver.count == pytest.approx(1e-5)
    assert driver.listing == pytest.approx(2e-5)
    assert driver.ledger == pytest.approx((4 + 0.5 + 1.5 + 3) / 1e3)
    assert driver.table == pytest.approx((12.8 / 128 + 0.3) / 1e3)
    without_ray = {task: of for task, of in tasks.items() if not task.startswith(("submit", "fetch", "wait"))}
    assert scaling_plan.driver_of(without_ray, "csv", 128, 16).ledger == pytest.approx(4e-3)


def test_the_mean_is_that_of_the_distribution() -> None:
    """Half between 1 and 2, half between 2 and 6: (1.5 + 4) / 2."""
    assert mean_ms([1.0, 2.0, 6.0]) == pytest.approx(2.75)


def test_committed_clusters_follow_from_the_committed_times(committed: dict[str, Any]) -> None:
    for one in committed["simulated"]:
        if one["pictures"] == min(scaling_plan.PICTURES):
            scenario = scaling_plan.Scenario(one["pictures"], one["nodes"], one["gbit_s"])
            again = scaling_plan.outcome_of(scenario, committed["measured"])
            assert again["hours"] == pytest.approx(one["hours"], rel=1e-3)
            assert again["bottleneck"] == one["bottleneck"]


def test_committed_clusters_keep_to_the_laws_of_queues(committed: dict[str, Any]) -> None:
    """No cluster is faster than its cores, its store and its driver; and the rate is what hours say."""
    pictures = committed["measured"]["pictures"]
    for one in [*committed["simulated"], *committed["changed"]]:
        of, cores = pictures[one["kind"]], one["nodes"] * scaling_plan.CORES
        seconds = one["hours"] * 3600
        work = one["pictures"] * mean_ms(of["quantiles_ms"]) / 1e3
        assert seconds > work / cores * 0.99
        assert seconds > one["pictures"] * of["bytes"] * 8 / (one["gbit_s"] * 1e9)
        assert one["efficiency"] == pytest.approx(work / cores / seconds, rel=0.02)
        assert one["pictures_per_core_hour"] * cores * one["hours"] == pytest.approx(one["pictures"])
        assert all(0 <= share <= 1 + 1e-9 for share in one["busy"].values())


def test_pictures_are_of_real_size(committed: dict[str, Any]) -> None:
    """Files of the ISIC archive of 600x450 have about 0.25 MB, those of phones of 12 megapixels 4 MB."""
    pictures = committed["measured"]["pictures"]
    assert pictures[USUAL]["bytes"] == pytest.approx(0.25e6, rel=0.4)
    assert pictures[LARGE]["bytes"] == pytest.approx(4e6, rel=0.4)
    assert all(one["part"] == PART for one in committed["simulated"])
