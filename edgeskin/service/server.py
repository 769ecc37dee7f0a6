"""uvicorn with draining: readiness ends, then the listener closes, and running requests are answered."""

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import threading
import time
import webbrowser
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from edgeskin.errors import ResourceError, SettingError
from edgeskin.service import logs
from edgeskin.service.connections import ACCEPTED_AT_ONCE, BoundedProtocol, StalledConnections, is_idle
from edgeskin.service.settings import ServiceSettings

WAITING_CONNECTIONS = 1024
"""Connections that may wait to be accepted."""
IDLE_GRACE_S = 0.5
"""Seconds in which idle clients may close their connections when the service ends."""


class DrainingServer(uvicorn.Server):
    """A server that drains at the first signal, and ends at once at the second.

    SIGTERM turns ``/readyz`` to 503, and the listener stays open for the drain delay, in which load balancers
    notice. SIGINT, by a person, closes it at once. Running requests are answered in both cases.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: ServiceSettings, url: str) -> None:
        """Serve an application. url: where it is reached."""
        super().__init__(config)
        self._app, self._settings, self.url = app, settings, url
        self._close_at = math.inf
        self._stalled = StalledConnections(settings.time_limit_s)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or end the process with 128 + the signal's number."""
        if self._app.state.draining:
            os._exit(128 + sig)
        self._app.state.draining = True
        delay = self._settings.drain_delay_s if sig == signal.SIGTERM else 0
        self._close_at = time.monotonic() + delay

    async def on_tick(self, counter: int) -> bool:
        """Whether the server ends now; uvicorn calls it every 0.1 s."""
        if time.monotonic() >= self._close_at:
            self.should_exit = True
        if counter % 10 == 0:
            self._stalled.close(self._connections())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with a longer queue in the system than the number of connections accepted at once."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(WAITING_CONNECTIONS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener and answer running requests, without waiting for idle connections."""
        ending = asyncio.create_task(self._abort_idle())
        await super().shutdown(sockets)
        ending.cancel()

    async def _abort_idle(self) -> None:
        """End connections whose clients do not close them. With TLS, asyncio would wait 30 s for that."""
        while True:
            await asyncio.sleep(IDLE_GRACE_S)
            for connection in filter(is_idle, self._connections()):
                if not connection.transport.get_write_buffer_size():
                    connection.transport.abort()

    def _connections(self) -> list[Any]:
        return list(self.server_state.connections)


def listen(settings: ServiceSettings) -> socket.socket:
    """A socket bound to the host and port. Raises SettingError if another program has the port."""
    place = f"{settings.host} port {settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingError(f"{place}: no such address ({error.strerror}); choose another --host") from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise SettingError(f"{place}: cannot listen ({error.strerror}); choose another --port") from error
    return listener


def config_of(app: FastAPI, settings: ServiceSettings) -> uvicorn.Config:
    """How uvicorn serves an application."""
    return uvicorn.Config(
        app,
        http=BoundedProtocol,  # h11, which limits the size of a request's head
        backlog=ACCEPTED_AT_ONCE,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(2 * settings.time_limit_s),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def serve(app: FastAPI, settings: ServiceSettings, listener: socket.socket, open_page: bool = False) -> None:
    """Serve until a signal ends it.

    The address is printed to stdout once the service is ready, and the log goes to stderr.

    Args:
        app: Of `edgeskin.service.app.create_app`.
        settings: Of the service.
        listener: Of `listen`.
        open_page: Whether to open the page in the user's browser.
    """
    config = config_of(app, settings)
    try:
        config.load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingError(
            f"{settings.tls_cert}, {settings.tls_key}: not a certificate and its key in PEM ({error})"
        ) from error
    _log_to_stderr()
    server = DrainingServer(config, app, settings, url_of(settings, listener))
    threading.Thread(target=_announce, args=(server, open_page), daemon=True).start()
    server.run([listener])
    logs.event("stopped")


def url_of(settings: ServiceSettings, listener: socket.socket) -> str:
    """The address of the page, for a browser on this machine."""
    scheme = "http" if settings.tls_cert is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{listener.getsockname()[1]}/"


def _announce(server: DrainingServer, open_page: bool) -> None:
    while not server.started:
        time.sleep(0.01)
    logs.event("ready", url=server.url)
    with contextlib.suppress(
        OSError, ResourceError
    ):  # stdout may be closed or full; the log has the address too
        print(server.url, flush=True)
    if open_page and not _is_opened(server.url):
        logs.event("page_not_opened", logging.WARNING, url=server.url)


def _is_opened(url: str) -> bool:
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def _log_to_stderr() -> None:
    """Send the log of the service, and the warnings of all others, to stderr as JSON."""
    handler = logs.JsonHandler()
    for name, level in (
        ("edgeskin", logging.INFO),
        ("uvicorn", logging.WARNING),
        ("asyncio", logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False
