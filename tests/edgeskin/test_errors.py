"""The error family: codes, and copies that keep them."""

import copy
import pickle

import pytest

from edgeskin.errors import (
    BundleError,
    EdgeskinError,
    PhotoError,
    RegistrationError,
    ResourceError,
    SettingError,
)

CODES = {
    EdgeskinError: "error",
    PhotoError: "photo",
    BundleError: "bundle",
    SettingError: "setting",
    ResourceError: "resource",
    RegistrationError: "registration",
}


@pytest.mark.parametrize("kind", CODES)
def test_each_class_has_a_code(kind: type[EdgeskinError]) -> None:
    error = kind("message")
    assert isinstance(error, EdgeskinError)
    assert (str(error), error.code) == ("message", CODES[kind])
    assert kind("message", "finer").code == "finer"
    assert kind("message").code == CODES[kind]  # a code of one error does not stick to the class


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("code", [None, "finer"])
def test_copies_keep_the_code(kind: type[EdgeskinError], code: str | None) -> None:
    error = kind("message", code)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind
        assert (str(other), other.code) == ("message", error.code)
