"""Options of a request, from text."""

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from edgeskin.classifier import Classifier
from edgeskin.decision.limitations import PatientContext
from edgeskin.errors import RequestError, SettingError
from edgeskin.service.options import AssessOptions, assess_options, patient_context


def test_without_options_the_defaults_are_those_of_the_library(micro_classifier: Classifier) -> None:
    expected = AssessOptions(None, "cancer", 0, 0, PatientContext())
    assert assess_options({}, micro_classifier) == expected
    assert assess_options({}, micro_classifier, "occlusion").explain == "occlusion"


def test_options_are_read(micro_classifier: Classifier) -> None:
    text = {
        "method": "layer-cam", "target": "MEL", "mc_dropout": "7", "seed": "3", "age": "35.5", "site": "nail",
    }  # fmt: skip
    expected = AssessOptions("layer-cam", "MEL", 7, 3, PatientContext(35.5, "nail"))
    assert assess_options(text, micro_classifier, "grad-cam") == expected
    assert expected.arguments() == {
        "explain": "layer-cam", "target": "MEL", "mc_samples": 7, "seed": 3,
        "context": PatientContext(35.5, "nail"),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "1.5", "x", "1e3"])
@pytest.mark.parametrize("name", ["seed", "mc_dropout"])
def test_what_is_no_whole_number_is_refused(name: str, text: str, micro_classifier: Classifier) -> None:
    with pytest.raises(RequestError, match=name):
        assess_options({name: text}, micro_classifier)


def test_a_target_of_no_map_is_refused(micro_classifier: Classifier) -> None:
    with pytest.raises(RequestError, match="method"):
        assess_options({"target": "MEL"}, micro_classifier)


def test_an_age_is_a_number_of_years() -> None:
    assert patient_context({"age": "0"}) == PatientContext(0)
    with pytest.raises(RequestError):
        patient_context({"age": "young"})
    for age in ("-1", "121", "nan", "inf"):
        with pytest.raises(SettingError):
            patient_context({"age": age})
