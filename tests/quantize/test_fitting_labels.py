"""Labels of images, and scores of lesions."""

from pathlib import Path

import numpy as np
import pytest

from edgeskin.decision.calibration import temperature_scaling
from quantize.fitting.labels import Labels, labels_of, lowest_by_lesion
from train.data.table import DataError, read_table, select

LABELS = Labels(("a", "b", "c"), ("1", "1", "2"), np.array([2, 0, 1]), ("MEL", "NV", "BCC"), ("MEL", "BCC"))


def test_which_images_are_cancers() -> None:
    np.testing.assert_array_equal(LABELS.cancer_mask, [True, False, True])
    np.testing.assert_array_equal(LABELS.is_cancer, [True, True, False])


def test_p_cancer_is_the_sum_over_the_cancers() -> None:
    logits = np.log([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    np.testing.assert_allclose(LABELS.p_cancer(logits, temperature_scaling(1, 3)), [0.7, 0.2])


def test_labels_are_in_the_order_of_the_samples(lesion_folder: Path) -> None:
    samples = select(read_table(lesion_folder), "val")[::-1]
    labels = labels_of(samples, ("NV", "MEL", "BCC", "AK", "BKL", "DF", "VASC", "SCC"), ("MEL",))
    assert labels.image_ids == tuple(sample.image_id for sample in samples)
    assert [labels.classes[target] for target in labels.targets] == [sample.label for sample in samples]
    with pytest.raises(DataError, match="VASC"):
        labels_of(samples, ("MEL", "NV"), ("MEL",))


def test_a_lesion_counts_with_its_lowest_image() -> None:
    values, lesions = np.array([0.5, 0.2, 0.9, 0.3, 0.4]), np.array(["b", "a", "b", "a", "c"])
    np.testing.assert_array_equal(lowest_by_lesion(values, lesions), [0.2, 0.5, 0.4])
