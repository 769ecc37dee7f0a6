"""What tests of the runtime share: labelled pictures, the result of one benchmark, and signed bundles."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin.bench.measure import Result, run
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.signature import new_keys


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


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key and its public key."""
    pytest.importorskip("cryptography", reason="the extra sign is not installed")
    folder = tmp_path_factory.mktemp("keys")
    paths = folder / "key", folder / "key.pub"
    for path, content in zip(paths, new_keys(), strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture
def signed_bundle(shared_micro_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path) -> Path:
    """A micro-bundle that the key signed, and that the test may damage."""
    folder = tmp_path / "signed"
    shutil.copytree(shared_micro_bundle, folder)
    open_bundle(folder).sign(signing_keys[0])
    return folder
