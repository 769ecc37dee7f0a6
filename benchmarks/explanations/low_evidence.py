"""How often does a map have too little evidence to be drawn, and where is its maximum, by risk?

    python -m benchmarks.explanations.low_evidence --data DIR [--images 600]

Computes Grad-CAM of P(cancer) on validation photos: the largest value of each map in log odds per cell, how
many are below `edgeskin.explain.cam.FAINT`, and whether the maximum lies in the lesion's own mask or in a
corner of the photo (32 of 224 pixels a side). Writes benchmarks/explanations/results/low_evidence.json.
"""

from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.environment import argument_parser, read_result, result, result_path, write_result
from benchmarks.tables import Table
from edgeskin import Classifier
from edgeskin.results import LOW_EVIDENCE
from train.data.table import read_table, select

RESULT = result_path(__file__)
CORNER = 1 / 7


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=600)
    options = parser.parse_args()
    classifier = Classifier()
    samples = select(read_table(options.data), "val")
    order = np.random.default_rng(0).permutation(len(samples))[: options.images]
    rows: dict[str, list[tuple[float, bool, bool]]] = {"LOW": [], "MEDIUM": [], "HIGH": []}
    for place in track(order, "explaining"):
        explained = classifier.assess(samples[place].image, explain="grad-cam")
        mask = explained.pixels.mask if explained.pixels else None
        if explained.explanation is None or mask is None:
            continue
        side = len(mask)
        heat = explained.explanation.resized(side)
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        width = CORNER * side
        in_corner = all(at < width or at >= side - width for at in (row, column))
        largest = float(explained.explanation.map.max())
        inside = bool(mask[row, column])
        rows[str(explained.risk)].append((largest, inside, in_corner))
    results = {}
    for risk, of in rows.items():
        largest_values, is_inside, is_in_corner = np.array(of).T
        drawn = largest_values >= LOW_EVIDENCE
        results[risk] = {
            "images": len(of),
            "median_largest": float(np.median(largest_values)),
            "low_evidence": int((~drawn).sum()),
            "inside": int(is_inside.sum()),
            "in_corner": int(is_in_corner.sum()),
            "drawn_inside": int(is_inside[drawn].sum()),
            "drawn_in_corner": int(is_in_corner[drawn].sum()),
        }
        print(risk, results[risk])
    write_result(
        RESULT,
        result(
            f"python -m benchmarks.explanations.low_evidence --data DIR --images {options.images}",
            *("openvino", "numpy", "opencv-python-headless"),
            low_evidence_below=LOW_EVIDENCE,
            results=results,
        ),
    )


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    rows = []
    for risk, of in content["results"].items():
        images, drawn = of["images"], of["images"] - of["low_evidence"]
        rows.append(
            (
                risk,
                str(images),
                f"{of['median_largest']:.3f}",
                f"{of['inside'] / images:.0%}",
                f"{of['in_corner'] / images:.0%}",
                f"{of['low_evidence'] / images:.0%}",
                f"{of['drawn_inside'] / max(1, drawn):.0%}",
                f"{of['drawn_in_corner'] / max(1, drawn):.0%}",
            )
        )
    return Table(
        "Maps with low evidence",
        "Grad-CAM of P(cancer) on validation photos: the largest value in log odds per cell and where it "
        f"lies. Maps below {content['low_evidence_below']} are not drawn.",
        content["command"],
        (
            "risk",
            "images",
            "median maximum",
            "maximum in the lesion",
            "in a corner",
            "not drawn",
            "drawn: in the lesion",
            "drawn: in a corner",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
