"""Does an answer depend on this CPU's instruction set, or on how the graph is expressed?

    python -m benchmarks.robustness.isa_consistency --data DIR [--every 1]

INT8 rounds to steps, so a difference in the last bit before one can become a whole step after it. Runs the
default bundle's networks on the split val, and INT8 with its averages expressed as AvgPool, and compares with
the committed logits (val-int8 and val-fp32), which name their own instruction set and versions. --every takes
every n-th image only. Writes benchmarks/robustness/results/isa_consistency.json.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from benchmarks.environment import argument_parser, read_result, result, result_path, write_result
from benchmarks.evaluation.committed import EVALUATIONS
from benchmarks.tables import Table
from edgeskin.bundle.bundle import Bundle, open_bundle
from edgeskin.bundle.manifest import DecisionRules
from edgeskin.errors import SettingError
from edgeskin.results import Precision
from quantize.export import averages_as_pooling
from quantize.fitting.labels import Labels
from quantize.gate import compare
from quantize.inference import predict, prepare
from train.data.table import read_table

RESULT = result_path(__file__)
Logits = npt.NDArray[np.float32]
ROWS: dict[str, tuple[Precision, bool]] = {
    "int8": ("int8", False),
    "int8, averages as AvgPool": ("int8", True),
    "fp32": ("fp32", False),
}
"""By name: the precision, and whether averages are expressed as AvgPool."""


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    bundle = open_bundle()
    manifest = bundle.manifest
    files = {sample.image_id: sample.image for sample in read_table(options.data)}
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, (precision, as_pooling) in ROWS.items():
            labels, logits, versions = reference(precision, bundle.sha256, options.every)
            absent = [image for image in labels.image_ids if image not in files]
            if absent:
                raise SettingError(f"{options.data} lacks {len(absent)} images of val, such as {absent[0]}")
            images = folder / f"{precision}.npy"
            if not images.exists():
                prepare([files[image] for image in labels.image_ids], manifest.preprocessing, images)
            xml = (
                pooling_network(bundle, precision, folder)
                if as_pooling
                else bundle.folder / f"{precision}.xml"
            )
            here = predict(xml, images, views=manifest.preprocessing.views).logits
            rows[name] = changes(labels, logits, here, manifest.decision_rules[precision]) | {
                "reference": versions
            }
            print(name, rows[name])
    write_result(
        RESULT,
        result(
            f"python -m benchmarks.robustness.isa_consistency --data DIR --every {options.every}",
            *("openvino", "numpy", "opencv-python-headless"),
            images=len(labels.image_ids),
            results=rows,
        ),
    )


def pooling_network(bundle: Bundle, precision: Precision, folder: Path) -> Path:
    """Write a bundle's network with its averages expressed as AvgPool; return its .xml file."""
    path = folder / f"{precision}-pooling.xml"
    model = openvino.Core().read_model(*bundle.ir(precision).read())
    openvino.save_model(averages_as_pooling(model), path, compress_to_fp16=False)
    return path


def reference(precision: str, sha256: str, every: int) -> tuple[Labels, Logits, dict[str, str]]:
    """Read the committed logits of val.

    Args:
        precision: Of the network.
        sha256: Of the bundle that they must be of.
        every: Take every n-th image.

    Returns:
        Labels, logits (n, C), and the instruction set and versions that gave them.

    Raises:
        SettingError: They are of another bundle.
    """
    folder = EVALUATIONS / f"val-{precision}"
    provenance = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["provenance"]
    if provenance["sha256"] != sha256:
        raise SettingError(f"{folder}: of another bundle; evaluate this one on val first")
    with np.load(folder / "logits.npz", allow_pickle=False) as stored:
        names, label_names, groups = (stored[name][::every] for name in ("image_id", "label", "group"))
        logits = stored["logits"][::every]
    classes = tuple(provenance["classes"])
    targets = np.array([classes.index(label) for label in label_names])
    cancer = tuple(provenance["cancer"])
    labels = Labels(tuple(names.tolist()), tuple(groups.tolist()), targets, classes, cancer)
    return labels, logits, provenance["versions"]


def changes(labels: Labels, reference: Logits, here: Logits, rules: DecisionRules) -> dict[str, Any]:
    """Compare two networks' logits (n, C) at the same calibration and thresholds."""
    compared = compare("", labels, (reference[:, None], rules), (here[:, None], rules))
    thresholds = [point.threshold for point in rules.operating_points]
    risks = [
        np.searchsorted(thresholds, labels.p_cancer(logits, rules.calibration), side="right")
        for logits in (reference, here)
    ]
    (other_class,) = (one.value for one in compared.checks if one.name == "share given another class")
    return {
        "logit_rms": compared.logit_rmse,
        "p_cancer": {"median": compared.shift.median, "p99": compared.shift.p99, "max": compared.shift.max},
        "other_risk": int((risks[0] != risks[1]).sum()),
        "other_class": round(other_class * len(here)),
        "cancers_lost": len(compared.lost),
        "cancers_gained": len(compared.gained),
        "recall": [compared.fp32.recall, compared.int8.recall],
        "specificity": [compared.fp32.specificity, compared.int8.specificity],
        "auroc": [compared.fp32.auroc, compared.int8.auroc],
    }


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    instructions = sorted({row["reference"]["instructions"] for row in content["results"].values()})
    rows = []
    for name, row in content["results"].items():
        shift = row["p_cancer"]
        rows.append(
            (
                name,
                f"{row['logit_rms']:.4f}",
                f"{shift['median']:.4f}, {shift['p99']:.3f}, {shift['max']:.3f}",
                f"{row['other_risk']}; {row['other_class']}",
                f"{row['cancers_lost']}; {row['cancers_gained']}",
                *(f"{row[of][0]:.4f}; {row[of][1]:.4f}" for of in ("recall", "specificity", "auroc")),
            )
        )
    before, here = ", ".join(instructions), content["isa"]
    return Table(
        "Consistency across instruction sets",
        f"The default bundle's networks with {here} on {content['images']} validation images, against the "
        f"committed logits with {before}, at the same thresholds.",
        content["command"],
        (
            "network",
            "change of logits, RMS",
            "change of P(cancer): median, 99%, largest",
            "images with another risk; class",
            "cancers lost; gained",
            f"cancer sensitivity: {before}; {here}",
            f"specificity: {before}; {here}",
            f"cancer AUROC: {before}; {here}",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
