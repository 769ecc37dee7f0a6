"""Paired comparisons, worked by hand on a few images."""

from pathlib import Path

import pytest

from benchmarks.evaluation import comparisons
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from tests.benchmarks.conftest import evaluated


def test_cancers_lost_and_gained_by_int8(shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FP32 finds the melanomas a and b, INT8 finds a and c; d is a nevus in both."""
    likely, unlikely = {"MEL": 0.9, "NV": 0.1}, {"MEL": 0.05, "NV": 0.95}
    found = {"fp32": (likely, likely, unlikely, unlikely), "int8": (likely, unlikely, likely, unlikely)}
    monkeypatch.setattr(comparisons, "open_bundle", lambda: open_bundle(shared_micro_bundle))
    evaluations = {
        f"{split}-{precision}": evaluated(
            [
                (name, label, p)
                for name, label, p in zip("abcd", ("MEL", "MEL", "MEL", "NV"), found[precision], strict=True)
            ],
            sharpness=1.5,  # the bundle's temperature
        )
        for split in ("val", "test", "external")
        for precision in ("fp32", "int8")
    }
    row = comparisons.precision_table(evaluations).rows[1]
    assert row[:4] == ("test", "4", "2 of 3", "1; 1")
    assert row[4].startswith("0.000 (")
    # |dP| is 0, 0.85, 0.85 and 0; nobody differs by more than chance: 1 against 1.
    assert row[7].split(", ")[0] == "0.425"
    assert row[7].split(", ")[-1] == "0.850"
    assert row[8] == "1; 1"


def test_predictions_of_other_images_are_not_compared() -> None:
    one, other = (evaluated([(name, "MEL", {"MEL": 0.9}), ("n", "NV", {"NV": 0.9})]) for name in "ab")
    evaluations = {f"val-{name}": of for name, of in (("int8", one), ("fp32", other))}
    with pytest.raises(SettingError, match="different images"):
        comparisons.precision_table(evaluations)
