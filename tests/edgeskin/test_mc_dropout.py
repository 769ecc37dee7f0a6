"""Statistics of MC-dropout samples, against entropies and quantiles written out."""

import dataclasses

import numpy as np
import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import DecisionRules
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.decision.mc_dropout import require_samples, summarize
from edgeskin.errors import SettingError


@pytest.fixture(scope="module")
def rules() -> DecisionRules:
    """Eight classes, calibrated by a temperature of 1."""
    shipped = open_bundle().manifest.decision_rules["fp32"]
    return dataclasses.replace(shipped, calibration=temperature_scaling(1.0, 8))


def test_statistics_written_out(rules: DecisionRules) -> None:
    logits = np.random.default_rng(0).normal(scale=2, size=(200, 8)).astype(np.float32)
    warm = dataclasses.replace(rules, calibration=temperature_scaling(1.5, 8))
    found = summarize(logits, 4, warm)
    powers = np.exp(logits.astype(np.float64) / 1.5)
    each = powers / powers.sum(axis=1, keepdims=True)
    mean = each.mean(axis=0)
    p_cancer = each[:, [0, 2, 3, 7]].sum(axis=1)
    assert found.entropy == pytest.approx(-(mean * np.log(mean)).sum())
    assert found.aleatoric == pytest.approx(-(each * np.log(each)).sum(axis=1).mean())
    # The mutual information as the mean divergence of the samples from their mean.
    assert found.epistemic == pytest.approx((each * np.log(each / mean)).sum(axis=1).mean())
    assert found.cancer_probability == pytest.approx(p_cancer.mean())
    assert found.cancer_std == pytest.approx(p_cancer.std())
    ordered = np.sort(p_cancer)
    assert ordered[4] <= found.cancer_interval[0] <= ordered[5]
    assert ordered[194] <= found.cancer_interval[1] <= ordered[195]
    assert (found.samples, found.seed) == (200, 4)
    assert list(found.probabilities) == list(rules.classes)
    assert list(found.probabilities.values()) == pytest.approx(mean.tolist())


def test_certain_samples_that_agree_have_no_entropy(rules: DecisionRules) -> None:
    found = summarize(np.tile(np.float32([1e4, 0, 0, 0, 0, 0, 0, 0]), (3, 1)), 0, rules)
    assert (found.entropy, found.aleatoric, found.epistemic, found.cancer_std) == (0, 0, 0, 0)


def test_two_certain_samples_that_disagree(rules: DecisionRules) -> None:
    """One is certain of MEL, one of NV: an entropy of log 2, all of it epistemic."""
    found = summarize(1e4 * np.eye(8, dtype=np.float32)[:2], 0, rules)
    assert (found.entropy, found.aleatoric, found.epistemic) == pytest.approx((np.log(2), 0, np.log(2)))
    assert (found.cancer_probability, found.cancer_std) == pytest.approx((0.5, 0.5))


def test_the_epistemic_part_is_never_negative(rules: DecisionRules) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        same = np.tile(rng.normal(scale=3, size=8).astype(np.float32), (5, 1))
        assert summarize(same, 0, rules).epistemic >= 0


@pytest.mark.parametrize(("samples", "seed"), [(-1, 0), (1, 0), (1001, 0), (2.0, 0), (30, -1), (30, 0.5)])
def test_samples_and_seeds_out_of_range_are_refused(samples: int, seed: int) -> None:
    with pytest.raises(SettingError) as caught:
        require_samples(samples, seed)
    assert caught.value.code == "setting"


@pytest.mark.parametrize("samples", [2, 1000])
def test_samples_in_range_are_accepted(samples: int) -> None:
    require_samples(samples, 0)
