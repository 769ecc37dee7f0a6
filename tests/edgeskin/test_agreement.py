import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.bench import measure as bench
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four noise pictures with labels, and one that is no picture."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(3)
    rows = []
    for position, label in enumerate(["MEL", "NV", "BCC", "NV", "MEL", "OTHER"]):
        path = folder / f"{position}.png"
        image = rng.integers(0, 40 * (position + 1), (70, 70, 3)).astype(np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes() if position != 4 else b"broken")
        rows.append({"path": path.name, "label": label, "split": "val" if position < 5 else "test"})
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "labels.csv"


def test_a_whole_run_adds_up(shared_micro_bundle: Path, labelled: Path, tmp_path: Path) -> None:
    result = bench.run(shared_micro_bundle, 1, 10, 1, labelled, "val")
    by_name = {row.precision: row for row in result.rows}
    files = {path.name: path.stat().st_size for path in shared_micro_bundle.iterdir()}
    assert by_name["int8"].model_bytes == files["int8.xml"] + files["int8.bin"]
    assert result.speedup == by_name["fp32"].median.p50_ms / by_name["int8"].median.p50_ms
    assert all(row.median.p95_ms >= row.median.p50_ms > 0 for row in result.rows)
    assert result.agreement.images == 4
    assert len(result.agreement.failed) == 1
    json.dumps(result.to_dict(), allow_nan=False)
    told = bench.table(result)
    assert "INT8 is" in told
    assert "not read: " in told
    bench.draw(result, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="the figure needs matplotlib"):
        bench.require_plots()


def test_agreement_is_what_single_assessments_say(
    shared_micro_bundle: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = bench.read_labels(labelled, "val", open_bundle(shared_micro_bundle).manifest.classes)[0][:4]
    agreement = bench.compare(open_bundle(shared_micro_bundle), 1, pairs, {})
    told = capsys.readouterr()
    assert (told.out, "assessing by both precisions" in told.err) == ("", True)
    results = {
        p: [Classifier(shared_micro_bundle, p, 1, quality_gate=False).assess(path) for path, _ in pairs]
        for p in ("fp32", "int8")
    }
    cancers = [0, 2]
    for precision, assessed in results.items():
        assert agreement.recall[precision] == np.mean([assessed[i].risk != "LOW" for i in cancers])
    gap = max(
        abs(a.cancer_probability - b.cancer_probability) for a, b in zip(*results.values(), strict=True)
    )
    assert agreement.p_cancer_difference["max"] == pytest.approx(gap)
    lost = [
        str(pairs[i][0])
        for i in cancers
        if results["fp32"][i].risk != "LOW" and results["int8"][i].risk == "LOW"
    ]
    assert list(agreement.lost) == lost


def test_class_folders_are_labels_too(tmp_path: Path) -> None:
    for name in ("MEL", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"")
    assert bench.read_labels(tmp_path, None, ("MEL", "NV")) == ([(tmp_path / "MEL" / "a.jpg", "MEL")], {})


def test_rows_of_other_labels_are_counted(labelled: Path) -> None:
    pairs, left_out = bench.read_labels(labelled, None, ("MEL", "NV"))
    assert [label for _, label in pairs] == ["MEL", "NV", "NV", "MEL"]
    assert left_out == {"BCC": 1, "OTHER": 1}
    with pytest.raises(SettingError, match="there is no such file or folder"):
        bench.read_labels(labelled.parent / "nowhere.csv", None, ("MEL",))
    with pytest.raises(SettingError, match=r"labels there: BCC, MEL, NV, OTHER$"):
        bench.read_labels(labelled, None, ("DF",))


@pytest.mark.parametrize("split", ["test", "nonsense"])
def test_no_labelled_images_is_an_error(labelled: Path, split: str) -> None:
    with pytest.raises(SettingError, match="no images of the classes"):
        bench.read_labels(labelled, split, ("MEL", "NV"))


def test_a_split_of_a_csv_without_splits_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.jpg,MEL\n")
    with pytest.raises(SettingError, match="no column split"):
        bench.read_labels(tmp_path / "t.csv", "val", ("MEL",))


def test_a_csv_without_the_columns_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SettingError, match="columns path and label"):
        bench.read_labels(tmp_path / "t.csv", None, ("MEL",))
