"""The transforms of tensors against those of the runtime."""

import numpy as np
import pytest
import torch

from edgeskin.imaging.dihedral import DIHEDRAL, transform
from train.input.dihedral import any_view, dihedral_transform


@pytest.mark.parametrize("view", range(DIHEDRAL))
def test_transforms_are_those_of_the_runtime(view: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    found = dihedral_transform(torch.from_numpy(image).permute(2, 0, 1)[None], view)[0].permute(1, 2, 0)
    np.testing.assert_array_equal(found, transform(image, view))


def test_every_transform_but_the_identity_is_drawn() -> None:
    torch.manual_seed(0)
    assert {any_view() for _ in range(200)} == set(range(1, DIHEDRAL))
