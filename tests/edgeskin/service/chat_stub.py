"""A stub of an OpenAI-compatible endpoint, which answers as a test asks and keeps what it was sent."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = "The risk of cancer is high. Please see a dermatologist urgently."


def completion(words: Any, finish_reason: str | None = "stop") -> bytes:
    """The body of an answer, as the interface has it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": finish_reason}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()


@dataclass
class Endpoint:
    """A stub endpoint: what it answers, and what it was asked."""

    url: str
    status: int = 200
    body: bytes = completion(GOOD)
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0
    drip_s: float = 0
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    go_on: threading.Event | None = None
    at_once: int = 0
    most_at_once: int = 0


class Handler(BaseHTTPRequestHandler):
    """Answers as the endpoint of its server says."""

    def do_POST(self) -> None:
        endpoint: Endpoint = self.server.endpoint  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        endpoint.asked.append((self.path, dict(self.headers), body))
        endpoint.at_once += 1
        endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
        time.sleep(endpoint.delay_s)
        if endpoint.go_on is not None:
            endpoint.go_on.wait(20)
        endpoint.at_once -= 1
        try:
            self.send_response(endpoint.status)
            for name, value in endpoint.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(endpoint.body)))
            self.end_headers()
            for start in range(0, len(endpoint.body), 4 if endpoint.drip_s else 65536):
                self.wfile.write(endpoint.body[start : start + (4 if endpoint.drip_s else 65536)])
                self.wfile.flush()
                time.sleep(endpoint.drip_s)
        except OSError:  # the client has gone, as some tests want
            self.close_connection = True

    def do_GET(self) -> None:
        self.server.endpoint.asked.append((self.path, {}, b""))  # type: ignore[attr-defined]
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running_stub() -> Iterator[Endpoint]:
    """A stub on a free port of loopback, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    server.endpoint = endpoint  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield endpoint
    server.shutdown()
    server.server_close()
    thread.join()
