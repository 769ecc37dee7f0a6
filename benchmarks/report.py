"""Do the printed numbers follow from the committed predictions and measurements?

    python -m benchmarks.report [--check]

Measures every evaluation in benchmarks/results again from its logits.npz, writes evaluation.json,
evaluation.md and confusion.png anew, and fills the blocks ``<!-- report: NAME -->`` of README.md. With
--check nothing is written; a number of these that differs, from its receipt too, or that is not of the
default bundle, is an error (exit code 1). What prose outside the blocks says is not read.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.locked_test import RECEIPTS, main_numbers
from benchmarks.machine import RESULTS
from edgeskin.bundle import open_bundle
from edgeskin.errors import SettingError
from train import report
from train.evaluate import Evaluation, evaluation_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md",)
_BLOCK = re.compile(r"(<!-- report: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Evaluations = dict[str, Evaluation]


def main() -> None:
    """Write everything anew, or check it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="Write nothing, fail where a number differs.")
    wanted = parser.parse_args()
    if wanted.check:
        problems = list(differences())
        print("\n".join(problems) or "evaluations, receipts and blocks follow from the committed arrays")
        sys.exit(bool(problems))
    evaluations: Evaluations = {}
    for folder in folders():
        provenance, predictions = report.read(folder)
        evaluations[folder.name] = evaluation_of(predictions, provenance)
        report.write_report(evaluations[folder.name], folder)
    for document in DOCUMENTS:
        document.write_text(filled(document, evaluations), encoding="utf-8")


def differences() -> Iterator[str]:
    """One line for each committed file that says something else than its sources."""
    evaluations = {folder.name: evaluation_of(*reversed(report.read(folder))) for folder in folders()}
    for name, evaluation in evaluations.items():
        folder = RESULTS / name
        if (folder / "evaluation.md").read_text(encoding="utf-8") != report.markdown(evaluation):
            yield f"{folder / 'evaluation.md'}: differs from what logits.npz gives"
        stored = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        if not _alike(stored, json.loads(report.to_json(evaluation))):
            yield f"{folder / 'evaluation.json'}: differs from what logits.npz gives"
        yield from _not_of_the_bundle(folder, evaluation)
    for document in DOCUMENTS:
        if document.read_text(encoding="utf-8") != filled(document, evaluations):
            yield f"{document}: a block differs; run python -m benchmarks.report"


def _not_of_the_bundle(folder: Path, evaluation: Evaluation) -> Iterator[str]:
    """Whether an evaluation is of the default bundle as it is, and says what its receipt says."""
    bundle, provenance = open_bundle(), evaluation.provenance
    variant = bundle.manifest.variants[folder.name.rpartition("-")[2]]  # type: ignore[index]
    settings = (variant.temperature, variant.operating_points[0].threshold, variant.class_priors)
    if provenance.sha256 != bundle.sha256:
        yield f"{folder}: of another bundle than the default one"
    elif settings != (provenance.temperature, provenance.threshold, provenance.class_priors):
        yield f"{folder}: with other settings than the bundle's"
    if provenance.split == "test":
        receipts = [json.loads(path.read_text(encoding="utf-8")) for path in RECEIPTS.glob("*.json")]
        told = [one["numbers"] for one in receipts if one["bundle_sha256"] == provenance.sha256]
        precision = folder.name.rpartition("-")[2]
        if not told or not _alike(told[0][precision], main_numbers(evaluation)):
            yield f"{folder}: no receipt that says the same"


def folders() -> list[Path]:
    """The committed evaluations."""
    return sorted(path.parent for path in RESULTS.glob("*/logits.npz"))


def filled(document: Path, evaluations: Evaluations) -> str:
    """A document with its blocks written anew. Raises SettingError unless each block is there once."""
    content = document.read_text(encoding="utf-8")
    named = [match["name"] for match in _BLOCK.finditer(content)]
    if sorted(named) != sorted(BLOCKS):
        raise SettingError(f"{document}: blocks {named}, expected each of {list(BLOCKS)} once")

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}{BLOCKS[match['name']](evaluations)}\n{match[3]}"

    return _BLOCK.sub(block, content)


def _results(evaluations: Evaluations) -> str:
    """The test split, INT8 and FP32, by lesion and by image."""
    rows = []
    for precision in ("INT8", "FP32"):
        evaluation = evaluations[f"test-{precision.lower()}"]
        for unit in ("lesion", "image"):
            measures = evaluation.lesions if unit == "lesion" else evaluation.images
            rows.append(
                (
                    f"{precision}, by {unit}",
                    report.text(measures.cancer_auroc),
                    report.text(measures.screening.recall),
                    report.text(measures.screening.specificity),
                    report.text(measures.classes["MEL"].referred),
                    report.text(measures.balanced_accuracy),
                )
            )
    head = ("", "cancer AUROC", "cancer recall", "at specificity", "melanomas referred", "balanced accuracy")
    return report.table(head, rows)


def _speed(_: Evaluations) -> str:
    """INT8 and FP32 on one machine, from bench.json and cold_start.json."""
    bench, cold_start = _measured("bench"), _measured("cold_start")
    if cold_start["bundle_sha256"] != bench["settings"]["bundle_sha256"]:
        raise SettingError("cold_start.json and bench.json are of two bundles; measure both again")
    cold = cold_start["results"]
    rows = []
    for row in sorted(bench["rows"], key=lambda row: row["precision"], reverse=True):
        m, name = row["median"], row["precision"]
        rows.append(
            (
                name.upper(),
                f"{row['model_bytes'] / 1e6:.1f} MB",
                f"{m['p50_ms']:.1f} ms",
                f"{m['peak_mb']:.0f} MB",
                f"{cold[f'predict {name}']['median'] / 1e3:.2f} s",
            )
        )
    machine, settings = bench["machine"], bench["settings"]
    head = (
        f"{machine['processor']}, {machine['isa']}, {settings['threads']} threads",
        "model",
        f"network, {settings['views']} views, p50",
        "peak memory",
        "whole `predict` process",
    )
    told = report.table(head, rows)
    return f"{told}\n\nINT8 is {bench['speedup']:.2f} times as fast as FP32 there."


BLOCKS: dict[str, Callable[[Evaluations], str]] = {"results": _results, "speed": _speed}


def _measured(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _alike(one: Any, other: Any) -> bool:
    """Equal but for the last digits, in which sums differ between machines."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(1, abs(one))
    return bool(one == other)


if __name__ == "__main__":
    main()
