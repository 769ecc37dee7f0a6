"""Reads manifests of schema 3, those of the bundles that 0.11.0 shipped, as schema 4.

The files stay as they are, so that their hashes do. This module goes when those bundles are replaced.
"""

import math
from typing import Any

import numpy as np

LEAST_BOUND = 0.8
MOST_LESIONS = 5000
"""Bounds take time and memory with the square of the number of lesions; the shipped bundles have 289."""
CONFIDENCE = 0.95


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """A manifest of schema 3 as plain data of schema 4.

    Raises KeyError, TypeError, ValueError or AttributeError for anything else.
    """
    kept = {key: value for key, value in values.items() if key != "variants"}
    training = dict(values["training"])
    if training.get("run"):
        training["run"] = _run(training["run"])
    rules = {
        precision: _decision_rules(variant, values["classes"], values["cancer_classes"])
        for precision, variant in values["variants"].items()
    }
    files = {name: {"sha256": sha256, "size": size} for name, (sha256, size) in values["files"].items()}
    return kept | {"schema_version": 4, "decision_rules": rules, "training": training, "files": files}


def _decision_rules(variant: dict[str, Any], classes: list[str], cancer_classes: list[str]) -> dict[str, Any]:
    scores = variant.get("lesion_scores")
    if scores and len(scores["cancer"]) > MOST_LESIONS:
        raise ValueError(f"more than {MOST_LESIONS} lesions")
    return {
        "classes": classes,
        "cancer_classes": cancer_classes,
        "calibration": variant["calibration"],
        "operating_points": [
            {key: value for key, value in point.items() if key != "certificate"}
            | {"bound": point.get("certificate")}
            for point in variant["operating_points"]
        ],
        "class_priors": variant.get("class_priors", []),
        "lesion_scores": scores
        and {
            "cancer": scores["cancer"],
            "benign": scores["others"],
            "bounds": _sensitivity_bounds(len(scores["cancer"])),
        },
        "prediction_sets": variant.get("label_sets"),
        "confidence": variant.get("certainty"),
        "ood_threshold": variant.get("ood_threshold"),
    }


def _run(run: dict[str, Any]) -> dict[str, Any]:
    """The record of a run, whose scores were at its top level."""
    scores = {key: value for key, value in run.items() if key.startswith("val_")}
    return {key: value for key, value in run.items() if key not in scores} | {"scores": scores}


def _sensitivity_bounds(lesions: int) -> list[float]:
    """What k of so many lesions missed certify, for k from 0 on (Clopper & Pearson, Biometrika 26, 1934).

    The bound is the sensitivity s with P(Binomial(lesions, 1 - s) <= k) = 1 - CONFIDENCE, by bisection.
    """
    missed = np.arange(math.ceil(lesions * (1 - LEAST_BOUND)))
    log_ways = np.array([math.log(math.comb(lesions, k)) for k in missed.tolist()])
    low, high = np.zeros(len(missed)), np.ones(len(missed))
    for _ in range(60):
        s = (low + high) / 2
        log_p = log_ways + np.outer(np.log1p(-s), missed) + np.outer(np.log(s), lesions - missed)
        chance = np.tril(np.exp(log_p)).sum(axis=1)
        is_certified = chance <= 1 - CONFIDENCE
        low, high = np.where(is_certified, s, low), np.where(is_certified, high, s)
    return [bound for bound in low.tolist() if bound >= LEAST_BOUND]
