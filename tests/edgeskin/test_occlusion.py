"""Occlusion, against each hidden cell's fall computed one by one."""

from pathlib import Path

import numpy as np
import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.explain.occlusion import CELLS, occlusion
from edgeskin.explain.target import find_target
from edgeskin.imaging.segmentation import skin_color
from edgeskin.network.engine import Engine
from tests.conftest import MICRO_SIZE


@pytest.mark.parametrize("name", ["NV", "cancer"])
def test_every_cell_has_the_mean_fall_of_the_windows_that_hide_it(
    shared_micro_bundle: Path, name: str
) -> None:
    bundle = open_bundle(shared_micro_bundle)
    engine = Engine(bundle.ir("fp32"), views=8)
    image = np.random.default_rng(0).integers(90, 200, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)
    target = find_target(name, bundle.manifest.decision_rules["fp32"])
    edges = np.rint(np.linspace(0, MICRO_SIZE, CELLS + 1)).astype(int)

    def score(picture: np.ndarray) -> float:
        return float(target.score(engine.infer_batch(picture[None]).logits[0]))

    def fall(row: int, column: int) -> float:
        hidden = image.copy()
        rows = slice(edges[max(row, 0)], edges[min(row + 2, CELLS)])
        columns = slice(edges[max(column, 0)], edges[min(column + 2, CELLS)])
        hidden[rows, columns] = skin_color(image)
        return score(image) - score(hidden)

    found = occlusion(image, engine, target)
    assert found.shape == (CELLS, CELLS)
    assert found.dtype == np.float32
    for row, column in ((0, 0), (3, 4), (6, 6), (0, 6)):
        windows = [fall(row + down, column + across) for down in (-1, 0) for across in (-1, 0)]
        assert found[row, column] == pytest.approx(max(0, np.mean(windows)), abs=1e-4)
