"""Every printed number follows from what is committed, and the locked split is read once a bundle."""

import json
from pathlib import Path

import pytest

from benchmarks import render_docs as report
from benchmarks.blocks import BLOCKS, Stored
from benchmarks.evaluation.locked_test import RECEIPTS, read_once
from edgeskin.bundle.bundle import SHIPPED, open_bundle
from edgeskin.errors import SettingError
from tests.conftest import write_manifest
from train.data.split import split_sha256
from train.data.table import read_table


@pytest.fixture(scope="module")
def stored() -> dict[str, Stored]:
    """Measured once: it takes a while."""
    return report.measured_again()


def test_every_printed_number_follows_from_the_committed_arrays(
    stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "measured_again", lambda: stored)
    assert list(report.differences()) == []


def test_a_changed_number_is_found(
    stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(report, "measured_again", lambda: stored)
    path = report.ROOT / "README.md"
    readme, blocks = path.read_text(encoding="utf-8"), report.DOCUMENTS[path]
    assert "<!-- report: results -->" in readme
    changed = tmp_path / "README.md"
    start = readme.index("<!-- report: results -->")
    changed.write_text(readme[:start] + readme[start:].replace("0.", "1.", 1), encoding="utf-8")
    monkeypatch.setattr(report, "DOCUMENTS", {changed: blocks})
    assert [line.partition(":")[0] for line in report.differences()] == [str(changed)]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_bundle_has_a_receipt(name: str) -> None:
    receipts = [json.loads(path.read_text(encoding="utf-8")) for path in RECEIPTS.glob("*.json")]
    assert open_bundle(name).sha256 in {receipt["bundle_sha256"] for receipt in receipts}


def test_a_block_that_is_missing_or_unknown_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    for text in ("no blocks", "<!-- report: nonsense -->\n<!-- end -->\n"):
        document.write_text(text, encoding="utf-8")
        with pytest.raises(SettingError, match="expected"):
            report.filled(document, ["results"], {})


def test_every_block_is_printed_somewhere() -> None:
    assert {name for blocks in report.DOCUMENTS.values() for name in blocks} == set(BLOCKS)


def test_a_bundle_is_read_once(micro_bundle: Path, lesion_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="not split as when"):
        read_once(micro_bundle, lesion_folder, tmp_path / "receipts", tmp_path)
    assert not (tmp_path / "receipts").exists()
    write_manifest(micro_bundle, training={"split_sha256": split_sha256(read_table(lesion_folder))})
    receipt = read_once(micro_bundle, lesion_folder, tmp_path / "receipts", tmp_path)
    content = json.loads(receipt.read_text(encoding="utf-8"))
    assert content["bundle_sha256"] == open_bundle(micro_bundle).sha256
    written = json.loads((tmp_path / "test-int8" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["split_sha256"] == written["provenance"]["split_sha256"]
    assert content["numbers"]["int8"]["by lesion"]["cancer_auroc"] == written["lesions"]["cancer_auroc"]
    with pytest.raises(SettingError, match="read with this bundle already"):
        read_once(micro_bundle, lesion_folder, tmp_path / "receipts", tmp_path)
