"""Targets of explanations: scores by hand, and gradients against differences."""

import dataclasses

import numpy as np
import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import Calibration, DecisionRules
from edgeskin.errors import SettingError
from edgeskin.explain.target import CANCER, Target, find_target

CALIBRATION = Calibration(
    "by hand", tuple(tuple(row) for row in (np.eye(8) * 0.7 + 0.02).tolist()), tuple(np.linspace(-1, 1, 8))
)


@pytest.fixture(scope="module")
def rules() -> DecisionRules:
    return dataclasses.replace(open_bundle().manifest.decision_rules["fp32"], calibration=CALIBRATION)


def log_odds(logits: np.ndarray) -> float:
    """Of P(cancer) after CALIBRATION, written out."""
    log_p = logits - np.log(np.exp(logits).sum())
    powers = np.exp(np.array(CALIBRATION.weights) @ log_p + np.array(CALIBRATION.bias))
    p = powers[[0, 2, 3, 7]].sum() / powers.sum()
    return float(np.log(p / (1 - p)))


def test_the_score_of_cancer_is_the_log_odds_of_its_probability(rules: DecisionRules) -> None:
    logits = np.random.default_rng(0).normal(scale=2, size=(5, 8))
    scores = find_target(CANCER, rules).score(logits)
    assert scores.tolist() == pytest.approx([log_odds(one) for one in logits])


def test_the_score_of_a_class_is_its_logit(rules: DecisionRules) -> None:
    logits = np.random.default_rng(0).normal(size=(5, 8))
    np.testing.assert_array_equal(find_target("BKL", rules).score(logits), logits[:, 4])
    np.testing.assert_array_equal(find_target("BKL", rules).gradient(logits[0]), np.eye(8)[4])


def test_the_gradient_of_cancer_is_that_of_differences(rules: DecisionRules) -> None:
    logits = np.random.default_rng(1).normal(scale=2, size=8)
    found = find_target(CANCER, rules).gradient(logits)
    steps = 1e-6 * np.eye(8)
    expected = [(log_odds(logits + step) - log_odds(logits - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("logits", [80.0 * np.eye(8)[0], -90 * np.eye(8)[1], 1e4 * np.eye(8)[5]])
def test_far_out_scores_and_gradients_are_finite(logits: np.ndarray, rules: DecisionRules) -> None:
    target = find_target(CANCER, rules)
    assert np.isfinite(target.score(logits)).all()
    assert np.isfinite(target.gradient(logits)).all()


def test_members_are_the_classes_of_a_target(rules: DecisionRules) -> None:
    assert find_target(CANCER, rules).members.tolist() == rules.is_cancer.tolist()
    one = find_target("SCC", rules)
    assert isinstance(one, Target)
    assert np.flatnonzero(one.members).tolist() == [7]


@pytest.mark.parametrize("name", ["MELANOMA", "", "mel"])
def test_unknown_targets_are_refused(name: str, rules: DecisionRules) -> None:
    with pytest.raises(SettingError, match=r"cancer.*MEL") as caught:
        find_target(name, rules)
    assert caught.value.code == "setting"


def test_cancer_is_refused_where_every_class_is_one(rules: DecisionRules) -> None:
    every = dataclasses.replace(rules, cancer_classes=rules.classes)
    with pytest.raises(SettingError, match="cancer"):
        find_target(CANCER, every)
    assert find_target("MEL", every).members.sum() == 1
