"""The dihedral transforms of tensors, for training and for evaluation by torch."""

import torch
from torch import Tensor

from edgeskin.imaging.dihedral import DIHEDRAL


def dihedral_transform(images: Tensor, view: int) -> Tensor:
    """One dihedral transform, as `edgeskin.imaging.dihedral.transform`, of tensors (n, c, s, s).

    Args:
        images: Any type and range.
        view: 0 to 7.
    """
    return torch.rot90(images.flip(-1) if view >= DIHEDRAL // 2 else images, view % 4, (-2, -1))


def any_view() -> int:
    """A random transform other than the identity, 1 to 7, by torch's generator."""
    return int(torch.randint(1, DIHEDRAL, ()).item())
