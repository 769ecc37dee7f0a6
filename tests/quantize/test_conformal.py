"""Label sets by hand, and their promise kept on draws."""

import numpy as np

from edgeskin.decision.decide import label_set
from quantize.fitting.prediction_sets import fit_label_sets, lowest


def test_a_lesion_counts_with_its_least_photo() -> None:
    values, lesions = np.array([0.5, 0.2, 0.9, 0.3, 0.4]), np.array(["b", "a", "b", "a", "c"])
    np.testing.assert_array_equal(lowest(values, lesions), [0.2, 0.5, 0.4])


def test_thresholds_by_hand() -> None:
    """19 lesions at 90 %: the second lowest; 8 are too few; the ninth makes the lowest one do."""
    targets = np.repeat([0, 1, 2], [19, 8, 9])
    own = np.concatenate([np.arange(1, 20) / 100, np.full(8, 0.5), np.arange(1, 10) / 10])
    p = np.zeros((36, 3))
    p[np.arange(36), targets] = np.random.default_rng(0).permuted(own.reshape(36, 1), axis=1)[:, 0]
    sets = fit_label_sets(p, targets, np.arange(36).astype(str), coverage=0.9)
    assert sets.thresholds == (0.02, 0.0, 0.1)
    assert sets.lesions == (19, 8, 9)
    # A second photo of the lesion at 0.05 brings it down to the lowest.
    again, lesions = np.vstack([p, [0.001, 0, 0]]), np.append(np.arange(36), 4).astype(str)
    assert fit_label_sets(again, np.append(targets, 0), lesions, coverage=0.9).thresholds[0] == 0.01


def test_every_class_is_covered_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], [99, 30])
    covered = []
    for _ in range(300):
        p = rng.dirichlet([1, 1], size=len(targets))
        sets = fit_label_sets(p, targets, np.arange(len(targets)).astype(str), coverage=0.9)
        new = rng.dirichlet([1, 1], size=2000)
        covered.append((new >= sets.thresholds).mean(axis=0))
    # At least 0.9, and at most one lesion in n + 1 more.
    mean = np.mean(covered, axis=0)
    assert (mean >= 0.895).all()
    assert (mean <= 0.905 + 1 / np.array([100, 31])).all()


def test_a_set_always_has_the_most_probable_class() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    members = label_set(p, (0.6, 0.25, 0.0))
    np.testing.assert_array_equal(members, [[True, True, True], [False, False, True]])
