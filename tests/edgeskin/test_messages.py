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
    assert progress_text(3, 2, 3, 3) == "3 of 2 pictures, 1.0/s, 0 s left"  # one was added meanwhile
    assert progress_text(0, 1, 0, 0) == "0 of 1 picture"


def test_a_summary_counts_by_status_risk_and_error() -> None:
    summary = Summary(
        Counter(assessed=1200, error=3, retake=2),
        Counter(LOW=1000, HIGH=200),
        Counter(damaged=2, not_found=1),
        computed=600,
        seconds=60,
    )
    assert summary_text(summary).splitlines() == [
        "1,205 pictures: 1,200 assessed, 3 error (2 damaged, 1 not_found), 2 retake",
        "risk: 200 HIGH, 0 MEDIUM, 1,000 LOW",
        "600 processed by this run in 1 min 0 s (10.0 pictures/s)",
    ]
    one = Summary(Counter(assessed=1), Counter(LOW=1), seconds=0.01)
    assert summary_text(one).splitlines()[::2] == ["1 picture: 1 assessed", "0 processed by this run in 0 s"]


def test_an_evaluation_names_what_it_leaves_out() -> None:
    text = evaluation_text(Evaluation(12, 10, 0, 1, 0, 1, 1, wilson(9, 10), None, None, {"nevus\n": 4}))
    assert "12 pictures with a known label; 10 assessed" in text
    assert "9 found, 1 missed" in text
    assert "0.900 (95% interval 0.596 to 0.982, 10 images)" in text
    assert "1 cancer, 1 benign" in text
    assert r"4 nevus\n" in text
