"""What several tests of benchmarks share: the committed evaluations, and evaluations made by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import committed
from benchmarks.evaluation.committed import Committed, Evaluations
from edgeskin.taxonomy import CANCER, ISIC_2019
from tests.training_fixtures import figures
from train.data.table import Sample
from train.evaluate.evaluation import Predictions, Provenance, evaluation_of, rules_at

__all__ = ["figures"]

LabelledImage = tuple[str, str, dict[str, float]]
"""Image id (also its lesion and patient), label, probabilities by class."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest, so that two workers end together."""
    items.sort(key=lambda item: item.path.name != "test_render_docs.py")


@pytest.fixture(scope="session")
def evaluations() -> Evaluations:
    """The committed evaluations, each measured again once, since all of them take half a minute."""
    return committed.MeasuredAgain()


def evaluated(
    images: Sequence[LabelledImage], sharpness: float = 1.0, threshold: float = 0.5, source: str = "x"
) -> Committed:
    """Evaluate images whose probabilities are given; sharpness multiplies their logits."""
    samples = [
        Sample(Path(name), name, label, name, name, name, None, None, None, None, "val", source)
        for name, label, _ in images
    ]
    p = np.full((len(images), len(ISIC_2019)), 1e-9)
    for row, (_, _, given) in enumerate(images):
        for label, value in given.items():
            p[row, ISIC_2019.index(label)] = value
    predictions = Predictions(samples, (sharpness * np.log(p)).astype(np.float32))
    rules = rules_at(threshold, ISIC_2019, CANCER)
    provenance = Provenance("n", "", "val", "", None, {}, rules, "", {}, "")
    return Committed(evaluation_of(predictions, provenance), predictions)


def sample(image_id: str, label: str, lesion: str, split: str = "val") -> Sample:
    """A sample that only has what it takes to select it; its lesion is its group."""
    return Sample(Path(image_id), image_id, label, lesion, None, lesion, None, None, None, None, split, "x")
