"""What a request must keep to: host, site, token, rate, and the size and time of its body."""

import socket
import time
import zlib
from pathlib import Path

import httpx
import pytest

from tests.edgeskin.service.conftest import Service, running

pytest.importorskip("limits", reason="the extra serve is not installed")

from edgeskin.classifier import Classifier
from edgeskin.errors import RequestError
from edgeskin.service import limits
from edgeskin.service.limits import RateLimit, client_of, require_known_host

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:80", "localhost.", "[::1]:8000", "127.0.0.1:9"])
def test_a_known_host_is_answered(host: str, service: Service) -> None:
    assert service.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "[::2]",
        "[",
        "",
        "::1",
        "[::1]evil.example",
        "[::1]:80evil",
        "localhost:80:80",
        "localhost:x",
        "[localhost]",
    ],
)
def test_another_host_is_refused(host: str, service: Service) -> None:
    """A name that its owner lets resolve to 127.0.0.1 would make a foreign page one of this origin."""
    for path in ("/", "/v1/model", "/healthz", "/static/x.js"):
        answer = service.client.get(path, headers={"Host": host})
        assert (answer.status_code, code_of(answer)) == (421, "unknown_host")


def test_health_needs_no_host(service: Service) -> None:
    """Load balancers check by HTTP/1.0."""
    assert service.exchange(b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert service.exchange(b"GET /v1/model HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 421 ")
    evil = b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n"
    assert service.exchange(evil).startswith(b"HTTP/1.1 421 ")


def test_hosts_are_known_by_setting(micro_classifier: Classifier) -> None:
    with running(micro_classifier, allowed_hosts=("kiosk.example",)) as kiosk:
        assert kiosk.client.get("/healthz", headers={"Host": "kiosk.example"}).status_code == 200
        assert kiosk.client.get("/healthz", headers={"Host": "other.example"}).status_code == 421
    require_known_host("any.example", None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),  # another port of this machine
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "unheard-of"}, 403),
        ({"Origin": "http://localhost:8000", "Host": "localhost:8000"}, 200),
        ({"Origin": "http://localhost:8000", "Host": "LOCALHOST:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://localhost", "Host": "localhost:80"}, 200),
        ({"Origin": "https://localhost", "Host": "localhost"}, 200),  # of a proxy with TLS
        ({"Origin": "http://[::1]:8000", "Host": "[::1]:8000"}, 200),
        ({"Origin": "http://localhost:8001", "Host": "localhost:8000"}, 403),
        ({"Origin": "http://localhost", "Host": "localhost:8000"}, 403),
        ({"Origin": "http://127.0.0.1:8000", "Host": "localhost:8000"}, 403),
        ({"Origin": "http://evil.example", "Host": "localhost:8000"}, 403),
        ({"Origin": "http://evil.example", "Host": "localhost", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "http://localhost@evil.example", "Host": "localhost"}, 403),
        ({"Origin": "null", "Host": "localhost"}, 403),
        ({"Origin": "", "Host": "localhost"}, 403),
        ({"Origin": "ftp://localhost", "Host": "localhost"}, 403),
    ],
)
def test_a_page_of_another_origin_may_not_send(
    headers: dict[str, str], status: int, service: Service, lesion: bytes
) -> None:
    answer = service.client.post("/v1/assess", content=lesion, headers=headers)
    assert answer.status_code == status
    assert status == 200 or code_of(answer) == "cross_site"
    # A link from elsewhere may lead to the page.
    assert service.client.get("/v1/model", headers=headers).status_code == 200


def test_a_token_is_asked_for(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier, tokens=(TOKEN, OTHER)) as closed:
        for path in ("/healthz", "/readyz"):
            assert closed.client.get(path).status_code == 200
        for path in ("/", "/static/none.js"):  # the page asks for the token
            assert closed.client.get(path).status_code != 401
        for path in ("/v1/model", "/metrics", "/openapi.json", "/nothing", "/static", "/v2/models/x"):
            answer = closed.client.get(path)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for value in (f"Bearer {TOKEN}", f"bearer {OTHER}"):
            answer = closed.client.post("/v1/assess", content=lesion, headers={"Authorization": value})
            assert answer.status_code == 200
        for value in (TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"):
            answer = closed.client.post("/v1/assess", content=lesion, headers={"Authorization": value})
            assert (answer.status_code, code_of(answer)) == (401, "unauthorized"), value
        described = closed.client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        assert described["paths"]["/healthz"]["get"]["security"] == []


def test_requests_a_minute_are_limited(micro_classifier: Classifier) -> None:
    """The fourth is refused, with the seconds until the first is a minute old; health is not counted."""
    with running(micro_classifier, rate_limit=3) as limited:
        for _ in range(3):
            assert limited.client.get("/v1/model").status_code == 200
            assert limited.client.get("/healthz").status_code == 200
        answer = limited.client.get("/v1/model")
        assert (answer.status_code, code_of(answer)) == (429, "rate_limited")
        assert 1 <= int(answer.headers["Retry-After"]) <= 61
        assert limited.client.get("/healthz").status_code == 200


def test_clients_are_counted_apart_and_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CLIENTS", 3)
    rate = RateLimit(1)
    for client in ("a", "b", "c"):
        rate.require(client)
        with pytest.raises(RequestError):
            rate.require(client)
    # Of the further ones, which share a count, the first is let in.
    rate.require("d")
    for client in ("d", "e"):
        with pytest.raises(RequestError):
            rate.require(client)
    assert len(rate._storage.events) == 4  # noqa: SLF001
    # A minute later, by the clock of the storage, the first ones are forgotten.
    later = time.time() + 61
    monkeypatch.setattr("limits.storage.memory.time.time", lambda: later)
    rate._storage._MemoryStorage__expire_events()  # type: ignore[attr-defined]  # noqa: SLF001
    rate.require("f")
    assert len(rate._storage.events) == 1  # noqa: SLF001


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("somewhere", "somewhere"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(address: str, client: str) -> None:
    assert client_of({"client": (address, 1234)}) == client
    assert client_of({}) == "unknown"


def test_an_announced_body_that_is_too_large_is_not_read(service: Service) -> None:
    head = b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 20000001\r\n"
    answer = service.exchange(head + b"Expect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")  # and no 100 Continue
    assert b'"code":"body_too_large"' in answer


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_still_reads_why(chunked: bool, service: Service) -> None:
    """Its connection is not reset while it writes."""
    piece = bytes(1_000_000)
    content = (piece for _ in range(30)) if chunked else piece * 30
    answer = service.client.post("/v1/assess", content=content)
    assert (answer.status_code, code_of(answer)) == (413, "body_too_large")
    assert service.client.get("/healthz").status_code == 200


def test_a_body_of_exactly_the_limit_is_read(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier, max_megabytes=len(lesion) / 1e6) as small:
        for chunks in (lesion, (lesion[:100], lesion[100:])):
            content = chunks if isinstance(chunks, bytes) else iter(chunks)
            assert small.client.post("/v1/assess", content=content).status_code == 200
        for chunks in (lesion + b"x", (lesion, b"x")):
            content = chunks if isinstance(chunks, bytes) else iter(chunks)
            assert small.client.post("/v1/assess", content=content).status_code == 413


def test_a_slow_body_is_given_up(micro_classifier: Classifier) -> None:
    head = b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"
    with running(micro_classifier, time_limit_s=0.2) as hasty:
        answer = hasty.exchange(head, b"a")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"slow_body"' in answer


@pytest.mark.parametrize("head", [b"", b"GET /healthz HT", b"POST /v1/assess HTTP/1.1\r\nHost: loc"])
def test_a_slow_head_is_given_up(head: bytes, micro_classifier: Classifier) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running(micro_classifier, time_limit_s=0.2) as hasty:
        assert hasty.exchange(head) == b""
        assert hasty.exchange(whole + head).startswith(b"HTTP/1.1 200 ")


def test_bodies_take_the_places_of_the_queue(micro_classifier: Classifier, lesion: bytes) -> None:
    """One works, one waits: the third is refused before its body is read, and health answers."""
    head = b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nConnection: close\r\n"
    with running(micro_classifier, queue_size=1) as small, small.occupied(2):
        answer = small.exchange(head + b"Expect: 100-continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"queue_full"' in answer
        assert b"retry-after: " in answer
        assert small.client.get("/healthz").status_code == 200
        assert small.client.get("/readyz").status_code == 200
        full = small.client.post("/v1/assess", content=lesion)
        assert int(full.headers["Retry-After"]) >= 1


def test_all_bodies_together_are_limited(micro_classifier: Classifier, lesion: bytes) -> None:
    """Of 1.5 MB, one that is not complete takes 0.9: another of 0.7 is refused, announced or in chunks."""
    head = b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    sizes = {"max_megabytes": 1.0, "bodies_megabytes": 1.5}
    with running(micro_classifier, **sizes) as small:
        bodies = small.app.state.bodies
        with socket.create_connection(("127.0.0.1", small.port), timeout=30) as first:
            first.sendall(head + b"Content-Length: 1000000\r\n\r\n" + bytes(900_000))
            small.until(lambda: bodies.size == 900_000)
            announced = small.exchange(head + b"Content-Length: 700000\r\nExpect: 100-continue\r\n\r\n")
            assert announced.startswith(b"HTTP/1.1 503 ")
            assert b'"code":"queue_full"' in announced
            assert b"retry-after: " in announced
            in_chunks = small.client.post("/v1/assess", content=(bytes(100_000) for _ in range(7)))
            assert (in_chunks.status_code, code_of(in_chunks)) == (503, "queue_full")
            assert small.call(lambda: bodies.size) == 900_000
            assert small.client.post("/v1/assess", content=lesion).status_code == 200
            first.sendall(bytes(100_000))
            assert first.recv(1000).startswith(b"HTTP/1.1 415 ")
        small.until(lambda: bodies.size == 0)
        assert small.client.post("/v1/assess", content=bytes(700_000)).status_code == 415


def test_what_a_body_inflates_to_is_counted(micro_classifier: Classifier) -> None:
    """0.9 MB of zeros are 1 kB deflated, and find no room beside 0.9 MB."""
    head = b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    path = f"/v2/models/{micro_classifier.manifest.name}/infer"
    deflated = zlib.compress(bytes(900_000))
    with running(micro_classifier, max_megabytes=1.0, bodies_megabytes=1.5) as small:
        with socket.create_connection(("127.0.0.1", small.port), timeout=30) as first:
            first.sendall(head + bytes(900_000))
            small.until(lambda: small.app.state.bodies.size == 900_000)
            answer = small.client.post(path, content=deflated, headers={"Content-Encoding": "deflate"})
            assert answer.status_code == 503
        small.until(lambda: small.app.state.bodies.size == 0)
        answer = small.client.post(path, content=deflated, headers={"Content-Encoding": "deflate"})
        assert answer.status_code == 422


def test_limits_hold_on_every_path(tmp_path: Path, micro_classifier: Classifier) -> None:
    with running(micro_classifier, max_megabytes=0.001) as small:
        for path in ("/v1/assess/batch", "/v1/report", "/v2/models/x/infer", "/nothing"):
            assert small.client.post(path, content=bytes(2000)).status_code == 413
