"""Has a map anything to show? Grad-CAM of P(cancer) on validation photos, by risk.

    python -m benchmarks.explanations.low_evidence --data DIR [--images 600]

The largest value of each map, in log odds a cell; how many are below `edgeskin.explain.cam.FAINT`; and where the
maximum is: in the lesion's own mask, or in a corner of the picture (32 of 224 pixels a side).
"""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.environment import machine, write
from edgeskin import Classifier
from edgeskin.explain.cam import FAINT
from train.data.table import read_table, select

CORNER = 1 / 7


def main() -> None:
    """Measure, print and write benchmarks/results/faint_maps.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=600)
    wanted = parser.parse_args()
    classifier = Classifier()
    samples = select(read_table(wanted.data), "val")
    order = np.random.default_rng(0).permutation(len(samples))[: wanted.images]
    rows: dict[str, list[tuple[float, bool, bool]]] = {"LOW": [], "MEDIUM": [], "HIGH": []}
    for place in track(order, "explaining"):
        found = classifier.examine(samples[place].image)
        if found.explanation is None or found.mask is None:
            continue
        side = len(found.mask)
        row, column = np.unravel_index(found.explanation.resized(side).argmax(), found.mask.shape)
        width = CORNER * side
        in_corner = all(at < width or at >= side - width for at in (row, column))
        largest = float(found.explanation.map.max())
        rows[str(found.assessment.risk)].append((largest, bool(found.mask[row, column]), in_corner))
    results = {}
    for risk, of in rows.items():
        largest, inside, in_corner = np.array(of).T
        drawn = largest >= FAINT
        results[risk] = {
            "images": len(of),
            "median_largest": float(np.median(largest)),
            "faint": int((~drawn).sum()),
            "inside": int(inside.sum()),
            "in_corner": int(in_corner.sum()),
            "drawn_inside": int(inside[drawn].sum()),
            "drawn_in_corner": int(in_corner[drawn].sum()),
        }
        print(risk, results[risk])
    result = {
        "command": f"python -m benchmarks.explanations.low_evidence --data DIR --images {wanted.images}",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "bundle_sha256": classifier.model.sha256,
        "faint_below": FAINT,
        "results": results,
    }
    print(write("faint_maps", result))


if __name__ == "__main__":
    main()
