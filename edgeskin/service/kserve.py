"""The routes below /v2: the Open Inference Protocol, which clients of KServe and Triton speak.

A picture goes through the same classifier, queue and limits as one of /v1. One that cannot be read or is
refused still gets its element, without a risk and without a probability.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgeskin import __version__
from edgeskin.classifier import Classifier
from edgeskin.errors import RequestError
from edgeskin.results import Assessment
from edgeskin.service.api import assess_row, note_outcomes, while_connected
from edgeskin.service.options import ASSESS, AssessOptions, assess_options
from edgeskin.service.settings import ServiceSettings
from edgeskin.service.tensors import (
    BYTES,
    FP32,
    UINT8,
    InferRequest,
    OutputTensor,
    inflate,
    read_byte_strings,
    read_images,
    read_request,
    write_answer,
)
from edgeskin.service.uploads import MAX_OPTION, DecodedPhoto, Upload, read_body
from edgeskin.service.waiting_queue import WaitingQueue

JSON_LENGTH = "Inference-Header-Content-Length"
IMAGE, PIXELS = "image", "pixels"
BINARY_OUTPUT = "binary_data_output"
INPUTS = (
    {"name": IMAGE, "datatype": BYTES, "shape": [-1]},
    {"name": PIXELS, "datatype": UINT8, "shape": [-1, -1, -1, 3]},
)
"""A request has one of them."""
_NUMBERS: dict[str, Callable[[Assessment], Any]] = {
    "cancer_probability": lambda result: result.cancer_probability,
    "probabilities": lambda result: result.probabilities,
}
_TEXTS: dict[str, Callable[[Assessment], str | None]] = {
    "status": lambda result: result.status,
    "risk": lambda result: result.risk,
    "action_code": lambda result: result.action_code,
    "error_code": lambda result: result.error.code if result.error else None,
    "assessment": lambda result: json.dumps(result.to_dict(), allow_nan=False),
}
OUTPUTS = (*_NUMBERS, *_TEXTS)


@dataclass(frozen=True)
class _Inference:
    """What a request asks for. outputs: names, and whether each is binary."""

    id: str | None
    photos: Sequence[Upload | DecodedPhoto]
    options: AssessOptions
    outputs: Mapping[str, bool]


class Kserve:
    """The routes, on one classifier behind one queue."""

    def __init__(self, classifier: Classifier, queue: WaitingQueue, settings: ServiceSettings) -> None:
        """Answer requests by a classifier, one picture a piece of work in the queue."""
        self._classifier, self._queue, self._settings = classifier, queue, settings
        self._name, self._version = classifier.manifest.name, classifier.manifest.version

    async def live(self) -> Response:
        """Whether the process answers."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether new requests are welcome."""
        self._require_ready(request)
        return JSONResponse({"ready": True})

    async def server(self) -> Response:
        """Name and version of the service, and the extensions of the protocol that it has."""
        values = {"name": "edgeskin", "version": __version__, "extensions": ["binary_tensor_data"]}
        return JSONResponse(values)

    async def model(self, request: Request) -> Response:
        """Inputs and outputs of the model. A request has one of the inputs."""
        self._require_model(request)
        classes = len(self._classifier.rules.classes)
        shapes = {name: [-1] for name in OUTPUTS} | {"probabilities": [-1, classes]}
        outputs = [
            {"name": name, "datatype": FP32 if name in _NUMBERS else BYTES, "shape": shapes[name]}
            for name in OUTPUTS
        ]
        values = {"name": self._name, "versions": [self._version], "platform": "openvino"}
        return JSONResponse({**values, "inputs": INPUTS, "outputs": outputs})

    async def model_ready(self, request: Request) -> Response:
        """Whether the model takes new requests."""
        self._require_model(request)
        self._require_ready(request)
        return JSONResponse({"name": self._name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Assess pictures."""
        self._require_model(request)
        if request.query_params:
            raise RequestError("give options as parameters of the request, not in the address")
        self._queue.require_room()
        encoding, length = request.headers.get("content-encoding", ""), request.headers.get(JSON_LENGTH)
        # In threads: both take longer for a large body than health checks should wait.
        body = await read_body(request)
        inflated = await asyncio.to_thread(inflate, body, encoding, self._settings.max_body)
        request.state.body.add(len(inflated) - len(body))
        del body
        asked = await asyncio.to_thread(self._read, inflated, length)
        del inflated
        shared = (asked.options, self._settings.max_megapixels, request.state.request_id)
        works = [partial(assess_row, self._classifier, photo, *shared) for photo in asked.photos]
        results = await while_connected(request, self._queue.run_all(works))
        note_outcomes(request, *results)
        fields = {"model_name": self._name, "model_version": self._version}
        if asked.id is not None:
            fields["id"] = asked.id
        classes = self._classifier.rules.classes
        outputs = [_output(name, results, classes, binary) for name, binary in asked.outputs.items()]
        content, json_length = write_answer(fields, outputs)
        if json_length is None:
            return Response(content, media_type="application/json")
        headers = {JSON_LENGTH: str(json_length)}
        return Response(content, headers=headers, media_type="application/octet-stream")

    def _read(self, body: bytes, json_length: str | None) -> _Inference:
        request = read_request(body, json_length)
        if len(request.inputs) != 1:
            raise RequestError(f"{len(request.inputs)} inputs; give one: {IMAGE!r} or {PIXELS!r}")
        (tensor,) = request.inputs
        most = self._settings.photos_at_once
        photos: list[Upload | DecodedPhoto]
        if tensor.name == IMAGE:
            files = read_byte_strings(tensor, most)
            photos = [Upload(f"{IMAGE}[{place}]", content) for place, content in enumerate(files)]
        elif tensor.name == PIXELS:
            images = read_images(tensor, most)
            photos = [DecodedPhoto(f"{PIXELS}[{place}]", image) for place, image in enumerate(images)]
        else:
            raise RequestError(f"unknown input {tensor.name!r:.60}: choose {IMAGE!r} or {PIXELS!r}")
        options = assess_options(_options(request.parameters), self._classifier)
        return _Inference(request.id, photos, options, _requested(request))

    def _require_model(self, request: Request) -> None:
        asked = request.path_params
        if asked["model"] != self._name or asked.get("version", self._version) != self._version:
            raise RequestError(f"no such model or version: this is {self._name} {self._version}", "not_found")

    def _require_ready(self, request: Request) -> None:
        if request.app.state.draining:
            raise RequestError(
                "the service is stopping; try another one", "draining", self._queue.retry_after
            )


def router(classifier: Classifier, queue: WaitingQueue, settings: ServiceSettings) -> APIRouter:
    """The routes of `Kserve`."""
    kserve, routes = Kserve(classifier, queue, settings), APIRouter(prefix="/v2")
    routes.add_api_route("", kserve.server, openapi_extra=_described())
    routes.add_api_route("/health/live", kserve.live, openapi_extra=_described())
    routes.add_api_route("/health/ready", kserve.ready, openapi_extra=_described())
    for parameters in (("model",), ("model", "version")):
        path = "/models/{model}" + ("/versions/{version}" if "version" in parameters else "")
        described = _described(*parameters)
        routes.add_api_route(path, kserve.model, openapi_extra=described)
        routes.add_api_route(f"{path}/ready", kserve.model_ready, openapi_extra=described)
        routes.add_api_route(
            f"{path}/infer",
            kserve.infer,
            methods=["POST"],
            openapi_extra={
                **described,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {}, "application/octet-stream": {}},
                },
            },
        )
    return routes


def _options(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The options of a request as text, like those of /v1."""
    options = {name: value for name, value in parameters.items() if name != BINARY_OUTPUT}
    for name, value in options.items():
        if name not in ASSESS:
            raise RequestError(f"unknown parameter {name!r:.60}: choose {', '.join(ASSESS)}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise RequestError(f"parameter {name!r}: give a text or a number")
        if isinstance(value, str) and len(value) > MAX_OPTION:
            raise RequestError(f"parameter {name!r}: a text of {len(value)} characters")
    return {name: str(value) for name, value in options.items()}


def _requested(request: InferRequest) -> dict[str, bool]:
    """The outputs that a request asks for, and whether each is binary."""
    is_binary = request.parameters.get(BINARY_OUTPUT, False)
    if not isinstance(is_binary, bool):
        raise RequestError(f"parameter {BINARY_OUTPUT!r}: give true or false")
    if not request.outputs:
        return dict.fromkeys(OUTPUTS, is_binary)
    requested: dict[str, bool] = {}
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise RequestError(f"unknown output {output.name!r:.60}: choose {', '.join(OUTPUTS)}")
        if output.name in requested:
            raise RequestError(f"output {output.name!r} is asked for more than once")
        own = output.parameters.binary_data
        requested[output.name] = is_binary if own is None else own
    return requested


def _output(
    name: str, results: Sequence[Assessment], classes: Sequence[str], is_binary: bool
) -> OutputTensor:
    """An output for all pictures: texts ("" for a missing one) or numbers (NaN for a missing one)."""
    if name in _TEXTS:
        return OutputTensor(name, [_TEXTS[name](result) or "" for result in results], is_binary)
    values = [_NUMBERS[name](result) for result in results]
    if name == "probabilities":
        values = [[(one or {}).get(code) for code in classes] for one in values]
    return OutputTensor(name, np.array(values, np.float32), is_binary)


def _described(*parameters: str) -> dict[str, Any]:
    """A route's description in OpenAPI, with the parameters of its path."""
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in parameters
        ],
        "responses": {
            "200": {"description": "The answer"},
            "default": {"description": "An error", "content": {"application/json": {"schema": error}}},
        },
    }
