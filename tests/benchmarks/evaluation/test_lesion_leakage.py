"""The leaky split deals images as if there were no lesions, and nothing else differs."""

from collections import Counter
from dataclasses import replace

from benchmarks.evaluation.lesion_leakage import split_by_image
from tests.benchmarks.conftest import sample
from train.data.table import Sample


def photos(split: str, label: str, lesions: int) -> list[Sample]:
    """Two photos a lesion."""
    names = [f"{split}_{label}{i}" for i in range(lesions)]
    return [sample(f"{name}_{n}", label, name, split) for name in names for n in range(2)]


def test_as_many_of_each_class_on_each_side_but_lesions_torn_apart() -> None:
    samples = [*photos("train", "NV", 40), *photos("val", "NV", 20), *photos("train", "MEL", 20)]
    samples += [*photos("val", "MEL", 10), *photos("test", "MEL", 5), *photos("external", "BCC", 5)]
    dealt = split_by_image(samples, seed=0)
    assert Counter((s.split, s.label) for s in dealt) == Counter((s.split, s.label) for s in samples)
    assert [replace(s, split=None) for s in dealt] == [replace(s, split=None) for s in samples]
    apart = ("test", "external")
    assert [s for s in dealt if s.split in apart] == [s for s in samples if s.split in apart]
    val = [s.lesion_id for s in dealt if s.split == "val"]
    in_train = {s.lesion_id for s in dealt if s.split == "train"}
    # A third of the images is in val; the other photo of each is in train for about two in three.
    assert 0.4 < sum(lesion in in_train for lesion in val) / len(val) < 0.9
    assert split_by_image(samples, seed=0) == dealt != split_by_image(samples, seed=1)
