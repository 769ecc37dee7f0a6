"""A service on the micro-bundle: in a thread of this process, or as the command in one of its own."""

import asyncio
import contextlib
import datetime
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from fastapi import FastAPI

from edgeskin.classifier import Classifier
from edgeskin.service.app import create_app
from edgeskin.service.server import DrainingServer, config_of, listen
from edgeskin.service.settings import ServiceSettings
from tests.conftest import ROOT

PATIENCE_S = 30.0
"""Longest wait of a test for what should come at once."""


class LoopServer(DrainingServer):
    """A server that says which event loop it runs on."""

    loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)


@dataclass
class Service:
    """A running service. client: an HTTP client of it."""

    app: FastAPI
    server: LoopServer
    client: httpx.Client
    port: int

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function on the service's event loop."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.server.loop).result(PATIENCE_S)

    @contextlib.contextmanager
    def occupied(self, number: int = 1) -> Iterator[None]:
        """Fill the queue with so much work, which ends with the block."""
        done = threading.Event()
        waiting = self.app.state.queue
        futures = [
            asyncio.run_coroutine_threadsafe(waiting.run(done.wait), self.server.loop) for _ in range(number)
        ]
        busy = min(number, waiting.workers)
        self.until(lambda: waiting.busy == busy and waiting.waiting == number - busy)
        try:
            yield
        finally:
            done.set()
            for future in futures:
                with contextlib.suppress(Exception):
                    future.result(PATIENCE_S)
            self.until(lambda: waiting.busy == 0)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds on the service's event loop."""
        wait_until(lambda: self.call(holds))

    def exchange(self, *parts: bytes) -> bytes:
        """Send bytes on a connection, and read until the service closes it or PATIENCE_S pass."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            for part in parts:
                connection.sendall(part)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds, for PATIENCE_S at most."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError(f"it did not hold within {PATIENCE_S} s")


@contextlib.contextmanager
def running(classifier: Classifier, **changes: Any) -> Iterator[Service]:
    """A service with these settings, in a thread of this process."""
    settings = ServiceSettings(**({"port": 0} | changes))
    app, listener = create_app(classifier, settings), listen(settings)
    port = listener.getsockname()[1]
    server = LoopServer(config_of(app, settings), app, settings, f"http://127.0.0.1:{port}/")
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield Service(app, server, client, port)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def micro_classifier(shared_micro_bundle: Path) -> Iterator[Classifier]:
    with Classifier(shared_micro_bundle, threads=1) as classifier:
        yield classifier


@pytest.fixture(scope="session")
def service(micro_classifier: Classifier) -> Iterator[Service]:
    """A service with the defaults, which all tests share."""
    with running(micro_classifier) as shared:
        yield shared


@pytest.fixture(scope="session")
def lesion(lesion_jpg: Path) -> bytes:
    return lesion_jpg.read_bytes()


@pytest.fixture(scope="session")
def noise_png() -> bytes:
    """A picture of 10 MB, which no format compresses."""
    image = np.random.default_rng(5).integers(0, 256, (1850, 1850, 3)).astype(np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    pytest.importorskip("cryptography", reason="the extra sign is not installed")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


@dataclass
class Command:
    """`edgeskin serve` in a process. url: where it listens. lines: what its log said, as far as read."""

    process: "subprocess.Popen[str]"
    url: str
    client: httpx.Client
    output: "queue.SimpleQueue[str]"
    lines: list[dict[str, Any]] = field(default_factory=list)

    def event(self, name: str) -> dict[str, Any]:
        """The next line of the log with this event."""
        while True:
            line = json.loads(self.output.get(timeout=PATIENCE_S))
            self.lines.append(line)
            if line["event"] == name:
                return line

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        with contextlib.suppress(queue.Empty):
            while True:
                self.lines.append(json.loads(self.output.get(timeout=0.2)))
        return code


@contextlib.contextmanager
def command(
    bundle: Path, *arguments: str | Path | float, verify: Any = True, **environment: str
) -> Iterator[Command]:
    """`edgeskin serve` on a free port, until the block ends."""
    words = [sys.executable, "-m", "edgeskin", "serve", "--port", "0", "--bundle", str(bundle)]
    process = subprocess.Popen(
        [*words, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output: queue.SimpleQueue[str] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: [output.put(line) for line in process.stderr or ()], daemon=True)
    try:
        url = process.stdout.readline().strip()
        thread.start()
        assert url, process.wait(PATIENCE_S)
        with httpx.Client(base_url=url, timeout=PATIENCE_S, verify=verify) as client:
            yield Command(process, url, client, output)
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        thread.join(PATIENCE_S)
        process.stdout.close()
        process.stderr.close()


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """An assessment in JSON without its times, which differ each time."""
    return json.loads(json.dumps({key: value for key, value in result.items() if key != "timing_ms"}))
