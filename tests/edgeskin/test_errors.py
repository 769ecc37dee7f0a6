"""The error family: codes, and copies that keep them."""

import copy
import pickle

import pytest

from edgeskin.errors import (
    BundleError,
    EdgeskinError,
    PhotoError,
    RegistrationError,
    RequestError,
    ResourceError,
    SettingError,
    lack_of_resources,
    require_kind,
)

CODES = {
    EdgeskinError: "error",
    PhotoError: "photo",
    BundleError: "bundle",
    SettingError: "setting",
    ResourceError: "resource",
    RegistrationError: "registration",
    RequestError: "bad_request",
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


def test_copies_keep_when_to_try_again() -> None:
    error = RequestError("message", "queue_full", 7)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (str(other), other.code, other.retry_after) == ("message", "queue_full", 7)
    assert RequestError("message").retry_after is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (MemoryError("Unable to allocate 3.2 GiB for an array"), "out_of_memory"),
        (RuntimeError("Exception from core.cpp:117:\nstd::bad_alloc"), "out_of_memory"),
        (RuntimeError("Exception from plugin.cpp:54:\ncan't alloc"), "out_of_memory"),
        (ImportError("libopenvino.so: failed to map segment from shared object"), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (RuntimeError("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate"), "out_of_memory"),
        (RuntimeError("Failed to create plugin for device CPU\nResource temporarily unavailable"),
         "too_few_threads"),
        (RuntimeError("can't start new thread"), "too_few_threads"),
    ],
)  # fmt: skip
def test_what_the_machine_lacks_is_told_by_the_words_of_the_libraries(error: Exception, code: str) -> None:
    lack = lack_of_resources(error)
    assert isinstance(lack, ResourceError)
    assert lack.code == code


@pytest.mark.parametrize("error", [RuntimeError("bad network"), ValueError(), ImportError("no module")])
def test_other_errors_are_no_lack(error: Exception) -> None:
    assert lack_of_resources(error) is None


def test_a_kind_is_required_by_name_and_value() -> None:
    require_kind("threads", 3, int, "a number")
    require_kind("gate", True, bool, "True or False")
    require_kind("age", None, (int, type(None)), "a number")
    for value, kinds in (("3", int), (True, int), (1, bool), (None, (int, float))):
        with pytest.raises(SettingError, match=f"^threads {value!r}: choose a number"):
            require_kind("threads", value, kinds, "a number")
