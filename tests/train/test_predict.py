"""Predictions: images and logits that are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from train.data.table import DataError, read_table, select
from train.evaluate.outputs import Outputs
from train.evaluate.predict import open_network, predict


def test_logits_that_are_no_numbers_are_refused(micro_run: Path, lesion_folder: Path) -> None:
    samples = select(read_table(lesion_folder), "test")
    network = replace(
        open_network(micro_run), infer=lambda s: Outputs(np.full((len(s), 1, 8), np.nan, np.float32))
    )
    with pytest.raises(DataError, match="no finite logits for 24 images"):
        predict(network, samples)
