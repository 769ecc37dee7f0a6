"""What every answer has, errors, health, and the page."""

import json
import logging

import httpx
import pytest

from edgeskin.classifier import Classifier
from tests.edgeskin.service.conftest import Service, running

COMMON = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/v1/model", 200),
        ("POST", "/v1/assess", 403),  # of another origin
        ("GET", "/v1/assess", 405),
        ("GET", "/none", 404),
    ],
)
def test_every_answer_has_the_common_headers(method: str, path: str, status: int, service: Service) -> None:
    answer = service.client.request(method, path, headers={"Origin": "http://evil.example"})
    assert answer.status_code == status
    assert COMMON.items() <= dict(answer.headers).items()
    assert len(answer.headers["X-Request-ID"]) == 16
    assert "server" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("given", ["abc-1._Z", "x" * 64])
def test_a_request_keeps_its_id(given: str, service: Service) -> None:
    headers = {"X-Request-ID": given}
    assert service.client.get("/healthz", headers=headers).headers["X-Request-ID"] == given
    answer = service.client.get("/none", headers=headers)
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "../x/y", "a\tb", "<b>", "ä"])
def test_an_id_of_other_characters_is_replaced(given: str, service: Service) -> None:
    headers = [(b"X-Request-ID", given.encode("utf-8"))]
    answer = service.client.get("/healthz", headers=headers)
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 16


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/none", 404, "not_found"),
        ("POST", "/v1/none", 404, "not_found"),
        ("POST", "/v1/assess/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/redoc", 404, "not_found"),
        ("GET", "/static/none.js", 404, "not_found"),
        ("GET", "/static/../app.py", 404, "not_found"),
        ("GET", "/static/%2e%2e/app.py", 404, "not_found"),
        ("GET", "/v1/assess", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/assess", 405, "method_not_allowed"),
        ("PUT", "/v1/model", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("BREW", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_errors_have_one_body(method: str, path: str, status: int, code: str, service: Service) -> None:
    answer = service.client.request(method, f"http://127.0.0.1:{service.port}{path}")
    assert error_of(answer) == (status, code)
    assert answer.json()["error"].keys() == {"type", "message", "code"}
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    if status == 405:
        assert answer.headers["Allow"]


def test_errors_of_the_other_protocol_are_text(service: Service) -> None:
    """KServe's clients read `error` as a text."""
    answer = service.client.get("/v2/none")
    assert answer.status_code == 404
    assert answer.json().keys() == {"error"}
    assert isinstance(answer.json()["error"], str)


def test_health_and_readiness(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier) as service:
        assert service.client.get("/healthz").json() == {"status": "ok"}
        ready = service.client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        service.app.state.draining = True
        drained = service.client.get("/readyz")
        assert (drained.status_code, drained.json()) == (503, {"status": "draining"})
        assert service.client.get("/healthz").status_code == 200
        assert service.client.post("/v1/assess", content=lesion).status_code == 200


def test_the_page_may_load_its_own_files_alone(service: Service) -> None:
    for path in ("/", "/static/none.js"):
        headers = service.client.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert headers["Permissions-Policy"] == "camera=(self)"
    # The report has a policy of its own, which lets its style in.
    assert "Content-Security-Policy" not in service.client.get("/v1/model").headers


def test_an_unforeseen_error_is_answered_and_logged_without_its_words(
    service: Service,
    micro_classifier: Classifier,
    lesion: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, name: str, **__: object) -> None:
        raise ZeroDivisionError(f"within {name}")

    monkeypatch.setattr(micro_classifier, "assess", fail)
    with caplog.at_level(logging.INFO, "edgeskin.service"):
        answer = service.client.post("/v1/assess", files={"photo": ("Doe.jpg", lesion)})
    assert error_of(answer) == (500, "internal")
    assert answer.json()["request_id"] in answer.json()["error"]["message"]
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    assert "Doe" not in answer.text + json.dumps(fields) + caplog.text
    (failed,) = [one for one in fields if one.get("error") == "ZeroDivisionError"]
    assert failed["request_id"] == answer.headers["X-Request-ID"]
    assert any("test_app.py" in place for place in failed["where"])


def test_a_lack_of_memory_elsewhere_is_said(
    service: Service, micro_classifier: Classifier, lesion: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(micro_classifier, "assess_quality", fail)
    assert error_of(service.client.post("/v1/quality", content=lesion)) == (503, "out_of_memory")


def test_a_huge_head_is_refused_before_its_end(service: Service) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"x" * 70_000
    assert service.exchange(head).startswith(b"HTTP/1.1 4")
    assert service.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"no http at all\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_refused(head: bytes, service: Service) -> None:
    assert service.exchange(head)[:10] in (b"HTTP/1.1 4", b"")
    assert service.client.get("/healthz").status_code == 200


def test_a_body_longer_than_its_length_is_no_part_of_it(service: Service, lesion: bytes) -> None:
    """What follows is a request of its own, and none at all."""
    head = f"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(lesion)}\r\n\r\n".encode()
    answer = service.exchange(head + lesion + b"further bytes\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 400" in answer


def test_requests_in_one_packet_are_all_answered(service: Service) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    answer = service.exchange((request + b"\r\n") * 3 + request + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 4
