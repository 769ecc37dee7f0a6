"""Properties of reading manifests: what is written comes back, and all else is a BundleError."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import Manifest
from edgeskin.bundle.plain_data import from_plain
from edgeskin.decision.decide import decide
from edgeskin.errors import BundleError
from edgeskin.results import to_plain

pytestmark = pytest.mark.hazard("H-07")

# The same examples in every run.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")

SHARE = st.floats(0, 1)
ODD_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=3), parts, max_size=3),
    max_leaves=5,
)


def values_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return values


def answer(folder: Path, content: bytes) -> Manifest | None:
    """The manifest of a bundle with this content, which decides; None where it is refused."""
    (folder / "manifest.json").write_bytes(content)
    try:
        manifest = open_bundle(folder).manifest
    except BundleError:
        return None
    json.dumps(to_plain(manifest))
    logits = np.linspace(-5, 5, 2 * len(manifest.classes)).reshape(2, 1, -1)
    for rules in manifest.decision_rules.values():
        decisions = decide(logits, rules)
        assert np.isfinite(decisions.probabilities).all()
        assert np.allclose(decisions.probabilities.sum(axis=1), 1)
    return manifest


@pytest.fixture(scope="module")
def bundle(shared_micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the micro-bundle, whose manifest the tests replace."""
    folder = tmp_path_factory.mktemp("properties")
    for path in shared_micro_bundle.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@settings(max_examples=100)
@given(
    st.lists(SHARE, min_size=1, max_size=4).map(sorted),
    st.lists(st.floats(1e-6, 1), min_size=8, max_size=8),
    st.floats(-100, 100),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(categories=["L", "N", "P"]), max_size=20),
)
def test_what_is_written_comes_back(
    shared_micro_bundle: Path,
    bundle: Path,
    thresholds: list[float],
    priors: list[float],
    bias: float,
    ood: float,
    name: str,
) -> None:
    values = values_of(shared_micro_bundle)
    values["name"] = name
    for rules in values["decision_rules"].values():
        point = rules["operating_points"][1]
        rules["operating_points"] = [point | {"threshold": one, "name": "screen"} for one in thresholds]
        rules |= {"class_priors": priors, "ood_threshold": ood}
        rules["calibration"]["bias"][3] = bias
    manifest = from_plain(Manifest, values)
    assert to_plain(manifest) == values
    assert from_plain(Manifest, json.loads(json.dumps(to_plain(manifest)))) == manifest
    assert answer(bundle, json.dumps(values).encode()) == manifest


@settings(max_examples=300)
@given(st.data(), ODD_VALUES)
def test_any_value_in_any_place_is_read_or_refused(
    shared_micro_bundle: Path, bundle: Path, drawn: st.DataObject, value: Any
) -> None:
    values = copy.deepcopy(values_of(shared_micro_bundle))
    parent: Any = values
    while True:
        key = drawn.draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))
        if not isinstance(parent[key], dict | list) or not parent[key] or drawn.draw(st.booleans()):
            break
        parent = parent[key]
    if drawn.draw(st.booleans()):
        parent[key] = value
    else:
        del parent[key]
    answer(bundle, json.dumps(values).encode())


@settings(max_examples=300)
@given(
    st.data(),
    st.binary(min_size=1, max_size=4) | st.sampled_from([b"1e999", b"NaN", b"null", b"-", b"[" * 999]),
)
def test_damaged_json_is_read_or_refused(
    shared_micro_bundle: Path, bundle: Path, drawn: st.DataObject, piece: bytes
) -> None:
    content = (shared_micro_bundle / "manifest.json").read_bytes()
    place = drawn.draw(st.integers(0, len(content) - 1))
    lost = drawn.draw(st.integers(0, 40))
    answer(bundle, content[:place] + piece + content[place + lost :])


@settings(max_examples=100)
@given(st.integers(0, 1200), st.booleans(), st.sampled_from(["name", "classes", "gate", "ood"]))
def test_deep_json_is_read_or_refused(
    shared_micro_bundle: Path, bundle: Path, depth: int, has_keys: bool, place: str
) -> None:
    """Python's own parser and printer stop at some depth, by the depth of the caller."""
    values = values_of(shared_micro_bundle) | {place: "here"}
    opening, end = ('{"a": ', "}") if has_keys else ("[", "]")
    text = json.dumps(values).replace('"here"', '{"b": ' + opening * depth + "1" + end * depth + "}")
    answer(bundle, text.encode())
