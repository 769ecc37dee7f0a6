"""Images without a class are of no group that was learned from."""

from benchmarks.evaluation.ood_images import read, unlabelled
from tests.benchmarks.conftest import sample


def test_known_benign_images_are_of_no_learned_group() -> None:
    samples = [
        sample("a", "BENIGN", "p1", "external"),
        sample("b", "BENIGN", "p2", "external"),
        sample("c", "NV", "p3", "external"),
        sample("d", "MEL", "p2", "val"),
    ]
    assert [one.image_id for one in unlabelled(samples)] == ["a"]


def test_committed_predictions_are_of_as_many_images() -> None:
    images = read()
    assert {len(array) for array in (*images.logits.values(), *images.ood.values())} == {len(images.label)}
