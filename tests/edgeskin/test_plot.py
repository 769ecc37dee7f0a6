"""The figure of a benchmark run."""

import dataclasses

import cv2
import numpy as np

from edgeskin.bench.measure import Result
from edgeskin.bench.plot import plot_bench


def test_the_figure_has_four_panels(bench_result: Result) -> None:
    png = np.frombuffer(plot_bench(bench_result), np.uint8)
    assert cv2.imdecode(png, cv2.IMREAD_COLOR).shape == (360, 1200, 3)


def test_memory_may_be_unknown(bench_result: Result) -> None:
    rows = tuple(
        dataclasses.replace(row, rounds=tuple(dataclasses.replace(one, peak_mb=None) for one in row.rounds))
        for row in bench_result.rows
    )
    assert len(plot_bench(dataclasses.replace(bench_result, rows=rows))) > 10_000
