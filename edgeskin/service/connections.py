"""Limits on what clients hold beside their requests: connections, unread answers and early requests."""

import asyncio
import sys
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgeskin.service import logs

ACCEPTED_AT_ONCE = 16
"""Connections that the event loop accepts in one step, before it can refuse any."""
RESERVE = 128
"""File descriptors left for everything else, and for connections about to be refused."""
MOST_CONNECTIONS = 1000
MOST_PIPELINED = 2**20
"""Bytes that a client may send after a request before it is answered. uvicorn stops reading then, but each
answer lets another piece in."""
_PAUSE_S = 60.0


def most_connections() -> int:
    """Connections that the process has descriptors for, MOST_CONNECTIONS at most."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft < 0 else max(1, min(MOST_CONNECTIONS, soft - RESERVE))


class BoundedProtocol(H11Protocol):
    """A connection that is refused if there are too many, and ended if its client sends too far ahead."""

    most = most_connections()
    _warned_at = -_PAUSE_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it: an event loop without descriptors keeps failing to accept."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            now = time.monotonic()
            if now - BoundedProtocol._warned_at >= _PAUSE_S:
                BoundedProtocol._warned_at = now
                logs.event("too_many_connections", most=self.most)
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        super().data_received(data)
        if self.conn.their_state is h11.DONE and len(self.conn.trailing_data[0]) > MOST_PIPELINED:
            self.transport.abort()


class StalledConnections:
    """Closes connections on which nothing moves: no request begins, or an answer is not read."""

    def __init__(self, seconds: float) -> None:
        """Give each connection this many seconds."""
        self._seconds = seconds
        self._since: dict[Any, tuple[tuple[Any, int], float]] = {}

    def close(self, connections: list[Any]) -> None:
        """Close those of uvicorn's connections that have not moved in time. Call it every second or so.

        uvicorn itself waits for ever for the rest of a request's head, and for a client to read its answer.
        """
        now = time.monotonic()
        since: dict[Any, tuple[tuple[Any, int], float]] = {}
        for connection in connections:
            unread = connection.transport.get_write_buffer_size()
            if not unread and not is_idle(connection):
                continue
            state = connection.cycle, unread
            earlier, start = self._since.get(connection, (state, now))
            since[connection] = state, start if earlier == state else now
        self._since = since
        for connection, ((_, unread), start) in since.items():
            if now - start > self._seconds:
                # Closing would wait until the rest is read.
                (connection.transport.abort if unread else connection.transport.close)()


def is_idle(connection: Any) -> bool:
    """Whether no request is in progress on a connection: uvicorn's ``cycle`` is None before the first one."""
    return connection.cycle is None or connection.cycle.response_complete
