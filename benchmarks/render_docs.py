"""Do the printed numbers follow from the committed predictions and measurements?

    python -m benchmarks.render_docs [--check]

Measures every evaluation in benchmarks/results again from its logits.npz, writes evaluation.json,
evaluation.md and its figures anew, and fills the blocks ``<!-- report: NAME -->`` of DOCUMENTS, which
benchmarks.blocks computes. With --check nothing is written; a number of these that differs, from its receipt
too, or that is not of the default bundle, is an error (exit code 1). Prose outside the blocks is not read.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.blocks import BLOCKS, PRECISIONS, Evaluations, Stored
from benchmarks.environment import RESULTS
from benchmarks.evaluation.locked_test import RECEIPTS, main_numbers
from benchmarks.sureness import TABLES, draw
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from train.evaluate import report
from train.evaluate.evaluation import Evaluation, evaluation_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    ROOT / "README.md": ["results", "risk", "weak-spots", "speed"],
    ROOT / "MODEL_CARD.md": [
        *("bundle", "all-measures", "classes", "subgroups", "external", "pad-folds", "known-benign"),
        *("calibrations", "mc-dropout", "agreement", "invariance", "leaky-twin", "lite-results", "lite"),
    ],
    ROOT / "docs/data.md": ["data", "people"],
    ROOT / "docs/certainty.md": list(TABLES),
    ROOT / "docs/explanations.md": [
        *("faint-maps", "explanations", "lesions-hidden", "dice", "registration", "repeatability"),
        *("painted-changes", "steps"),
    ],
    ROOT / "docs/experiments.md": ["runs", "shipped", "experiments", "leaky-twin"],
    ROOT / "docs/performance.md": [
        *("peers", "overhead", "profile", "variants", "rounding", "budget", "scaling"),
    ],
}
"""Each with its blocks, in their order."""
_BLOCK = re.compile(r"(<!-- report: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


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
    stored = measured_again()
    for name, one in stored.items():
        report.write_report(one.evaluation, RESULTS / name)
    draw({name: one.predictions for name, one in stored.items()}, ROOT / "docs")
    for document, blocks in DOCUMENTS.items():
        document.write_text(filled(document, blocks, stored), encoding="utf-8")


def differences() -> Iterator[str]:
    """One line for each committed file that says something else than its sources."""
    stored = measured_again()
    for name, one in stored.items():
        folder = RESULTS / name
        if (folder / "evaluation.md").read_text(encoding="utf-8") != report.markdown(one.evaluation):
            yield f"{folder / 'evaluation.md'}: differs from what logits.npz gives"
        content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        if not _alike(content, json.loads(report.to_json(one.evaluation))):
            yield f"{folder / 'evaluation.json'}: differs from what logits.npz gives"
        if name.endswith(PRECISIONS):
            shipped = "lite" if name.startswith("lite/") else "default"
            yield from _not_of_the_bundle(folder, one.evaluation, shipped)
    for document, blocks in DOCUMENTS.items():
        if document.read_text(encoding="utf-8") != filled(document, blocks, stored):
            yield f"{document}: a block differs; run python -m benchmarks.render_docs"


def _not_of_the_bundle(folder: Path, evaluation: Evaluation, shipped: str) -> Iterator[str]:
    """Whether an evaluation is of the shipped bundle as it is, and says what its receipt says."""
    bundle, provenance = open_bundle(shipped), evaluation.provenance
    precision = next(precision for precision in PRECISIONS if folder.name.endswith(precision))
    variant = bundle.manifest.variants[precision]
    settings = (variant.calibration, variant.operating_points[0].threshold, variant.class_priors)
    if provenance.sha256 != bundle.sha256:
        yield f"{folder}: of another bundle than the {shipped} one"
    elif settings != (provenance.calibration, provenance.threshold, provenance.class_priors):
        yield f"{folder}: with other settings than the bundle's"
    if provenance.split == "test":
        receipts = [json.loads(path.read_text(encoding="utf-8")) for path in RECEIPTS.glob("*.json")]
        told = [one["numbers"] for one in receipts if one["bundle_sha256"] == provenance.sha256]
        if not told or not _alike(told[0][precision], main_numbers(evaluation)):
            yield f"{folder}: no receipt that says the same"


def measured_again() -> dict[str, Stored]:
    """Every committed evaluation, from its predictions, by its folder in benchmarks/results."""
    folders = sorted(path.parent for path in RESULTS.rglob("logits.npz"))
    stored = {}
    for folder in folders:
        provenance, predictions = report.read(folder)
        name = folder.relative_to(RESULTS).as_posix()
        stored[name] = Stored(evaluation_of(predictions, provenance), predictions)
    return stored


def filled(document: Path, blocks: Sequence[str], stored: Evaluations) -> str:
    """A document with its blocks written anew. Raises SettingError unless it has just these, in order."""
    content = document.read_text(encoding="utf-8")
    named = [match["name"] for match in _BLOCK.finditer(content)]
    if named != list(blocks):
        raise SettingError(f"{document}: blocks {named}, expected {list(blocks)}")

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}{BLOCKS[match['name']](stored)}\n{match[3]}"

    return _BLOCK.sub(block, content)


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
