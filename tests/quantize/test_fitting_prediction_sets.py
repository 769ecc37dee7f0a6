"""Thresholds of prediction sets by hand, and their coverage on random draws."""

import numpy as np

from edgeskin.decision.prediction_sets import prediction_sets
from quantize.fitting.prediction_sets import fit_prediction_sets


def test_thresholds_by_hand() -> None:
    """At 90% coverage, 19 lesions give the second lowest, 9 the lowest, and 8 are too few."""
    targets = np.repeat([0, 1, 2], [19, 8, 9])
    own = np.concatenate([np.arange(1, 20) / 100, np.full(8, 0.5), np.arange(1, 10) / 10])
    p = np.zeros((36, 3))
    p[np.arange(36), targets] = np.random.default_rng(0).permuted(own.reshape(36, 1), axis=1)[:, 0]
    sets = fit_prediction_sets(p, targets, np.arange(36).astype(str), coverage=0.9)
    assert sets.thresholds == (0.02, 0.0, 0.1)
    assert sets.lesions == (19, 8, 9)
    # A second photo of the lesion at 0.05, with 0.001, makes 0.01 the second lowest.
    again, lesions = np.vstack([p, [0.001, 0, 0]]), np.append(np.arange(36), 4).astype(str)
    assert fit_prediction_sets(again, np.append(targets, 0), lesions, coverage=0.9).thresholds[0] == 0.01


def test_the_coverage_of_every_class_is_as_guaranteed() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], [99, 30])
    covered = []
    for _ in range(300):
        p = rng.dirichlet([1, 1], size=len(targets))
        sets = fit_prediction_sets(p, targets, np.arange(len(targets)).astype(str), coverage=0.9)
        new = rng.dirichlet([1, 1], size=2000)
        covered.append((new >= sets.thresholds).mean(axis=0))
    # At least 0.9, and at most 1 / (n + 1) more.
    mean = np.mean(covered, axis=0)
    assert (mean >= 0.895).all()
    assert (mean <= 0.905 + 1 / np.array([100, 31])).all()


def test_a_set_always_has_the_most_probable_class() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    members = prediction_sets(p, (0.6, 0.25, 0.0))
    np.testing.assert_array_equal(members, [[True, True, True], [False, False, True]])
