"""MaxRecall against a loop over samples and classes, written from the formula without shared code."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeskin.errors import SettingError
from edgeskin.taxonomy import CANCER, ISIC_2019
from train.config import MaxRecallConfig
from train.losses.max_recall import MaxRecallLoss

COUNTS = (3100, 9000, 2300, 600, 1900, 170, 180, 440)
NEUTRAL = {
    "class_weights": False,
    "temperature": 1.0,
    "cancer_smoothing": 0.0,
    "benign_smoothing": 0.0,
    "cancer_miss_multiplier": 1.0,
    "melanoma_miss_multiplier": 1.0,
    "hard_weight": 1.0,
    "recall_weight": 0.0,
}
PUBLISHED = asdict(MaxRecallConfig())
CASES = {
    "all on": MaxRecallConfig(),
    "all off": MaxRecallConfig(**NEUTRAL),
    **{f"only {name}": MaxRecallConfig(**NEUTRAL | {name: PUBLISHED[name]}) for name in NEUTRAL},
    **{
        f"all but {name}": MaxRecallConfig(**PUBLISHED | {name: neutral}) for name, neutral in NEUTRAL.items()
    },
    "no mass to cancers": MaxRecallConfig(benign_to_cancer=0.0),
    "all mass to cancers": MaxRecallConfig(benign_to_cancer=1.0),
}


def reference(
    logits: Tensor,
    targets: Sequence[int],
    config: MaxRecallConfig,
    classes: Sequence[str],
    cancer: Sequence[str],
    counts: Sequence[int],
) -> Tensor:
    """The formula of train/losses/max_recall.py, scalar by scalar."""
    indices = range(len(classes))
    raw_weights = [(count + 1) ** -0.5 if config.class_weights else 1.0 for count in counts]
    mean_weight = sum(raw_weights) / len(raw_weights)

    total = torch.zeros((), dtype=torch.float64)
    p_cancer_of_cancers, n_cancers = torch.zeros((), dtype=torch.float64), 0
    for z, y in zip(logits, targets, strict=True):
        is_cancer = classes[y] in cancer
        e = config.cancer_smoothing if is_cancer else config.benign_smoothing
        q = [0.0 for _ in indices]
        if is_cancer:
            for c in indices:
                q[c] = 1 - e if c == y else e / (len(classes) - 1)
        else:
            other_benign = [c for c in indices if classes[c] not in cancer and c != y]
            q[y] = 1 - e
            for c in indices:
                if classes[c] in cancer:
                    q[c] += e * config.benign_to_cancer / len(cancer)
            left = e * (1 - config.benign_to_cancer)
            for c in other_benign or [y]:
                q[c] += left / len(other_benign or [y])

        log_sum = torch.log(sum(torch.exp(z[c] / config.temperature) for c in indices))
        cross_entropy = -sum(q[c] * (z[c] / config.temperature - log_sum) for c in indices)
        argmax = max(indices, key=lambda c: z[c].item())
        weight = raw_weights[y] / mean_weight
        if is_cancer and classes[argmax] not in cancer:
            weight *= (
                config.melanoma_miss_multiplier if classes[y] == "MEL" else config.cancer_miss_multiplier
            )
        if is_cancer and argmax != y:
            weight *= config.hard_weight
        total = total + weight * cross_entropy / len(targets)

        if is_cancer:
            partition = sum(torch.exp(z[c]) for c in indices)
            p_cancer_of_cancers = p_cancer_of_cancers + sum(
                torch.exp(z[c]) / partition for c in indices if classes[c] in cancer
            )
            n_cancers += 1
    if n_cancers:
        total = total + config.recall_weight * (1 - p_cancer_of_cancers / n_cancers)
    return total


def assert_equal(
    logits: Tensor,
    targets: list[int],
    config: MaxRecallConfig,
    classes: Sequence[str] = ISIC_2019,
    cancer: Sequence[str] = CANCER,
    counts: Sequence[int] = COUNTS,
) -> None:
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = MaxRecallLoss(config, classes, cancer, "MEL", counts)(ours, torch.tensor(targets))
    expected = reference(theirs, targets, config, classes, cancer, counts)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6)


def random_logits(n: int, n_classes: int = 8, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, n_classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", CASES)
def test_equals_the_loop(case: str) -> None:
    """Every class is there five times, so that every branch is taken: missed, wrong and right."""
    targets = [c for c in range(8) for _ in range(5)]
    assert_equal(random_logits(40), targets, CASES[case])


@pytest.mark.parametrize("labels", [["NV", "BKL", "DF", "VASC"], ["MEL", "BCC", "AK", "SCC"]])
def test_batches_without_cancers_or_without_benign_lesions(labels: list[str]) -> None:
    assert_equal(random_logits(4, seed=1), [ISIC_2019.index(label) for label in labels], MaxRecallConfig())


def test_one_benign_class_keeps_what_has_nowhere_to_go() -> None:
    classes, cancer = ("MEL", "NV", "BCC"), ("MEL", "BCC")
    logits = random_logits(9, n_classes=3, seed=2)
    assert_equal(logits, [0, 1, 2] * 3, MaxRecallConfig(), classes, cancer, (10, 100, 20))


def test_all_off_is_cross_entropy() -> None:
    logits, targets = random_logits(16, seed=3), torch.arange(16) % 8
    loss = MaxRecallLoss(MaxRecallConfig(**NEUTRAL), ISIC_2019, CANCER, "MEL", COUNTS)(logits, targets)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, targets))


def test_class_weights_by_hand() -> None:
    """Counts 3, 8, 15: 1/2, 1/3, 1/4, of mean 13/36."""
    loss = MaxRecallLoss(MaxRecallConfig(), ("MEL", "NV", "BCC"), ("MEL", "BCC"), "MEL", (3, 8, 15))
    np.testing.assert_allclose(loss.weights, (18 / 13, 12 / 13, 9 / 13), rtol=1e-6)
    assert loss.weights.mean().item() == pytest.approx(1)


def test_recall_term_by_hand() -> None:
    """Two cancers at P(cancer) 1/2 each, and a nevus that does not count: 0.3 (1 - 1/2)."""
    logits = torch.zeros(3, 8, dtype=torch.float64)
    logits[2, 1] = 5
    config = MaxRecallConfig(**NEUTRAL | {"recall_weight": 0.3})
    targets = torch.tensor([0, 2, 1])
    with_term = MaxRecallLoss(config, ISIC_2019, CANCER, "MEL", COUNTS)(logits, targets)
    without = torch.nn.functional.cross_entropy(logits, targets)
    assert (with_term - without).item() == pytest.approx(0.15)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_numbers(size: float, dtype: torch.dtype) -> None:
    signs = torch.sign(random_logits(8, seed=4)).to(dtype)
    logits = (size * signs).requires_grad_()
    loss = MaxRecallLoss(MaxRecallConfig(), ISIC_2019, CANCER, "MEL", COUNTS)(logits, torch.arange(8))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_every_row_of_the_smoothed_targets_sums_to_one() -> None:
    table = MaxRecallLoss(MaxRecallConfig(), ISIC_2019, CANCER, "MEL", COUNTS).target_table
    torch.testing.assert_close(table.sum(dim=1), torch.ones(8))
    # A nevus: 0.85 at itself, 0.075 over four cancers, 0.075 over three other benign classes.
    expected = (0.01875, 0.85, 0.01875, 0.01875, 0.025, 0.025, 0.025, 0.01875)
    np.testing.assert_allclose(table[1], expected, rtol=1e-6)


def test_refuses_what_makes_no_sense() -> None:
    for cancer in ((), ISIC_2019):
        with pytest.raises(SettingError, match="needs cancer and benign"):
            MaxRecallLoss(MaxRecallConfig(), ISIC_2019, cancer, "MEL", COUNTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("cancer_smoothing", 1.1),
        ("benign_smoothing", -0.1),
        ("benign_to_cancer", 2.0),
        ("melanoma_miss_multiplier", -1.0),
        ("recall_weight", -0.3),
    ],
)
def test_settings_out_of_range(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name} {value}"):
        MaxRecallConfig(**{name: value})
