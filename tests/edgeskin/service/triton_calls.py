"""Calls of the public tritonclient, in a process of its own since it brings gevent; prints JSON.

``python triton_calls.py ADDRESS MODEL VERSION PICTURE...``, pictures of one size for the tensor of pixels.
"""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

OUTPUTS = (
    "cancer_probability", "probabilities", "status", "risk", "action_code", "error_code", "assessment"
)  # fmt: skip


def files(pictures: list[bytes]) -> list[InferInput]:
    tensor = InferInput("image", [len(pictures)], "BYTES")
    tensor.set_data_from_numpy(np.array(pictures, dtype=object))
    return [tensor]


def arrays(pictures: list[bytes], binary: bool) -> list[InferInput]:
    images = np.stack([cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR_RGB) for one in pictures])
    tensor = InferInput("pixels", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return [tensor]


def plain(result: InferResult) -> dict[str, Any]:
    """What came back: each output as a list, and the fields of the answer."""
    answer = result.get_response()
    values: dict[str, Any] = {key: answer[key] for key in answer if key != "outputs"}
    for output in answer["outputs"]:
        found = result.as_numpy(output["name"])
        assert list(found.shape) == output["shape"]
        is_text = output["datatype"] == "BYTES"
        values[output["name"]] = [
            (one.decode() if isinstance(one, bytes) else one) if is_text else one for one in found.tolist()
        ]
    return values


def refused(call: Any, *arguments: Any, **options: Any) -> list[str]:
    """Status and text of the error that a call raises."""
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    raise AssertionError("the call succeeded")


def main() -> None:
    address, model, version, *paths = sys.argv[1:]
    pictures = [Path(path).read_bytes() for path in paths]
    client = InferenceServerClient(address, concurrency=4, network_timeout=60, connection_timeout=60)

    def outputs(binary: bool) -> list[InferRequestedOutput]:
        return [InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]

    options = {"parameters": {"mc_dropout": 5, "seed": 3, "age": 30.5, "site": "nail", "method": "grad-cam"}}
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready(model), client.is_model_ready(model, version)],
        "other_ready": client.is_model_ready("other"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(model, version),
        "default": plain(client.infer(model, files(pictures), request_id="7")),
        "binary": plain(client.infer(model, files(pictures), model_version=version, outputs=outputs(True))),
        "json": plain(client.infer(model, files(pictures), outputs=outputs(False))),
        "options": plain(client.infer(model, files(pictures[:1]), **options)),
        "pixels": plain(client.infer(model, arrays(pictures, True))),
        "pixels_json": plain(client.infer(model, arrays(pictures[:1], False))),
        "one": plain(client.infer(model, files(pictures[:1]), outputs=outputs(True)[:1])),
        "broken": plain(client.infer(model, files([pictures[0], b"no picture"]))),
        "broken_json": plain(client.infer(model, files([b"no picture"]), outputs=outputs(False))),
        "asynchronous": [
            plain(call.get_result(timeout=60))
            for call in [client.async_infer(model, files([picture])) for picture in pictures * 3]
        ],
    }
    for kind in ("gzip", "deflate"):
        compressed = {"request_compression_algorithm": kind, "response_compression_algorithm": kind}
        found[kind] = plain(client.infer(model, files(pictures), **compressed))
    text = InferInput("image", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"plain text"], dtype=object), binary_data=False)
    found["errors"] = {
        "model": refused(client.infer, "other", files(pictures)),
        "version": refused(client.infer, model, files(pictures), model_version="999"),
        "metadata": refused(client.get_model_metadata, "other"),
        "extension": refused(client.get_model_config, model),
        "output": refused(client.infer, model, files(pictures), outputs=[InferRequestedOutput("other")]),
        "twice": refused(client.infer, model, files(pictures) * 2),
        "both": refused(client.infer, model, files(pictures) + arrays(pictures, True)),
        "text": refused(client.infer, model, [text]),
        "parameter": refused(client.infer, model, files(pictures), parameters={"precision": "fp32"}),
        "value": refused(client.infer, model, files(pictures), parameters={"age": 999}),
        "priority": refused(client.infer, model, files(pictures), priority=1),
        "query": refused(client.infer, model, files(pictures), query_params={"age": 50}),
        "many": refused(client.infer, model, files(pictures * 20)),
    }
    client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
