"""Requests and answers of the Open Inference Protocol (KServe v2): tensors in JSON, or binary behind it.

Binary tensors follow Triton's extension: the body starts with JSON, whose length a header says, and the
tensors' bytes follow in their order. An element of type BYTES has its length before it, 4 bytes
little-endian.
"""

import base64
import itertools
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgeskin.arrays import Float32s, Image, UInt8s
from edgeskin.bundle.plain_data import from_plain, read_json
from edgeskin.errors import RequestError, SettingError

BYTES, UINT8, FP32 = "BYTES", "UINT8", "FP32"
MOST_TENSORS = 32
"""Inputs or outputs that a request may name. It bounds the work that a hostile request causes."""
MOST_AXES = 4
MOST_VALUES = 2**18
"""Values and lists in JSON: a picture of 224 x 224 pixels fits. Reading JSON lets no other thread work, such
as the one that answers health checks.
"""
MOST_KEYS = 2**12
"""Keys and objects in JSON."""
BASE64 = "base64"
_LENGTH_BYTES = 4
# Of `zlib.decompressobj`: finds out whether the data is of gzip or zlib ("deflate" in HTTP).
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


@dataclass(frozen=True)
class InputParameters:
    """What a request says of an input. content_type: ``base64``, of BYTES in JSON, as MLServer has it."""

    binary_data_size: int | None = None
    content_type: str | None = None


@dataclass(frozen=True)
class InputTensor:
    """An input. data: a list as in JSON, or a view of the body where the tensor is binary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any = None
    parameters: InputParameters = field(default_factory=InputParameters)


@dataclass(frozen=True)
class OutputParameters:
    """What a request says of an output; None where its own parameter ``binary_data_output`` decides."""

    binary_data: bool | None = None


@dataclass(frozen=True)
class RequestedOutput:
    """An output that a request asks for."""

    name: str
    parameters: OutputParameters = field(default_factory=OutputParameters)


@dataclass(frozen=True)
class InferRequest:
    """A request. parameters: by name, of any plain type. outputs: empty for all."""

    inputs: tuple[InputTensor, ...]
    id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[RequestedOutput, ...] = ()


@dataclass(frozen=True)
class OutputTensor:
    """An output: texts of type BYTES, (n,), or float32 of any shape, in which NaN stands for no value."""

    name: str
    values: Float32s | list[str]
    is_binary: bool


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body of a request without its ``Content-Encoding``.

    Args:
        body: As received.
        encoding: The header; "" for none.
        limit: Bytes of the result, at most.

    Raises:
        RequestError: The encoding is not gzip, deflate or identity (``unsupported_encoding``), the
            result is longer than the limit (``body_too_large``), or the body is damaged.
    """
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() not in ("gzip", "deflate"):
        raise RequestError(
            f"Content-Encoding {encoding!r:.60}: choose gzip, deflate or none", "unsupported_encoding"
        )
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(f"the body is not {encoding} data ({error}); send it again") from None
    if len(inflated) > limit:
        raise RequestError(
            f"the body has more than {limit / 1e6:g} MB when inflated; send a smaller picture",
            "body_too_large",
        )
    if not inflater.eof or inflater.unused_data:
        raise RequestError(f"the {encoding} data ends too early or too late; send it again")
    return inflated


def read_request(body: bytes, json_length: str | None) -> InferRequest:
    """Read a request, checking its form and that all binary tensors are there.

    Args:
        body: JSON, and behind it binary tensors, if any.
        json_length: The header ``Inference-Header-Content-Length``; None without one: the body is JSON.

    Raises:
        RequestError: It is malformed.
    """
    size = len(body) if json_length is None else _whole(json_length)
    if size > len(body):
        raise RequestError(f"Inference-Header-Content-Length {size}: the body has {len(body)} bytes")
    # By the characters that come with them, before anything is read.
    for marks, most, what in (
        (b",[", MOST_VALUES, "values and lists"),
        (b":{", MOST_KEYS, "keys and objects"),
    ):
        if sum(body.count(mark, 0, size) for mark in marks) >= most:
            raise RequestError(f"more than {most} {what} in JSON; send a binary tensor")
    try:
        values = read_json(body[:size])
        _require_few(values)
        request = from_plain(InferRequest, values)
    except (ValueError, SettingError) as error:
        raise RequestError(f"the request cannot be read: {error!s:.300}") from None
    rest = memoryview(body)[size:]
    inputs = []
    for tensor in request.inputs:
        if any(side < 0 for side in tensor.shape):
            raise RequestError(f"input {tensor.name!r:.60}: a shape of {list(tensor.shape)}")
        length = tensor.parameters.binary_data_size
        if (length is None) == (tensor.data is None):
            raise RequestError(f"input {tensor.name!r:.60}: give either data or binary_data_size")
        if length is not None:
            if not 0 <= length <= len(rest):
                raise RequestError(
                    f"input {tensor.name!r:.60}: binary_data_size {length}, with {len(rest)} bytes left"
                )
            tensor = replace(tensor, data=rest[:length])
            rest = rest[length:]
        elif not isinstance(tensor.data, list):
            raise RequestError(f"input {tensor.name!r:.60}: data is not a list")
        inputs.append(tensor)
    if rest:
        raise RequestError(f"{len(rest)} bytes behind the last binary tensor")
    return replace(request, inputs=tuple(inputs))


def read_byte_strings(tensor: InputTensor, most: int) -> list[bytes]:
    """The elements of a tensor of type BYTES.

    Args:
        tensor: Of shape (n,). In JSON its elements are base64.
        most: Elements, at most.

    Raises:
        RequestError: It is of another type or shape, or its data does not fit.
    """
    _require_type(tensor, BYTES)
    if len(tensor.shape) != 1 or not 1 <= tensor.shape[0] <= most:
        raise RequestError(
            f"input {tensor.name!r:.60}: shape {list(tensor.shape)}; expected 1 to {most} elements"
        )
    if isinstance(tensor.data, memoryview):
        elements = _split(tensor.data, tensor.name, tensor.shape[0])
    else:
        elements = [_from_base64(element, tensor) for element in tensor.data[: tensor.shape[0] + 1]]
    if len(elements) != tensor.shape[0]:
        raise RequestError(f"input {tensor.name!r:.60}: its data has not {tensor.shape[0]} elements")
    return elements


def read_images(tensor: InputTensor, most: int) -> list[Image]:
    """The pictures of a tensor of type UINT8, read-only.

    Args:
        tensor: RGB of shape (h, w, 3), or (n, h, w, 3).
        most: Pictures, at most.

    Raises:
        RequestError: It is of another type or shape, or its data does not fit.
    """
    _require_type(tensor, UINT8)
    shape = tensor.shape if len(tensor.shape) == MOST_AXES else (1, *tensor.shape)
    if len(shape) != MOST_AXES or shape[-1] != 3 or not 1 <= shape[0] <= most or 0 in shape:
        raise RequestError(
            f"input {tensor.name!r:.60}: shape {list(tensor.shape)}; expected [h, w, 3] or [n, h, w, 3] with "
            f"n of 1 to {most}"
        )
    size = math.prod(shape)
    if isinstance(tensor.data, memoryview):
        values = np.frombuffer(tensor.data, np.uint8)
    else:
        values = _from_numbers(tensor, size)
    if values.size != size:
        raise RequestError(f"input {tensor.name!r:.60}: {values.size} values; its shape has {size}")
    return list(values.reshape(shape))


def write_answer(fields: Mapping[str, Any], outputs: Sequence[OutputTensor]) -> tuple[bytes, int | None]:
    """The body of an answer.

    Args:
        fields: Of its JSON, beside ``outputs``.
        outputs: In their order.

    Returns:
        The body, and the length of the JSON at its start; None where all of it is JSON.
    """
    described, contents = [], []
    for output in outputs:
        is_text = isinstance(output.values, list)
        shape = [len(output.values)] if is_text else list(np.shape(output.values))
        entry: dict[str, Any] = {"name": output.name, "datatype": BYTES if is_text else FP32, "shape": shape}
        if output.is_binary:
            contents.append(_binary(output.values))
            entry["parameters"] = {"binary_data_size": len(contents[-1])}
        else:
            entry["data"] = _plain(output.values)
        described.append(entry)
    head = json.dumps({**fields, "outputs": described}, allow_nan=False).encode()
    return b"".join((head, *contents)), len(head) if contents else None


def _require_few(values: Mapping[str, Any]) -> None:
    """Raise ValueError for more inputs, outputs or axes than any real request has, before each is read."""
    for key in ("inputs", "outputs"):
        tensors = values.get(key)
        if isinstance(tensors, list):
            if len(tensors) > MOST_TENSORS:
                raise ValueError(f"{len(tensors)} {key}; at most {MOST_TENSORS}")
            for tensor in tensors:
                shape = tensor.get("shape") if isinstance(tensor, dict) else None
                if isinstance(shape, list) and len(shape) > MOST_AXES:
                    raise ValueError(f"a shape of {len(shape)} axes; at most {MOST_AXES}")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestError(f"Inference-Header-Content-Length {text!r:.60}: give a number of bytes")
    return int(text)


def _require_type(tensor: InputTensor, datatype: str) -> None:
    if tensor.datatype != datatype:
        raise RequestError(
            f"input {tensor.name!r:.60}: datatype {tensor.datatype!r:.60}; expected {datatype}"
        )
    content_type = tensor.parameters.content_type
    is_base64 = content_type == BASE64 and datatype == BYTES and not isinstance(tensor.data, memoryview)
    if content_type is not None and not is_base64:
        raise RequestError(
            f"input {tensor.name!r:.60}: content_type {content_type!r:.60}; there is only {BASE64}, of BYTES "
            "in JSON"
        )


def _split(content: memoryview, name: str, most: int) -> list[bytes]:
    """The elements of a binary tensor of type BYTES; one more than expected where there are more."""
    elements: list[bytes] = []
    start = 0
    while start < len(content) and len(elements) <= most:
        begin = start + _LENGTH_BYTES
        end = begin + int.from_bytes(content[start:begin], "little")
        if end > len(content) or begin > len(content):
            raise RequestError(f"input {name!r:.60}: an element reaches beyond the tensor")
        elements.append(bytes(content[begin:end]))
        start = end
    return elements


def _from_base64(element: object, tensor: InputTensor) -> bytes:
    if tensor.parameters.content_type != BASE64:
        raise RequestError(
            f"input {tensor.name!r:.60}: pictures in JSON are {BASE64}; say so by the parameter "
            "content_type, or send a binary tensor"
        )
    try:
        if isinstance(element, str):
            return base64.b64decode(element, validate=True)
    except ValueError:
        pass
    raise RequestError(f"input {tensor.name!r:.60}: an element is not {BASE64}")


def _from_numbers(tensor: InputTensor, size: int) -> UInt8s:
    """The whole numbers of JSON, flat or nested as the shape: (size,)."""
    values = tensor.data
    if isinstance(values[0] if values else None, list):
        for side in tensor.shape[1:]:
            if not all(isinstance(row, list) and len(row) == side for row in values):
                break
            values = list(itertools.chain.from_iterable(values))
    # By type first: numpy would also accept texts and fractions.
    if len(values) == size and set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= 255:
        return np.frombuffer(bytes(values), np.uint8)
    raise RequestError(
        f"input {tensor.name!r:.60}: its data is not {size} whole numbers of 0 to 255, nested or not"
    )


def _binary(values: Float32s | list[str]) -> bytes:
    if not isinstance(values, list):
        return np.ascontiguousarray(values, "<f4").tobytes()
    elements = [value.encode() for value in values]
    return b"".join(len(element).to_bytes(_LENGTH_BYTES, "little") + element for element in elements)


def _plain(values: Float32s | list[str]) -> list[Any]:
    """The values for JSON, flat. JSON has no NaN, so null stands for it."""
    if isinstance(values, list):
        return values
    return [None if math.isnan(value) else value for value in values.ravel().tolist()]
