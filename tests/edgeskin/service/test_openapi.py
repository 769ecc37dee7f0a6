"""The description of the routes, held against their answers."""

import re
from typing import Any

import jsonschema
import pytest

from tests.edgeskin.service.conftest import Service


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    return dict(service.client.get("/openapi.json").json())


def test_all_routes_are_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {
        "/v1/assess", "/v1/assess/batch", "/v1/explain", "/v1/report", "/v1/quality", "/v1/compare",
        "/v1/message", "/v1/model", "/healthz", "/readyz", "/metrics",
    } <= document["paths"].keys()  # fmt: skip
    assert "security" not in document


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"'#/components/schemas/([^']+)'", str(document)))
    assert {"Assessment", "Comparison", "Quality", "Error"} <= names
    assert names <= document["components"]["schemas"].keys()


@pytest.mark.parametrize(
    ("path", "parts", "status"),
    [
        ("/v1/assess", {"photo": True}, 200),
        ("/v1/assess?mc_dropout=5&age=35&site=nail", {"photo": True}, 200),
        ("/v1/assess", {"photo": False}, 415),
        ("/v1/assess?age=x", {"photo": True}, 422),
        ("/v1/assess/batch", {"photo": True}, 200),
        ("/v1/explain", {"photo": True}, 200),
        ("/v1/quality", {"photo": True}, 200),
        ("/v1/quality", {"photo": False}, 415),
        ("/v1/compare", {"before": True, "after": True}, 200),
    ],
)
def test_an_answer_is_as_described(
    path: str, parts: dict[str, bool], status: int, document: dict[str, Any], service: Service, lesion: bytes
) -> None:
    files = {name: ("a.jpg", lesion if is_whole else b"broken") for name, is_whole in parts.items()}
    answer = service.client.post(path, files=files)
    assert answer.status_code == status
    described = document["paths"][path.partition("?")[0]]["post"]["responses"]
    schema = described.get(str(status), described["default"])["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    assert list(validator.iter_errors(answer.json())) == []


def test_the_described_options_are_read(document: dict[str, Any], service: Service, lesion: bytes) -> None:
    """Each is known to its route, in the query and in the form."""
    values = {
        "method": "grad-cam", "target": "MEL", "mc_dropout": "2", "seed": "1", "age": "5", "site": "nail",
        "format": "json", "language": "de",
    }  # fmt: skip
    for path, operations in document["paths"].items():
        if "post" not in operations or not path.startswith("/v1/"):
            continue
        operation = operations["post"]
        options = {one["name"]: values[one["name"]] for one in operation["parameters"]}
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["properties"].keys() == {*options, *form["required"]}
        files = dict.fromkeys(form["required"], ("a.jpg", lesion))
        assert service.client.post(path, params=options, files=files).status_code == 200, path
        assert service.client.post(path, data=options, files=files).status_code == 200, path
