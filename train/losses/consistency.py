"""Dihedral consistency: the same answer for an image and for its rotations and mirror images.

It teaches one pass what averaging over the eight dihedral views gives (Xie et al., "Unsupervised data
augmentation for consistency training", NeurIPS 2020; here the dihedral group is the augmentation).
"""

import torch.nn.functional as functional
from torch import Tensor


def consistency(logits: Tensor, of_transformed: Tensor) -> Tensor:
    """Jeffreys' divergence, half of KL(p || q) + KL(q || p), averaged over the images; in nats, 0 or more.

    Args:
        logits: Of the images (n, C).
        of_transformed: Of the same images after a transform (n, C).
    """
    log_p, log_q = (functional.log_softmax(values, dim=1) for values in (logits, of_transformed))
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1).mean() / 2
