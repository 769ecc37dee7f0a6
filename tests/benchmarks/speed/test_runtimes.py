"""Agreement and ratios of runtimes, worked by hand."""

from typing import Any

import numpy as np
import pytest

from benchmarks.speed import runtimes
from benchmarks.speed.runtimes import Row


def test_agreement_of_a_case_worked_by_hand() -> None:
    """Two classes decide the second image: MEL by ln 3 over NV, against NV by as much: 0.75 and 0.25."""
    reference = np.full((2, 8), -40.0)
    reference[:, 0] = 0
    other = reference.copy()
    reference[1, 1], other[1, 1] = -np.log(3), np.log(3)
    found = runtimes.agreement(other, reference, [0, 2, 3, 7])
    assert found["same_class"] == 0.5
    assert found["largest"] == pytest.approx(0.5)
    assert found["median"] == pytest.approx(0.25)
    assert found["largest_logit"] == pytest.approx(2 * np.log(3))


def test_a_row_summarizes_its_rounds() -> None:
    summary = Row(infer_ms=[[1.0, 2.0, 3.0], [5.0] * 17], process_ms=[[4.0]]).summary()
    assert summary["infer_ms"]["rounds"] == [2, 5]
    assert summary["infer_ms"]["p95"] == summary["infer_ms"]["median"] == 5
    assert "p95" not in summary["process_ms"]
    assert summary["small_ms"] is None


def test_ratios_are_paired_by_round() -> None:
    rows = {
        "edgeskin int8": Row(infer_ms=[[100.0], [100.0], [160.0]]),
        "torch eager": Row(infer_ms=[[150.0], [300.0], [200.0]]),
    }
    content: dict[str, Any] = {
        "command": "",
        "machine": {"processor": "cpu", "threads": "1"},
        "results": {name: row.summary() for name, row in rows.items()},
    }
    ratios = [row[2] for row in runtimes.table(content).rows]
    assert ratios == ["1.00 (1.00 to 1.00)", "1.50 (1.25 to 3.00)"]
