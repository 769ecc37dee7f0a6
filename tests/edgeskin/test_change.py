"""Two photos of one lesion: what is compared, and what is refused."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin import Classifier, EdgeskinError
from edgeskin.examination import Examination
from edgeskin.imaging.change import LIMITS, LIMITS_OF, Comparison, color_difference, compare
from edgeskin.imaging.registration import SIDE, Registration, RegistrationError
from edgeskin.photo.decode import load_photo
from edgeskin.report.figures import compared
from edgeskin.report.text import comparison

AS_IT_LIES = Registration(np.eye(2, 3, dtype=np.float32), 1.0, 1.0)


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle)


@pytest.fixture(scope="module")
def photo(lesion_jpg: Path) -> np.ndarray:
    return load_photo(lesion_jpg, 512).image


@pytest.fixture(scope="module")
def before(classifier: Classifier, photo: np.ndarray) -> Examination:
    return classifier.examine(photo)


def by_name(found: Comparison) -> dict[str, tuple[float, float, bool | None]]:
    return {change.name: (change.before, change.after, change.beyond) for change in found.changes}


def test_a_photo_and_itself_do_not_differ(before: Examination) -> None:
    found = compare(before, before)
    assert found.registration.correlation == pytest.approx(1, abs=1e-3)
    assert np.nanmax(found.difference) < 0.5
    assert all(not change.beyond for change in found.changes)


def test_what_has_changed_is_found_where_it_changed(
    classifier: Classifier, before: Examination, photo: np.ndarray
) -> None:
    """A new dark spot of a tenth of the width, well beside the middle."""
    later = photo.copy()
    side = len(later)
    cv2.circle(later, (round(0.8 * side), round(0.75 * side)), round(0.05 * side), (30, 15, 15), cv2.FILLED)
    found = compare(before, classifier.examine(later))
    row, column = np.unravel_index(np.nanargmax(found.difference), found.difference.shape)
    assert (row / SIDE, column / SIDE) == pytest.approx((0.75, 0.8), abs=0.04)
    elsewhere = found.difference.copy()
    elsewhere[round(0.67 * SIDE) : round(0.83 * SIDE), round(0.72 * SIDE) : round(0.88 * SIDE)] = np.nan
    assert np.nanmax(elsewhere) < 0.25 * np.nanmax(found.difference)


def test_another_lamp_is_no_change() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((SIDE, SIDE, 3), (200, 160, 140), np.uint8)
    cv2.circle(picture, (128, 128), 60, (90, 55, 40), cv2.FILLED)
    picture = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
    for gain in ((1.2, 1.2, 1.2), (0.7, 0.8, 0.75), (1.1, 1.0, 0.9)):
        lit = np.clip(np.rint(picture * np.array(gain)), 0, 255).astype(np.uint8)
        assert np.nanmean(color_difference(picture, lit, AS_IT_LIES)) < 1.5


def test_p_cancer_has_no_limit_but_by_the_network_it_was_measured_with(before: Examination) -> None:
    limits = {change.name: change.limit for change in compare(before, before).changes}
    assert limits.pop("cancer_log_odds") is None
    assert all(limit is not None for limit in limits.values())
    model = dataclasses.replace(before.assessment.model, sha256=LIMITS_OF.sha256, precision="int8")
    known = dataclasses.replace(before, assessment=dataclasses.replace(before.assessment, model=model))
    assert compare(known, known).changes[0].limit == LIMITS["cancer_log_odds"]
    with pytest.raises(EdgeskinError, match="assessed by different networks"):
        compare(before, known)


def test_only_what_is_beyond_its_limit_is_called_so(before: Examination) -> None:
    assert before.descriptors is not None
    far = before.descriptors.border_irregularity + 1.01 * LIMITS["border_irregularity"]
    near = before.descriptors.border_irregularity + 0.99 * LIMITS["border_irregularity"]
    for value, beyond in ((far, True), (near, False)):
        looks = dataclasses.replace(before.descriptors, border_irregularity=value)
        after = dataclasses.replace(before, descriptors=looks)
        assert by_name(compare(before, after))["border_irregularity"][2] is beyond


def test_without_a_lesion_only_the_rest_is_compared(before: Examination) -> None:
    found = compare(before, dataclasses.replace(before, descriptors=None))
    assert set(by_name(found)) == {"cancer_log_odds", "largest_color_difference"}


def test_strangers_are_refused_by_name(
    classifier: Classifier, before: Examination, photo: np.ndarray
) -> None:
    with pytest.raises(RegistrationError, match=r"^<ndarray>, <ndarray>: these cannot be laid"):
        compare(before, classifier.examine(np.ascontiguousarray(photo[::-1])))


def test_what_was_not_assessed_is_not_compared(classifier: Classifier, before: Examination) -> None:
    dark = classifier.examine(np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(EdgeskinError, match=r"not assessed \(retake\), so not compared: take the picture"):
        compare(before, dark)


def test_it_is_told_and_drawn(before: Examination) -> None:
    found = compare(before, before)
    words = comparison(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert "does not mean unchanged" in words
    assert "border irregularity" in words
    assert compared(found).shape == (536, 1408, 3)


def test_the_higher_risk_of_the_two_and_every_warning_is_told(before: Examination) -> None:
    told = compare(before, before).to_dict()
    told["before"] |= {"risk": "LOW", "action": "no referral"}
    told["after"] |= {"risk": "HIGH", "action": "refer for urgent assessment"}
    told["before"]["quality"]["retake"] = ("more light",)
    words = comparison(told)
    assert "action    refer for urgent assessment (by the higher risk of the two, HIGH)" in words
    assert "the risk has changed" in words
    assert "WARNING   before: more light" in words
