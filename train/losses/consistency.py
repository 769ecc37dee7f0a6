"""Dihedral consistency: the same answer for an image and for its rotations and mirror images.

It teaches one pass what averaging over the eight dihedral views gives (Xie et al., "Unsupervised data
augmentation for consistency training", NeurIPS 2020; here the dihedral group is the augmentation).
"""

import torch
import torch.nn.functional as functional
from torch import Tensor

from edgeskin.imaging.dihedral import DIHEDRAL


def turned(images: Tensor, view: int) -> Tensor:
    """One dihedral transform, as `edgeskin.imaging.dihedral.transform`, of tensors (n, c, s, s).

    Args:
        images: Any type and range.
        view: 0 to 7.
    """
    return torch.rot90(images.flip(-1) if view >= DIHEDRAL // 2 else images, view % 4, (-2, -1))


def any_view() -> int:
    """A random transform other than the identity, 1 to 7, by torch's generator."""
    return int(torch.randint(1, DIHEDRAL, ()).item())


def consistency(logits: Tensor, of_turned: Tensor) -> Tensor:
    """Jeffreys' divergence, half of KL(p || q) + KL(q || p), averaged over the images; in nats, 0 or more.

    Args:
        logits: Of the images (n, C).
        of_turned: Of the same images after a transform (n, C).
    """
    log_p, log_q = (functional.log_softmax(values, dim=1) for values in (logits, of_turned))
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1).mean() / 2
