"""Lines are fitted by least squares."""

import pytest

from benchmarks.speed import scaling


def test_a_line_is_the_least_squares_one() -> None:
    """y = 1 + 2 x, and one point off it; R^2 as 1 - residual over total, by hand."""
    assert scaling.line({1: 3, 2: 5}) is None
    fitted = scaling.line({0: 1, 1: 3, 2: 5})
    assert fitted == pytest.approx({"slope": 2, "intercept": 1, "r_squared": 1})
    bent = scaling.line({0: 0, 1: 3, 2: 3})
    assert bent == pytest.approx({"slope": 1.5, "intercept": 0.5, "r_squared": 1 - 1.5 / 6})
