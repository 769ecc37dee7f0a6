"""Reading arrays of a bundle, and files that must be refused."""

import io

import numpy as np
import pytest

from edgeskin.arrays import read_arrays
from edgeskin.errors import BundleError

SHAPES = {"weight": "ab", "bias": "b", "pair": "2"}
ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bias": np.ones(3, np.float32),
    "pair": np.zeros(2, np.float32),
}


def stored(**changes: object) -> bytes:
    buffer = io.BytesIO()
    arrays = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_arrays_are_read_as_they_were_stored() -> None:
    values = read_arrays(stored(), "head.npz", SHAPES)
    assert list(values) == list(SHAPES)
    for name, value in values.items():
        np.testing.assert_array_equal(value, ARRAYS[name])
        assert value.dtype == np.float32


def test_an_array_that_is_not_asked_for_is_left_out() -> None:
    assert set(read_arrays(stored(), "head.npz", {"bias": "b"})) == {"bias"}


@pytest.mark.parametrize(
    "changes",
    [
        {"bias": None},
        {"bias": np.ones(3)},
        {"bias": np.ones(4, np.float32)},
        {"bias": np.ones((3, 1), np.float32)},
        {"pair": np.zeros(3, np.float32)},
        {"bias": np.array([1, np.nan, 1], np.float32)},
        {"bias": np.array([1, np.inf, 1], np.float32)},
        {"bias": np.array([None] * 3)},
    ],
    ids=["missing", "float64", "other-length", "other-rank", "not-2", "nan", "inf", "pickled"],
)
def test_other_arrays_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BundleError, match=r"^head\.npz: ") as caught:
        read_arrays(stored(**changes), "head.npz", SHAPES)
    assert caught.value.code == "bundle"


def test_compressed_and_damaged_files_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **ARRAYS)
    whole = stored()
    for content in (buffer.getvalue(), b"", b"text", whole[: len(whole) // 2]):
        with pytest.raises(BundleError, match=r"^head\.npz: "):
            read_arrays(content, "head.npz", SHAPES)
