"""A run as text."""

from collections import Counter

import pytest

from edgeskin.batch.evaluation import Evaluation, wilson
from edgeskin.batch.messages import duration, evaluation_text, progress_text, summary_text
from edgeskin.batch.runner import Summary


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min"),
        (360000, "100 h 0 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_left_is_by_what_this_run_assessed() -> None:
    """1,000 of 2,000 done, of which this run assessed 200 in 100 s: 2 a second, so 500 s are left."""
    assert progress_text(1000, 2000, 200, 100) == "1,000 of 2,000 pictures, 2.0/s, 8 min 20 s left"
    assert progress_text(1000, None, 200, 100) == "1,000 pictures, 2.0/s"
    assert progress_text(1000, 2000, 0, 100) == "1,000 of 2,000 pictures"


def test_a_summary_counts_by_status_risk_and_error() -> None:
    summary = Summary(
        Counter(assessed=1200, error=3), Counter(LOW=1000, HIGH=200), Counter(damaged=2, not_found=1),
        computed=600, seconds=60,
    )  # fmt: skip
    assert summary_text(summary).splitlines() == [
        "1,203 pictures: 1,200 assessed, 3 error (2 damaged, 1 not_found)",
        "risk: 200 HIGH, 0 MEDIUM, 1,000 LOW",
        "600 assessed by this run in 1 min 0 s (10.0 pictures/s)",
    ]


def test_an_evaluation_names_what_it_leaves_out() -> None:
    text = evaluation_text(Evaluation(12, 10, 0, 1, 1, wilson(9, 10), None, None, {"nevus\n": 4}))
    assert "12 pictures have a label; 10 of them were assessed" in text
    assert "0.900 (95% interval 0.596 to 0.982, 10 images)" in text
    assert "1 cancers, 1 benign" in text
    assert r"4 nevus\n" in text
