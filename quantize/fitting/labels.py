"""Labels of validation images, and the reduction of image scores to lesion scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.calibration import cancer_probability, probabilities
from train.data.table import Sample, targets

Logits = npt.NDArray[np.floating]
Targets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """Labels of n images, in the order of a network's outputs.

    Attributes:
        image_ids: Image ids, (n,).
        lesions: Name of the lesion of each image, or of the patient where the table has patients, (n,).
        targets: Class indices, (n,).
        classes: Names of the C classes of the network.
        cancer_classes: The classes that count as cancer.
    """

    image_ids: tuple[str, ...]
    lesions: tuple[str, ...]
    targets: Targets
    classes: tuple[str, ...]
    cancer_classes: tuple[str, ...]

    @property
    def cancer_mask(self) -> Bools:
        """Which classes are cancers, (C,)."""
        return np.isin(self.classes, self.cancer_classes)

    @property
    def is_cancer(self) -> Bools:
        """Which images show a cancer, (n,)."""
        return self.cancer_mask[self.targets]

    def p_cancer(self, logits: Logits, calibration: Calibration) -> Float64s:
        """Compute P(cancer) as the runtime does: logits (n, C) to probabilities (n,)."""
        return cancer_probability(probabilities(logits, calibration), self.cancer_mask)


def labels_of(samples: Sequence[Sample], classes: Sequence[str], cancer_classes: Sequence[str]) -> Labels:
    """Collect the labels of n samples, in their order.

    Raises:
        DataError: The label of a sample is not in ``classes``.
    """
    return Labels(
        tuple(sample.image_id for sample in samples),
        tuple(sample.group for sample in samples),
        targets(samples, classes),
        tuple(classes),
        tuple(cancer_classes),
    )


def lowest_by_lesion(values: Float64s, lesions: npt.NDArray[np.str_]) -> Float64s:
    """Reduce image scores to the lowest score of each lesion.

    Args:
        values: One score an image, (n,).
        lesions: Name of each image's lesion, (n,).

    Returns:
        One score a lesion, in the alphabetical order of the names, (lesions,).
    """
    order = np.lexsort((values, lesions))
    _, first = np.unique(lesions[order], return_index=True)
    return np.asarray(values[order][first])
