"""The committed evaluations: measured again from their logits, and checked against the shipped bundles.

An evaluation is a folder of `benchmarks/evaluation/results` that `python -m train evaluate` wrote, such as
``test-int8``, ``lite/test-int8`` or ``experiments/c-cross-entropy``. All its numbers follow from its
logits.npz.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import Calibration, DecisionRules
from edgeskin.errors import SettingError
from edgeskin.results import Precision
from train.evaluate import report
from train.evaluate.evaluation import Evaluation, Predictions, evaluation_of
from train.evaluate.measures import Measures

EVALUATIONS = Path(__file__).parent / "results"
RECEIPTS = EVALUATIONS / "receipts"
PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")


@dataclass(frozen=True)
class Committed:
    """A committed evaluation, and the predictions that it follows from."""

    evaluation: Evaluation
    predictions: Predictions


Evaluations = Mapping[str, Committed]
"""By the name of their folder."""


class MeasuredAgain(Mapping[str, Committed]):
    """All committed evaluations, each measured again from its predictions when it is first needed."""

    def __init__(self) -> None:
        paths = sorted(EVALUATIONS.rglob("logits.npz"))
        self._folders = {path.parent.relative_to(EVALUATIONS).as_posix(): path.parent for path in paths}
        self._measured: dict[str, Committed] = {}

    def __getitem__(self, name: str) -> Committed:
        if name not in self._measured:
            provenance, predictions = report.read(self._folders[name])
            self._measured[name] = Committed(evaluation_of(predictions, provenance), predictions)
        return self._measured[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)


def find(evaluations: Evaluations, name: str) -> Committed:
    """Return an evaluation by its name.

    Raises:
        SettingError: There is none of that name.
    """
    if name not in evaluations:
        raise SettingError(f"{EVALUATIONS / name}: no evaluation; make it with python -m train evaluate")
    return evaluations[name]


def differences(evaluations: Evaluations) -> Iterator[str]:
    """Yield a line for each file that differs from what its logits give, or is of another bundle."""
    for name, one in evaluations.items():
        folder = EVALUATIONS / name
        content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        if not alike(content, json.loads(report.to_json(one.evaluation))):
            yield f"{folder / 'evaluation.json'}: differs from what logits.npz gives"
        if name.endswith(PRECISIONS):
            yield from _bundle_differences(folder, one.evaluation, "lite" if "lite/" in name else "default")


def _bundle_differences(folder: Path, evaluation: Evaluation, shipped: str) -> Iterator[str]:
    """Check an evaluation's bundle and settings, and, of the test split, its receipt."""
    bundle, provenance = open_bundle(shipped), evaluation.provenance
    precision = next(precision for precision in PRECISIONS if folder.name.endswith(precision))
    rules = bundle.manifest.decision_rules[precision]
    if provenance.sha256 != bundle.sha256:
        yield f"{folder}: of another bundle than the {shipped} one"
    elif _settings(rules) != _settings(provenance.rules):
        yield f"{folder}: with other settings than the bundle's"
    if provenance.split == "test":
        receipts = [json.loads(path.read_text(encoding="utf-8")) for path in RECEIPTS.glob("*.json")]
        numbers = [one["numbers"] for one in receipts if one["bundle_sha256"] == provenance.sha256]
        if not numbers or not alike(numbers[0][precision], receipt_numbers(evaluation)):
            yield f"{folder}: no receipt with the same numbers"


def _settings(rules: DecisionRules) -> tuple[Calibration, float, tuple[float, ...]]:
    return rules.calibration, rules.screening_threshold, rules.class_priors


def receipt_numbers(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    """Select the numbers that a receipt keeps of an evaluation."""
    return {"by lesion": _main_numbers(evaluation.lesions), "by image": _main_numbers(evaluation.images)}


def _main_numbers(measures: Measures) -> dict[str, dict[str, float]]:
    estimates = {
        "cancer_auroc": measures.cancer_auroc,
        "cancer_recall": measures.screening.recall,
        "cancer_specificity": measures.screening.specificity,
        "balanced_accuracy": measures.balanced_accuracy,
        "macro_f1": measures.macro_f1,
    }
    return {name: vars(estimate) for name, estimate in estimates.items()}


def alike(one: Any, other: Any) -> bool:
    """Compare plain data, but for the last digits, in which sums differ between CPUs."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(1, abs(one))
    return bool(one == other)
