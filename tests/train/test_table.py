"""Choosing, counting and checking samples, and the real table where there is one."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from edgeskin.taxonomy import ISIC_2019
from train.data.readers import DataError
from train.data.table import (
    Sample,
    check_disjoint,
    class_counts,
    read_table,
    require_every_class,
    select,
    targets,
)


def samples_of(*labels: str) -> list[Sample]:
    return [
        Sample(Path("x"), str(i), label, str(i), None, str(i), None, None, None, None, "train", "x")
        for i, label in enumerate(labels)
    ]


def test_select_names_the_splits_there_are() -> None:
    first, second = samples_of("MEL", "NV")
    samples = [first, replace(second, split="val")]
    assert select(samples, "val") == samples[1:]
    with pytest.raises(DataError, match=r"no image in split 'test'; there are: train, val"):
        select(samples, "test")


def test_targets_and_counts() -> None:
    samples = samples_of("NV", "MEL", "NV")
    assert targets(samples, ["MEL", "NV", "BCC"]).tolist() == [1, 0, 1]
    assert class_counts(samples, ["MEL", "NV", "BCC"]).tolist() == [1, 2, 0]
    assert class_counts([], ["MEL", "NV"]).tolist() == [0, 0]


def test_targets_refuse_other_labels() -> None:
    with pytest.raises(DataError, match=r"UNK \(2 images\)"):
        targets(samples_of("NV", "UNK", "UNK"), ISIC_2019)


def test_every_class_is_required() -> None:
    require_every_class(samples_of("MEL", "NV"), ["MEL", "NV"])
    with pytest.raises(DataError, match=r"without a single image \(2\): BCC, DF;"):
        require_every_class(samples_of("MEL"), ["MEL", "BCC", "DF"])


@pytest.mark.hazard("H-21")
def test_disjoint_samples_pass() -> None:
    first, second = samples_of("MEL", "NV")
    check_disjoint([first, replace(second, split="test")])


@pytest.fixture(scope="module")
def real(data_folder: Path) -> list[Sample]:
    return read_table(data_folder)


def test_real_counts(real: list[Sample]) -> None:
    """The numbers in the description of the data."""
    assert len(real) == 15257
    trainable = [s for s in real if s.split in ("train", "val", "test")]
    assert Counter((s.source == "HAM10000", s.split) for s in trainable) == {
        (True, "train"): 7017,
        (True, "val"): 1521,
        (True, "test"): 1475,
        (False, "train"): 2259,
        (False, "val"): 481,
        (False, "test"): 476,
    }
    apart = Counter(s.split for s in real if s.split not in ("train", "val", "test"))
    assert apart.pop("external") == 780 + 800
    assert apart.pop("ood_val") == apart.pop("ood_test") == 200
    assert sum(apart.values()) == 48
    assert all(str(split).startswith("original:") for split in apart)


@pytest.mark.hazard("H-21")
def test_real_table_keeps_lesions_on_one_side(real: list[Sample]) -> None:
    sides: dict[str, set[str]] = {}
    for sample in real:
        if sample.split in ("train", "val", "test"):
            sides.setdefault(sample.group, set()).add(sample.split)
            sides.setdefault(f"lesion {sample.lesion_id}", set()).add(sample.split)
    assert {len(found) for found in sides.values()} == {1}
    for split in ("train", "val", "test"):
        require_every_class(select(real, split), ISIC_2019)
