"""Folds of smartphone photos, worked by hand."""

import pytest

from benchmarks.evaluation import external
from tests.benchmarks.conftest import evaluated

pytestmark = pytest.mark.hazard("H-12")


def test_folds_of_smartphone_photos() -> None:
    """Each fold has a melanoma, found and named, and a carcinoma, taken for melanoma.

    Recall is 1, accuracy 1/2, F1 2/3 and 0.
    """
    images = [(f"m{i}", "MEL", {"MEL": 0.9, "NV": 0.1}) for i in range(3)]
    images += [(f"b{i}", "BCC", {"MEL": 0.8, "NV": 0.2}) for i in range(3)]
    evaluations = {"external-int8": evaluated(images, source=external.PAD)}
    row = external.folds_table(evaluations).rows[0]
    assert row[1:] == ("6", "1.000 ± 0.000", "0.500 ± 0.000", "0.333 ± 0.000")
