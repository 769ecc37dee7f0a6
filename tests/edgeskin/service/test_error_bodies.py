"""The HTTP status of each error."""

import ast
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import edgeskin.service
from edgeskin import errors
from edgeskin.errors import EdgeskinError, RequestError
from edgeskin.service.error_bodies import error_response, http_status


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("PhotoError", "damaged", 422),
        ("PhotoError", "timed_out", 422),  # of the decoder: this photo takes too long
        ("RequestError", "timed_out", 503),  # of the queue: try again
        ("PhotoError", "file_too_large", 413),
        ("PhotoError", "unsupported_format", 415),
        ("SettingError", "setting", 422),
        ("RegistrationError", "registration", 422),
        ("ResourceError", "out_of_memory", 503),
        ("EdgeskinError", "not_finite", 500),
        ("BundleError", "bundle_altered", 500),
        ("RequestError", "internal", 500),
        ("RequestError", "none_such", 500),
    ],
)
def test_the_status_of_an_error(kind: str, code: str, status: int) -> None:
    assert http_status(kind, code) == status


def test_every_code_of_a_request_is_documented_and_has_a_status() -> None:
    """Of those that the service raises, by its source."""
    documented = set(re.findall(r"``(\w+)``", errors.RequestError.__doc__ or ""))
    raised = set()
    for path in Path(edgeskin.service.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RequestError":
                raised |= {one.value for one in node.args[1:2] if isinstance(one, ast.Constant) and one.value}
    assert {"unauthorized", "queue_full"} <= raised
    assert raised <= documented
    assert {code for code in documented if http_status("RequestError", code) == 500} == {"internal"}


def test_headers_say_what_to_do_next() -> None:
    scope = {"path": "/v1/assess"}
    assert (
        error_response(RequestError("m", "unauthorized"), scope, "id").headers["WWW-Authenticate"] == "Bearer"
    )
    waits = error_response(RequestError("m", "queue_full", 7), scope, "id")
    assert (waits.status_code, waits.headers["Retry-After"]) == (503, "7")
    assert "Retry-After" not in error_response(RequestError("m"), scope, "id").headers


@pytest.mark.parametrize(("path", "is_text"), [("/v2", True), ("/v2/models", True), ("/v2x", False)])
def test_the_body_is_that_of_the_protocol(path: str, is_text: bool) -> None:
    body = json.loads(bytes(error_response(EdgeskinError("words", "a_code"), {"path": path}, "id").body))
    whole = {"error": {"type": "EdgeskinError", "message": "words", "code": "a_code"}, "request_id": "id"}
    assert body == ({"error": "words"} if is_text else whole)
