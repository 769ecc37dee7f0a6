"""What does a bundle reach on the locked test split? Read once a bundle, with a receipt.

    python -m benchmarks.locked_test --data DIR [--bundle DIR]

Writes benchmarks/results/test-int8 and test-fp32, as `python -m train evaluate` does, and
benchmarks/results/receipts/DATE-BUNDLE.json with the date, the hashes of the bundle and of the split, and the
main numbers. A bundle that has a receipt is refused: what test has said may not choose anything.
"""

import argparse
import dataclasses
import datetime
import json
from pathlib import Path

from benchmarks.machine import RESULTS, machine
from edgeskin.bundle import DEFAULT_BUNDLE, open_bundle
from edgeskin.errors import SettingError
from train import report
from train.evaluate import Evaluation, evaluate
from train.metrics import Estimate

RECEIPTS = RESULTS / "receipts"


def main() -> None:
    """Read the split with both precisions, and leave the receipt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    wanted = parser.parse_args()
    print(read_once(wanted.bundle, wanted.data, RECEIPTS))


def read_once(folder: Path, data: Path, receipts: Path, split: str = "test") -> Path:
    """Evaluate a bundle on a split it has not been read on, and write the receipt, whose path is returned.

    Raises SettingError when there is a receipt for this bundle already.
    """
    bundle = open_bundle(folder)
    for receipt in sorted(receipts.glob("*.json")):
        if json.loads(receipt.read_text(encoding="utf-8"))["bundle_sha256"] == bundle.sha256:
            raise SettingError(
                f"{receipt}: the split {split!r} was read with this bundle already, its numbers are there; "
                "compare bundles on the split val"
            )
    command = "python -m benchmarks.locked_test --data DIR"
    numbers, split_sha256 = {}, ""
    for precision in ("int8", "fp32"):
        evaluation, predictions = evaluate(folder, data, split, precision, command=command)
        report.write(evaluation, predictions, receipts.parent / f"{split}-{precision}")
        numbers[precision] = {
            "by lesion": _main(evaluation, "lesions"),
            "by image": _main(evaluation, "images"),
        }
        split_sha256 = evaluation.provenance.split_sha256
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    content = {
        "date": today,
        "command": command,
        "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
        "bundle_sha256": bundle.sha256,
        "split": split,
        "split_sha256": split_sha256,
        "numbers": numbers,
        "machine": machine("openvino", "numpy"),
    }
    receipts.mkdir(parents=True, exist_ok=True)
    receipt = receipts / f"{today}-{bundle.sha256[:12]}.json"
    receipt.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return receipt


def _main(evaluation: Evaluation, unit: str) -> dict[str, dict[str, float]]:
    measures = getattr(evaluation, unit)
    wanted: dict[str, Estimate] = {
        "cancer_auroc": measures.cancer_auroc,
        "cancer_recall": measures.screening.recall,
        "cancer_specificity": measures.screening.specificity,
        "balanced_accuracy": measures.balanced_accuracy,
        "macro_f1": measures.macro_f1,
    }
    return {name: dataclasses.asdict(estimate) for name, estimate in wanted.items()}


if __name__ == "__main__":
    main()
