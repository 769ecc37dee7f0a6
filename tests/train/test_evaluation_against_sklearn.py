"""The runtime's measures of labelled pictures, against scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import recall_score, roc_auc_score

from edgeskin.batch.evaluation import LabelledScores
from edgeskin.taxonomy import CANCER, ISIC_2019


@pytest.mark.parametrize("seed", range(5))
def test_sensitivity_specificity_and_auroc(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(ISIC_2019, 200)
    p = np.round(rng.random(200), 2)  # with ties
    scores = LabelledScores(ISIC_2019, CANCER)
    for label, one in zip(labels, p, strict=True):
        scores.add(str(label), {"cancer_probability": float(one), "risk": "LOW" if one < 0.3 else "HIGH"})
    is_cancer = np.isin(labels, CANCER)
    of = scores.evaluation()
    assert of is not None
    assert of.sensitivity is not None
    assert of.specificity is not None
    assert of.auroc is not None
    assert of.sensitivity.value == pytest.approx(recall_score(is_cancer, p >= 0.3))
    assert of.specificity.value == pytest.approx(recall_score(~is_cancer, p < 0.3))
    assert of.auroc.value == pytest.approx(roc_auc_score(is_cancer, p))
    for one, found in ((of.sensitivity, is_cancer & (p >= 0.3)), (of.specificity, ~is_cancer & (p < 0.3))):
        interval = binomtest(int(found.sum()), one.images).proportion_ci(method="wilson")
        assert (one.low, one.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
