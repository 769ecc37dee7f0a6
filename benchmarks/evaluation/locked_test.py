"""How accurate is a bundle on the locked test split? Read once per bundle, with a receipt.

    python -m benchmarks.evaluation.locked_test --data DIR [--bundle DIR]

Writes benchmarks/evaluation/results/test-int8 and test-fp32 (of the lite bundle lite/test-int8 and
lite/test-fp32), as `python -m train evaluate` does, and a receipt in benchmarks/evaluation/results/receipts
with the date, the hashes of the bundle and of the split, and the main numbers. A bundle that has a receipt is
refused, so that the test split cannot choose anything.
"""

import datetime
import json
from pathlib import Path
from typing import Any

from benchmarks.environment import argument_parser, machine
from benchmarks.evaluation.committed import (
    EVALUATIONS,
    PRECISIONS,
    RECEIPTS,
    Evaluations,
    find,
    receipt_numbers,
)
from benchmarks.tables import Table
from edgeskin.bundle.bundle import DEFAULT_BUNDLE, open_bundle
from edgeskin.errors import SettingError
from train.config import TrainConfig
from train.data.split import assign_splits, split_sha256
from train.data.table import read_table
from train.evaluate import report
from train.evaluate.evaluation import evaluate
from train.evaluate.measures import Measures

COMMAND = "python -m benchmarks.evaluation.locked_test --data DIR"


def main() -> None:
    """Read the split with both precisions and write the receipt."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    options = parser.parse_args()
    is_lite = open_bundle("lite").sha256 == open_bundle(options.bundle).sha256
    out = EVALUATIONS / "lite" if is_lite else EVALUATIONS
    print(read_once(options.bundle, options.data, RECEIPTS, out))


def read_once(folder: Path, data: Path, receipts: Path, out: Path, split: str = "test") -> Path:
    """Evaluate a bundle on a split that it has not been evaluated on, and write a receipt.

    The receipt exists before the first number does.

    Args:
        folder: The bundle.
        data: The labelled folder.
        receipts: The folder of receipts.
        out: Where the evaluations go, a folder each.
        split: The split to read.

    Returns:
        The receipt's path.

    Raises:
        SettingError: There is a receipt already, or the images are split otherwise than in training.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    receipt = receipts / f"{today}-{split}-{bundle.sha256[:12]}.json"
    for path in sorted(receipts.glob("*.json")):
        former = json.loads(path.read_text(encoding="utf-8"))
        if (former["bundle_sha256"], former["split"]) == (bundle.sha256, split):
            raise SettingError(
                f"{path}: this bundle was evaluated on the split {split!r} already, its numbers are there; "
                "compare bundles on the split val"
            )
    seed = TrainConfig.seed if manifest.training.seed is None else manifest.training.seed
    samples = assign_splits(read_table(data, manifest.classes), seed=seed)
    if (found := split_sha256(samples)) != manifest.training.split_sha256:
        raise SettingError(
            f"{data}: not split as when {manifest.name} {manifest.version} was trained, so {split!r} may "
            "hold training images; pass the same folder"
        )
    numbers: dict[str, Any] = {}
    content = {
        "date": today,
        "bundle": f"{manifest.name} {manifest.version}",
        "bundle_sha256": bundle.sha256,
        "split": split,
        "split_sha256": found,
        "machine": machine("openvino", "numpy"),
        "numbers": numbers,
    }
    receipts.mkdir(parents=True, exist_ok=True)
    _write(receipt, content)
    for precision in PRECISIONS:
        command = f"{COMMAND} --bundle {folder.name}"
        evaluation, predictions = evaluate(folder, data, split, precision, command=command)
        report.write(evaluation, predictions, out / f"{split}-{precision}")
        numbers[precision] = receipt_numbers(evaluation)
        _write(receipt, content)
    return receipt


def table(evaluations: Evaluations, bundle: str = "default") -> Table:
    """Render a shipped bundle's main measures on the test split.

    Args:
        evaluations: The committed ones.
        bundle: ``default`` or ``lite``.
    """
    folder = "" if bundle == "default" else f"{bundle}/"
    rows = []
    for precision in PRECISIONS:
        evaluation = find(evaluations, f"{folder}test-{precision}").evaluation
        for unit, measures in (("lesion", evaluation.lesions), ("image", evaluation.images)):
            rows.append((f"{precision.upper()}, by {unit}", *measures_row(measures)))
    return Table(
        f"Test split, {bundle} bundle",
        f"The {bundle} bundle on the locked test split, {evaluation.images.images} images of "
        f"{evaluation.images.lesions} lesions, at its own screening thresholds. Brackets hold 95% intervals.",
        f"{COMMAND} --bundle {bundle}",
        (
            "precision",
            "cancer AUROC",
            "cancer sensitivity",
            "specificity",
            "melanomas referred",
            "balanced accuracy",
        ),
        rows,
    )


def measures_row(measures: Measures) -> tuple[str, ...]:
    """List AUROC, sensitivity, specificity, melanomas referred and balanced accuracy, with intervals."""
    estimates = (
        measures.cancer_auroc,
        measures.screening.recall,
        measures.screening.specificity,
        measures.classes["MEL"].referred,
        measures.balanced_accuracy,
    )
    return tuple(report.text(estimate) for estimate in estimates)


def _write(receipt: Path, content: dict[str, Any]) -> None:
    receipt.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
