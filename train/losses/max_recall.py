"""MaxRecall: a cross-entropy that would rather raise a false alarm than miss a cancer.

For logits z of shape (n, C), targets y, cancer classes K, melanoma m, a = argmax z and
p = softmax(z):

    q_i   smoothed target: 1 - e at y_i, where e is ``cancer_smoothing`` (spread evenly over the
          other classes) or ``benign_smoothing`` (``benign_to_cancer`` of it spread over K, the
          rest over the other benign classes; it stays at y_i where there is no other)
    CE_i  = - sum_c q_ic log softmax(z_i / temperature)_c
    w_c   = 1 / sqrt(n_c + 1), divided by its mean over the classes
    f_i   = melanoma_miss_multiplier if y_i = m, else cancer_miss_multiplier, where y_i in K and
            a_i not in K; 1 elsewhere
    h_i   = hard_weight where y_i in K and a_i != y_i; 1 elsewhere
    TP    = sum over cancers of sum_{c in K} p_ic,   TP + FN = number of cancers
    L     = mean_i(w_{y_i} f_i h_i CE_i) + recall_weight (1 - TP / (TP + FN))

The recall term is 0 in a batch without cancers. Terms as published for SkinGlanceCare (see the
README's references); written anew from the description.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from edgeskin.errors import SettingError
from train.config import LossConfig


class MaxRecallLoss(nn.Module):
    """See the module. ``counts``: training images a class (C,), for the class weights.

    Raises SettingError when a class has no images, or when nothing or everything is a cancer.
    """

    target_table: Tensor
    weights: Tensor
    is_cancer: Tensor
    miss_multipliers: Tensor

    def __init__(
        self,
        config: LossConfig,
        classes: Sequence[str],
        cancer: Sequence[str],
        melanoma: str,
        counts: Sequence[int],
    ) -> None:
        super().__init__()
        self.config = config
        is_cancer = torch.tensor([name in cancer for name in classes])
        if is_cancer.all() or not is_cancer.any():
            raise SettingError(f"MaxRecall needs cancer and benign classes; got cancer {list(cancer)}")
        empty = [name for name, count in zip(classes, counts, strict=True) if count < 1]
        if empty:
            raise SettingError(f"no training images of {empty}; add some or take the class off the list")

        weights = torch.ones(len(classes))
        if config.class_weights:
            weights = (torch.tensor(counts, dtype=torch.float64) + 1).rsqrt()
            weights = (weights / weights.mean()).float()
        multipliers = torch.where(is_cancer, config.cancer_miss_multiplier, 1.0)
        multipliers[list(classes).index(melanoma)] = config.melanoma_miss_multiplier

        self.register_buffer("is_cancer", is_cancer)
        self.register_buffer("weights", weights)
        self.register_buffer("miss_multipliers", multipliers)
        self.register_buffer("target_table", _target_table(is_cancer, config))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """logits: (n, C), any real. targets: (n,) class indices. Returns the scalar loss."""
        log_p = functional.log_softmax(logits / self.config.temperature, dim=1)
        cross_entropy = -(self.target_table.to(log_p.dtype)[targets] * log_p).sum(dim=1)  # (n,)

        decided = logits.argmax(dim=1)
        cancers = self.is_cancer[targets]
        missed = cancers & ~self.is_cancer[decided]
        wrong = cancers & (decided != targets)
        weight = self.weights[targets]
        weight = torch.where(missed, weight * self.miss_multipliers[targets], weight)
        weight = torch.where(wrong, weight * self.config.hard_weight, weight)
        loss = (weight * cross_entropy).mean()

        if self.config.recall_weight:
            p_cancer = functional.softmax(logits, dim=1)[:, self.is_cancer].sum(dim=1)  # (n,)
            found = (p_cancer * cancers).sum() / cancers.sum().clamp(min=1)
            loss = loss + self.config.recall_weight * (1 - found) * cancers.any()
        return loss


def distillation(logits: Tensor, soft: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(soft / T) || softmax(logits / T)), averaged over the images (Hinton et al., 2015).

    T^2 keeps the gradients as large as a cross-entropy's. logits: (n, C). soft: the teachers' logits (n, C).
    """
    log_p, log_q = (functional.log_softmax(values / temperature, dim=1) for values in (logits, soft))
    return temperature**2 * functional.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


def _target_table(is_cancer: Tensor, config: LossConfig) -> Tensor:
    """(C, C) float32: row y is the smoothed target of class y; every row sums to 1."""
    count = len(is_cancer)
    cancers = is_cancer.double()
    others = 1 - torch.eye(count, dtype=torch.float64)
    benign_others = others * (1 - cancers)
    benign_spread = config.benign_to_cancer * cancers / cancers.sum() + (
        1 - config.benign_to_cancer
    ) * benign_others / benign_others.sum(dim=1, keepdim=True).clamp(min=1)
    spread = torch.where(
        is_cancer[:, None],
        config.cancer_smoothing * others / (count - 1),
        config.benign_smoothing * benign_spread,
    )
    return (spread + torch.diag(1 - spread.sum(dim=1))).float()
