"""Labels, and the agreement of both precisions against single assessments."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.bench.agreement import measure_agreement, read_labels
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError

pytestmark = pytest.mark.hazard("H-09")

CLASSES = ("MEL", "NV")


def test_agreement_is_that_of_single_assessments(
    shared_micro_bundle: Path, labelled_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = open_bundle(shared_micro_bundle)
    pairs = read_labels(labelled_csv, "val", bundle.manifest.classes)[0][:4]
    agreement = measure_agreement(bundle, 1, pairs, {"OTHER": 2})
    output = capsys.readouterr()
    assert output.out == ""  # progress is on stderr
    results = {
        p: [
            Classifier(shared_micro_bundle, p, 1, quality_gate=False, scope_gate=False).assess(path)
            for path, _ in pairs
        ]
        for p in ("fp32", "int8")
    }
    cancers, benign = [0, 2], [1, 3]
    assert (agreement.images, agreement.cancers, agreement.left_out) == (4, 2, {"OTHER": 2})
    for precision, assessed in results.items():
        assert agreement.recall[precision] == np.mean([assessed[i].risk != "LOW" for i in cancers])
        assert agreement.specificity[precision] == np.mean([assessed[i].risk == "LOW" for i in benign])
    gaps = [abs(a.cancer_probability - b.cancer_probability) for a, b in zip(*results.values(), strict=True)]
    assert agreement.p_cancer_difference["max"] == pytest.approx(max(gaps))
    assert agreement.p_cancer_difference["median"] == pytest.approx(np.median(gaps))
    same = [a.predicted_class == b.predicted_class for a, b in zip(*results.values(), strict=True)]
    assert agreement.same_class == np.mean(same)


def test_lost_cancers_are_those_that_int8_alone_misses(micro_bundle: Path, labelled_csv: Path) -> None:
    """FP32 flags every picture, INT8 none. Names alone are given, as folders may name the patient."""
    manifest = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))
    point = {"name": "screen", "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    for precision, threshold in (("fp32", 0.0), ("int8", 1.0)):
        manifest["decision_rules"][precision]["operating_points"] = [point | {"threshold": threshold}]
    (micro_bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    bundle = open_bundle(micro_bundle)
    pairs = read_labels(labelled_csv, "val", bundle.manifest.classes)[0][:4]
    agreement = measure_agreement(bundle, 1, pairs, {})
    assert agreement.lost == ("0.png", "2.png")
    assert agreement.recall == {"int8": 0.0, "fp32": 1.0}
    assert agreement.specificity == {"int8": 1.0, "fp32": 0.0}


def test_images_that_cannot_be_read_are_named_and_not_counted(
    shared_micro_bundle: Path, labelled_csv: Path
) -> None:
    bundle = open_bundle(shared_micro_bundle)
    pairs, left_out = read_labels(labelled_csv, "val", bundle.manifest.classes)
    agreement = measure_agreement(bundle, 1, pairs, left_out)
    assert agreement.images == len(pairs) - 1
    (failed,) = agreement.failed
    assert failed.startswith("4.png: ")
    with pytest.raises(SettingError, match=r"4\.png"):
        measure_agreement(bundle, 1, pairs[-1:], {})


def test_without_cancers_there_is_no_recall(shared_micro_bundle: Path, labelled_csv: Path) -> None:
    bundle = open_bundle(shared_micro_bundle)
    agreement = measure_agreement(bundle, 1, [(labelled_csv.parent / "1.png", "NV")], {})
    assert agreement.recall == {"int8": None, "fp32": None}
    assert set(agreement.specificity.values()) <= {0.0, 1.0}


def test_class_folders_are_labels_too(tmp_path: Path) -> None:
    for name in ("MEL", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"")
    assert read_labels(tmp_path, None, CLASSES) == ([(tmp_path / "MEL" / "a.jpg", "MEL")], {})


def test_rows_of_other_labels_are_counted(labelled_csv: Path) -> None:
    pairs, left_out = read_labels(labelled_csv, None, CLASSES)
    assert [label for _, label in pairs] == ["MEL", "NV", "NV", "MEL"]
    assert left_out == {"BCC": 1, "OTHER": 1}
    with pytest.raises(SettingError, match=r"nowhere\.csv"):
        read_labels(labelled_csv.parent / "nowhere.csv", None, ("MEL",))
    with pytest.raises(SettingError, match="BCC, MEL, NV, OTHER"):
        read_labels(labelled_csv, None, ("DF",))


@pytest.mark.parametrize("split", ["test", "nonsense"])
def test_no_labelled_images_is_an_error(labelled_csv: Path, split: str) -> None:
    with pytest.raises(SettingError, match=f"MEL, NV.*{split}"):
        read_labels(labelled_csv, split, CLASSES)


def test_a_split_of_a_csv_without_splits_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.jpg,MEL\n")
    with pytest.raises(SettingError, match=r"t\.csv: .*split"):
        read_labels(tmp_path / "t.csv", "val", ("MEL",))


def test_a_csv_without_the_columns_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SettingError, match=r"t\.csv: .*path.*label"):
        read_labels(tmp_path / "t.csv", None, ("MEL",))


def test_a_row_without_a_path_is_an_error(tmp_path: Path) -> None:
    """Its picture would be the table's own folder."""
    (tmp_path / "t.csv").write_text("path,label\na.jpg,MEL\n,NV\n")
    with pytest.raises(SettingError, match=r"t\.csv: 1 row"):
        read_labels(tmp_path / "t.csv", None, CLASSES)


def test_class_folders_hold_pictures_alone(tmp_path: Path) -> None:
    for name in ("a.jpg", "._a.jpg", "Thumbs.db"):
        (tmp_path / "NV").mkdir(exist_ok=True)
        (tmp_path / "NV" / name).touch()
    (tmp_path / "MEL").mkdir()
    assert read_labels(tmp_path, None, CLASSES)[0] == [(tmp_path / "NV" / "a.jpg", "NV")]
