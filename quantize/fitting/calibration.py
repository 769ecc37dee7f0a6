"""Fits the calibration of probabilities, and compares calibration methods by cross-fitting.

The maps of METHODS change the log-probabilities of all classes, whose sum over the cancers is P(cancer). One
of them goes into the bundle. Platt scaling and isotonic regression change P(cancer) alone, and are compared
on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.calibration import probabilities
from edgeskin.errors import SettingError
from edgeskin.imaging.dihedral import average_views
from quantize.fitting.labels import Labels, Logits, Targets
from train.evaluate.metrics import brier, calibration_error, negative_log_likelihood

Indices = npt.NDArray[np.int64]

FOLDS = 5
OFF_DIAGONAL_PENALTY = 0.01
"""Penalty of a full matrix on the mean square of its off-diagonal weights, and on that of the bias (ODIR)."""
LARGEST_SCALE, LARGEST_BIAS = 20.0, 10.0
FALLBACK = "temperature"
"""The method that is used where the images are too few to compare methods."""


@dataclass(frozen=True)
class Form:
    """The parameters of a calibration method.

    Attributes:
        parameter_of: From the number of classes C to (C, C): the index of each weight's parameter, or -1 for
            a weight that is always 0.
        bias: Whether there is a bias for each class.
        penalty: Weight of the penalty on off-diagonal weights and on the bias.
    """

    parameter_of: Callable[[int], Indices]
    bias: bool = True
    penalty: float = 0.0


def _shared_diagonal(n: int) -> Indices:
    return np.where(np.eye(n, dtype=bool), 0, -1)


METHODS: Mapping[str, Form] = {
    # Guo et al., "On calibration of modern neural networks", ICML 2017.
    "temperature": Form(_shared_diagonal, bias=False),
    # Alexandari et al., "Maximum likelihood with bias-corrected calibration", ICML 2020.
    "bias-corrected temperature": Form(_shared_diagonal),
    # Kull et al., "Beyond temperature scaling", NeurIPS 2019: diagonal, which is vector scaling of the
    # log-probabilities, and full with the ODIR penalty, which is fixed here and not tuned.
    "diagonal Dirichlet": Form(lambda n: np.where(np.eye(n, dtype=bool), np.arange(n)[:, None], -1)),
    "Dirichlet": Form(lambda n: np.arange(n * n).reshape(n, n), penalty=OFF_DIAGONAL_PENALTY),
}


@dataclass(frozen=True)
class CalibrationScores:
    """How good a calibration method is on images that it was not fitted on; lower is better.

    Attributes:
        negative_log_likelihood: Of the class; None for a method that changes P(cancer) alone.
        cancer_negative_log_likelihood: Of cancer against benign.
        brier: Brier score of P(cancer), 0 to 1.
        calibration_error: Expected calibration error of P(cancer), in 15 bins of equal mass, 0 to 1.
    """

    negative_log_likelihood: float | None
    cancer_negative_log_likelihood: float
    brier: float
    calibration_error: float


def fit(method: str, logits: Logits, targets: Targets) -> Calibration:
    """Fit the parameters with the lowest negative log-likelihood, which is convex in them.

    Args:
        method: One of METHODS.
        logits: Logits, (n, C).
        targets: Class indices, (n,).

    Returns:
        The calibration; its diagonal weights are within 0.05 to 20, its biases within +-10.

    Raises:
        SettingError: A logit is not finite.
    """
    form = METHODS[method]
    if not np.isfinite(logits).all():
        raise SettingError(
            "the network gives logits that are not finite, so it cannot be calibrated; train it again"
        )
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    n_images, n = log_p.shape
    parameter_of, diagonal = form.parameter_of(n), np.eye(n, dtype=bool)
    is_free = parameter_of >= 0
    count = int(parameter_of.max()) + 1
    truth = np.eye(n)[targets]

    def unpack(parameters: Float64s) -> tuple[Float64s, Float64s]:
        bias = parameters[count:] if form.bias else np.zeros(n)
        return np.where(is_free, parameters[parameter_of], 0.0), bias

    def loss(parameters: Float64s) -> tuple[float, Float64s]:
        weights, bias = unpack(parameters)
        scores = log_softmax(log_p @ weights.T + bias, axis=1)
        residual = (np.exp(scores) - truth) / n_images  # (n, C), the gradient with respect to the scores
        off_diagonal = np.where(diagonal, 0.0, weights) * (form.penalty / max(1, n * (n - 1)))
        shrunk_bias = bias * (form.penalty / n)
        by_weight = residual.T @ log_p + 2 * off_diagonal
        gradient = np.bincount(parameter_of[is_free], by_weight[is_free], minlength=count)
        likelihood = -(scores * truth).sum() / n_images
        value = likelihood + (off_diagonal * weights).sum() + (shrunk_bias * bias).sum()
        return float(value), np.append(gradient, residual.sum(axis=0) + 2 * shrunk_bias if form.bias else [])

    start = np.zeros(count + (n if form.bias else 0))
    start[parameter_of[diagonal]] = 1
    bounds = [(-LARGEST_SCALE, LARGEST_SCALE)] * count + [(-LARGEST_BIAS, LARGEST_BIAS)] * (
        len(start) - count
    )
    for position in np.unique(parameter_of[diagonal]):
        bounds[position] = (1 / LARGEST_SCALE, LARGEST_SCALE)
    fitted = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "maxiter": 2000}
    )
    weights, bias = unpack(fitted.x)
    return Calibration(method, tuple(map(tuple, weights.tolist())), tuple(bias.tolist()))


def compare_methods(logits: Logits, labels: Labels) -> dict[str, CalibrationScores]:
    """Score each calibration method on images of lesions that it was not fitted on.

    Args:
        logits: Logits, (n, C).
        labels: Labels of the n images.

    Returns:
        Scores by method. Empty where the lesions are too few for `folds_of`.
    """
    folds = folds_of(labels)
    if not folds:
        return {}
    cancer = labels.is_cancer
    scores = {}
    for method in METHODS:
        p = np.empty(logits.shape)
        for rest, fold in folds:
            p[fold] = probabilities(logits[fold], fit(method, logits[rest], labels.targets[rest]))
        loss = float(negative_log_likelihood(labels.targets, p))
        scores[method] = score_calibration(p[:, labels.cancer_mask].sum(axis=1), cancer, loss)
    tempered = [
        labels.p_cancer(logits, fit("temperature", logits[rest], labels.targets[rest])) for rest, _ in folds
    ]
    for method, apply in _OF_CANCER.items():
        p_cancer = np.empty(len(logits))
        for (rest, fold), p_tempered in zip(folds, tempered, strict=True):
            p_cancer[fold] = apply(p_tempered[rest], cancer[rest], p_tempered[fold])
        scores[method] = score_calibration(p_cancer, cancer, None)
    return scores


def best_method(scores: Mapping[str, CalibrationScores]) -> str:
    """Choose the method of METHODS with the lowest negative log-likelihood; without scores, FALLBACK."""
    losses = {name: score.negative_log_likelihood for name, score in scores.items()}
    return min((loss, name) for name, loss in losses.items() if loss is not None)[1] if losses else FALLBACK


def cross_fit(method: str, view_logits: Logits, labels: Labels) -> tuple[Float64s, Float64s]:
    """Calibrate each image by a calibration that was fitted without its lesion.

    Where the lesions are too few for `folds_of`, one calibration is fitted on all images.

    Args:
        method: One of METHODS.
        view_logits: Logits of each view, (n, V, C).
        labels: Labels of the n images.

    Returns:
        Probabilities of each image, (n, C), and of each of its views, (n, V, C).
    """
    n, _, n_classes = view_logits.shape
    everything = np.arange(n)
    logits = average_views(view_logits, axis=1)
    p, view_p = np.empty((n, n_classes)), np.empty(view_logits.shape)
    for rest, fold in folds_of(labels) or [(everything, everything)]:
        calibration = fit(method, logits[rest], labels.targets[rest])
        p[fold] = probabilities(logits[fold], calibration)
        view_p[fold] = probabilities(view_logits[fold], calibration)
    return p, view_p


def folds_of(labels: Labels) -> list[tuple[Indices, Indices]]:
    """Split n images into folds, stratified by class, with all images of a lesion in one fold.

    Returns:
        Of each fold, the positions of the images outside it and inside it. Empty where there are fewer than
        two lesions of a class, or a class is missing outside a fold.
    """
    targets, lesions = labels.targets, np.asarray(labels.lesions)
    n_classes = len(labels.classes)
    lesions_of_class = [len(np.unique(lesions[targets == c])) for c in range(n_classes)]
    count = min(FOLDS, *lesions_of_class)
    if count < 2:
        return []
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    folds = list(splitter.split(targets, targets, lesions))
    is_complete = all(len(np.unique(targets[rest])) == n_classes for rest, _ in folds)
    return folds if is_complete else []


def score_calibration(p_cancer: Float64s, is_cancer: Bools, loss: float | None) -> CalibrationScores:
    """Score calibrated probabilities.

    Args:
        p_cancer: P(cancer), (n,).
        is_cancer: Which images show a cancer, (n,).
        loss: Negative log-likelihood of the class; None where only P(cancer) is calibrated.
    """
    # Isotonic regression gives many images the same P(cancer). Their order decides their bin: it is random.
    order = np.random.default_rng(0).permutation(len(p_cancer))
    p_cancer, is_cancer = p_cancer[order], is_cancer[order]
    both = np.stack([1 - p_cancer, p_cancer], axis=1)
    return CalibrationScores(
        loss,
        float(negative_log_likelihood(is_cancer.astype(np.int64), both)),
        float(brier(is_cancer, p_cancer)),
        float(calibration_error(is_cancer, p_cancer)),
    )


def _platt(p: Float64s, is_cancer: Bools, p_fold: Float64s) -> Float64s:
    """Platt scaling on the logit of P(cancer), with almost no penalty (Platt, 1999)."""
    regression = LogisticRegression(C=1e6).fit(_logit(p), is_cancer)
    return np.asarray(regression.predict_proba(_logit(p_fold))[:, 1])


def _isotonic(p: Float64s, is_cancer: Bools, p_fold: Float64s) -> Float64s:
    """Isotonic regression (Zadrozny & Elkan, 2002), at least half an image away from 0 and 1."""
    least = 0.5 / len(p)
    regression = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    return np.asarray(regression.fit(p, is_cancer).predict(p_fold))


_OF_CANCER: Mapping[str, Callable[[Float64s, Bools, Float64s], Float64s]] = {
    "Platt, P(cancer)": _platt,
    "isotonic, P(cancer)": _isotonic,
}


def _logit(p: Float64s) -> Float64s:
    return np.asarray(logit(np.clip(p, 1e-9, 1 - 1e-9)))[:, None]
