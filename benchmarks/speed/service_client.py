"""Servers in processes of their own, and a light client that loads them over loopback.

The client is one thread on asyncio streams. It sends the same bytes again over connections that stay open,
and reads no more of an answer than its status and length. It shares the machine's cores with the server.
"""

import asyncio
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from edgeskin.errors import EdgeskinError

BOUNDARY = "edgeskin-benchmark"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEALTH_PAUSE_S = 0.05
ANSWER_LIMIT_S = 60.0
LOST = "lost"
"""Counts requests without an answer, among the statuses of errors."""


@dataclass(frozen=True)
class Server:
    """A running server. port: of 127.0.0.1. pid: of its process."""

    port: int
    pid: int

    @property
    def resident_mb(self) -> float:
        """Its resident memory in MB (10^6 bytes), on Linux."""
        status = Path(f"/proc/{self.pid}/status").read_text().partition("VmRSS:")[2]
        return int(status.split()[0]) * 1024 / 1e6

    def open_files(self) -> set[str]:
        """Files on disk that it has open, on Linux; a deleted one ends in ``(deleted)``."""
        found = set()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                target = str(entry.readlink())
                if target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/sys/")):
                    found.add(target)
        return found


@dataclass
class Load:
    """What a load measured.

    Attributes:
        seconds: From the first request to the last answer.
        latencies_ms: Of the requests that were answered with status 200.
        errors: How many others there were, by status, or LOST.
        health_ms: Of the requests for /healthz meanwhile.
        client_cpu: Share of one core that the client took.
    """

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    health_ms: list[float] = field(default_factory=list)
    client_cpu: float = 0.0


@contextmanager
def serving(command: Sequence[str], folder: Path, environment: dict[str, str]) -> Iterator[Server]:
    """Start a server, which prints its address once it is ready, and end it with the context.

    Args:
        command: That starts it.
        folder: Its working folder. Its messages go to server.log beside it.
        environment: Variables besides those of this process.

    Raises:
        EdgeskinError: It ended instead; the message has its last words.
    """
    log = folder.with_suffix(".log")
    with log.open("wb") as messages:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            cwd=folder,
            env=os.environ | environment,
        )
    assert process.stdout
    try:
        port = urlsplit(process.stdout.readline().strip()).port
        if port is None:
            raise EdgeskinError(f"{' '.join(command)} has ended: {log.read_text()[-500:]}")
        yield Server(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()
            process.stdout.close()


def upload(content: bytes, path: str = "/v1/assess") -> bytes:
    """A whole request that sends a photo as multipart."""
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="photo.jpg"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + content
    body += f"\r\n--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """A connection that is opened when it is needed, and again after it was closed."""

    def __init__(self, port: int) -> None:
        """Connect to a port of 127.0.0.1, later."""
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request and return the answer's status.

        Raises:
            OSError: The connection cannot be made, or it broke.
            EOFError: It was closed within the answer.
            TimeoutError: There was no answer in ANSWER_LIMIT_S.
        """
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._streams
                writer.write(request)
                await writer.drain()
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                await reader.readexactly(length)
        except BaseException:
            await self.close()
            raise
        if b"connection: close" in head:
            await self.close()
        return int(head.split(b" ", 2)[1])

    async def close(self) -> None:
        """Close it, if it is open."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def load(
    server: Server,
    request: bytes,
    clients: int,
    *,
    seconds: float,
    most: int,
    every: int = 0,
    reached: Callable[[int], None] = lambda _: None,
) -> Load:
    """Let clients send a request again and again, each the next one after its answer.

    Args:
        server: Which answers.
        request: A whole request.
        clients: So many at once.
        seconds: After which no request is sent.
        most: Requests at most.
        every: Calls `reached` after each so many answers; 0 for never.
        reached: Is given the number of answers.
    """
    return asyncio.run(_load(server, request, clients, seconds, most, every, reached))


async def _load(
    server: Server,
    request: bytes,
    clients: int,
    seconds: float,
    most: int,
    every: int,
    reached: Callable[[int], None],
) -> Load:
    measured = Load()
    sent = answered = 0
    started, cpu = time.perf_counter(), time.process_time()

    async def client() -> None:
        nonlocal sent, answered
        connection = Connection(server.port)
        while sent < most and time.perf_counter() - started < seconds:
            sent += 1
            begun = time.perf_counter()
            try:
                status = await connection.ask(request)
            except (OSError, EOFError):
                measured.errors[LOST] += 1
                continue
            if status == 200:
                measured.latencies_ms.append(1e3 * (time.perf_counter() - begun))
            else:
                measured.errors[str(status)] += 1
            answered += 1
            if every and answered % every == 0:
                reached(answered)
        await connection.close()

    async def health() -> None:
        connection = Connection(server.port)
        try:
            while True:
                begun = time.perf_counter()
                await connection.ask(HEALTH)
                measured.health_ms.append(1e3 * (time.perf_counter() - begun))
                await asyncio.sleep(HEALTH_PAUSE_S)
        finally:
            await connection.close()

    watching = asyncio.create_task(health())
    await asyncio.gather(*(client() for _ in range(clients)))
    measured.seconds = time.perf_counter() - started
    measured.client_cpu = (time.process_time() - cpu) / measured.seconds
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return measured
