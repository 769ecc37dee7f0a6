"""docs/json.md has a row for every key of the JSON, and none for others."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from edgeskin import Classifier
from tests.docs.documents import ROOT

ROWS = re.findall(
    r"^\| `([\w.\[\]]+)` \|",
    (ROOT / "docs" / "json.md").read_text(encoding="utf-8").partition("\n## Comp")[0],
    re.M,
)
NAMED = {"probabilities": "CLASS", "class_priors": "CLASS", "timing_ms": "STEP"}
"""Objects with a name of a class or step as keys."""


@pytest.fixture(scope="module")
def keys() -> set[str]:
    """Every key of a picture with all parts, and of one that fails."""
    with Classifier() as classifier:
        whole = classifier.assess(ROOT / "examples" / "lesion.jpg", explain="grad-cam", mc_samples=2)
        (failed,) = classifier.assess_many(["missing.jpg"])
    return {*_keys(whole.to_dict()), *_keys(failed.to_dict())}


def test_every_key_has_one_row(keys: set[str]) -> None:
    assert len(ROWS) == len(set(ROWS))
    assert set(ROWS) == keys


def test_every_answer_has_all_keys() -> None:
    with Classifier() as classifier:
        (failed,) = classifier.assess_many(["missing.jpg"])
    assert set(failed.to_dict()) == {row for row in ROWS if "." not in row}


def _keys(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _keys(value[0], f"{where}[]")
    # Colours are values; the map's model is documented once.
    if isinstance(value, dict) and where not in ("descriptors.colors", "explanation.model"):
        for name, item in value.items():
            name = NAMED.get(where.rpartition(".")[2], name)
            key = f"{where}.{name}" if where else name
            yield key
            yield from _keys(item, key)
