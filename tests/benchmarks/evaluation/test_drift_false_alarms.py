"""The simulation tells a series that drifts from one that does not, and its table follows from its result."""

import numpy as np
import pytest

from benchmarks.evaluation import drift_false_alarms
from benchmarks.evaluation.drift_false_alarms import MEASURES, has_alarm, table


@pytest.mark.parametrize("name", MEASURES)
def test_a_series_without_drift_has_no_alarm_and_one_with_drift_has(name: str) -> None:
    draw = MEASURES[name]
    assert not has_alarm(draw, 300, 500, (0,))

    def shifted(rng: np.random.Generator, count: int) -> np.ndarray:
        return np.concatenate([draw(rng, 300), draw(rng, count - 300) + 1])

    assert has_alarm(shifted, 300, 500, (0,))


def test_the_table_by_hand() -> None:
    """Wilson's interval of 30 of 1,000: (0.03 + 0.00192 -+ 1.96 * 0.00548) / 1.00384."""
    content = {
        "command": "", "series": 1000, "pictures": 10_000, "rate": 0.05,
        "alarms": [{"measure": "number", "reference": 1000, "alarms": 30}],
    }  # fmt: skip
    assert table(content).rows == [("number", "1,000", "3.0% (2.1% to 4.3%)")]


def test_the_committed_result_holds_the_rate_that_is_promised() -> None:
    """At a true rate of 5%, 1,000 series have more than 65 alarms with a chance of about 1%."""
    rows = [row[2] for row in table().rows]
    assert len(rows) == len(MEASURES) * len(drift_false_alarms.REFERENCES)
    assert all(float(row.partition("%")[0]) <= 6.5 for row in rows)
