"""The codec of tensors, held to tritonclient's, and to hostile bytes."""

import contextlib
import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeskin.errors import RequestError
from edgeskin.service.tensors import (
    MOST_TENSORS,
    MOST_VALUES,
    InferRequest,
    InputParameters,
    InputTensor,
    OutputTensor,
    inflate,
    read_byte_strings,
    read_images,
    read_request,
    write_answer,
)

# The same examples in every run.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")

LIMIT = 1000


def of_bytes(data: Any, *shape: int, **parameters: Any) -> InputTensor:
    """A tensor of type BYTES; bytes are of a binary one."""
    content = memoryview(data) if isinstance(data, bytes) else data
    return InputTensor("image", "BYTES", shape, content, InputParameters(**parameters))


def of_pixels(data: Any, *shape: int) -> InputTensor:
    content = memoryview(data) if isinstance(data, bytes) else data
    return InputTensor("pixels", "UINT8", shape, content)


def test_byte_strings_are_those_of_tritonclient() -> None:
    utils = pytest.importorskip("tritonclient.utils", reason="the extra reference is not installed")
    elements = [b"", b"a", b"\0\xff" * 40_000, "é".encode()]
    packed = utils.serialize_byte_tensor(np.array(elements, dtype=object)).item()
    assert read_byte_strings(of_bytes(packed, 4), 4) == elements
    texts = ["", "HIGH", "é"]
    body, size = write_answer({}, [OutputTensor("risk", texts, True)])
    found = utils.deserialize_bytes_tensor(body[size:])
    assert [one.decode() for one in found] == texts


def test_pixels_are_read_flat_nested_and_binary() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    for data in (images.tobytes(), images.tolist(), images.ravel().tolist()):
        found = read_images(of_pixels(data, 2, 3, 4, 3), 2)
        assert len(found) == 2
        assert np.array_equal(found, images)
    (one,) = read_images(of_pixels(images[0].tolist(), 3, 4, 3), 2)
    assert np.array_equal(one, images[0])
    for shape, data in (
        ((2, 3, 4, 3), images.reshape(2, 3, 12).tolist()),  # nested otherwise
        ((2, 3, 4, 3), images.reshape(2, 4, 3, 3).tolist()),
        ((2, 3, 4, 3), [[[[1] * 3] * 4] * 3, [[[1] * 3] * 4] * 2 + [[[1] * 3] * 3]]),
        ((1, 1, 2, 3), [[[[1, 1, 1], 1]]]),
        ((1, 1, 1, 3), ["a" * 10**6, 1, 1]),
    ):
        with pytest.raises(RequestError):
            read_images(of_pixels(data, *shape), 2)


def test_answers_have_null_for_nan_in_json_and_nan_in_binary() -> None:
    values = np.array([[0.5, np.nan], [np.nan, 0.25]], np.float32)
    body, size = write_answer({"id": "7"}, [OutputTensor("p", values, False)])
    (output,) = json.loads(body)["outputs"]
    assert size is None
    assert output == {"name": "p", "datatype": "FP32", "shape": [2, 2], "data": [0.5, None, None, 0.25]}
    body, size = write_answer({"id": "7"}, [OutputTensor("p", values, True)])
    assert np.array_equal(np.frombuffer(body[size:], "<f4").reshape(2, 2), values, equal_nan=True)


def test_tensors_are_taken_apart_in_their_order() -> None:
    inputs = [
        {"name": "a", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 3}},
        {"name": "b", "shape": [1], "datatype": "UINT8", "data": [1]},
        {"name": "c", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 2}},
    ]
    head = json.dumps({"inputs": inputs, "id": "", "outputs": [{"name": "x"}]}).encode()
    request = read_request(head + b"12345", str(len(head)))
    assert [tensor.data for tensor in request.inputs] == [b"123", [1], b"45"]
    assert (request.id, request.outputs[0].parameters.binary_data) == ("", None)


@pytest.mark.parametrize("key", ["inputs", "outputs"])
def test_a_request_of_very_many_parts_is_refused_at_once(key: str) -> None:
    tensor = {"name": "a", "shape": [1], "datatype": "UINT8", "data": [1]}
    few = [tensor] * MOST_TENSORS if key == "inputs" else [{"name": "a"}] * MOST_TENSORS
    values: dict[str, Any] = {"inputs": [tensor], key: few}
    assert len(getattr(read_request(json.dumps(values).encode(), None), key)) == MOST_TENSORS
    values[key] = few + few[:1]
    with pytest.raises(RequestError):
        read_request(json.dumps(values).encode(), None)
    with pytest.raises(RequestError):
        read_request(json.dumps({"inputs": [tensor | {"shape": [1] * 10**5}]}).encode(), None)


def test_large_tensors_have_to_be_binary() -> None:
    tensor = {"name": "pixels", "shape": [MOST_VALUES // 3 + 1, 1, 3], "datatype": "UINT8"}
    size = MOST_VALUES // 3 * 3 + 3
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}).encode()
    assert len(read_request(head + b"," * size, str(len(head))).inputs[0].data) == size
    with pytest.raises(RequestError):
        read_request(json.dumps({"inputs": [tensor | {"data": [0] * size}]}).encode(), None)


@pytest.mark.parametrize(
    "values",
    ["[" + "[]," * MOST_VALUES + "[]]", "[" + "{}," * MOST_VALUES + "{}]", "[" * 50 + "]" * 50,
     "{" + ",".join(f'"{key}":1' for key in range(MOST_VALUES)) + "}", "1" * 65, "1." + "1" * 63],
    ids=["lists", "objects", "nested", "keys", "whole", "fraction"],
)  # fmt: skip
def test_json_that_is_slow_to_read_is_refused(values: str) -> None:
    if values.startswith("[[["):  # 20 MB of it took 1 GB of memory
        values = "[" + ",".join([values] * (MOST_VALUES // 50)) + "]"
    with pytest.raises(RequestError):
        read_request(f'{{"inputs": [], "parameters": {{"age": {values}}}}}'.encode(), None)


def test_inflating_stops_at_the_limit() -> None:
    for compress, encoding in ((gzip.compress, "gzip"), (zlib.compress, "deflate")):
        assert inflate(compress(bytes(LIMIT)), encoding, LIMIT) == bytes(LIMIT)
        with pytest.raises(RequestError) as caught:
            inflate(compress(bytes(LIMIT + 1)), encoding, LIMIT)
        assert caught.value.code == "body_too_large"
    assert inflate(b"x", "", LIMIT) == inflate(b"x", "Identity", LIMIT) == b"x"
    with pytest.raises(RequestError) as caught:
        inflate(b"x", "br", LIMIT)
    assert caught.value.code == "unsupported_encoding"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def near(*values: Any) -> st.SearchStrategy[Any]:
    """One of some values that belong there, or anything else."""
    return st.sampled_from(values) | ANY_JSON


SIDES = st.lists(st.integers(-1, 4), max_size=5)
DATA = st.lists(st.integers(-1, 256), max_size=30) | st.lists(st.text(max_size=8), max_size=4)
SIZES = st.fixed_dictionaries(
    {}, optional={"binary_data_size": near(0, 3, 5, 12), "content_type": near("base64")}
)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": near("image", "pixels"),
        "datatype": near("BYTES", "UINT8"),
        "shape": SIDES | ANY_JSON,
        "data": DATA | ANY_JSON,
        "parameters": SIZES | ANY_JSON,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=3) | ANY_JSON},
    optional={
        "id": near("7"),
        "parameters": ANY_JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": near("risk")}), max_size=2) | ANY_JSON,
    },
)


def read_all(body: bytes, length: str | None) -> InferRequest | None:
    """All that reads a request; None where it is refused, which RequestError alone says."""
    with contextlib.suppress(RequestError):
        request = read_request(body, length)
        for tensor in request.inputs:
            with contextlib.suppress(RequestError):
                elements = read_byte_strings(tensor, 4)
                assert len(elements) == tensor.shape[0] <= 4
            with contextlib.suppress(RequestError):
                images = read_images(tensor, 4)
                assert all(image.dtype == np.uint8 and image.shape[-1] == 3 for image in images)
                assert len(images) <= 4
        return request
    return None


@settings(max_examples=200)
@given(REQUESTS, st.binary(max_size=20), near(None, "0", "-1", "9999"), st.booleans())
def test_hostile_requests_raise_request_errors_alone(
    values: dict[str, Any], rest: bytes, length: Any, is_honest: bool
) -> None:
    head = json.dumps(values).encode()
    read_all(head + rest, str(len(head)) if is_honest else None if length is None else str(length))


@settings(max_examples=300)
@given(
    st.binary(max_size=200), st.none() | st.text(max_size=5), st.sampled_from(["", "gzip", "deflate", "x"])
)
def test_hostile_bytes_raise_request_errors_alone(body: bytes, length: str | None, encoding: str) -> None:
    with contextlib.suppress(RequestError):
        assert len(inflate(body, encoding, LIMIT)) <= LIMIT
    read_all(body, length)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 5))
def test_hostile_tensors_raise_request_errors_alone(content: bytes, number: int) -> None:
    with contextlib.suppress(RequestError):
        elements = read_byte_strings(of_bytes(content, number), 5)
        assert sum(4 + len(element) for element in elements) == len(content)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.binary(max_size=8))
def test_right_requests_are_read(elements: list[bytes], other: bytes) -> None:
    packed = b"".join(len(one).to_bytes(4, "little") + one for one in elements)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(elements)]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(packed)}}]}).encode()
    request = read_all(head + packed, str(len(head)))
    assert request is not None
    assert read_byte_strings(request.inputs[0], 4) == elements
    assert read_all(head + packed + b"x" + other, str(len(head))) is None
