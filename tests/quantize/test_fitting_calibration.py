"""Calibration against a grid search, torch's optimum, scikit-learn, and known changes of the logits."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from edgeskin.decision.decide import probabilities
from edgeskin.errors import SettingError
from quantize.fitting.calibration import (
    METHODS,
    CalibrationScores,
    best_method,
    compare_methods,
    cross_fit,
    fit,
    folds_of,
    score_calibration,
)
from quantize.fitting.labels import Labels

CLASSES, CANCER = ("A", "B", "C", "D", "E"), ("B", "E")
IS_CANCER = np.array([False, True, False, False, True])
UNPENALISED = dataclasses.replace(METHODS["Dirichlet"], penalty=0.0)


def random_outputs(n: int = 400, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 5) that are calibrated when divided by the sharpness, and classes drawn from them."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 5))
    p = softmax(logits, axis=1)
    targets = np.array([rng.choice(5, p=row) for row in p])
    return sharpness * logits, targets


def labels_of(targets: np.ndarray, lesions: list[str] | None = None) -> Labels:
    names = tuple(str(i) for i in range(len(targets)))
    return Labels(names, names if lesions is None else tuple(lesions), targets, CLASSES, CANCER)


def loss(p: np.ndarray, targets: np.ndarray) -> float:
    return float(-np.log(p[np.arange(len(targets)), targets]).mean())


def temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    return 1 / fit("temperature", logits, targets).weights[0][0]


def test_temperature_is_the_best_of_a_grid() -> None:
    logits, targets = random_outputs()
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 20_001))
    best = grid[np.argmin([loss(softmax(logits / t, axis=1), targets) for t in grid])]
    assert temperature(logits, targets) == pytest.approx(best, rel=1e-3)


def test_temperature_undoes_a_scale_of_the_logits() -> None:
    logits, targets = random_outputs(20_000, sharpness=1.0)
    assert temperature(logits, targets) == pytest.approx(1, abs=0.05)
    assert temperature(3 * logits, targets) == pytest.approx(3 * temperature(logits, targets), rel=1e-3)


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(SettingError, match="not finite"):
        fit("temperature", np.array([[0.0, np.nan]]), np.array([0]))


def test_a_bias_undoes_an_offset_of_the_logits() -> None:
    logits, targets = random_outputs(20_000, sharpness=1.0)
    added = np.array([2.0, 0.0, -1.0, 0.0, 0.5])
    found = fit("bias-corrected temperature", 2 * (logits + added), targets)
    bias = np.array(found.bias)
    np.testing.assert_allclose(bias - bias.mean(), added.mean() - added, atol=0.1)
    np.testing.assert_allclose(found.weights, 0.5 * np.eye(5), atol=0.03)
    np.testing.assert_allclose(
        probabilities(2 * (logits + added), found).mean(axis=0), np.bincount(targets) / 20_000, atol=1e-4
    )


def test_diagonal_dirichlet_is_torchs_optimum() -> None:
    logits, targets = random_outputs()
    log_p = torch.from_numpy(log_softmax(logits, axis=1))
    scale, bias = (
        torch.ones(5, dtype=torch.float64, requires_grad=True),
        torch.zeros(5, dtype=torch.float64, requires_grad=True),
    )
    optimizer = torch.optim.LBFGS(
        [scale, bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(log_p * scale + bias, torch.from_numpy(targets))
        value.backward()
        return value

    optimizer.step(closure)
    found = fit("diagonal Dirichlet", logits, targets)
    np.testing.assert_allclose(np.diag(found.weights), scale.detach(), atol=1e-3)
    np.testing.assert_allclose(np.array(found.bias) - found.bias[0], (bias - bias[0]).detach(), atol=1e-3)
    assert np.count_nonzero(np.array(found.weights)[~np.eye(5, dtype=bool)]) == 0


def test_dirichlet_without_penalty_is_scikit_learns_regression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, targets = random_outputs(2000)
    monkeypatch.setitem(METHODS, "Dirichlet", UNPENALISED)
    log_p = log_softmax(logits, axis=1)
    regression = LogisticRegression(C=1e9, max_iter=5000, tol=1e-8).fit(log_p, targets)
    found = probabilities(logits, fit("Dirichlet", logits, targets))
    np.testing.assert_allclose(found, regression.predict_proba(log_p), atol=2e-3)


def test_the_penalty_keeps_a_full_matrix_near_the_diagonal(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the penalized optimum the gradients of loss and penalty cancel."""
    logits, targets = random_outputs(60)
    off = ~np.eye(5, dtype=bool)
    log_p, truth = log_softmax(logits, axis=1), np.eye(5)[targets]
    held = fit("Dirichlet", logits, targets)
    weights, bias = np.array(held.weights), np.array(held.bias)
    residual = (probabilities(logits, held) - truth) / 60
    np.testing.assert_allclose((residual.T @ log_p)[off], -2 * 0.01 / 20 * weights[off], atol=1e-4)
    np.testing.assert_allclose(residual.sum(axis=0), -2 * 0.01 / 5 * bias, atol=1e-4)
    monkeypatch.setitem(METHODS, "Dirichlet", UNPENALISED)
    free = np.array(fit("Dirichlet", logits, targets).weights)
    assert (weights[off] ** 2).sum() < (free[off] ** 2).sum()


def test_images_with_equal_probabilities_are_binned_at_random() -> None:
    """All are at 0.3, cancers first, as after isotonic regression: no bin holds cancers alone."""
    cancer = np.arange(1500) < 450
    assert score_calibration(np.full(1500, 0.3), cancer, None).calibration_error < 0.06


def test_a_class_that_is_never_wrong_stays_within_bounds() -> None:
    found = fit("Dirichlet", 50 * np.eye(3)[[0, 1, 2] * 4], np.array([0, 1, 2] * 4))
    assert np.isfinite(found.weights).all()
    assert abs(np.array(found.weights)).max() <= 20


def test_each_image_is_scored_by_a_calibration_fitted_without_its_lesion() -> None:
    """With two lesions, the calibration of one is scored on the other, by scikit-learn."""
    logits, targets = random_outputs(600)
    lesions = ["one" if number < 300 else "other" for number in range(600)]
    compared = compare_methods(logits, labels_of(targets, lesions))
    p = np.concatenate(
        [
            probabilities(logits[fold], fit("bias-corrected temperature", logits[rest], targets[rest]))
            for fold, rest in ((slice(300), slice(300, 600)), (slice(300, 600), slice(300)))
        ]
    )
    p_cancer, cancer = p[:, IS_CANCER].sum(axis=1), IS_CANCER[targets]
    scores = compared["bias-corrected temperature"]
    assert scores.negative_log_likelihood == pytest.approx(log_loss(targets, p))
    assert scores.cancer_negative_log_likelihood == pytest.approx(log_loss(cancer, p_cancer))
    assert scores.brier == pytest.approx(brier_score_loss(cancer, p_cancer))
    assert set(compared) == {*METHODS, "Platt, P(cancer)", "isotonic, P(cancer)"}
    assert compared["Platt, P(cancer)"].negative_log_likelihood is None


def test_a_temperature_alone_cannot_undo_an_offset_of_the_cancers() -> None:
    logits, targets = random_outputs(2000)
    compared = compare_methods(logits + 2.5 * IS_CANCER, labels_of(targets))
    worst = compared["temperature"]
    for name, one in compared.items():
        if name != "temperature":
            assert one.cancer_negative_log_likelihood < worst.cancer_negative_log_likelihood - 0.04
            assert one.calibration_error < 0.06 < worst.calibration_error
    assert best_method(compared) == "bias-corrected temperature"


def test_a_class_of_one_lesion_cannot_be_cross_fitted() -> None:
    logits, targets = random_outputs(50)
    lesions = ["same" if target == 3 else str(i) for i, target in enumerate(targets)]
    assert compare_methods(logits, labels_of(targets, lesions)) == {}
    assert best_method({}) == "temperature"


def test_only_a_method_for_all_classes_can_be_chosen() -> None:
    platt, temperature_scores = (
        CalibrationScores(None, 0.1, 0.01, 0.01),
        CalibrationScores(0.6, 0.3, 0.1, 0.1),
    )
    assert best_method({"Platt, P(cancer)": platt, "temperature": temperature_scores}) == "temperature"


def test_cross_fitted_probabilities_come_from_other_lesions() -> None:
    """The calibration of a fold is that of the images outside it, and no lesion is on both sides."""
    logits, targets = random_outputs(600)
    views = logits[:, None].astype(np.float32)
    lesions = [str(i // 2) for i in range(600)]
    targets = np.repeat(targets[::2], 2)  # images of a lesion have one class
    labels = labels_of(targets, lesions)
    p, view_p = cross_fit("bias-corrected temperature", views, labels)
    np.testing.assert_allclose(view_p[:, 0], p, atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    folds = folds_of(labels)
    assert sorted(np.concatenate([fold for _, fold in folds]).tolist()) == list(range(600))
    for rest, fold in folds:
        assert not {lesions[i] for i in rest} & {lesions[i] for i in fold}
        alone = fit("bias-corrected temperature", views[rest].mean(axis=1), targets[rest])
        np.testing.assert_allclose(p[fold], probabilities(views[fold].mean(axis=1), alone), atol=1e-6)
    in_sample = probabilities(logits, fit("bias-corrected temperature", logits, targets))
    assert np.abs(in_sample - p).max() > 1e-3
