"""Does the confidence tell wrong decisions from right ones, and what does deferring the lowest gain?

Tables and a figure of the committed evaluations.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.evaluation.committed import PRECISIONS, Evaluations, find
from benchmarks.evaluation.decided import SPLITS, Decided, decided
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from train.evaluate.bootstrap import bootstrap_weights, estimate
from train.evaluate.metrics import augrc, aurc, auroc, risk_coverage
from train.evaluate.report import text

FIGURE = "risk-coverage.png"
PARTS = ("decisiveness", "calibration", "margin", "stability")
DEFERRED = (0.10, 0.20)


def table(evaluations: Evaluations) -> Table:
    """Render how well the confidence and its parts find wrong decisions, and what each level holds."""
    rows = []
    for precision in PRECISIONS:
        for split in SPLITS:
            one = decided(evaluations, split, precision)
            missed, wrong, weights = one.is_missed, one.is_wrong, bootstrap_weights(one.groups)
            among = missed | ~wrong
            of_missed = estimate(auroc, missed[among], -one.confidence[among], weights=weights[:, among])
            rows.append(
                (
                    f"{precision.upper()}, {split}",
                    text(estimate(auroc, wrong, -one.confidence, weights=weights)),
                    f"{missed.sum()}: {text(of_missed)}",
                    "; ".join(f"{float(auroc(wrong, -part)):.2f}" for part in one.parts.T),
                    _levels(one),
                )
            )
    return Table(
        "Confidence",
        "How well a low confidence of the default bundle finds wrong decisions (missed cancers and needless "
        "referrals), by image, as AUROC with 95% intervals; and what each confidence level holds.",
        find(evaluations, "val-int8").evaluation.provenance.command,
        (
            "precision, split",
            "AUROC for wrong decisions",
            "missed cancers: AUROC against right decisions",
            f"AUROC for wrong decisions of {', '.join(PARTS)} alone",
            "LOW; MEDIUM; HIGH: share, of it wrong, missed cancers",
        ),
        rows,
    )


def _levels(one: Decided) -> str:
    rule = one.rules.confidence
    assert rule is not None
    levels = np.digitize(one.confidence, (rule.low, rule.high))
    members = [levels == level for level in (0, 1, 2)]
    return "; ".join(
        f"{here.mean():.0%}, {one.is_wrong[here].mean():.1%}, {int(one.is_missed[here].sum())}"
        for here in members
    )


def weights_table() -> Table:
    """Render the weights of the confidence's parts, from the manifest."""
    rows = []
    for precision in PRECISIONS:
        rule = open_bundle().manifest.decision_rules[precision].confidence
        assert rule is not None
        values = (*rule.weights, rule.low, rule.high)
        rows.append((precision.upper(), *(f"{value:.3f}" for value in values)))
    return Table(
        "Weights of the confidence",
        "The weight of each part in the confidence of the default bundle, and the bounds of its levels.",
        "",
        ("precision", *PARTS, "LOW below", "HIGH from"),
        rows,
    )


def selective_table(evaluations: Evaluations) -> Table:
    """Render what deferring the least confident decisions gains."""
    rows = []
    for precision in PRECISIONS:
        for split in SPLITS:
            one = decided(evaluations, split, precision)
            missed = one.is_missed
            for name, score in one.rankings.items():
                order = np.argsort(score, kind="stable")
                caught = [int(missed[order[: round(share * len(order))]].sum()) for share in DEFERRED]
                rows.append(
                    (
                        f"{precision.upper()}, {split}",
                        name,
                        f"{aurc(one.is_wrong, score):.3f}",
                        f"{augrc(one.is_wrong, score):.3f}",
                        *(f"{count} of {missed.sum()}" for count in caught),
                    )
                )
    return Table(
        "Deferring the least confident",
        "Areas under the (generalized) risk-coverage curve, lower is better, and how many missed cancers "
        "are among the least confident images, by image, for three rankings.",
        find(evaluations, "val-int8").evaluation.provenance.command,
        (
            "precision, split",
            "ranked by",
            "AURC",
            "AUGRC",
            *(f"missed cancers among the least confident {share:.0%}" for share in DEFERRED),
        ),
        rows,
        FIGURE,
    )


def plot(evaluations: Evaluations, path: Path) -> None:
    """Plot the risk-coverage curves, INT8 on the test split."""
    test = decided(evaluations, "test", "int8")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name, score in test.rankings.items():
        axis.plot(*risk_coverage(test.is_wrong, score), label=name)
    axis.set(xlabel="coverage, most confident first", ylabel="share of wrong decisions", xlim=(0.05, 1))
    axis.legend()
    figure.savefig(path, dpi=120)
