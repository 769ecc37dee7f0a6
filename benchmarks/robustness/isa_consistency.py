"""Does an answer depend on this CPU's instructions, or on how the graph is spelt?

    python -m benchmarks.robustness.isa_consistency --data DIR [--every 1]

INT8 rounds to steps, so that what differs in the last bit before may be another step after. The default
bundle's networks on pictures of the split val, and the INT8 one with its averages spelt as pooling when it is
loaded, against the logits that `python -m train evaluate` kept where the bundle was judged (results/val-int8
and val-fp32), which tell their instructions and versions themselves. --every: on every so many picture.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import openvino

from benchmarks.environment import RESULTS, machine, write
from edgeskin.bundle.bundle import Precision, open_bundle
from edgeskin.bundle.manifest import Variant
from edgeskin.errors import SettingError
from edgeskin.network.engine import instruction_set
from edgeskin.network.graph import halves
from quantize.export import averages_as_pooling
from quantize.fitting.rules import Labels
from quantize.gate import compare
from quantize.inference import predict, prepare
from train.data.table import read_table

Logits = npt.NDArray[np.float32]


def pooling() -> Any:
    """A context in which engines spell averages as pooling."""

    def respell(model: openvino.Model) -> list[openvino.Model]:
        return halves(averages_as_pooling(model))

    return patch("edgeskin.network.engine.halves", respell)


ROWS: dict[str, tuple[Precision, Callable[[], Any]]] = {
    "int8": ("int8", nullcontext),
    "int8, averages as pooling": ("int8", pooling),
    "fp32": ("fp32", nullcontext),
}


def main() -> None:
    """Measure, print and write benchmarks/results/rounding.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1)
    wanted = parser.parse_args()
    bundle = open_bundle()
    manifest = bundle.manifest
    files = {sample.image_id: sample.image for sample in read_table(wanted.data)}
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (precision, spelling) in ROWS.items():
            labels, judged, told = kept(precision, bundle.sha256, wanted.every)
            absent = [image for image in labels.image_ids if image not in files]
            if absent:
                raise SettingError(f"{wanted.data} lacks {len(absent)} pictures of val, such as {absent[0]}")
            pictures = Path(folder) / f"{precision}.npy"
            if not pictures.exists():
                prepare([files[image] for image in labels.image_ids], manifest.preprocessing, pictures)
            with spelling():
                xml = bundle.folder / f"{precision}.xml"
                said = predict(xml, pictures, views=manifest.preprocessing.views).logits
            rows[name] = changes(labels, judged, said, manifest.variants[precision]) | {"judged": told}
            print(name, rows[name])
    result = {
        "command": f"python -m benchmarks.robustness.isa_consistency --data DIR --every {wanted.every}",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "isa": instruction_set(),
        "bundle_sha256": bundle.sha256,
        "images": len(labels.image_ids),
        "results": rows,
    }
    print(write("rounding", result))


def kept(precision: str, sha256: str, every: int) -> tuple[Labels, Logits, dict[str, str]]:
    """What was judged: labels and logits (n, C) of val, and the versions it was judged with.

    Raises SettingError where that was another bundle.
    """
    folder = RESULTS / f"val-{precision}"
    told = json.loads((folder / "evaluation.json").read_text())["provenance"]
    if told["sha256"] != sha256:
        raise SettingError(f"{folder}: of another bundle; evaluate this one on val first")
    with np.load(folder / "logits.npz", allow_pickle=False) as stored:
        names, of, groups = (stored[name][::every] for name in ("image_id", "label", "group"))
        logits = stored["logits"][::every]
    classes = tuple(told["classes"])
    targets = np.array([classes.index(label) for label in of])
    labels = Labels(tuple(names.tolist()), tuple(groups.tolist()), targets, classes, tuple(told["cancer"]))
    return labels, logits, told["versions"]


def changes(labels: Labels, judged: Logits, said: Logits, variant: Variant) -> dict[str, Any]:
    """From what was judged to what is said here, with the same thresholds. judged, said: (n, C)."""
    by = compare("", labels, (judged, variant), (said, variant))
    p_cancer = [labels.p_cancer(logits, variant.calibration) for logits in (judged, said)]
    decided = [
        np.searchsorted([point.threshold for point in variant.operating_points], p, side="right")
        for p in p_cancer
    ]
    (other_class,) = (check.value for check in by.checks if check.name == "share given another class")
    return {
        "logit_rms": by.logit_rmse,
        "p_cancer": {"median": by.shift.median, "p99": by.shift.p99, "max": by.shift.max},
        "other_risk": int((decided[0] != decided[1]).sum()),
        "other_class": round(other_class * len(said)),
        "cancers_lost": len(by.lost),
        "cancers_gained": len(by.gained),
        "recall": [by.fp32.recall, by.int8.recall],
        "specificity": [by.fp32.specificity, by.int8.specificity],
        "auroc": [by.fp32.auroc, by.int8.auroc],
    }


if __name__ == "__main__":
    main()
