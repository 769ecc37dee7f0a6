"""Ways to calibrate, compared by cross-fitting: each image is judged by what was fitted without its fold.

Those in METHODS, maps of the log-probabilities, move all classes, of which P(cancer) is the sum, and can be
shipped. Platt's and isotonic calibration move P(cancer) alone, and are compared on it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.decide import probabilities
from edgeskin.errors import SettingError
from train.evaluate.metrics import brier, calibration_error, negative_log_likelihood

Floats = npt.NDArray[np.float64]
Logits = npt.NDArray[np.floating]
Targets = npt.NDArray[np.int64]

FOLDS = 5
OFF_DIAGONAL = 0.01
"""Penalty on a full matrix: of its squares off the diagonal and of the bias, their means (ODIR)."""
MOST_SCALE, MOST_BIAS = 20.0, 10.0


@dataclass(frozen=True)
class Form:
    """Which parameters there are. free: (C, C), each weight's parameter, -1 where it is 0 for good."""

    free: Callable[[int], npt.NDArray[np.int64]]
    bias: bool = True
    penalty: float = 0.0


def _shared(n: int) -> npt.NDArray[np.int64]:
    return np.where(np.eye(n, dtype=bool), 0, -1)


METHODS: Mapping[str, Form] = {
    # Guo et al., "On calibration of modern neural networks", ICML 2017.
    "temperature": Form(_shared, bias=False),
    # Alexandari et al., "Maximum likelihood with bias-corrected calibration", ICML 2020.
    "bias-corrected temperature": Form(_shared),
    # Kull et al., "Beyond temperature scaling", NeurIPS 2019: diagonal (as vector scaling, but of the
    # log-probabilities), and full with ODIR's penalty, which here is fixed and not tuned.
    "diagonal Dirichlet": Form(lambda n: np.where(np.eye(n, dtype=bool), np.arange(n)[:, None], -1)),
    "Dirichlet": Form(lambda n: np.arange(n * n).reshape(n, n), penalty=OFF_DIAGONAL),
}


@dataclass(frozen=True)
class Scores:
    """How well one way of calibrating does on images that it was not fitted on; less is better.

    negative_log_likelihood: of the class; None where only P(cancer) is moved. The others are of P(cancer):
    cancer_negative_log_likelihood, brier (0 to 1) and calibration_error (ECE, 15 bins of equal mass, 0 to 1).
    """

    negative_log_likelihood: float | None
    cancer_negative_log_likelihood: float
    brier: float
    calibration_error: float


def fit(method: str, logits: Logits, targets: Targets) -> Calibration:
    """The parameters with the least negative log-likelihood, which is convex in them.

    method: one of METHODS. logits: (n, C). targets: (n,) class indices. Diagonal weights stay within 0.05 to
    20, biases within +-10. Raises SettingError when logits are not finite.
    """
    form = METHODS[method]
    if not np.isfinite(logits).all():
        raise SettingError("logits that are not finite: this network cannot be calibrated; train it anew")
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    n_images, n = log_p.shape
    free, diagonal = form.free(n), np.eye(n, dtype=bool)
    count = int(free.max()) + 1
    truth = np.eye(n)[targets]

    def parts(parameters: Floats) -> tuple[Floats, Floats]:
        bias = parameters[count:] if form.bias else np.zeros(n)
        return np.where(free >= 0, parameters[free], 0.0), bias

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, bias = parts(parameters)
        scores = log_softmax(log_p @ weights.T + bias, axis=1)
        residual = (np.exp(scores) - truth) / n_images  # (n, C): the loss's gradient by the scores
        off = np.where(diagonal, 0.0, weights) * (form.penalty / max(1, n * (n - 1)))
        small = bias * (form.penalty / n)
        by_weight = residual.T @ log_p + 2 * off
        gradient = np.bincount(free[free >= 0], by_weight[free >= 0], minlength=count)
        value = -(scores * truth).sum() / n_images + (off * weights).sum() + (small * bias).sum()
        return float(value), np.append(gradient, residual.sum(axis=0) + 2 * small if form.bias else [])

    start = np.zeros(count + (n if form.bias else 0))
    start[free[diagonal]] = 1
    bounds = [(-MOST_SCALE, MOST_SCALE)] * count + [(-MOST_BIAS, MOST_BIAS)] * (len(start) - count)
    for position in np.unique(free[diagonal]):
        bounds[position] = (1 / MOST_SCALE, MOST_SCALE)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "maxiter": 2000}
    )
    weights, bias = parts(found.x)
    return Calibration(method, tuple(map(tuple, weights.tolist())), tuple(bias.tolist()))


def compare(
    logits: Logits, targets: Targets, groups: Sequence[str], is_cancer: npt.NDArray[np.bool_]
) -> dict[str, Scores]:
    """Each way's scores; nothing where the groups are too few for every class to be in every fold's rest.

    logits: (n, C). targets: (n,). groups: (n,), never on two sides. is_cancer: (C,).
    """
    splits = _splits(targets, groups, logits.shape[1])
    if not splits:
        return {}
    cancer = is_cancer[targets]
    scores = {}
    for method in METHODS:
        p = np.empty(logits.shape)
        for rest, fold in splits:
            p[fold] = probabilities(logits[fold], fit(method, logits[rest], targets[rest]))
        loss = float(negative_log_likelihood(targets, p))
        scores[method] = _scores(p[:, is_cancer].sum(axis=1), cancer, loss)
    scaled = []
    for rest, _ in splits:
        temperature = fit("temperature", logits[rest], targets[rest])
        scaled.append(probabilities(logits, temperature)[:, is_cancer].sum(axis=1))
    for method, fitted in _OF_CANCER.items():
        p_cancer = np.empty(len(logits))
        for (rest, fold), p_scaled in zip(splits, scaled, strict=True):
            p_cancer[fold] = fitted(p_scaled[rest], cancer[rest], p_scaled[fold])
        scores[method] = _scores(p_cancer, cancer, None)
    return scores


def cross_fitted(
    method: str, view_logits: Logits, targets: Targets, groups: Sequence[str]
) -> tuple[Floats, Floats]:
    """Probabilities (n, C) of each image, and (n, V, C) of its views, calibrated without its fold.

    By a calibration of all of them where the groups are too few for folds. view_logits: (n, V, C); the rest
    as `compare`.
    """
    n, _, n_classes = view_logits.shape
    everything = np.arange(n)
    logits = view_logits.mean(axis=1)
    p, of_views = np.empty((n, n_classes)), np.empty(view_logits.shape)
    for rest, fold in _splits(targets, groups, n_classes) or [(everything, everything)]:
        calibration = fit(method, logits[rest], targets[rest])
        p[fold] = probabilities(logits[fold], calibration)
        of_views[fold] = probabilities(view_logits[fold], calibration)
    return p, of_views


def _splits(
    targets: Targets, groups: Sequence[str], n_classes: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Positions of the rest and of the fold, for each fold; none where a rest would lack a class."""
    by_class = [len(set(np.asarray(groups)[targets == c])) for c in range(n_classes)]
    folds = min(FOLDS, *by_class)
    if folds < 2:
        return []
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    splits = list(dealer.split(targets, targets, groups))
    complete = all(len(np.unique(targets[rest])) == n_classes for rest, _ in splits)
    return splits if complete else []


def chosen(scores: Mapping[str, Scores]) -> str:
    """The way of METHODS with the least likelihood loss; ``temperature`` where nothing could be compared."""
    losses = {name: one.negative_log_likelihood for name, one in scores.items()}
    return (
        min((loss, name) for name, loss in losses.items() if loss is not None)[1] if losses else "temperature"
    )


def _platt(p: Floats, truth: npt.NDArray[np.bool_], others: Floats) -> Floats:
    """Platt, 1999, on the logit; hardly penalised."""
    regression = LogisticRegression(C=1e6).fit(_logit(p), truth)
    return np.asarray(regression.predict_proba(_logit(others))[:, 1])


def _isotonic(p: Floats, truth: npt.NDArray[np.bool_], others: Floats) -> Floats:
    """Zadrozny & Elkan, 2002; kept off 0 and 1 by half an image, as certainty from few is none."""
    least = 0.5 / len(p)
    regression = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    return np.asarray(regression.fit(p, truth).predict(others))


_OF_CANCER = {"Platt, P(cancer)": _platt, "isotonic, P(cancer)": _isotonic}


def _logit(p: Floats) -> Floats:
    return np.asarray(logit(np.clip(p, 1e-9, 1 - 1e-9)))[:, None]


def _scores(p_cancer: Floats, cancer: npt.NDArray[np.bool_], loss: float | None) -> Scores:
    # Isotonic calibration gives many the same: their order, which parts them into bins, is left to chance.
    order = np.random.default_rng(0).permutation(len(p_cancer))
    p_cancer, cancer = p_cancer[order], cancer[order]
    both = np.stack([1 - p_cancer, p_cancer], axis=1)
    return Scores(
        loss,
        float(negative_log_likelihood(cancer.astype(np.int64), both)),
        float(brier(cancer, p_cancer)),
        float(calibration_error(cancer, p_cancer)),
    )
