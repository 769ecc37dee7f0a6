"""Decisions: a case worked by hand, many pictures as one by one, and what actions promise."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeskin import Classifier
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import (
    ConfidenceRule,
    DecisionRules,
    OperatingPoint,
    PredictionSets,
)
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.decision.decide import ACTIONS, OUT_OF_SCOPE, RETAKE, Decisions, decide
from edgeskin.results import RISKS, SAFETY_NET
from tests.edgeskin.pictures import encode


def point(name: str, threshold: float) -> OperatingPoint:
    return OperatingPoint(name, threshold, 0.95, 0.95, 0.7)


RULES = DecisionRules(
    ("MEL", "NV", "BCC"),
    ("MEL", "BCC"),
    temperature_scaling(1.0, 3),
    (point("screen", 0.2), point("balanced", 0.6)),
    class_priors=(0.1, 0.8, 0.1),
    prediction_sets=PredictionSets(0.9, (0.1, 0.9, 0.1), (20, 20, 20)),
    confidence=ConfidenceRule((0.25, 0.25, 0.25, 0.25), (0.5,), (0.0, 0.2), low=0.3, high=0.5),
)


def logits_of(*shares: list[float]) -> np.ndarray:
    """Logits whose softmax is these shares: one picture, a view each, (1, V, C)."""
    return np.log(np.array([shares])).astype(np.float32)


@pytest.mark.hazard("H-01")
def test_a_case_by_hand() -> None:
    """Two views with the same answer: 0.2 MEL, 0.7 NV, 0.1 BCC."""
    decisions = decide(logits_of([0.2, 0.7, 0.1], [0.2, 0.7, 0.1]), RULES)
    np.testing.assert_allclose(decisions.probabilities, [[0.2, 0.7, 0.1]], rtol=1e-6)
    assert decisions.cancer_probability == pytest.approx([0.3])
    # 0.2 / 0.1, 0.7 / 0.8 and 0.1 / 0.1 sum to 3.875.
    np.testing.assert_allclose(
        decisions.balanced_probabilities, [[2 / 3.875, 0.875 / 3.875, 1 / 3.875]], rtol=1e-6
    )
    assert decisions.predicted.tolist() == [0]
    assert [RISKS[level] for level in decisions.risk] == ["MEDIUM"]
    assert decisions.is_referred.tolist() == [True]
    assert decisions.prediction_sets is not None
    # NV is below its threshold of 0.9, but the most probable; BCC is not below its 0.1 by more than rounding.
    assert decisions.prediction_sets[0, :2].tolist() == [True, True]
    assert decisions.most_serious is not None
    assert decisions.most_serious.tolist() == [0]
    assert decisions.confidence is not None
    margin = 1 - (0.2 / 0.8) / (0.3 / 0.7)
    np.testing.assert_allclose(decisions.confidence.parts, [[0.4, 1, margin, 1]], rtol=1e-5)
    assert decisions.confidence.of(0).score == pytest.approx((0.4 + 1 + margin + 1) / 4, rel=1e-5)
    assert decisions.confidence.of(0).level == "HIGH"


def test_logits_are_averaged_over_the_views_before_anything_else() -> None:
    """Views at odds of 9 and 1 / 9 are even on average; their P(cancer) of 0.9 and 0.1 is unstable."""
    two = DecisionRules(
        ("MEL", "NV"), ("MEL",), temperature_scaling(1.0, 2), (point("screen", 0.2),),
        confidence=ConfidenceRule((0, 0, 0, 1), (), (0,), 0.3, 0.7),
    )  # fmt: skip
    decisions = decide(logits_of([0.9, 0.1], [0.1, 0.9]), two)
    assert decisions.cancer_probability == pytest.approx([0.5])
    assert decisions.confidence is not None
    assert decisions.confidence.of(0).score == pytest.approx(1 - 2 * 0.4, abs=1e-6)
    assert decisions.confidence.of(0).level == "LOW"


def rows(decisions: Decisions) -> dict[str, np.ndarray]:
    """Every array of the decisions by name, with a row for each picture."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in vars(decisions).items():
        arrays |= vars(value) if name == "confidence" else {name: value}
    return arrays


@pytest.mark.parametrize("bundle", ["default", "lite"])
def test_many_pictures_are_decided_as_one_by_one(bundle: str) -> None:
    rules = open_bundle(bundle).manifest.decision_rules["int8"]
    view_logits = np.random.default_rng(0).normal(scale=3, size=(200, 8, 8)).astype(np.float32)
    together = rows(decide(view_logits, rules))
    assert set(map(len, together.values())) == {200}
    assert len(together) == 10
    for place in range(200):
        alone = rows(decide(view_logits[place : place + 1], rules))
        for name, values in together.items():
            np.testing.assert_allclose(values[place], alone[name][0], rtol=1e-12, atol=1e-15, err_msg=name)
    assert {0, 1, 2} == set(together["risk"].tolist()) == set(together["level"].tolist())


def test_parts_without_a_rule_are_none() -> None:
    bare = dataclasses.replace(RULES, class_priors=(), prediction_sets=None, confidence=None)
    decisions = decide(logits_of([0.2, 0.7, 0.1]), bare)
    assert (decisions.prediction_sets, decisions.most_serious, decisions.confidence) == (None, None, None)
    np.testing.assert_allclose(decisions.balanced_probabilities, decisions.probabilities)
    assert decisions.predicted.tolist() == [1]


@pytest.mark.hazard("H-01", "H-11")
def test_every_risk_has_an_action_and_none_promises_health() -> None:
    assert set(ACTIONS) == set(RISKS)
    assert [ACTIONS[risk][0] for risk in RISKS] == ["no_referral", "refer", "refer_urgently"]
    texts = (*(text for _, text in ACTIONS.values()), OUT_OF_SCOPE, RETAKE, SAFETY_NET)
    assert not any(word in text for text in texts for word in ("benign", "safe", "no cancer"))


@pytest.mark.hazard("H-02", "H-03")
def test_a_doubtful_picture_is_never_answered_with_confidence(lesion_jpg: Path) -> None:
    """A torn JPEG, a BMP with bytes too many, skin with little red; and any failure with the gate off."""
    whole = Image.open(lesion_jpg).convert("RGB")
    torn = np.asarray(whole, np.int16).copy()
    torn[304:320, 288:] += 30
    torn[320:] += 30
    bluish = np.asarray(whole, np.float64) * (0.72, 1, 1)
    pale = np.dstack([np.asarray(whole.convert("L"))] * 3)
    pictures = {
        "whole": encode(whole, "JPEG", quality=95),
        "may_be_damaged": encode(np.clip(torn, 0, 255).astype(np.uint8), "JPEG", quality=95),
        "surplus": encode(whole, "BMP") + bytes(16),
        "little_red": encode(bluish.astype(np.uint8), "PNG"),
        "colourless": encode(pale, "PNG"),
    }
    with (
        Classifier(scope_gate=False) as classifier,
        Classifier(quality_gate=False, scope_gate=False) as open_gate,
    ):
        answers = {
            name: (open_gate if name == "colourless" else classifier).assess(data)
            for name, data in pictures.items()
        }
    for name, answer in answers.items():
        assert answer.status == "assessed", name
        assert answer.quality is not None
        assert answer.confidence is not None
        assert (answer.confidence.level == "LOW") == (name != "whole"), name
    assert "may_be_damaged" in answers["may_be_damaged"].quality.advised
    assert "may_be_damaged" in answers["surplus"].quality.advised
    assert "little_red" in answers["little_red"].quality.advised
