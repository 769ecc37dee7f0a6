"""How often do the prediction sets hold the true class on the test split?

A table of the committed evaluations.
"""

import numpy as np

from benchmarks.evaluation.committed import PRECISIONS, Evaluations
from benchmarks.evaluation.decided import Decided, decided
from benchmarks.evaluation.locked_test import COMMAND
from benchmarks.evaluation.operating_points import independent_share
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from edgeskin.decision.prediction_sets import prediction_sets
from quantize.fitting.labels import lowest_by_lesion
from train.evaluate.report import text


def table(evaluations: Evaluations) -> Table:
    """Render the coverage by class; a lesion counts once, with its worst photo."""
    int8, fp32 = (_cells(decided(evaluations, "test", precision)) for precision in PRECISIONS)
    return Table(
        "Prediction sets",
        "How often the prediction set of the default bundle holds the true class, by class, on the test "
        "split. A lesion counts once, with its worst photo. Brackets hold 95% intervals.",
        COMMAND,
        (
            "class",
            "INT8: target, validation lesions",
            "INT8: test lesions, coverage",
            "FP32: target, validation lesions",
            "FP32: test lesions, coverage",
        ),
        [
            (name, target, coverage, fp32_target, fp32_coverage)
            for (name, target, coverage), (_, fp32_target, fp32_coverage) in zip(int8, fp32, strict=True)
        ],
    )


def _cells(test: Decided) -> list[tuple[str, str, str]]:
    """List name, target and coverage of each class of one precision, then of whole sets."""
    classes, cancer = open_bundle().manifest.classes, open_bundle().manifest.cancer_classes
    sets = test.rules.prediction_sets
    assert sets is not None
    members = prediction_sets(test.p, sets.thresholds)
    cells = []
    for position, name in enumerate(classes):
        of_class = test.truth == position
        covered = lowest_by_lesion(members[of_class, position].astype(np.float64), test.lesions[of_class]) > 0
        target = (
            f"{sets.coverage:.0%}, {sets.lesions[position]}" if sets.thresholds[position] else "always in"
        )
        cells.append((name, target, f"{len(covered)}: {text(independent_share(covered))}"))
    size = np.asarray(members.sum(axis=1))
    cells.append(("classes in a set, mean; single", "", f"{size.mean():.2f}; {(size == 1).mean():.1%}"))
    serious = np.asarray(members[:, np.isin(classes, cancer)].any(axis=1), dtype=np.float64)
    held = lowest_by_lesion(serious[test.is_cancer], test.lesions[test.is_cancer]) > 0
    cells.append(("cancer lesions with a set without cancer", "", f"{(~held).sum()} of {len(held)}"))
    return cells
