"""Two photos of one lesion: what is compared, and what is refused."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin import Assessment, Classifier, EdgeskinError, SettingError, compare_photos, open_bundle
from edgeskin.errors import RegistrationError
from edgeskin.imaging.change import LIMITS, LIMITS_OF, Comparison, color_difference, measures
from edgeskin.imaging.registration import SIDE, Registration
from edgeskin.imaging.segmentation import segment, skin_color
from edgeskin.photo.decode import load_photo

IDENTITY = Registration(np.eye(2, 3, dtype=np.float32), 1.0, 1.0)


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle)


@pytest.fixture(scope="module")
def photo(lesion_jpg: Path) -> np.ndarray:
    return load_photo(lesion_jpg, 512).image


@pytest.fixture(scope="module")
def before(classifier: Classifier, photo: np.ndarray) -> Assessment:
    return classifier.assess(photo, explain="grad-cam")


def by_name(comparison: Comparison) -> dict[str, tuple[float, float, bool | None]]:
    return {change.name: (change.before, change.after, change.beyond) for change in comparison.changes}


def test_a_photo_does_not_differ_from_itself(before: Assessment) -> None:
    comparison = compare_photos(before, before)
    assert comparison.registration.correlation == pytest.approx(1, abs=1e-3)
    assert np.nanmax(comparison.difference) < 0.5
    assert all(not change.beyond for change in comparison.changes)
    assert comparison == compare_photos(before, before)
    assert comparison != dataclasses.replace(comparison, difference=comparison.difference + 1)


def test_a_change_is_found_where_it_is(classifier: Classifier, before: Assessment, photo: np.ndarray) -> None:
    """A new dark spot of a tenth of the width, well beside the middle."""
    later = photo.copy()
    side = len(later)
    cv2.circle(later, (round(0.8 * side), round(0.75 * side)), round(0.05 * side), (30, 15, 15), cv2.FILLED)
    difference = compare_photos(before, classifier.assess(later, explain="grad-cam")).difference
    row, column = np.unravel_index(np.nanargmax(difference), difference.shape)
    assert (row / SIDE, column / SIDE) == pytest.approx((0.75, 0.8), abs=0.04)
    elsewhere = difference.copy()
    elsewhere[round(0.67 * SIDE) : round(0.83 * SIDE), round(0.72 * SIDE) : round(0.88 * SIDE)] = np.nan
    assert np.nanmax(elsewhere) < 0.25 * np.nanmax(difference)


def test_another_lamp_is_no_change() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((SIDE, SIDE, 3), (200, 160, 140), np.uint8)
    cv2.circle(picture, (128, 128), 60, (90, 55, 40), cv2.FILLED)
    picture = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
    for gain in ((1.2, 1.2, 1.2), (0.7, 0.8, 0.75), (1.1, 1.0, 0.9)):
        lit = np.clip(np.rint(picture * np.array(gain)), 0, 255).astype(np.uint8)
        assert np.nanmean(color_difference(picture, lit, IDENTITY)) < 1.5


def test_only_where_both_photos_are_is_there_a_difference() -> None:
    picture = np.full((SIDE, SIDE, 3), (200, 160, 140), np.uint8)
    shifted = Registration(np.float32([[1, 0, 64], [0, 1, 0]]), 1.0, 0.75)
    difference = color_difference(picture, picture, shifted)
    assert np.isnan(difference[:, -60:]).all()
    np.testing.assert_allclose(difference[:, :180], 0, atol=1e-3)


def test_limits_belong_to_the_default_bundle() -> None:
    assert LIMITS_OF.sha256 == open_bundle().sha256
    assert LIMITS_OF.precision == "int8"


def test_p_cancer_has_a_limit_only_with_the_network_it_was_measured_with(before: Assessment) -> None:
    limits = {change.name: change.limit for change in compare_photos(before, before).changes}
    assert limits.pop("cancer_log_odds") is None
    assert limits == {name: LIMITS[name] for name in limits}
    assert set(limits) == set(LIMITS) - {"cancer_log_odds"}
    model = dataclasses.replace(before.model, sha256=LIMITS_OF.sha256, precision="int8")
    known = dataclasses.replace(before, model=model)
    assert compare_photos(known, known).changes[0].limit == LIMITS["cancer_log_odds"]
    with pytest.raises(EdgeskinError) as caught:
        compare_photos(before, known)
    assert caught.value.code == "different_models"


def test_measures_are_those_of_the_assessment(before: Assessment) -> None:
    found = measures(before)
    assert before.cancer_probability is not None
    assert before.descriptors is not None
    p = before.cancer_probability
    assert found["cancer_log_odds"] == pytest.approx(np.log(p / (1 - p)))
    assert found["asymmetry"] == pytest.approx(sum(before.descriptors.asymmetry) / 2)
    assert found["colors"] == len(before.descriptors.colors)
    for extreme in (0.0, 1.0):
        assert np.isfinite(
            measures(dataclasses.replace(before, cancer_probability=extreme))["cancer_log_odds"]
        )


@pytest.mark.parametrize("side", [0.1, 0.2])
def test_a_new_dark_spot_is_beyond_its_limit(
    classifier: Classifier, before: Assessment, photo: np.ndarray, side: float
) -> None:
    """A spot of a tenth and of a fifth of the width, in the right half of the lesion."""
    mask = segment(photo)
    rows, columns = np.nonzero(mask)
    ratio = len(photo) / len(mask)
    center = (round(float(np.quantile(columns, 0.7)) * ratio), round(float(np.median(rows)) * ratio))
    spot = cv2.circle(photo.copy(), center, round(side * len(photo) / 2), (45, 25, 22), cv2.FILLED)
    comparison = compare_photos(before, classifier.assess(spot, explain="grad-cam"))
    assert by_name(comparison)["largest_color_difference"][2]


def test_a_lesion_painted_over_is_refused(
    classifier: Classifier, before: Assessment, photo: np.ndarray
) -> None:
    mask = cv2.dilate(segment(photo).astype(np.uint8), np.ones((9, 9), np.uint8))
    share = cv2.GaussianBlur(
        cv2.resize(mask, photo.shape[1::-1]).astype(np.float32), (0, 0), len(photo) / 64
    )[..., None]
    painted = np.rint(photo * (1 - share) + skin_color(photo) * share).astype(np.uint8)
    with pytest.raises(RegistrationError) as caught:
        compare_photos(before, classifier.assess(painted, explain="grad-cam"))
    assert caught.value.code == "registration"


def test_only_what_exceeds_its_limit_is_beyond_it(before: Assessment) -> None:
    assert before.descriptors is not None
    far = before.descriptors.border_irregularity + 1.01 * LIMITS["border_irregularity"]
    near = before.descriptors.border_irregularity + 0.99 * LIMITS["border_irregularity"]
    for value, beyond in ((far, True), (near, False)):
        descriptors = dataclasses.replace(before.descriptors, border_irregularity=value)
        after = dataclasses.replace(before, descriptors=descriptors)
        assert by_name(compare_photos(before, after))["border_irregularity"][2] is beyond


def test_without_a_lesion_only_the_rest_is_compared(before: Assessment) -> None:
    comparison = compare_photos(before, dataclasses.replace(before, descriptors=None))
    assert set(by_name(comparison)) == {"cancer_log_odds", "largest_color_difference"}


def test_photos_of_other_lesions_are_refused_by_name(
    classifier: Classifier, before: Assessment, photo: np.ndarray
) -> None:
    mirrored = classifier.assess(np.ascontiguousarray(photo[::-1]), explain="grad-cam", name="mirrored")
    with pytest.raises(RegistrationError, match=r"<ndarray>, mirrored: ") as caught:
        compare_photos(before, mirrored)
    assert caught.value.code == "registration"


def test_what_was_not_assessed_is_not_compared(classifier: Classifier, before: Assessment) -> None:
    dark = classifier.assess(np.zeros((300, 300, 3), np.uint8), explain="grad-cam", name="dark")
    for pair in ((before, dark), (dark, before)):
        with pytest.raises(EdgeskinError, match="dark") as caught:
            compare_photos(*pair)
        assert caught.value.code == "not_assessed"


def test_without_pixels_nothing_is_compared(
    classifier: Classifier, before: Assessment, photo: np.ndarray
) -> None:
    plain = classifier.assess(photo)
    for pair in ((before, plain), (plain, before)):
        with pytest.raises(SettingError) as caught:
            compare_photos(*pair)
        assert caught.value.code == "setting"


def test_the_json_of_a_comparison(before: Assessment) -> None:
    values = json.loads(json.dumps(compare_photos(before, before).to_dict(), allow_nan=False))
    assert set(values) == {"before", "after", "registration", "changes", "limits_of"}
    assert set(values["registration"]) == {"transform", "correlation", "overlap"}
    assert np.shape(values["registration"]["transform"]) == (2, 3)
    assert set(values["changes"][0]) == {"name", "before", "after", "limit", "beyond"}
    assert set(values["limits_of"]) == {"pairs", "sha256", "precision"}
    assert values["before"] == json.loads(json.dumps(before.to_dict()))
