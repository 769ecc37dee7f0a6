"""What the tests of benchmarks on a user's machine share: labelled pictures, and the result of one run."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin.bench.measure import Result, run


@pytest.fixture(scope="session")
def labelled_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise pictures with labels; one is damaged, and one label is of no known class."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(3)
    rows = []
    for position, label in enumerate(["MEL", "NV", "BCC", "NV", "MEL", "OTHER"]):
        path = folder / f"{position}.png"
        image = rng.integers(0, 40 * (position + 1), (70, 70, 3)).astype(np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes() if position != 4 else b"broken")
        rows.append({"path": path.name, "label": label, "split": "val" if position < 5 else "test"})
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "labels.csv"


@pytest.fixture(scope="session")
def bench_result(shared_micro_bundle: Path, labelled_csv: Path) -> Result:
    """A whole run on the micro-bundle, with labelled pictures."""
    return run(shared_micro_bundle, 1, 10, 2, labelled_csv, "val")
