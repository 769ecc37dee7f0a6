"""Committed evaluations are found, compared but for rounding, and have receipts."""

import json

import pytest

from benchmarks.evaluation.committed import RECEIPTS, alike, find
from edgeskin.bundle.bundle import SHIPPED, open_bundle
from edgeskin.errors import SettingError


def test_an_absent_evaluation_is_named() -> None:
    with pytest.raises(SettingError, match="test-int8"):
        find({}, "test-int8")


def test_last_digits_may_differ() -> None:
    one = {"a": [1.0, "x", None], "b": {"c": 2}}
    assert alike(one, {"a": [1.0 + 1e-12, "x", None], "b": {"c": 2}})
    for other in (
        {"a": [1.001, "x", None], "b": {"c": 2}},
        {"a": [1.0, "x"], "b": {"c": 2}},
        {"a": one["a"]},
    ):
        assert not alike(one, other)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_bundle_has_a_receipt(name: str) -> None:
    receipts = [json.loads(path.read_text(encoding="utf-8")) for path in RECEIPTS.glob("*.json")]
    assert open_bundle(name).sha256 in {receipt["bundle_sha256"] for receipt in receipts}
