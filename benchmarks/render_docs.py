"""Do the published numbers follow from the committed predictions and measurements?

    python -m benchmarks.render_docs [--check]

Measures every evaluation in benchmarks/evaluation/results again from its logits.npz. Writes docs/results.md,
docs/performance-tables.md and their figures, and fills the tables between ``<!-- table: NAME -->`` and
``<!-- end -->`` in README.md, MODEL_CARD.md, SECURITY.md, docs/performance.md, docs/batch.md and
docs/monitoring.md. --check writes nothing and exits with 1 if a file differs, if a number of the test split
differs from its receipt, or if a result is not of the shipped bundle. Text outside the generated files and
tables is not read.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import readme_tables
from benchmarks.environment import ROOT, argument_parser
from benchmarks.evaluation import (
    accuracy,
    bundle_tables,
    committed,
    comparisons,
    confidence,
    drift_false_alarms,
    experiments,
    external,
    lesion_leakage,
    locked_test,
    ood_images,
    operating_points,
    prediction_sets,
    quantization_ablation,
)
from benchmarks.evaluation.committed import Evaluations
from benchmarks.explanations import faithfulness, low_evidence
from benchmarks.robustness import corpus, invariance, isa_consistency, load, quality, repeatability
from benchmarks.speed import (
    bundles,
    cold_start,
    latency_breakdown,
    many,
    mc_dropout,
    overhead,
    runtimes,
    scaling,
    scaling_plan,
    service,
    training_step,
)
from benchmarks.tables import Table, document
from edgeskin.errors import SettingError

COMMAND = "python -m benchmarks.render_docs"
INCLUDED: dict[str, Callable[[Evaluations], Table]] = {
    "readme-numbers": readme_tables.numbers,
    "readme-speed": lambda _: readme_tables.speed(),
    "results": locked_test.table,
    "classes": accuracy.classes,
    "weak-subgroups": accuracy.weak_subgroups,
    "external": external.table,
    "bundle": lambda _: bundle_tables.bundle(),
    "speed": lambda _: bundles.table(),
    "cold-start": lambda _: cold_start.table(),
    "corpus": lambda _: corpus.kinds_table(),
    "many": lambda _: many.table(),
    "false-alarms": lambda _: drift_false_alarms.table(),
    "picture-cost": lambda _: scaling_plan.pictures_table(),
    "driver-cost": lambda _: scaling_plan.driver_table(),
    "clusters": lambda _: scaling_plan.table(),
    "changed-clusters": lambda _: scaling_plan.changes_table(),
}
"""The tables that other documents include, by name."""
INCLUDING = (
    *(ROOT / name for name in ("README.md", "MODEL_CARD.md", "SECURITY.md")),
    *(ROOT / "docs" / name for name in ("performance.md", "batch.md", "monitoring.md")),
)
_INCLUDED = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write everything, or check it."""
    parser = argument_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file differs")
    options = parser.parse_args()
    evaluations = committed.MeasuredAgain()
    if options.check:
        found = list(differences(evaluations))
        print("\n".join(found) or "all files follow from the committed predictions and measurements")
        sys.exit(bool(found))
    operating_points.plot(evaluations, ROOT / "docs" / operating_points.FIGURE)
    confidence.plot(evaluations, ROOT / "docs" / confidence.FIGURE)
    runtimes.plot(ROOT / "docs" / runtimes.FIGURE)
    scaling.plot(ROOT / "docs" / scaling.FIGURE)
    for path, content in documents(evaluations).items():
        path.write_text(content, encoding="utf-8")


def differences(evaluations: Evaluations) -> Iterator[str]:
    """Yield a line for each committed file that differs from its sources."""
    yield from committed.differences(evaluations)
    for path, content in documents(evaluations).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            yield f"{path}: differs from its sources; run {COMMAND}"


def documents(evaluations: Evaluations) -> dict[Path, str]:
    """Render every generated file, and the documents that include tables, by path."""
    return {
        ROOT / "docs" / "results.md": results(evaluations),
        ROOT / "docs" / "performance-tables.md": performance(),
        **{path: with_tables(path, evaluations) for path in INCLUDING},
    }


def results(evaluations: Evaluations) -> str:
    """Render docs/results.md: everything about accuracy."""
    chapters: Mapping[str, list[Table]] = {
        "Bundle and data": [
            bundle_tables.bundle(),
            bundle_tables.data(),
            accuracy.demographics(evaluations),
        ],
        "Test split": [
            locked_test.table(evaluations),
            accuracy.all_measures(evaluations),
            accuracy.classes(evaluations),
            accuracy.risk(evaluations),
            accuracy.weak_subgroups(evaluations),
            accuracy.subgroups(evaluations),
        ],
        "Other sources": [
            external.table(evaluations),
            external.folds_table(evaluations),
            ood_images.benign_table(),
        ],
        "Lite bundle": [
            locked_test.table(evaluations, "lite"),
            comparisons.lite_table(evaluations),
        ],
        "Calibration, operating points and prediction sets": [
            bundle_tables.calibrations(),
            operating_points.table(evaluations),
            operating_points.prevalence_table(evaluations),
            prediction_sets.table(evaluations),
        ],
        "Confidence and scope": [
            confidence.table(evaluations),
            confidence.weights_table(),
            confidence.selective_table(evaluations),
            ood_images.scores_table(),
            ood_images.scope_table(evaluations),
        ],
        "Quantization": [
            comparisons.precision_table(evaluations),
            isa_consistency.table(),
        ],
        "Robustness": [
            invariance.table(),
            quality.table(),
            quality.degraded_table(),
            repeatability.registration_table(),
            repeatability.limits_table(),
            repeatability.changes_table(),
        ],
        "Damaged and hostile files": [
            corpus.kinds_table(),
            corpus.forms_table(),
            corpus.found_table(),
        ],
        "Explanations": [
            low_evidence.table(),
            faithfulness.table(),
            faithfulness.lesions_hidden_table(),
            faithfulness.dice_table(),
        ],
        "Training": [
            experiments.runs_table(),
            experiments.shipped_table(evaluations),
            experiments.losses_table(evaluations),
            lesion_leakage.table(evaluations),
        ],
    }
    introduction = (
        "All measured accuracy of the shipped bundles. Research software, not a medical device.\n\nEvery "
        f"number follows from committed predictions, measurements and manifests; `{COMMAND} --check` "
        "measures them again and fails where one differs. Intervals are 95%: a bootstrap over lesions "
        "(patients, where known), or exact for small counts of independent images."
    )
    return document("Results", introduction, chapters)


def performance() -> str:
    """Render docs/performance-tables.md: everything about time, memory and size."""
    chapters: Mapping[str, list[Table]] = {
        "Bundles": [bundles.table()],
        "Beside other runtimes": [runtimes.table()],
        "One photo": [overhead.table(), latency_breakdown.table(), mc_dropout.table()],
        "First answer": [cold_start.table(), cold_start.budget_table()],
        "Growth": [scaling.table(), load.table()],
        "Many pictures": [many.table()],
        "Cluster": [scaling_plan.pictures_table(), scaling_plan.driver_table()],
        "Service": [service.table(), service.soak_table()],
        "Network": [quantization_ablation.profile_table(), quantization_ablation.table()],
        "Training": [training_step.table()],
    }
    introduction = (
        "All measured times, memory and sizes. Times depend on the CPU: compare rows of one table, not "
        f"tables.\n\nEvery number is a committed measurement; `{COMMAND} --check` fails where one differs "
        "or is not of the shipped bundle. What is compared ran in alternating rounds."
    )
    return document("Performance tables", introduction, chapters)


def with_tables(path: Path, evaluations: Evaluations) -> str:
    """Render a document with its included tables written again.

    Raises:
        SettingError: It names an unknown table.
    """

    def table(match: re.Match[str]) -> str:
        if match["name"] not in INCLUDED:
            raise SettingError(f"{path}: no table {match['name']!r}; choose from {', '.join(INCLUDED)}")
        return f"{match[1]}{INCLUDED[match['name']](evaluations).grid()}\n{match[3]}"

    return _INCLUDED.sub(table, path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
