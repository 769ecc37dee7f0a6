"""The pairs that invariance compares, and what it counts, worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.invariance import CHANGES, effect, full_size_pairs, half_cancers
from edgeskin.errors import SettingError
from tests.benchmarks.conftest import sample


def test_what_a_change_counts() -> None:
    before, after = np.array([0.9, 0.6, 0.2, 0.4]), np.array([0.8, 0.4, 0.55, 0.4])
    counted = effect(before, after, np.array([True, True, False, False]), threshold=0.5)
    assert counted["pairs"] == 4
    assert (counted["decisions_changed"], counted["cancers"]) == (2, 2)
    assert (counted["cancers_found_before"], counted["cancers_found_after"]) == (2, 1)
    assert (counted["benign_referred_before"], counted["benign_referred_after"]) == (0, 1)
    assert counted["median_change"] == pytest.approx(0.15)
    assert counted["largest_change"] == pytest.approx(0.35)


def test_half_are_cancers_of_different_lesions() -> None:
    samples = [sample(f"m{i}", "MEL", f"M{i // 2}") for i in range(8)]
    samples += [sample(f"n{i}", "NV", f"N{i}") for i in range(8)]
    drawn = half_cancers(samples, ("MEL",), 6)
    assert [one.label for one in drawn] == ["MEL"] * 3 + ["NV"] * 3
    assert len({one.lesion_id for one in drawn}) == 6
    with pytest.raises(SettingError, match="4 cancers and 8 benign"):
        half_cancers(samples, ("MEL",), 10)


def test_pairs_of_a_copy_with_its_original() -> None:
    one, two, other = (sample(name, "NV", name[0]) for name in ("a1", "a2", "b1"))
    full = replace(one, split="original:val", image=Path("full"))
    of_test = replace(other, split="original:test")
    assert full_size_pairs([one, two, other, full, of_test]) == [(one, full)]


def test_each_change_keeps_the_form_and_changes_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 200, (32, 32, 3), dtype=np.uint8)
    for name, change in CHANGES.items():
        changed = change(picture.copy())
        assert (changed.shape, changed.dtype) == (picture.shape, picture.dtype), name
        assert (changed != picture).any(), name
    np.testing.assert_array_equal(CHANGES["brightness x 0.7"](np.full((2, 2, 3), 100, np.uint8)), 70)
