"""The tables of docs/certainty.md on committed predictions, some of their numbers counted anew."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import sureness
from benchmarks.environment import RESULTS
from benchmarks.sureness import TABLES, Stored, judged
from edgeskin.bundle.bundle import open_bundle
from train.evaluate import report


@pytest.fixture(scope="module")
def stored() -> Stored:
    folders = [
        f"{split}-{precision}" for split in ("val", "test", "external") for precision in ("int8", "fp32")
    ]
    return {name: report.read(RESULTS / name)[1] for name in folders}


def rows(told: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines()[2:]]


def test_every_table_is_whole(stored: Stored) -> None:
    for name, tell in TABLES.items():
        lines = tell(stored).splitlines()
        assert len({line.count("|") for line in lines}) == 1, name
        assert "nan" not in "".join(lines)


def test_what_the_screening_point_kept(stored: Stored) -> None:
    """Lesion by lesion in plain Python."""
    one = judged(stored, "test", "int8")
    threshold = open_bundle().manifest.variants["int8"].operating_points[0].threshold
    worst: dict[str, float] = {}
    for lesion, p, cancer in zip(one.lesions, one.p_cancer, one.is_cancer, strict=True):
        if cancer:
            worst[lesion] = min(worst.get(lesion, 1.0), p)
    found = np.mean([p >= threshold for p in worst.values()])
    assert rows(sureness.operating_points(stored))[0][4].startswith(f"{found:.3f} ")


def test_certainty_is_scikit_learns_auroc(stored: Stored) -> None:
    one = judged(stored, "val", "int8")
    expected = roc_auc_score(one.wrong, -one.score)
    assert rows(sureness.certainty(stored))[0][1].startswith(f"{expected:.3f} ")


def test_validation_keeps_what_it_was_promised(stored: Stored) -> None:
    """The thresholds were chosen on it, by cross-fitted scores."""
    for precision in ("int8", "fp32"):
        one = judged(stored, "val", precision)
        point = one.variant.operating_points[0]
        assert one.referred[one.is_cancer].mean() == pytest.approx(point.recall)
        assert (one.ood > one.variant.ood_threshold).mean() == pytest.approx(0.01, abs=0.001)
        assert (one.score < one.variant.certainty.low).mean() == pytest.approx(0.2, abs=0.03)


def test_figures_are_drawn(stored: Stored, tmp_path: Path) -> None:
    sureness.draw(stored, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decision-curve.png", "risk-coverage.png"]
