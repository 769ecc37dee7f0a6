"""Splits: shares worked by hand, groups on one side, determinism."""

import hashlib
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeskin.errors import SettingError
from train.config import FoldConfig
from train.data.split import assign_splits, left_out, split_sha256
from train.data.table import DataError, Sample

pytestmark = pytest.mark.hazard("H-21")


def sample(image_id: str, label: str, group: str, split: str | None = None) -> Sample:
    return Sample(Path("x"), image_id, label, group, None, group, None, None, None, None, split, "x")


def singletons(**counts: int) -> list[Sample]:
    """Images that are each a lesion of their own: ``NV=40`` for forty nevi."""
    ids = [(label, f"{label}{i}") for label, count in counts.items() for i in range(count)]
    return [sample(image_id, label, image_id) for label, image_id in ids]


@pytest.fixture(scope="module")
def lesions() -> list[Sample]:
    """Lesions of one to four images, four nevi to a melanoma."""
    return [
        sample(f"I{lesion}_{view}", "MEL" if lesion % 5 == 0 else "NV", f"L{lesion}")
        for lesion in range(200)
        for view in range(1 + lesion % 4)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_is_split_by_the_fractions(seed: int) -> None:
    """Twenty folds of 40 NV, 20 MEL: two and one in each fold; 14, 3 and 3 folds in the splits."""
    splits = assign_splits(singletons(NV=40, MEL=20), seed=seed)
    assert Counter((s.label, s.split) for s in splits) == {
        ("NV", "train"): 28,
        ("NV", "val"): 6,
        ("NV", "test"): 6,
        ("MEL", "train"): 14,
        ("MEL", "val"): 3,
        ("MEL", "test"): 3,
    }


def test_other_fractions() -> None:
    """Five folds of 25 NV, 10 MEL: five and two a fold."""
    splits = assign_splits(singletons(NV=25, MEL=10), fractions=(0.6, 0.2, 0.2))
    counts = Counter((s.label, s.split) for s in splits)
    assert [counts["NV", split] for split in ("train", "val", "test")] == [15, 5, 5]
    assert [counts["MEL", split] for split in ("train", "val", "test")] == [6, 2, 2]


def test_groups_stay_together(lesions: list[Sample]) -> None:
    sides: dict[str, set[str | None]] = {}
    for s in assign_splits(lesions):
        sides.setdefault(s.group, set()).add(s.split)
    assert len(sides) == 200
    assert {len(found) for found in sides.values()} == {1}


def test_groups_of_several_images_are_still_stratified(lesions: list[Sample]) -> None:
    """500 images, 100 of melanoma (40 lesions of one to four views): 15 % are 75 and 15."""
    splits = assign_splits(lesions)
    for split in ("val", "test"):
        assert sum(s.split == split for s in splits) == pytest.approx(75, abs=4)
        assert sum(s.split == split and s.label == "MEL" for s in splits) == pytest.approx(15, abs=4)


def test_patients_hold_their_lesions_together() -> None:
    """Patients of one nevus and one melanoma: both go where the patient goes."""
    samples = [
        replace(sample(f"P{i}{label}", label, f"P{i}"), lesion_id=f"P{i}{label}")
        for i in range(20)
        for label in ("NV", "MEL")
    ]
    split_of = {s.image_id: s.split for s in assign_splits(samples)}
    assert all(split_of[f"P{i}NV"] == split_of[f"P{i}MEL"] for i in range(20))


def test_only_the_split_changes_and_the_order_is_kept(lesions: list[Sample]) -> None:
    assert [replace(s, split=None) for s in assign_splits(lesions)] == lesions


def test_the_seed_decides_and_the_order_of_rows_does_not(lesions: list[Sample]) -> None:
    shuffled = random.Random(0).sample(lesions, len(lesions))
    first = split_sha256(assign_splits(lesions, seed=3))
    assert first == split_sha256(assign_splits(shuffled, seed=3))
    assert first != split_sha256(assign_splits(lesions, seed=4))


def test_splits_of_the_table_are_kept() -> None:
    samples = [sample("a", "MEL", "a", "test"), sample("b", "NV", "b", "external")]
    assert assign_splits(samples) == samples


def test_images_kept_apart_stay_apart() -> None:
    apart = [sample("x", "UNK", "x", "unknown"), sample("y", "MEL", "y", "external")]
    splits = assign_splits([*apart, *singletons(NV=20, MEL=20)])
    assert splits[:2] == apart
    assert Counter(s.split for s in splits[2:]) == {"train": 28, "val": 6, "test": 6}


def test_splits_for_some_rows_only() -> None:
    samples = [sample("a", "MEL", "a", "train"), sample("b", "NV", "b")]
    with pytest.raises(DataError, match=r"1 images have a split and 1 have none \(such as b\)"):
        assign_splits(samples)


def test_fewer_images_of_a_class_than_folds() -> None:
    """18 DF in 20 folds leave two folds without, so each split of three folds or more has some."""
    counts = Counter(s.split for s in assign_splits(singletons(NV=100, DF=18)) if s.label == "DF")
    assert counts.total() == 18
    assert {counts["val"], counts["test"]} <= {1, 2, 3}


def test_a_class_that_cannot_be_on_every_side() -> None:
    with pytest.raises(DataError, match=r"without an image on one side: .*DF in"):
        assign_splits(singletons(NV=40, DF=2))


def test_too_few_groups() -> None:
    with pytest.raises(DataError, match="19 groups"):
        assign_splits(singletons(NV=19))


def test_too_few_images_of_every_class_are_refused() -> None:
    with pytest.raises(DataError, match="no class has 20 images"):
        assign_splits(singletons(NV=19, MEL=19))


def test_a_lesion_in_two_groups_is_caught() -> None:
    """Two patients who share a lesion id: the groups may part, the lesion must not."""
    samples = [replace(s, lesion_id="L") for s in singletons(NV=40)]
    with pytest.raises(DataError, match="lesion L"):
        assign_splits(samples)


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.2, 0.2), (0.8, 0.2, 0.0), (1.2, -0.1, -0.1), (0.72, 0.14, 0.14), (0.5, 0.5)]
)
def test_impossible_fractions(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(SettingError, match=r"multiples of 0\.05 that sum to 1"):
        assign_splits(singletons(NV=40), fractions=fractions)


def test_hash_is_that_of_the_sorted_pairs() -> None:
    samples = [sample("b", "NV", "b", "val"), sample("a", "MEL", "a", "train")]
    assert split_sha256(samples) == hashlib.sha256(b"a\ttrain\nb\tval\n").hexdigest()
    assert split_sha256(samples) == split_sha256(samples[::-1])
    assert split_sha256(samples) != split_sha256([samples[0], replace(samples[1], split="test")])


def test_folds_leave_each_image_out_once_with_its_group(lesions: list[Sample]) -> None:
    folds = [left_out(lesions, FoldConfig(4, number)) for number in range(4)]
    assert np.sum(folds, axis=0).tolist() == [1] * len(lesions)
    for fold in folds:
        out, kept = (
            {s.group for s, o in zip(lesions, fold, strict=True) if o == side} for side in (True, False)
        )
        assert not out & kept
        # 80 of 500 images are of melanomas, every fifth lesion.
        melanomas = [s.label == "MEL" for s, o in zip(lesions, fold, strict=True) if o]
        assert np.mean(melanomas) == pytest.approx(np.mean([s.label == "MEL" for s in lesions]), abs=0.03)


def test_folds_do_not_depend_on_the_order(lesions: list[Sample]) -> None:
    chosen = FoldConfig(4, 2)
    names = {s.image_id for s, out in zip(lesions, left_out(lesions, chosen), strict=True) if out}
    shuffled = random.Random(0).sample(lesions, len(lesions))
    assert {s.image_id for s, out in zip(shuffled, left_out(shuffled, chosen), strict=True) if out} == names


def test_without_folds_nothing_is_left_out(lesions: list[Sample]) -> None:
    assert not left_out(lesions, FoldConfig()).any()


@pytest.mark.parametrize("folds", [(1, 0), (3, 3), (3, -1), (0, 1), (-2, 0)])
def test_folds_that_there_are_not(folds: tuple[int, int]) -> None:
    with pytest.raises(SettingError, match="folds: left_out"):
        FoldConfig(*folds)
