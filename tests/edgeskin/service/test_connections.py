"""Connections that hold what others need: too many, silent, unread, or far ahead of their answers."""

import contextlib
import socket
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from edgeskin.classifier import Classifier
from edgeskin.service import connections
from edgeskin.service.connections import MOST_CONNECTIONS, BoundedProtocol, most_connections
from tests.edgeskin.service.conftest import PATIENCE_S, running, wait_until

POST = b"POST /v1/assess?age=%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"


def test_connections_are_counted(micro_classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3, the fourth is refused; it has no answer, and the others are none the worse."""
    monkeypatch.setattr(BoundedProtocol, "most", 3)
    with running(micro_classifier) as small:
        assert small.client.get("/healthz").status_code == 200  # and its connection stays open
        held = [socket.create_connection(("127.0.0.1", small.port), timeout=PATIENCE_S) for _ in range(2)]
        small.until(lambda: len(small.server.server_state.connections) == 3)
        with contextlib.suppress(ConnectionError):
            assert small.exchange(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
        assert small.client.get("/healthz").status_code == 200
        held.pop().close()
        small.until(lambda: len(small.server.server_state.connections) == 2)
        assert small.exchange(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        held.pop().close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="of Linux's limits")
def test_connections_leave_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    for soft, most in ((256, 128), (1024, 896), (10**6, MOST_CONNECTIONS), (64, 1), (-1, MOST_CONNECTIONS)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert most_connections() == most


def test_a_client_that_reads_nothing_holds_no_place(micro_classifier: Classifier, lesion: bytes) -> None:
    """Its answers fill all buffers. The queue has room for others, and its connection is ended in time."""
    unread = POST % (b"%00" * 4500)
    with running(micro_classifier, queue_size=1, time_limit_s=2) as small, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", small.port))
        client.setblocking(False)
        all_connections = small.server.server_state.connections

        def is_stuck() -> bool:
            with contextlib.suppress(BlockingIOError):
                client.sendall(unread * 20)
            return any(one.flow.write_paused for one in list(all_connections))

        wait_until(is_stuck)
        assert small.call(lambda: small.app.state.bodies.size) == 0
        assert small.client.post("/v1/assess", content=lesion).status_code == 200
        small.until(lambda: not any(one.flow.write_paused for one in all_connections))


def test_a_client_far_ahead_of_its_answers_is_ended(
    micro_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_PIPELINED", 100_000)
    with running(micro_classifier) as small, small.occupied():
        with pytest.raises(ConnectionError):
            small.exchange(*[POST % b"1" * 100] * 10_000)
        assert small.client.get("/healthz").status_code == 200


def test_a_few_requests_ahead_are_answered(micro_classifier: Classifier) -> None:
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with running(micro_classifier) as small:
        answers = small.exchange((POST % b"1") * 20 + last)
    assert answers.count(b"HTTP/1.1 415 ") == 20
    assert answers.count(b"HTTP/1.1 200 ") == 1
