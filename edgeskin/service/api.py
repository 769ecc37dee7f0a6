"""The routes below /v1."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgeskin import NOTICE, __version__
from edgeskin.classifier import Classifier
from edgeskin.decision.limitations import SITES
from edgeskin.errors import EdgeskinError, PhotoError, RequestError, ResourceError
from edgeskin.explain.target import CANCER
from edgeskin.imaging.change import compare_photos
from edgeskin.photo.headers import read_header
from edgeskin.report import figures, html
from edgeskin.results import Assessment, Failure, Method, to_plain
from edgeskin.service.error_bodies import error_fields, http_status
from edgeskin.service.metrics import Metrics
from edgeskin.service.options import ASSESS, CONTEXT, AssessOptions, assess_options, patient_context
from edgeskin.service.settings import ServiceSettings
from edgeskin.service.uploads import PHOTO, Upload, read_form
from edgeskin.service.waiting_queue import WaitingQueue
from edgeskin.taxonomy import full_name

T = TypeVar("T")

MEDIA_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json", "png": "image/png"}
"""Of a report, by its format."""


class Api:
    """The routes, on one classifier behind one queue."""

    def __init__(
        self, classifier: Classifier, queue: WaitingQueue, settings: ServiceSettings, metrics: Metrics
    ) -> None:
        """Answer requests by a classifier, one photo a piece of work in the queue."""
        self._classifier, self._queue = classifier, queue
        self._settings, self._metrics = settings, metrics

    async def assess(self, request: Request) -> Response:
        """Assess one photo."""
        result = await self._assess(request, None)
        return self._assessment(request, result)

    async def explain(self, request: Request) -> Response:
        """Assess one photo with a map of the evidence; with `Accept: image/png`, the map alone."""
        result = await self._assess(request, "grad-cam")
        if "image/png" not in request.headers.get("accept", ""):
            return self._assessment(request, result)
        if result.explanation is None or result.pixels is None:
            return JSONResponse(result.to_dict(), max(422, _status(result)))
        layer = partial(figures.evidence_layer, result.explanation, len(result.pixels.square))
        png = await self._run(request, lambda: figures.encode_png(layer()))
        return Response(png, media_type="image/png")

    async def batch(self, request: Request) -> Response:
        """Assess several photos; one that cannot be read is a row as any other."""
        self._queue.require_room()
        form = await read_form(request, ASSESS, {PHOTO: self._settings.photos_at_once})
        options = assess_options(form.options, self._classifier)
        works = [partial(self._row, photo, options) for photo in form.photos[PHOTO]]
        results = await while_connected(request, self._queue.run_all(works))
        for result in results:
            self._metrics.assessments.labels(result.status).inc()
        return JSONResponse({"results": [result.to_dict() for result in results]})

    async def report(self, request: Request) -> Response:
        """A report of one photo, with a map of the evidence."""
        self._queue.require_room()
        form = await read_form(request, (*ASSESS, "format"))
        kind = form.options.get("format", "html")
        if kind not in MEDIA_TYPES:
            raise RequestError(f"format {kind!r}: choose {', '.join(MEDIA_TYPES)}")
        options = assess_options(form.options, self._classifier, "grad-cam")
        now = datetime.now().astimezone()

        def work() -> tuple[Assessment, bytes]:
            result = self._row(form.photo, options)
            is_read = result.status != "error"
            return result, html.encode(result, Path(f"report.{kind}"), now) if is_read else b""

        result, content = await self._run(request, work)
        self._metrics.assessments.labels(result.status).inc()
        if result.status == "error":
            return self._assessment(request, result)
        return Response(content, media_type=MEDIA_TYPES[kind])

    async def quality(self, request: Request) -> Response:
        """Measure the quality of one photo, without the network, such as while a camera is held."""
        self._queue.require_room()
        photo = (await read_form(request, ())).photo

        def work() -> Any:
            require_pixels(photo.content, self._settings.max_megapixels)
            return to_plain(self._classifier.assess_quality(photo.content))

        return JSONResponse(await self._run(request, work))

    async def compare(self, request: Request) -> Response:
        """Compare two photos of one lesion: parts `before` and `after`."""
        self._queue.require_room()
        form = await read_form(request, CONTEXT, {"before": 1, "after": 1})
        options = AssessOptions("grad-cam", CANCER, 0, 0, patient_context(form.options))
        works = [partial(self._row, form.photos[part][0], options) for part in ("before", "after")]
        before, after = await while_connected(request, self._queue.run_all(works))
        try:
            comparison = await self._run(request, partial(compare_photos, before, after))
        except EdgeskinError as error:
            status = http_status(type(error).__name__, error.code)
            alone = {"before": before.to_dict(), "after": after.to_dict()}
            return JSONResponse({"error": error_fields(error), **alone}, status)
        return JSONResponse(comparison.to_dict())

    async def model(self) -> Response:
        """What the service runs, and what requests may ask for."""
        classifier, settings = self._classifier, self._settings
        rules, model = classifier.rules, classifier.model
        return JSONResponse(
            {
                **{key: value for key, value in to_plain(model).items() if key != "classes"},
                "edgeskin": __version__,
                "classes": [
                    {"code": code, "name": full_name(code), "cancer": code in rules.cancer_classes}
                    for code in rules.classes
                ],
                "operating_points": to_plain(rules.operating_points),
                "methods": get_args(Method),
                "targets": [CANCER, *rules.classes],
                "sites": SITES,
                "gates": {"quality": classifier.quality_gate, "scope": classifier.scope_gate},
                "limits": {
                    "max_megabytes": settings.max_megabytes,
                    "max_megapixels": settings.max_megapixels,
                    "batch": settings.photos_at_once,
                    "time_limit_s": settings.time_limit_s,
                    "requests_per_minute": settings.rate_limit,
                },
                "wording": getattr(settings, "wording", None) is not None,
                "records": settings.records is not None,
                "notice": NOTICE,
            }
        )

    async def _assess(self, request: Request, method: Method | None) -> Assessment:
        self._queue.require_room()
        form = await read_form(request, ASSESS)
        options = assess_options(form.options, self._classifier, method)
        result = await self._run(request, partial(self._row, form.photo, options))
        self._metrics.assessments.labels(result.status).inc()
        return result

    async def _run(self, request: Request, work: Callable[[], T]) -> T:
        return await while_connected(request, self._queue.run(work))

    def _row(self, photo: Upload, options: AssessOptions) -> Assessment:
        return assess_upload(self._classifier, photo, options, self._settings.max_megapixels)

    def _assessment(self, request: Request, result: Assessment) -> Response:
        return JSONResponse(result.to_dict(), _status(result))


def router(
    classifier: Classifier, queue: WaitingQueue, settings: ServiceSettings, metrics: Metrics
) -> APIRouter:
    """The routes of `Api`."""
    api, routes = Api(classifier, queue, settings, metrics), APIRouter(prefix="/v1")
    posts = {
        "/assess": api.assess, "/assess/batch": api.batch, "/explain": api.explain, "/report": api.report,
        "/quality": api.quality, "/compare": api.compare,
    }  # fmt: skip
    for path, endpoint in posts.items():
        routes.add_api_route(path, endpoint, methods=["POST"])
    routes.add_api_route("/model", api.model, methods=["GET", "HEAD"])
    return routes


def assess_upload(
    classifier: Classifier, photo: Upload, options: AssessOptions, max_megapixels: float
) -> Assessment:
    """Assess a photo; one that cannot be read gives an assessment of status ``error``.

    Raises:
        SettingError: An option is out of range.
        EdgeskinError: The network failed.
    """
    try:
        require_pixels(photo.content, max_megapixels)
        return classifier.assess(photo.content, name=photo.name, **options.arguments())
    except (PhotoError, ResourceError) as error:
        message = f"{photo.name}: {str(error).removeprefix('<bytes>: ')}"
        failure = Failure(type(error).__name__, message, error.code)
        return Assessment(
            image=photo.name, status="error", model=classifier.model, timing_ms={}, error=failure
        )


def require_pixels(content: bytes, megapixels: float) -> None:
    """Raise PhotoError unless the header of a picture file has at most so many megapixels."""
    if not content:
        return  # whoever reads it says so
    header = read_header(content)
    if header.width * header.height > 1e6 * megapixels:
        raise PhotoError(
            f"the picture has {header.width} x {header.height} pixels, but the limit of this service is "
            f"{megapixels:g} megapixels; make it smaller",
            "too_many_pixels",
        )


async def while_connected(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """Await an answer, but give it up where the client leaves. The body has been read.

    Raises:
        RequestError: The client left (code ``client_gone``).
    """
    task, gone = asyncio.ensure_future(answer), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise RequestError("the client left before its answer", "client_gone")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


def _status(result: Assessment) -> int:
    return 200 if result.error is None else http_status(result.error.type, result.error.code)
