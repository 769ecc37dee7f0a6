"""The figure of a benchmark run."""

import dataclasses
from pathlib import Path

import cv2

from edgeskin.bench.measure import Result
from edgeskin.bench.plot import plot_bench


def test_the_figure_has_four_panels(bench_result: Result, tmp_path: Path) -> None:
    plot_bench(bench_result, tmp_path / "bench.png")
    assert cv2.imread(str(tmp_path / "bench.png")).shape == (360, 1200, 3)


def test_memory_may_be_unknown(bench_result: Result, tmp_path: Path) -> None:
    rows = tuple(
        dataclasses.replace(row, rounds=tuple(dataclasses.replace(one, peak_mb=None) for one in row.rounds))
        for row in bench_result.rows
    )
    plot_bench(dataclasses.replace(bench_result, rows=rows), tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 10_000
