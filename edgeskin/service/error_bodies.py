"""How errors look in HTTP: their status and their body."""

from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Scope

from edgeskin.errors import EdgeskinError, RequestError

UNFORESEEN = "an unforeseen error; the service's log has more under request id"
_BY_KIND = {"PhotoError": 422, "SettingError": 422, "RegistrationError": 422, "ResourceError": 503}
_BY_CODE = {
    ("PhotoError", "file_too_large"): 413, ("PhotoError", "too_many_pixels"): 413,
    ("PhotoError", "side_too_long"): 413, ("PhotoError", "unsupported_format"): 415,
    ("EdgeskinError", "not_assessed"): 422,
    ("RequestError", "bad_request"): 422, ("RequestError", "unauthorized"): 401,
    ("RequestError", "cross_site"): 403, ("RequestError", "not_found"): 404,
    ("RequestError", "method_not_allowed"): 405, ("RequestError", "slow_body"): 408,
    ("RequestError", "body_too_large"): 413, ("RequestError", "unsupported_encoding"): 415,
    ("RequestError", "unknown_host"): 421,
    ("RequestError", "rate_limited"): 429, ("RequestError", "client_gone"): 499,
    ("RequestError", "queue_full"): 503, ("RequestError", "timed_out"): 503,
    ("RequestError", "draining"): 503,
}  # fmt: skip


def http_status(kind: str, code: str) -> int:
    """The HTTP status of an error. kind: name of its class, as ``Failure.type``. code: its code."""
    return _BY_CODE.get((kind, code)) or _BY_KIND.get(kind, 500)


def error_fields(error: EdgeskinError) -> dict[str, str]:
    """An error as ``error`` in JSON: type, message and code."""
    return {"type": type(error).__name__, "message": str(error), "code": error.code}


def error_response(error: EdgeskinError, scope: Scope, request_id: str) -> JSONResponse:
    """The answer to a request that failed. Below /v2, its body is text alone, as that protocol has it."""
    body: dict[str, Any] = {"error": error_fields(error), "request_id": request_id}
    if scope["path"] == "/v2" or scope["path"].startswith("/v2/"):
        body = {"error": str(error)}
    headers = {}
    if error.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RequestError) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse(body, http_status(type(error).__name__, error.code), headers)
