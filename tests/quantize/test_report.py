"""The gate report's numbers in its Markdown and JSON, and the report on validation."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from edgeskin.bundle.manifest import DecisionRules, LesionScores, OperatingPoint
from edgeskin.decision.calibration import temperature_scaling
from quantize.export import Parity
from quantize.fitting.calibration import CalibrationScores
from quantize.fitting.labels import Labels, labels_of
from quantize.gate import compare
from quantize.ptq import Counts
from quantize.recipes import Attempt
from quantize.report import GateReport, checks_table, markdown, validate
from train.data.table import read_table, select

CLASSES = ("MEL", "NV")
TARGETS = np.repeat([0, 1], 20)
NAMES = tuple(f"image{i}" for i in range(40))
LABELS = Labels(NAMES, NAMES, TARGETS, CLASSES, ("MEL",))
P = np.array([[0.7, 0.3], [0.2, 0.8]])[TARGETS]


def rules_at(threshold: float) -> DecisionRules:
    point = OperatingPoint("screen", threshold, 0.95, 1.0, 1.0)
    scores = LesionScores((0.5, 0.75), (0.25,), ())
    return DecisionRules(CLASSES, ("MEL",), temperature_scaling(1.0, 2), (point,), lesion_scores=scores)


@pytest.fixture(scope="module")
def report() -> GateReport:
    """A failed attempt, in which INT8 misses image3, and one that passes."""
    missed = P.copy()
    missed[3] = [0.4, 0.6]
    attempts = []
    for name, p, passed in (("first", missed, False), ("second", P, True)):
        fp32, int8 = (np.log(P)[:, None], rules_at(0.5)), (np.log(p)[:, None], rules_at(0.45))
        comparison = compare("native", LABELS, fp32, int8, replicates=50)
        attempts.append(
            Attempt(name, "by hand", Counts(9, 7, 11), 1_234_567, rules_at(0.45), (comparison,), passed)
        )
    parity = Parity(16, 1e-6, 2e-6, 0.0123, 0, 1)
    return GateReport(True, 40, 40, 300, ("native", "AVX2"), parity, rules_at(0.5), tuple(attempts))


def test_markdown_holds_the_numbers(report: GateReport) -> None:
    text = markdown(report)
    sections = text.split("\n## ")
    assert [section.split(":")[0] for section in sections[1:]] == ["1. first", "2. second"]
    assert "image3" in sections[1]
    assert "image3" not in sections[2]
    for number in ("1.23 MB", "0.45", "0.5", "7 of 11", "**0.0500 fails**"):
        assert number in sections[1]
    assert "fails" not in sections[2]
    assert "| MEL recall | 1.0000 | 0.9500 |" in sections[1]
    for number in ("40", "300", "1e-06", "2e-06", "0.012"):
        assert number in sections[0]
    assert all(line.count("|") == 4 for line in text.splitlines() if line.startswith("|"))


def test_the_table_holds_every_check(report: GateReport) -> None:
    console = Console(width=100, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(checks_table(report.attempts[0]))
    for check in report.attempts[0].comparisons[0].checks:
        assert check.name in capture.get()
        assert f"{check.value:.4f}" in capture.get()


def test_lesion_scores_can_be_dropped(report: GateReport) -> None:
    record = json.loads(json.dumps(dataclasses.asdict(report.without_lesion_scores())))
    rules = [record["fp32"], *(attempt["rules"] for attempt in record["attempts"])]
    assert [one["lesion_scores"] for one in rules] == [None] * 3
    assert report.fp32.lesion_scores is not None
    assert record["attempts"][0]["comparisons"][0]["lost"] == ["image3"]


def test_validation_is_measured_by_the_rules(lesion_folder: Path) -> None:
    samples = select(read_table(lesion_folder), "val")
    classes = tuple(sorted({sample.label for sample in samples}))
    labels = labels_of(samples, classes, ("MEL", "BCC"))
    logits = np.random.default_rng(0).normal(size=(len(samples), len(classes)))
    point = OperatingPoint("screen", 0.2, 0.95, 1.0, 1.0)
    rules = DecisionRules(classes, ("MEL", "BCC"), temperature_scaling(2.0, len(classes)), (point,))
    calibrations = {"temperature": CalibrationScores(0.5, 0.4, 0.3, 0.2)}
    found = validate(samples, logits, rules, calibrations)
    p_cancer = labels.p_cancer(logits, rules.calibration)
    referred = p_cancer >= 0.2
    assert (found.images, found.lesions) == (16, 16)
    assert found.cancer_auroc.value == pytest.approx(roc_auc_score(labels.is_cancer, p_cancer))
    assert found.cancer_recall.value == pytest.approx(referred[labels.is_cancer].mean())
    assert found.cancer_specificity.value == pytest.approx((~referred)[~labels.is_cancer].mean())
    balanced = balanced_accuracy_score(labels.targets, logits.argmax(axis=1))
    assert found.balanced_accuracy.value == pytest.approx(balanced)
    assert found.calibrations == calibrations
