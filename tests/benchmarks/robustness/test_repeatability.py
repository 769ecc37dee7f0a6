"""Pairs of photos, worked by hand; limits of comparisons are those measured; painted changes are found."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.environment import read_result
from benchmarks.robustness.repeatability import CHANGES, RESULT, other_lesion, same_lesion
from edgeskin import Classifier, open_bundle
from edgeskin.errors import RegistrationError
from edgeskin.imaging.change import LIMITS, LIMITS_OF, LimitsOf, compare_photos
from edgeskin.photo.decode import load_photo
from edgeskin.results import Assessment
from tests.benchmarks.conftest import sample

LESIONS = {"a": "NV", "b": "MEL", "c": "NV", "d": "BCC", "e": "NV"}


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle)


@pytest.fixture(scope="module")
def photo(lesion_jpg: Path) -> np.ndarray:
    return load_photo(lesion_jpg, 512).image


@pytest.fixture(scope="module")
def before(classifier: Classifier, photo: np.ndarray) -> Assessment:
    return classifier.assess(photo, explain="grad-cam")


def test_the_first_two_photos_of_a_lesion_are_a_pair() -> None:
    one, two, three, other = (sample(name, "NV", name[0]) for name in ("a1", "a2", "a3", "b1"))
    assert same_lesion([one, other, two, three]) == [(one, two)]


def test_another_lesion_is_of_the_same_class_where_there_are_two() -> None:
    pairs = [(sample(f"{name}1", label, name),) * 2 for name, label in LESIONS.items()]
    # Of a, c and e the next nevus, of the lone melanoma and the lone carcinoma the next lesion.
    assert other_lesion(pairs) == [2, 2, 4, 4, 0]


def test_limits_are_those_measured() -> None:
    content = read_result(RESULT)
    measured = {name: values["limit"] for name, values in content["limits"].items()}
    assert measured == pytest.approx(LIMITS, rel=0.01)
    aligned = content["registration"]["same_lesion_accepted"]
    assert LimitsOf(aligned, content["bundle_sha256"], content["precision"]) == LIMITS_OF
    assert LIMITS_OF.sha256 == open_bundle().sha256


@pytest.mark.parametrize("change", ["spot of 10%", "spot of 20%"])
def test_a_new_dark_spot_is_flagged(
    classifier: Classifier, before: Assessment, photo: np.ndarray, change: str
) -> None:
    found = compare_photos(before, classifier.assess(CHANGES[change](photo), explain="grad-cam"))
    (color,) = (one for one in found.changes if one.name == "largest_color_difference")
    assert color.beyond


def test_a_lesion_painted_over_is_refused(
    classifier: Classifier, before: Assessment, photo: np.ndarray
) -> None:
    with pytest.raises(RegistrationError):
        compare_photos(before, classifier.assess(CHANGES["lesion painted over"](photo), explain="grad-cam"))
