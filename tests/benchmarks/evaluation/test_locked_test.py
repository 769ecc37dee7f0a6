"""The locked split is read once a bundle, and leaves a receipt."""

import json
from pathlib import Path

import pytest

from benchmarks.evaluation import locked_test
from benchmarks.evaluation.committed import Evaluations
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from tests.conftest import write_manifest
from train.data.split import split_sha256
from train.data.table import read_table

pytestmark = pytest.mark.hazard("H-21")


def test_a_bundle_is_evaluated_once(micro_bundle: Path, lesion_folder: Path, tmp_path: Path) -> None:
    arguments = (micro_bundle, lesion_folder, tmp_path / "receipts", tmp_path)
    with pytest.raises(SettingError, match="not split as when"):
        locked_test.read_once(*arguments)
    assert not (tmp_path / "receipts").exists()
    write_manifest(micro_bundle, training={"split_sha256": split_sha256(read_table(lesion_folder))})
    receipt = locked_test.read_once(*arguments)
    content = json.loads(receipt.read_text(encoding="utf-8"))
    assert content["bundle_sha256"] == open_bundle(micro_bundle).sha256
    written = json.loads((tmp_path / "test-int8" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["split_sha256"] == written["provenance"]["split_sha256"]
    assert content["numbers"]["int8"]["by lesion"]["cancer_auroc"] == written["lesions"]["cancer_auroc"]
    with pytest.raises(SettingError, match="already"):
        locked_test.read_once(*arguments)


def test_an_evaluation_that_is_absent_is_named() -> None:
    with pytest.raises(SettingError, match="test-int8"):
        locked_test.table({})


def test_the_lite_bundle_has_a_table_of_its_own(evaluations: Evaluations) -> None:
    lite = evaluations["lite/test-fp32"].evaluation.lesions.cancer_auroc.value
    assert locked_test.table(evaluations, "lite").rows[2][1].startswith(f"{lite:.3f} ")
