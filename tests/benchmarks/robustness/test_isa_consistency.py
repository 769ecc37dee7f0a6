"""What differs between two networks on the same images, by hand; the reference is the shipped bundle's."""

import json

import numpy as np
import pytest

from benchmarks.evaluation.committed import EVALUATIONS
from benchmarks.robustness import isa_consistency
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import DecisionRules, OperatingPoint
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.errors import SettingError
from quantize.fitting.labels import Labels

pytestmark = pytest.mark.hazard("H-19")


def test_changes() -> None:
    """Of two cancers one falls below the threshold of 0.3; of two nevi one rises past 0.6."""
    labels = Labels(tuple("abcd"), tuple("abcd"), np.array([0, 0, 1, 1]), ("MEL", "NV"), ("MEL",))
    points = tuple(
        OperatingPoint(name, at, at, 1.0, 0.5) for name, at in (("screen", 0.3), ("balanced", 0.6))
    )
    rules = DecisionRules(("MEL", "NV"), ("MEL",), temperature_scaling(1, 2), points)

    def logits(*p_cancer: float) -> np.ndarray:
        p = np.array(p_cancer)
        return np.log(np.stack([p, 1 - p], axis=1)).astype(np.float32)

    before = logits(0.9, 0.3001, 0.1, 0.59)
    same = isa_consistency.changes(labels, before, before, rules)
    assert (same["logit_rms"], same["other_risk"], same["other_class"]) == (0, 0, 0)
    assert same["p_cancer"] == {"median": 0, "p99": 0, "max": 0}
    changed = isa_consistency.changes(labels, before, logits(0.9, 0.2999, 0.1, 0.61), rules)
    assert (changed["cancers_lost"], changed["cancers_gained"]) == (1, 0)
    assert changed["other_risk"] == 2
    assert changed["other_class"] == 0  # 0.59 and 0.61 are both cancers by class, 0.2999 and 0.3001 both not
    assert changed["p_cancer"]["max"] == pytest.approx(0.02, abs=1e-5)
    assert changed["recall"] == [1, 0.5]
    assert changed["specificity"] == [0.5, 0.5]


def test_the_reference_is_of_the_shipped_bundle() -> None:
    bundle = open_bundle()
    labels, logits, versions = isa_consistency.reference("int8", bundle.sha256, every=10)
    provenance = json.loads((EVALUATIONS / "val-int8" / "evaluation.json").read_text())["provenance"]
    assert versions == provenance["versions"]
    assert logits.shape == (len(labels.image_ids), len(bundle.manifest.classes))
    with pytest.raises(SettingError, match="of another bundle"):
        isa_consistency.reference("int8", "another", every=10)
