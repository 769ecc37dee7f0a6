"""Tables worked by hand: a few images whose probabilities are chosen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import blocks
from benchmarks.blocks import Stored
from benchmarks.evaluation.ood_images import outsiders
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from edgeskin.taxonomy import CANCER, ISIC_2019
from train.data.table import Sample
from train.evaluate.evaluation import Predictions, Provenance, evaluation_of

Image = tuple[str, str, dict[str, float]]
"""Image id (and lesion and patient), label, probabilities."""


def stored(images: Sequence[Image], sharpness: float = 1.0, threshold: float = 0.5) -> Stored:
    samples = [
        Sample(Path(name), name, label, name, name, name, None, None, None, None, "val", blocks.PAD)
        for name, label, _ in images
    ]
    p = np.full((len(images), len(ISIC_2019)), 1e-9)
    for row, (_, _, given) in enumerate(images):
        for label, value in given.items():
            p[row, ISIC_2019.index(label)] = value
    predictions = Predictions(samples, (sharpness * np.log(p)).astype(np.float32))
    provenance = Provenance("n", "", "val", "", None, {}, ISIC_2019, CANCER, None, threshold, "", (), {}, "")
    return Stored(evaluation_of(predictions, provenance), predictions)


def cells(table: str, row: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[2 + row].strip("|").split("|")]


def test_agreement_counts_what_is_lost_and_gained(
    shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FP32 finds the melanomas a and b, INT8 finds a and c; d is a nevus in both."""
    likely, unlikely = {"MEL": 0.9, "NV": 0.1}, {"MEL": 0.05, "NV": 0.95}
    found = {"fp32": (likely, likely, unlikely, unlikely), "int8": (likely, unlikely, likely, unlikely)}
    monkeypatch.setattr(blocks, "open_bundle", lambda: open_bundle(shared_micro_bundle))
    evaluations = {
        f"{split}-{precision}": stored(
            [
                (name, label, p)
                for name, label, p in zip("abcd", ("MEL", "MEL", "MEL", "NV"), found[precision], strict=True)
            ],
            sharpness=1.5,  # the bundle's temperature
        )
        for split in ("val", "test", "external")
        for precision in ("fp32", "int8")
    }
    row = cells(blocks.agreement(evaluations), 1)
    assert row[:4] == ["test", "4", "2 of 3", "1; 1"]
    assert row[4].startswith("0.000 (")
    # |dP| is 0, 0.85, 0.85 and 0; nobody differs by more than chance: 1 against 1.
    assert row[7].split(", ")[0] == "0.425"
    assert row[7].split(", ")[-1] == "0.850"
    assert row[8] == "1; 1"


def test_predictions_of_other_images_are_not_compared() -> None:
    one, other = (stored([(name, "MEL", {"MEL": 0.9}), ("n", "NV", {"NV": 0.9})]) for name in "ab")
    evaluations = {f"val-{name}": of for name, of in (("int8", one), ("fp32", other))}
    with pytest.raises(SettingError, match="different images"):
        blocks.agreement(evaluations)
    with pytest.raises(SettingError, match="test-int8: no evaluation there"):
        blocks.results({})


def test_folds_of_smartphone_photos() -> None:
    """A fold has one melanoma, found and named, and one basal cell carcinoma, taken for melanoma: recall 1,
    accuracy 1/2, F1 2/3 and 0."""
    images = [(f"m{i}", "MEL", {"MEL": 0.9, "NV": 0.1}) for i in range(3)]
    images += [(f"b{i}", "BCC", {"MEL": 0.8, "NV": 0.2}) for i in range(3)]
    row = cells(blocks.pad_folds({"external-int8": stored(images)}), 0)
    assert row[1:] == ["6", "1.000 ± 0.000", "0.500 ± 0.000", "0.333 ± 0.000"]


def test_an_experiment_against_itself_changes_nothing() -> None:
    images = [(f"m{i}", "MEL", {"MEL": 0.3 + i / 20, "NV": 0.7 - i / 20}) for i in range(8)]
    images += [(f"n{i}", "NV", {"MEL": 0.1 + i / 20, "NV": 0.9 - i / 20}) for i in range(8)]
    told = blocks.experiments({name: stored(images) for name in blocks.EXPERIMENTS})
    assert [cells(told, row)[2] for row in range(3)] == ["", *["0.000 (0.000 to 0.000)"] * 2]
    # Of 64 pairs the melanoma has the higher score but where it is lower (6) or the same (4, each a half).
    assert cells(told, 0)[1].startswith(f"{(64 - 6 - 4 / 2) / 64:.3f} ")


def test_known_benign_images_are_of_nobody_that_was_learned_from() -> None:
    def sample(name: str, label: str, group: str, split: str) -> Sample:
        return Sample(Path(name), name, label, name, None, group, None, None, None, None, split, "x")

    table = [
        sample("a", "BENIGN", "p1", "external"),
        sample("b", "BENIGN", "p2", "external"),
        sample("c", "NV", "p3", "external"),
        sample("d", "MEL", "p2", "val"),
    ]
    assert [one.image_id for one in outsiders(table)] == ["a"]
