"""Artifacts: what each drawing changes, and that its random numbers decide it."""

from collections.abc import Callable

import numpy as np
import pytest

from edgeskin.arrays import Image
from train.input.artifacts import DRAWINGS, draw_bubbles


@pytest.mark.parametrize("draw", DRAWINGS)
def test_an_artifact_changes_some_pixels_and_not_all(draw: Callable[..., Image]) -> None:
    grey = np.full((240, 240, 3), 150, np.uint8)
    changed = []
    for seed in range(30):
        drawn = draw(grey, np.random.default_rng(seed))
        assert drawn.shape == grey.shape
        assert drawn.dtype == np.uint8
        np.testing.assert_array_equal(drawn, draw(grey, np.random.default_rng(seed)))
        changed.append((drawn != 150).any(axis=2).mean())
        brighter = (drawn.astype(int) - 150).mean() > 0
        assert brighter == (draw is draw_bubbles) or changed[-1] == 0
    assert (grey == 150).all()
    assert max(changed) < 0.4
    assert np.median(changed) > 0.005
