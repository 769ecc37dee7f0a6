"""The pairs that invariance compares, and what it counts, worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.invariance import CHANGES, _change, _drawn, _originals
from benchmarks.robustness.repeatability import same_lesion, strangers
from edgeskin.errors import SettingError
from train.data.table import Sample


def photo(image_id: str, label: str, lesion: str, split: str = "val") -> Sample:
    return Sample(Path(image_id), image_id, label, lesion, None, lesion, None, None, None, None, split, "x")


def test_what_a_change_counts() -> None:
    before, after = np.array([0.9, 0.6, 0.2, 0.4]), np.array([0.8, 0.4, 0.55, 0.4])
    counted = _change(before, after, np.array([True, True, False, False]), threshold=0.5)
    assert counted["pairs"] == 4
    assert (counted["decisions_changed"], counted["cancers"]) == (2, 2)
    assert (counted["cancers_found_before"], counted["cancers_found_after"]) == (2, 1)
    assert (counted["benign_referred_before"], counted["benign_referred_after"]) == (0, 1)
    assert counted["median_change"] == pytest.approx(0.15)
    assert counted["largest_change"] == pytest.approx(0.35)


def test_half_are_cancers_of_different_lesions() -> None:
    samples = [photo(f"m{i}", "MEL", f"M{i // 2}") for i in range(8)]
    samples += [photo(f"n{i}", "NV", f"N{i}") for i in range(8)]
    drawn = _drawn(samples, ("MEL",), 6)
    assert [sample.label for sample in drawn] == ["MEL"] * 3 + ["NV"] * 3
    assert len({sample.lesion_id for sample in drawn}) == 6
    with pytest.raises(SettingError, match="4 cancers and 8 others there"):
        _drawn(samples, ("MEL",), 10)


def test_pairs_of_a_lesion_and_of_a_copy_with_its_original() -> None:
    one, two, three, other = (photo(name, "NV", name[0]) for name in ("a1", "a2", "a3", "b1"))
    assert same_lesion([one, other, two, three]) == [(one, two)]
    full = replace(one, split="original:val", image=Path("full"))
    of_test = replace(other, split="original:test")
    assert _originals([one, two, other, full, of_test]) == [(one, full)]


def test_each_change_keeps_the_form_and_changes_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 200, (32, 32, 3), dtype=np.uint8)
    for name, change in CHANGES.items():
        changed = change(picture.copy())
        assert (changed.shape, changed.dtype) == (picture.shape, picture.dtype), name
        assert (changed != picture).any(), name
    np.testing.assert_array_equal(CHANGES["brightness x 0.7"](np.full((2, 2, 3), 100, np.uint8)), 70)


def test_strangers_are_of_the_same_class_where_there_are_two() -> None:
    pairs = [(photo(f"{name}1", label, name),) * 2 for name, label in LESIONS.items()]
    # Of a, c and e the next nevus, of the lone melanoma and the lone carcinoma the next lesion.
    assert strangers(pairs) == [2, 2, 4, 4, 0]


LESIONS = {"a": "NV", "b": "MEL", "c": "NV", "d": "BCC", "e": "NV"}
