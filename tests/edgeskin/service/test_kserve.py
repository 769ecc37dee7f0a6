"""The Open Inference Protocol, as it is written by hand."""

import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest

from tests.edgeskin.service.conftest import Service, running

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from edgeskin import Assessment, Classifier
from edgeskin.arrays import Image
from edgeskin.service.kserve import OUTPUTS
from edgeskin.service.options import ASSESS
from tests.conftest import write_manifest, write_micro_bundle

LENGTH = "Inference-Header-Content-Length"
INFER = "/v2/models/micro/infer"


def request(*inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **fields}


def in_base64(*contents: bytes) -> dict[str, Any]:
    data = [base64.b64encode(content).decode() for content in contents]
    parameters = {"content_type": "base64"}
    return {
        "name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data, "parameters": parameters
    }  # fmt: skip


def outputs_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


def test_base64_in_json(service: Service, lesion: bytes, micro_classifier: Classifier) -> None:
    asked = request(in_base64(lesion, b"broken"), outputs=[{"name": "probabilities"}, {"name": "status"}])
    answer = service.client.post(INFER, json=asked)
    outputs = outputs_of(answer)
    assert list(outputs) == ["probabilities", "status"]
    probabilities = micro_classifier.assess(lesion).probabilities
    assert probabilities is not None
    assert outputs["probabilities"]["shape"] == [2, 8]
    np.testing.assert_allclose(outputs["probabilities"]["data"][:8], list(probabilities.values()), rtol=1e-6)
    assert outputs["probabilities"]["data"][8:] == [None] * 8
    assert outputs["status"]["data"] == ["assessed", "error"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


def test_all_outputs_come_unless_some_are_asked_for(service: Service, lesion: bytes) -> None:
    assert tuple(outputs_of(service.client.post(INFER, json=request(in_base64(lesion))))) == OUTPUTS
    versioned = service.client.post(
        "/v2/models/micro/versions/0/infer", json=request(in_base64(lesion), outputs=[])
    )
    assert tuple(outputs_of(versioned)) == OUTPUTS


def test_a_binary_answer_is_json_and_then_tensors_in_order(service: Service, lesion: bytes) -> None:
    """Taken apart by the words of the extension; an output's own wish goes before the request's."""
    wishes = [
        {"name": "status"},
        {"name": "risk", "parameters": {"binary_data": False}},
        {"name": "cancer_probability"},
    ]
    asked = request(
        in_base64(b"broken", lesion), outputs=wishes, parameters={"binary_data_output": True}, id="é\ud800"
    )
    answer = service.client.post(INFER, content=json.dumps(asked))
    size = int(answer.headers[LENGTH])
    head = json.loads(answer.content[:size])
    assert head["id"] == "é\ud800"
    status, risk, cancer = head["outputs"]
    assert status["parameters"] == {"binary_data_size": 4 + 5 + 4 + 8}
    assert risk["data"][0] == ""
    assert (cancer["datatype"], cancer["parameters"]) == ("FP32", {"binary_data_size": 8})
    tensors = answer.content[size:]
    assert tensors[:21] == b"\x05\0\0\0error\x08\0\0\0assessed"
    none, p = np.frombuffer(tensors[21:], "<f4")
    assert np.isnan(none)
    assert 0 < p < 1
    assert answer.headers["content-type"] == "application/octet-stream"


def pixels(image: Image, **changes: Any) -> dict[str, Any]:
    fields = {"name": "pixels", "shape": list(image.shape), "datatype": "UINT8", "data": image.tolist()}
    return fields | changes


SMALL = np.random.default_rng(4).integers(0, 256, (64, 64, 3)).astype(np.uint8)
MALFORMED: dict[str, Any] = {
    "no inputs": {},
    "an empty list": request(),
    "two inputs": request(pixels(SMALL), in_base64(b"x")),
    "an unknown input": request(pixels(SMALL, name="picture")),
    "an unknown key": request(pixels(SMALL), output=[]),
    "an unknown key of an input": request(pixels(SMALL, dtype="UINT8")),
    "an unknown parameter of an input": request(pixels(SMALL, parameters={"color": "BGR"})),
    "an unknown parameter of an output": request(
        pixels(SMALL), outputs=[{"name": "risk", "parameters": {"classification": 3}}]
    ),
    "an output twice": request(pixels(SMALL), outputs=[{"name": "risk"}, {"name": "risk"}]),
    "another datatype": request(pixels(SMALL, datatype="FP32")),
    "a datatype of the other input": request(in_base64(b"x") | {"datatype": "UINT8"}),
    "a shape too small": request(pixels(SMALL, shape=[64, 63, 3])),
    "a shape too large": request(pixels(SMALL, shape=[64, 65, 3])),
    "a negative side": request(pixels(SMALL, shape=[-64, -64, 3])),
    "an open side": request(pixels(SMALL, shape=[-1, 64, 3])),
    "a side of none": request(pixels(SMALL, shape=[64, 0, 3], data=[])),
    "no picture": request(pixels(SMALL, shape=[0, 64, 64, 3], data=[])),
    "two axes": request(pixels(SMALL, shape=[64, 192])),
    "five axes": request(pixels(SMALL, shape=[1, 1, 64, 64, 3])),
    "four channels": request(pixels(SMALL, shape=[64, 48, 4])),
    "channels first": request(pixels(SMALL, shape=[3, 64, 64])),
    "a shape that is no list": request(pixels(SMALL, shape=64 * 64 * 3)),
    "a fraction": request(pixels(SMALL, data=[0.5] * SMALL.size)),
    "a bool": request(pixels(SMALL, data=[True] * SMALL.size)),
    "a text": request(pixels(SMALL, data=["7"] * SMALL.size)),
    "a number above 255": request(pixels(SMALL, data=[256] * SMALL.size)),
    "a number below 0": request(pixels(SMALL, data=[-1] * SMALL.size)),
    "no data": request({"name": "pixels", "shape": [64, 64, 3], "datatype": "UINT8"}),
    "data that is no list": request(pixels(SMALL, data="abc")),
    "a text in place of base64": request(in_base64(b"x") | {"data": ["not base64!"]}),
    "base64 not announced": request(in_base64(b"x") | {"parameters": {}}),
    "base64 of pixels": request(pixels(SMALL, parameters={"content_type": "base64"})),
    "another content type": request(in_base64(b"x") | {"parameters": {"content_type": "jpeg"}}),
    "fewer elements": request(in_base64(b"x") | {"shape": [2]}),
    "more elements": request(in_base64(b"x", b"y") | {"shape": [1]}),
    "too many pictures": request(in_base64(*[b"x"] * 33)),
    "a binary tensor that is not there": request(
        {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 4}}
    ),
    "a negative size": request(
        {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": -4}}
    ),
    "an unknown option": request(pixels(SMALL), parameters={"precision": "fp32"}),
    "an option out of range": request(pixels(SMALL), parameters={"mc_dropout": 1001}),
    "an option that is a bool": request(pixels(SMALL), parameters={"seed": True}),
    "an option that is a fraction": request(pixels(SMALL), parameters={"seed": 1.5}),
    "an option that is an object": request(pixels(SMALL), parameters={"site": {}}),
    "a target without a map": request(pixels(SMALL), parameters={"target": "MEL"}),
    "an unknown method": request(pixels(SMALL), parameters={"method": "magic"}),
    "binary output as text": request(pixels(SMALL), parameters={"binary_data_output": "yes"}),
    "an id that is a number": request(pixels(SMALL), id=7),
    "a list": [],
}


def require_text(answer: httpx.Response, status: int) -> str:
    """The text of an error, which is all that its body has."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    assert body["error"]
    return str(body["error"])


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_request_is_refused(kind: str, service: Service) -> None:
    require_text(service.client.post(INFER, json=MALFORMED[kind]), 422)


def test_the_text_of_an_error_is_short_and_can_be_sent(service: Service) -> None:
    """Whatever the client calls things: very long, or by half a surrogate pair."""
    for name in ("x" * 10**5, "\ud800" * 1000):
        for asked in (
            request(pixels(SMALL, name=name)),
            request(pixels(SMALL, datatype=name)),
            request(pixels(SMALL, parameters={"content_type": name})),
            request(pixels(SMALL), outputs=[{"name": name}]),
            request(pixels(SMALL), **{name: 1}),
            request(pixels(SMALL), **{f"{place}{name}": 1 for place in range(20)}),
            *(request(pixels(SMALL), parameters={key: name}) for key in (name, *ASSESS)),
        ):
            assert len(require_text(service.client.post(INFER, content=json.dumps(asked)), 422)) < 10_000


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"null", b'{"inputs":[],"inputs":[]}', b'{"id":"a","inputs":NaN}', b"[" * 100_000],
)
def test_what_is_no_json_object_is_refused(body: bytes, service: Service) -> None:
    require_text(service.client.post(INFER, content=body), 422)


@pytest.mark.parametrize("length", ["-1", "1.5", "", "x", "1e3", "99999999999999999999", "4000", "²"])
def test_a_wrong_length_of_the_json_is_refused(length: str, service: Service) -> None:
    body = json.dumps(request(in_base64(b"x"))).encode()
    headers = {LENGTH: length.encode()}
    require_text(service.client.post(INFER, content=body, headers=headers), 422)


def binary(content: bytes, size: int, shape: list[int], **changes: Any) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "image", "shape": shape, "datatype": "BYTES"} | changes
    head = json.dumps(request(tensor | {"parameters": {"binary_data_size": size}})).encode()
    return head + content, {LENGTH: str(len(head))}


@pytest.mark.parametrize(
    ("content", "size", "shape"),
    [
        (b"\x01\0\0\0x", 4, [1]),  # a byte is left
        (b"\x01\0\0\0x", 6, [1]),  # a byte is missing
        (b"\x02\0\0\0x", 5, [1]),  # an element reaches beyond the tensor
        (b"\xff\xff\xff\xffx", 5, [1]),
        (b"\x01\0\0", 3, [1]),  # half a length
        (b"", 0, [1]),
        (b"\x01\0\0\0x", 5, [2]),
        (b"\0\0\0\0" * 3, 12, [2]),
        (b"\x01\0\0\0x", 5, [1, 1]),
        (b"\x01\0\0\0x", 5, []),
        (b"\x01\0\0\0x", -5, [1]),
        (b"\x01\0\0\0x", 2**62, [1]),
    ],
)
def test_binary_tensors_whose_sizes_do_not_fit_are_refused(
    content: bytes, size: int, shape: list[int], service: Service
) -> None:
    body, headers = binary(content, size, shape)
    require_text(service.client.post(INFER, content=body, headers=headers), 422)


def test_pixels_of_another_size_than_their_shape_are_refused(service: Service) -> None:
    for size in (SMALL.size - 1, SMALL.size + 1):
        changes = {"name": "pixels", "datatype": "UINT8"}
        body, headers = binary(b"\0" * size, size, [64, 64, 3], **changes)
        require_text(service.client.post(INFER, content=body, headers=headers), 422)


def test_paths_and_methods_of_no_route(service: Service) -> None:
    client = service.client
    for path in ("/v2/", "/v2/models", "/v2/models/other", "/v2/models/micro/versions/1", "/v2/x"):
        require_text(client.get(path), 404)
    for path in ("/v2/models/other/infer", "/v2/models/micro/versions/1/infer", "/v2/models/micro/load"):
        require_text(client.post(path, json=request(in_base64(b"x"))), 404)
    for answer in (client.get(INFER), client.post("/v2"), client.delete("/v2/models/micro")):
        require_text(answer, 405)


def test_bodies_that_are_too_large(micro_classifier: Classifier, lesion: bytes) -> None:
    """As they come, or once inflated: 20 kB of gzip can hold 20 MB."""
    with running(micro_classifier, max_megabytes=0.2) as small:
        require_text(small.client.post(INFER, content=b" " * 200_001), 413)
        for body, encoding in (
            (gzip.compress(bytes(10**7)), "gzip"),
            (zlib.compress(bytes(10**7)), "deflate"),
        ):
            assert len(body) < 20_000
            headers = {"Content-Encoding": encoding}
            require_text(small.client.post(INFER, content=body, headers=headers), 413)
        outputs_of(small.client.post(INFER, json=request(in_base64(lesion))))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x"])
def test_an_unknown_encoding(encoding: str, service: Service) -> None:
    headers = {"Content-Encoding": encoding}
    require_text(service.client.post(INFER, content=b"x", headers=headers), 415)


def test_damaged_gzip(service: Service, lesion: bytes) -> None:
    good = gzip.compress(json.dumps(request(in_base64(lesion))).encode())
    headers = {"Content-Encoding": "GZIP"}
    outputs_of(service.client.post(INFER, content=good, headers=headers))
    for bad in (good[:-9], good + b"x", good[:40] + b"xx" + good[42:], b"", b"x"):
        require_text(service.client.post(INFER, content=bad, headers=headers), 422)


def test_pictures_larger_than_the_service_takes(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier, max_megapixels=0.004) as small:
        for tensor in (in_base64(lesion), pixels(SMALL)):
            outputs = outputs_of(small.client.post(INFER, json=request(tensor)))
            assert outputs["error_code"]["data"] == ["too_many_pixels"]
            assert outputs["cancer_probability"]["data"] == [None]


def test_no_more_pictures_than_the_limit(micro_classifier: Classifier) -> None:
    with running(micro_classifier, batch_limit=2) as small:
        for number, status in ((2, 200), (3, 422)):
            for tensor in (in_base64(*[b"x"] * number), pixels(np.stack([SMALL] * number))):
                assert small.client.post(INFER, json=request(tensor)).status_code == status


def test_a_full_queue_and_a_time_limit(micro_classifier: Classifier, lesion: bytes) -> None:
    asked = request(in_base64(lesion))
    with running(micro_classifier, queue_size=1, time_limit_s=0.3) as small:
        with small.occupied():
            require_text(small.client.post(INFER, json=asked), 503)
            assert small.client.get("/v2/health/live").status_code == 200
        with small.occupied(2):
            answer = small.client.post(INFER, json=asked)
            require_text(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1


def test_ready_turns_off_while_the_service_drains(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier) as draining:
        paths = ("/v2/health/ready", "/v2/models/micro/ready", "/v2/models/micro/versions/0/ready")
        for path in paths:
            assert draining.client.get(path).json()["ready"] is True
        draining.app.state.draining = True
        for path in paths:
            answer = draining.client.get(path)
            require_text(answer, 503)
            assert int(answer.headers["Retry-After"]) >= 1
        assert draining.client.get("/v2/health/live").json() == {"live": True}
        outputs_of(draining.client.post(INFER, json=request(in_base64(lesion))))


def test_tokens_are_asked_for_except_for_health(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier, tokens=("0123456789abcdef",)) as closed:
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert closed.client.get(path).status_code == 200
        for path in ("/v2", "/v2/models/micro", "/v2/models/micro/ready"):
            require_text(closed.client.get(path), 401)
        require_text(closed.client.post(INFER, json=request(in_base64(lesion))), 401)
        headers = {"Authorization": "Bearer 0123456789abcdef"}
        assert closed.client.get("/v2", headers=headers).json()["name"] == "edgeskin"


def test_pictures_are_counted(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier) as counted:
        outputs_of(counted.client.post(INFER, json=request(in_base64(lesion, b"x", b"y"))))
        lines = counted.client.get("/metrics").text.splitlines()
    assert 'edgeskin_assessments_total{status="assessed"} 1.0' in lines
    assert 'edgeskin_assessments_total{status="error"} 2.0' in lines
    assert any('route="/v2/models/{model}/infer"' in line and "200" in line for line in lines)


def test_a_defect_costs_one_picture(
    micro_classifier: Classifier, lesion: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assess = Classifier.assess

    def failing(self: Classifier, image: Any, **options: Any) -> Assessment:
        if image == b"defect":
            raise ZeroDivisionError
        return assess(self, image, **options)

    monkeypatch.setattr(Classifier, "assess", failing)
    monkeypatch.setattr("edgeskin.service.api.require_pixels", lambda *_: None)
    with running(micro_classifier) as service:
        outputs = outputs_of(service.client.post(INFER, json=request(in_base64(b"defect", lesion))))
    assert outputs["error_code"]["data"] == ["internal", ""]


def test_a_name_that_an_address_has_to_escape(tmp_path: Path) -> None:
    folder = write_micro_bundle(tmp_path / "bundle")
    write_manifest(folder, name="two words, ä", version="1.0 b")
    with Classifier(folder, threads=1) as classifier, running(classifier) as named:
        answer = named.client.get("/v2/models/two words, ä/versions/1.0 b/ready")
        assert answer.json() == {"name": "two words, ä", "ready": True}


def test_the_openapi_document_is_one(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    paths = {path for path in document["paths"] if path.startswith("/v2")}
    assert {"/v2", "/v2/health/ready", "/v2/models/{model}/versions/{version}/infer"} <= paths
    pytest.importorskip("openapi_spec_validator").OpenAPIV31SpecValidator(document).validate()
    schema = {"$ref": "#/components/schemas/Assessment", "components": document["components"]}
    jsonschema.Draft202012Validator.check_schema(schema)
