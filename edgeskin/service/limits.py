"""Checks on a request before a route sees it: host, origin, rate, token, and the size of its body.

One pure ASGI middleware, as a chain of checks. The cheapest come first, and none reads the body.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Iterable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeskin.errors import RequestError
from edgeskin.service.settings import ServiceSettings
from edgeskin.service.waiting_queue import WaitingQueue

HEALTH = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
MAX_CLIENTS = 10_000
"""Clients that are counted individually; any more share one count."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")


class Guard:
    """Middleware that refuses requests, by raising RequestError, and limits the body of the others."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, bodies: "Bodies") -> None:
        """Guard an application by the settings of the service.

        A request with a body has ``request.state.body``, its place among the bodies. A route that is done
        with the body and still waits for something else leaves it.
        """
        self._app, self._settings, self._bodies = app, settings, bodies
        self._tokens = Tokens(settings.tokens)
        self._rate = None if settings.rate_limit is None else RateLimit(settings.rate_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as ASGI asks. Raises RequestError where it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not (scope["path"] in HEALTH and "host" not in headers):  # a health check by HTTP/1.0
            require_known_host(headers.get("host", ""), self._settings.known_hosts)
        if scope["method"] not in SAFE_METHODS:
            require_same_origin(headers)
        if not is_open(scope["path"]):
            if self._rate is not None:
                self._rate.require(client_of(scope))
            self._tokens.require(headers.get("authorization", ""))
        body = LimitedBody(receive, self._settings.max_body, self._settings.time_limit_s)
        announced = body.require_length(headers.get("content-length", ""))
        if scope["method"] in SAFE_METHODS:
            await self._app(scope, body.receive, send)
            return
        place = self._bodies.enter(announced)
        scope.setdefault("state", {})["body"] = place

        async def receive_counted() -> Message:
            message = await body.receive()
            place.add(len(message.get("body", b"")))
            return message

        async def send_without_body(message: Message) -> None:
            place.leave()  # a client that reads slowly holds no place
            await send(message)

        try:
            await self._app(scope, receive_counted, send_without_body)
        finally:
            place.leave()


class Bodies:
    """The bodies that are in memory, while they are read and while their photos wait.

    Attributes:
        size: Bytes of all of them.
    """

    def __init__(self, queue: WaitingQueue, limit: int) -> None:
        """Let in a body for each place in the queue and each worker. limit: bytes of all together."""
        self._queue, self._limit = queue, limit
        self._places: set[BodyPlace] = set()

    @property
    def size(self) -> int:
        """Bytes of all bodies."""
        return sum(place.size for place in self._places)

    def enter(self, announced: int) -> "BodyPlace":
        """Take a place for a body. announced: its bytes, 0 if unknown.

        Raises:
            RequestError: There is no place or too little memory (``queue_full``).
        """
        if len(self._places) >= self._queue.size + self._queue.workers:
            raise self._full(f"{len(self._places)} requests are being read or answered already")
        self.require_room(announced)
        place = BodyPlace(self)
        self._places.add(place)
        return place

    def leave(self, place: "BodyPlace") -> None:
        """Forget a body."""
        self._places.discard(place)

    def require_room(self, number: int) -> None:
        """Raise RequestError (``queue_full``) unless this number of further bytes fits."""
        if self.size + number > self._limit:
            raise self._full(f"the photos of other requests take {self.size / 1e6:.0f} MB already")

    def _full(self, reason: str) -> RequestError:
        return RequestError(f"{reason}; try again in some seconds", "queue_full", self._queue.retry_after)


class BodyPlace:
    """The place of one body. size: its bytes in memory."""

    def __init__(self, bodies: Bodies) -> None:
        """Start with 0 bytes."""
        self._bodies, self.size = bodies, 0

    def add(self, number: int) -> None:
        """Count further bytes. Raises RequestError (``queue_full``) if they are too many for all bodies."""
        self._bodies.require_room(number)
        self.size += number

    def leave(self) -> None:
        """Give the place back."""
        self._bodies.leave(self)


def is_open(path: str) -> bool:
    """Whether a path needs no token and is not counted: health, the page and its files."""
    return path == "/" or path in HEALTH or path.startswith("/static/")


def require_known_host(host: str, known: frozenset[str] | None) -> None:
    """Raise RequestError unless a Host header names this service.

    Otherwise a page of another site could reach a service on loopback through its own name, made to resolve
    to 127.0.0.1 (DNS rebinding), and its requests would count as same-origin.

    Args:
        host: The header.
        known: Names in lower case; None for any.
    """
    if known is None:
        return
    parts = _HOST.fullmatch(host.lower())
    if parts is None or (parts["address"] or parts["name"].removesuffix(".")) not in known:
        raise RequestError(
            f"host {host!r} is not a name of this service; add it with --allowed-host", "unknown_host"
        )


def require_same_origin(headers: Headers) -> None:
    """Raise RequestError where a browser shows that a page of another origin sends data.

    Another port of this machine is another origin too. Browsers leave ``Sec-Fetch-Site`` (Fetch Metadata) out
    over plain HTTP to other machines, but not ``Origin``. Other clients send neither.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_foreign = origin is not None and not _is_origin_of(origin, headers.get("host", ""))
    if is_foreign or site not in (None, "same-origin", "none"):
        raise RequestError("a page of another site sent this; use the service's own page", "cross_site")


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether an Origin header, such as ``https://example.org``, names the place of a Host header."""
    scheme, separator, place = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    if not separator or default is None:
        return False
    return place.removesuffix(default) == host.lower().removesuffix(default)


class Tokens:
    """Bearer tokens (RFC 6750), of which only hashes are kept."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """Keep hashes of tokens. Without tokens, everyone is let in."""
        self._hashes = [_hash(token) for token in tokens]

    def require(self, authorization: str) -> None:
        """Raise RequestError unless the header carries one of the tokens."""
        scheme, _, token = authorization.partition(" ")
        presented = _hash(token.strip())
        # All are compared, so the time does not show which one matches.
        matches = [hmac.compare_digest(presented, one) for one in self._hashes]
        if self._hashes and not (scheme.lower() == "bearer" and any(matches)):
            raise RequestError("send a valid token as 'Authorization: Bearer TOKEN'", "unauthorized")


class RateLimit:
    """A limit on the requests of each client, in a moving window of one minute."""

    def __init__(self, requests: int) -> None:
        """Allow this number of requests a minute."""
        self._item = RateLimitItemPerMinute(requests)
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)

    def require(self, client: str) -> None:
        """Count a request of a client. Raises RequestError if it is one too many."""
        key = client if self._has_room(client) else "others"
        if not self._limiter.hit(self._item, key):
            wait = self._limiter.get_window_stats(self._item, key).reset_time - time.time()
            raise RequestError(
                f"more than {self._item.amount} requests a minute; wait",
                "rate_limited",
                max(1, round(wait + 0.5)),
            )

    def _has_room(self, client: str) -> bool:
        events = self._storage.events
        if self._item.key_for(client) in events or len(events) < MAX_CLIENTS:
            return True
        for key in [key for key, entries in list(events.items()) if not entries]:
            self._storage.clear(key)  # the storage itself never forgets a key
        return len(events) < MAX_CLIENTS


class LimitedBody:
    """The body of a request while it is received, limited in bytes and in seconds."""

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        """Limit the body that an ASGI server receives. limit: bytes."""
        self._receive, self._limit, self._seconds = receive, limit, seconds
        self._size = 0
        self._is_complete = False
        self._deadline: float | None = None

    def require_length(self, content_length: str) -> int:
        """The bytes that the header announces, 0 for an unknown number. Raises RequestError if too many."""
        announced = int(content_length) if content_length.isascii() and content_length.isdigit() else 0
        if announced > self._limit:
            raise self._too_large()
        return announced

    async def receive(self) -> Message:
        """The next message. Raises RequestError (``body_too_large``, ``slow_body``)."""
        if self._is_complete:  # only the end of the connection can follow
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._deadline = self._deadline or loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RequestError(f"the body did not arrive within {self._seconds:g} s", "slow_body") from None
        self._size += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if self._size > self._limit:
            raise self._too_large()
        return message

    def _too_large(self) -> RequestError:
        return RequestError(
            f"the body has more than {self._limit / 1e6:g} MB; send a smaller picture", "body_too_large"
        )


def client_of(scope: Scope) -> str:
    """The client that a rate limit counts: its IPv4 address, or its IPv6 network, as a household has one."""
    text = str((scope.get("client") or ("unknown", 0))[0])
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return text
    mapped = address.ipv4_mapped  # an IPv4 client of a service that listens on IPv6
    return str(mapped or ipaddress.ip_network(f"{address}/64", strict=False))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
