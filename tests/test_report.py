"""Every printed number follows from what is committed, and the locked split is read once a bundle."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.locked_test import RECEIPTS, read_once
from edgeskin.bundle import DEFAULT_BUNDLE, open_bundle
from edgeskin.errors import SettingError


def test_every_printed_number_follows_from_the_committed_arrays() -> None:
    assert list(report.differences()) == []


def test_a_changed_number_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    readme = report.DOCUMENTS[0].read_text(encoding="utf-8")
    assert "<!-- report: results -->" in readme
    changed = tmp_path / "README.md"
    start = readme.index("<!-- report: results -->")
    changed.write_text(readme[:start] + readme[start:].replace("0.", "1.", 1), encoding="utf-8")
    monkeypatch.setattr(report, "DOCUMENTS", (changed,))
    assert [line.partition(":")[0] for line in report.differences()] == [str(changed)]


def test_the_default_bundle_has_a_receipt() -> None:
    receipts = [json.loads(path.read_text(encoding="utf-8")) for path in RECEIPTS.glob("*.json")]
    assert open_bundle(DEFAULT_BUNDLE).sha256 in {receipt["bundle_sha256"] for receipt in receipts}


def test_a_bundle_is_read_once(shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path) -> None:
    receipt = read_once(shared_micro_bundle, lesion_folder, tmp_path / "receipts")
    content = json.loads(receipt.read_text(encoding="utf-8"))
    assert content["bundle_sha256"] == open_bundle(shared_micro_bundle).sha256
    written = json.loads((tmp_path / "test-int8" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["split_sha256"] == written["provenance"]["split_sha256"]
    assert content["numbers"]["int8"]["by lesion"]["cancer_auroc"] == written["lesions"]["cancer_auroc"]
    with pytest.raises(SettingError, match="read with this bundle already"):
        read_once(shared_micro_bundle, lesion_folder, tmp_path / "receipts")
