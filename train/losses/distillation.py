"""Distillation: learning the probabilities of a teacher."""

import torch.nn.functional as functional
from torch import Tensor


def distillation(logits: Tensor, soft: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(soft / T) || softmax(logits / T)), averaged over the images (Hinton et al., 2015).

    T^2 keeps the gradients as large as those of a cross-entropy.

    Args:
        logits: The student's logits (n, C).
        soft: The teacher's logits (n, C).
        temperature: T, above 0.
    """
    log_p, log_q = (functional.log_softmax(values / temperature, dim=1) for values in (logits, soft))
    return temperature**2 * functional.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
