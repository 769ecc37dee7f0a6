"""The application: routes, the page, health, and the headers that every answer has."""

import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeskin import NOTICE, __version__
from edgeskin.classifier import Classifier
from edgeskin.errors import EdgeskinError, RequestError, lack_of_resources
from edgeskin.service import api, kserve, logs, openapi
from edgeskin.service.error_bodies import UNFORESEEN, error_response
from edgeskin.service.limits import Bodies, Guard
from edgeskin.service.metrics import Metrics
from edgeskin.service.settings import ServiceSettings
from edgeskin.service.waiting_queue import WaitingQueue

STATIC = Path(__file__).parent / "static"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self)",
}
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(classifier: Classifier, settings: ServiceSettings) -> FastAPI:
    """The service, as an ASGI application.

    ``app.state.queue`` is its queue. ``app.state.draining`` turns ``/readyz`` to 503.
    ``app.state.bodies`` are the bodies in memory.

    Args:
        classifier: Which assesses. Its workers are the threads of the queue.
        settings: Of the service.
    """
    queue = WaitingQueue(classifier.engine.workers, settings.queue_size, settings.time_limit_s)
    metrics = Metrics(queue)
    routes = api.router(classifier, queue, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    app = FastAPI(
        title="edgeskin",
        version=__version__,
        description=NOTICE,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.queue, app.state.metrics, app.state.draining = queue, metrics, False
    app.state.bodies = Bodies(queue, settings.max_bodies)
    # The last one is outermost.
    app.add_middleware(Guard, settings=settings, bodies=app.state.bodies)
    app.add_middleware(Observer, metrics=metrics)
    app.add_exception_handler(HTTPException, _http_error)
    app.include_router(routes)
    app.include_router(kserve.router(classifier, queue, settings))
    _add_health(app, metrics)
    _add_page(app)
    openapi.complete(app, bool(settings.tokens))
    return app


class Observer:
    """Outermost middleware: gives each request an id, its answer the common headers, and one line in the log.

    It turns every exception into an answer, so neither the server nor the log shows its message.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Observe an application."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status, sent = 0, 0
        common = {**HEADERS, "X-Request-ID": request_id}
        if scope["path"] == "/" or scope["path"].startswith("/static/"):
            common |= PAGE_HEADERS

        async def observed_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(common)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except Exception as error:
            failure = _as_ours(error, request_id)
            scope["state"]["outcome"] = failure.code
            if status == 0:
                await error_response(failure, scope, request_id)(scope, receive, observed_send)
        finally:
            seconds = time.perf_counter() - started
            route = route_of(scope)
            self._metrics.answered(route, status, seconds)
            logs.request_line(
                scope["method"],
                request_id=request_id,
                route=route,
                status=status,
                ms=round(1e3 * seconds, 1),
                bytes=sent,
                outcome=scope["state"].get("outcome"),
            )


def route_of(scope: Scope) -> str:
    """The template of the route that answered, such as ``/v1/assess``; ``unmatched`` for none."""
    route = scope.get("route")
    return getattr(route, "path", None) or "unmatched"


def _as_ours(error: Exception, request_id: str) -> EdgeskinError:
    if isinstance(error, EdgeskinError):
        return error
    if isinstance(error, ClientDisconnect):
        return RequestError("the client left within its request", "client_gone")
    lack = lack_of_resources(error)
    if lack is not None:
        return lack
    logs.unforeseen(error, request_id)
    return RequestError(f"{UNFORESEEN} {request_id}", "internal")


async def _http_error(request: Request, error: Exception) -> Response:
    """The answer to an unknown path or a method that a path does not take."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        failure = RequestError(f"there is no {path!r:.80}; /openapi.json lists what there is", "not_found")
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        failure = RequestError(f"{path!r:.80} takes {allowed}, not {request.method}", "method_not_allowed")
    else:
        failure = RequestError(str(error.detail))
    request.state.outcome = failure.code
    response = error_response(failure, request.scope, request.state.request_id)
    response.headers.update(error.headers or {})
    return response


def _add_health(app: FastAPI, metrics: Metrics) -> None:
    async def health() -> Response:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    async def ready() -> Response:
        """Whether new requests are welcome."""
        if app.state.draining:
            return JSONResponse({"status": "draining"}, 503)
        return JSONResponse({"status": "ready"})

    async def measured() -> Response:
        """Metrics in Prometheus's text format."""
        return Response(metrics.text(), media_type=METRICS_TYPE)

    for path, endpoint in (("/healthz", health), ("/readyz", ready), ("/metrics", measured)):
        app.add_api_route(path, endpoint, methods=["GET"])
        app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def _add_page(app: FastAPI) -> None:
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    app.add_api_route("/", page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), "static")
