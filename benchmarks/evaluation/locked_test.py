"""What does a bundle reach on the locked test split? Read once a bundle, with a receipt.

    python -m benchmarks.evaluation.locked_test --data DIR [--bundle DIR]

Writes benchmarks/results/test-int8 and test-fp32 (of the lite bundle: lite/test-int8 and so on), as
`python -m train evaluate` does, and benchmarks/results/receipts/DATE-SPLIT-BUNDLE.json with the date, the
hashes of the bundle and of the split, and the main numbers. A bundle that has a receipt is refused: what
test has said may not choose anything.
"""

import argparse
import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

from benchmarks.environment import RESULTS, machine
from edgeskin.bundle.bundle import DEFAULT_BUNDLE, open_bundle
from edgeskin.errors import SettingError
from train.config import TrainConfig
from train.data.split import assign_splits, split_sha256
from train.data.table import read_table
from train.evaluate import report
from train.evaluate.evaluation import Evaluation, Measures, evaluate

RECEIPTS = RESULTS / "receipts"


def main() -> None:
    """Read the split with both precisions, and leave the receipt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    wanted = parser.parse_args()
    lite = open_bundle("lite").sha256 == open_bundle(wanted.bundle).sha256
    folder = RESULTS / "lite" if lite else RESULTS
    print(read_once(wanted.bundle, wanted.data, RECEIPTS, folder))


def read_once(folder: Path, data: Path, receipts: Path, results: Path, split: str = "test") -> Path:
    """Evaluate a bundle on a split it has not been read on, and write the receipt, whose path is returned.

    results: the folder for the evaluations, a folder each.
    The receipt is there before the first number is. Raises SettingError when there is one already, or when
    the images are not split as when the bundle was trained.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    receipt = receipts / f"{today}-{split}-{bundle.sha256[:12]}.json"
    for path in sorted(receipts.glob("*.json")):
        former = json.loads(path.read_text(encoding="utf-8"))
        if (former["bundle_sha256"], former["split"]) == (bundle.sha256, split):
            raise SettingError(
                f"{path}: the split {split!r} was read with this bundle already, its numbers are there; "
                "compare bundles on the split val"
            )
    table = assign_splits(read_table(data, manifest.classes), manifest.training.get("seed", TrainConfig.seed))
    if (found := split_sha256(table)) != manifest.training.get("split_sha256"):
        raise SettingError(
            f"{data}: not split as when {manifest.name} {manifest.version} was trained, so {split!r} may "
            "hold images it has seen; give the same folder"
        )
    content = {
        "date": today,
        "bundle": f"{manifest.name} {manifest.version}",
        "bundle_sha256": bundle.sha256,
        "split": split,
        "split_sha256": found,
        "machine": machine("openvino", "numpy"),
        "numbers": {},
    }
    receipts.mkdir(parents=True, exist_ok=True)
    _write(receipt, content)
    for precision in ("int8", "fp32"):
        command = f"python -m benchmarks.evaluation.locked_test --data DIR --bundle {folder.name}"
        evaluation, predictions = evaluate(folder, data, split, precision, command=command)
        report.write(evaluation, predictions, results / f"{split}-{precision}")
        content["numbers"][precision] = main_numbers(evaluation)
        _write(receipt, content)
    return receipt


def main_numbers(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    """What a receipt keeps of an evaluation."""
    return {"by lesion": _main(evaluation.lesions), "by image": _main(evaluation.images)}


def _main(measures: Measures) -> dict[str, dict[str, float]]:
    wanted = {
        "cancer_auroc": measures.cancer_auroc,
        "cancer_recall": measures.screening.recall,
        "cancer_specificity": measures.screening.specificity,
        "balanced_accuracy": measures.balanced_accuracy,
        "macro_f1": measures.macro_f1,
    }
    return {name: dataclasses.asdict(estimate) for name, estimate in wanted.items()}


def _write(receipt: Path, content: dict[str, Any]) -> None:
    receipt.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
