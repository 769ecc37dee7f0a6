"""MaxRecall: a cross-entropy that accepts false alarms to miss fewer cancers.

For logits z of shape (n, C), targets y, cancer classes K, melanoma m, a = argmax z and p = softmax(z):

    q_i   smoothed target: 1 - e at y_i. For a cancer e is ``cancer_smoothing``, spread evenly over the other
          classes. For a benign class e is ``benign_smoothing``: ``benign_to_cancer`` of it is spread over K,
          the rest over the other benign classes (where there is none, it stays at y_i)
    CE_i  = - sum_c q_ic log softmax(z_i / temperature)_c
    w_c   = 1 / sqrt(n_c + 1), divided by its mean over the classes
    f_i   = melanoma_miss_multiplier if y_i = m, else cancer_miss_multiplier, where y_i in K and a_i not in K;
            1 elsewhere
    h_i   = hard_weight where y_i in K and a_i != y_i; 1 elsewhere
    TP    = sum over cancers of sum_{c in K} p_ic,   TP + FN = number of cancers
    L     = mean_i(w_{y_i} f_i h_i CE_i) + recall_weight (1 - TP / (TP + FN))

The recall term is 0 in a batch without cancers. The terms are those published for SkinGlanceCare (see the
README's references), implemented from its description.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from edgeskin.errors import SettingError
from train.config import MaxRecallConfig
from train.losses.cross_entropy import class_weights


class MaxRecallLoss(nn.Module):
    """The loss of this module's formulas.

    Args:
        config: The terms.
        classes: Codes of the classes (C,).
        cancer: Those of them that are cancer.
        melanoma: The class of ``melanoma_miss_multiplier``.
        counts: Training images of each class in an epoch (C,), for the class weights.

    Raises:
        SettingError: No class, or every class, is a cancer.
    """

    target_table: Tensor
    weights: Tensor
    is_cancer: Tensor
    miss_multipliers: Tensor

    def __init__(
        self,
        config: MaxRecallConfig,
        classes: Sequence[str],
        cancer: Sequence[str],
        melanoma: str,
        counts: Sequence[int],
    ) -> None:
        """Prepare the look-up tables by class."""
        super().__init__()
        self.config = config
        is_cancer = torch.tensor([name in cancer for name in classes])
        if is_cancer.all() or not is_cancer.any():
            raise SettingError(f"MaxRecall needs cancer and benign classes; got cancer {list(cancer)}")
        weights = class_weights(counts) if config.class_weights else torch.ones(len(classes))
        multipliers = torch.where(is_cancer, config.cancer_miss_multiplier, 1.0)
        multipliers[list(classes).index(melanoma)] = config.melanoma_miss_multiplier

        self.register_buffer("is_cancer", is_cancer)
        self.register_buffer("weights", weights)
        self.register_buffer("miss_multipliers", multipliers)
        self.register_buffer("target_table", _target_table(is_cancer, config))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The scalar loss of logits (n, C), any real, and class indices ``targets`` (n,)."""
        log_p = functional.log_softmax(logits / self.config.temperature, dim=1)
        cross_entropy = -(self.target_table.to(log_p.dtype)[targets] * log_p).sum(dim=1)  # (n,)

        predicted = logits.argmax(dim=1)
        cancers = self.is_cancer[targets]
        missed = cancers & ~self.is_cancer[predicted]
        wrong = cancers & (predicted != targets)
        weight = self.weights[targets]
        weight = torch.where(missed, weight * self.miss_multipliers[targets], weight)
        weight = torch.where(wrong, weight * self.config.hard_weight, weight)
        loss = (weight * cross_entropy).mean()

        if self.config.recall_weight:
            p_cancer = functional.softmax(logits, dim=1)[:, self.is_cancer].sum(dim=1)  # (n,)
            found = (p_cancer * cancers).sum() / cancers.sum().clamp(min=1)
            loss = loss + self.config.recall_weight * (1 - found) * cancers.any()
        return loss


def _target_table(is_cancer: Tensor, config: MaxRecallConfig) -> Tensor:
    """(C, C) float32: row y is the smoothed target of class y; every row sums to 1."""
    count = len(is_cancer)
    cancers = is_cancer.double()
    off_diagonal = 1 - torch.eye(count, dtype=torch.float64)
    other_benign = off_diagonal * (1 - cancers)
    benign_spread = config.benign_to_cancer * cancers / cancers.sum() + (
        1 - config.benign_to_cancer
    ) * other_benign / other_benign.sum(dim=1, keepdim=True).clamp(min=1)
    spread = torch.where(
        is_cancer[:, None],
        config.cancer_smoothing * off_diagonal / (count - 1),
        config.benign_smoothing * benign_spread,
    )
    return (spread + torch.diag(1 - spread.sum(dim=1))).float()
