"""The routes below /v1."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgeskin import NOTICE, __version__
from edgeskin.arrays import Image
from edgeskin.classifier import Classifier
from edgeskin.decision.limitations import SITES
from edgeskin.errors import (
    BundleError,
    EdgeskinError,
    PhotoError,
    RequestError,
    ResourceError,
    SettingError,
)
from edgeskin.explain.target import CANCER
from edgeskin.imaging.change import Comparison, compare_photos
from edgeskin.photo.headers import read_header
from edgeskin.report import figures, html
from edgeskin.results import Assessment, Failure, Method, Quality, to_plain
from edgeskin.service import logs
from edgeskin.service.error_bodies import UNFORESEEN, error_fields, http_status
from edgeskin.service.openapi import BINARY, photo_operation
from edgeskin.service.options import ASSESS, CONTEXT, AssessOptions, assess_options, patient_context
from edgeskin.service.records import Records
from edgeskin.service.schema import Schema, reference
from edgeskin.service.settings import ServiceSettings
from edgeskin.service.texts import Language, find_language
from edgeskin.service.uploads import PHOTO, DecodedPhoto, Upload, read_form
from edgeskin.service.waiting_queue import WaitingQueue
from edgeskin.service.wording import Wording
from edgeskin.taxonomy import full_name

T = TypeVar("T")

MEDIA_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json", "png": "image/png"}
"""Of a report, by its format."""


class Api:
    """The routes, on one classifier behind one queue."""

    def __init__(self, classifier: Classifier, queue: WaitingQueue, settings: ServiceSettings) -> None:
        """Answer requests by a classifier, one photo a piece of work in the queue.

        Raises SettingError where the folder for records is not usable.
        """
        self._classifier, self._queue, self._settings = classifier, queue, settings
        self._records = None if settings.records is None else Records(settings.records)
        self._wording = Wording(settings.wording)

    async def assess(self, request: Request) -> Response:
        """Assess one photo."""
        self._queue.require_room()
        form = await read_form(request, ASSESS)
        options = assess_options(form.options, self._classifier)
        result = await self._run(request, partial(self._recorded, request, form.photo, options))
        note_outcomes(request, result)
        return _answer(result)

    async def explain(self, request: Request) -> Response:
        """Assess one photo with a map of the evidence; with `Accept: image/png`, the map alone."""
        self._queue.require_room()
        form = await read_form(request, ASSESS)
        options = assess_options(form.options, self._classifier, "grad-cam")
        as_picture = "image/png" in request.headers.get("accept", "")

        def work() -> tuple[Assessment, bytes | None]:
            result = self._one(form.photo, options)
            return result, _map_alone(result) if as_picture else None

        result, picture = await self._run(request, work)
        note_outcomes(request, result)
        if picture is not None:
            return Response(picture, media_type="image/png")
        if as_picture and result.error is None:
            return JSONResponse(result.to_dict(), 422)
        return _answer(result)

    async def batch(self, request: Request) -> Response:
        """Assess several photos; one that fails still gets its row."""
        self._queue.require_room()
        form = await read_form(request, ASSESS, {PHOTO: self._settings.photos_at_once})
        options = assess_options(form.options, self._classifier)
        shared = (options, self._settings.max_megapixels, request.state.request_id)
        works = [partial(assess_row, self._classifier, photo, *shared) for photo in form.photos[PHOTO]]
        results = await while_connected(request, self._queue.run_all(works))
        note_outcomes(request, *results)
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
            result = self._one(form.photo, options)
            is_read = result.status != "error"
            return result, html.encode(result, Path(f"report.{kind}"), now) if is_read else b""

        result, content = await self._run(request, work)
        note_outcomes(request, result)
        if result.status == "error":
            return _answer(result)
        return Response(content, media_type=MEDIA_TYPES[kind])

    async def quality(self, request: Request) -> Response:
        """Measure the quality of one photo, without the network, such as while a camera is held."""
        self._queue.require_room()
        photo = (await read_form(request, ())).photo

        def work() -> Quality:
            try:
                require_pixels(photo.content, self._settings.max_megapixels)
                return self._classifier.assess_quality(photo.content)
            except PhotoError as error:
                raise PhotoError(_named(photo, error), error.code) from None

        return JSONResponse(to_plain(await self._run(request, work)))

    async def compare(self, request: Request) -> Response:
        """Compare two photos of one lesion: parts `before` and `after`."""
        self._queue.require_room()
        form = await read_form(request, CONTEXT, {"before": 1, "after": 1})
        options = AssessOptions("grad-cam", CANCER, 0, 0, patient_context(form.options))

        def work() -> tuple[Assessment, Assessment, Comparison | EdgeskinError]:
            before, after = (self._one(form.photos[part][0], options) for part in ("before", "after"))
            try:
                return before, after, compare_photos(before, after)
            except EdgeskinError as error:
                return before, after, error

        before, after, comparison = await self._run(request, work)
        note_outcomes(request, before, after)
        if isinstance(comparison, Comparison):
            return JSONResponse(comparison.to_dict())
        request.state.outcome = comparison.code
        body = {"error": error_fields(comparison), "request_id": request.state.request_id}
        body |= {"before": before.to_dict(), "after": after.to_dict()}
        return JSONResponse(body, http_status(type(comparison).__name__, comparison.code))

    async def message(self, request: Request) -> Response:
        """Assess one photo and put the result in plain words.

        By the time a model is asked to reword it, the photo has left the queue and the limit on bodies.
        """
        result, language = await self._assess_for_message(request)
        if result.status == "error":
            return _answer(result)
        request.state.body.leave()
        worded = await while_connected(request, self._wording.message(result, language))
        return JSONResponse({"assessment": result.to_dict(), **to_plain(worded)})

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
                "wording": settings.wording is not None,
                "records": settings.records is not None,
                "notice": NOTICE,
            }
        )

    async def _assess_for_message(self, request: Request) -> tuple[Assessment, Language]:
        self._queue.require_room()
        form = await read_form(request, (*ASSESS, "language"))
        language = find_language(form.options.get("language", "en"))
        options = assess_options(form.options, self._classifier)
        result = await self._run(request, partial(self._one, form.photo, options))
        note_outcomes(request, result)
        return result, language

    async def _run(self, request: Request, work: Callable[[], T]) -> T:
        return await while_connected(request, self._queue.run(work))

    def _one(self, photo: Upload, options: AssessOptions) -> Assessment:
        return assess_upload(self._classifier, photo, options, self._settings.max_megapixels)

    def _recorded(self, request: Request, photo: Upload, options: AssessOptions) -> Assessment:
        """The assessment of a photo, kept if the operator asks for it.

        Only `assess` keeps it, because the page sends the same photo again for maps and a report. A full disk
        costs the record, but not the answer that somebody is waiting for.
        """
        result, request_id = self._one(photo, options), request.state.request_id
        if self._records is not None:
            try:
                self._records.keep(request_id, photo.content, result)
            except ResourceError as error:
                request.app.state.metrics.records_failed.inc()
                logs.event("record_failed", logging.ERROR, request_id=request_id, code=error.code)
        return result


def router(classifier: Classifier, queue: WaitingQueue, settings: ServiceSettings) -> APIRouter:
    """The routes of `Api`. Raises as it does."""
    api, routes = Api(classifier, queue, settings), APIRouter(prefix="/v1")
    one: Schema = reference("Assessment")
    batch: Schema = {"type": "object", "properties": {"results": {"type": "array", "items": one}}}
    message: Schema = {
        "type": "object",
        "properties": {
            "assessment": one,
            "text": {"type": "string"},
            "message": {"type": ["string", "null"]},
            "rejected": {"type": "array", "items": {"type": "string"}},
        },
    }
    as_json = "application/json"
    described = {
        "/assess": (api.assess, photo_operation({as_json: one}, ASSESS)),
        "/assess/batch": (api.batch, photo_operation({as_json: batch}, ASSESS, many=True)),
        "/explain": (api.explain, photo_operation({as_json: one, "image/png": BINARY}, ASSESS)),
        "/report": (
            api.report,
            photo_operation(
                {"text/html": {"type": "string"}, as_json: {"type": "object"}, "image/png": BINARY},
                (*ASSESS, "format"),
            ),
        ),
        "/message": (api.message, photo_operation({as_json: message}, (*ASSESS, "language"))),
        "/quality": (api.quality, photo_operation({as_json: reference("Quality")})),
        "/compare": (
            api.compare, photo_operation({as_json: reference("Comparison")}, CONTEXT, ("before", "after"))
        ),
    }  # fmt: skip
    for path, (endpoint, description) in described.items():
        routes.add_api_route(
            path, endpoint, methods=["POST"], response_class=Response, openapi_extra=description
        )
    routes.add_api_route("/model", api.model, methods=["GET"])
    return routes


def assess_upload(
    classifier: Classifier, photo: Upload | DecodedPhoto, options: AssessOptions, max_megapixels: float
) -> Assessment:
    """Assess a photo; one that fails gives an assessment of status ``error``.

    Raises SettingError where an option is out of range.
    """
    try:
        require_pixels(photo.content, max_megapixels)
        return classifier.assess(photo.content, name=photo.name, **options.arguments())
    except (BundleError, SettingError):  # no photo would do better
        raise
    except EdgeskinError as error:
        return _failed(classifier, photo, error)


def assess_row(
    classifier: Classifier,
    photo: Upload | DecodedPhoto,
    options: AssessOptions,
    max_megapixels: float,
    request_id: str,
) -> Assessment:
    """Assess one photo of several like `assess_upload`. A defect costs the answer to this photo alone."""
    try:
        return assess_upload(classifier, photo, options, max_megapixels)
    except EdgeskinError:
        raise
    except Exception as error:
        logs.unforeseen(error, request_id)
        return _failed(classifier, photo, EdgeskinError(f"{UNFORESEEN} {request_id}", "internal"))


def require_pixels(content: bytes | Image, megapixels: float) -> None:
    """Raise PhotoError if a picture file, by its header, or an array has too many megapixels."""
    if isinstance(content, bytes):
        if not content:
            return  # the decoder reports the empty file
        header = read_header(content)
        width, height = header.width, header.height
    else:
        height, width = content.shape[:2]
    if width * height > 1e6 * megapixels:
        raise PhotoError(
            f"the picture has {width} x {height} pixels, but the limit of this service is "
            f"{megapixels:g} megapixels; make it smaller",
            "too_many_pixels",
        )


async def while_connected(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """Await an answer, but give up if the client leaves. Call it once the body has been read.

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


def _failed(classifier: Classifier, photo: Upload | DecodedPhoto, error: EdgeskinError) -> Assessment:
    failure = Failure(type(error).__name__, _named(photo, error), error.code)
    return Assessment(image=photo.name, status="error", model=classifier.model, timing_ms={}, error=failure)


def _named(photo: Upload | DecodedPhoto, error: EdgeskinError) -> str:
    """The message of an error, with the name that the sender gave the photo."""
    words = str(error).removeprefix("<bytes>: ").removeprefix("<ndarray>: ")
    return words if words.startswith(f"{photo.name}: ") else f"{photo.name}: {words}"


def note_outcomes(request: Request, *results: Assessment) -> None:
    """Count assessments, and note the outcome for the log."""
    outcomes = set()
    for result in results:
        request.app.state.metrics.assessments.labels(result.status).inc()
        outcomes.add(result.status if result.error is None else result.error.code)
    request.state.outcome = ",".join(sorted(outcomes))


def _map_alone(result: Assessment) -> bytes | None:
    """The map of an assessment as a PNG; None if it has none."""
    if result.explanation is None or result.pixels is None:
        return None
    return figures.encode_png(figures.evidence_layer(result.explanation, len(result.pixels.square)))


def _answer(result: Assessment) -> Response:
    return JSONResponse(result.to_dict(), _status(result))


def _status(result: Assessment) -> int:
    return 200 if result.error is None else http_status(result.error.type, result.error.code)
