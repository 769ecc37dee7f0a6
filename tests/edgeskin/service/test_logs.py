"""The log: one JSON line a request, which says nothing of whom it is about."""

import json
import logging
from pathlib import Path

import pytest

from edgeskin.service.logs import JsonHandler, where
from tests.edgeskin.service.conftest import command

NAME = "Jane Doe 1970"
TOKEN = "0123456789abcdef-secret"
KEYS = {
    "time", "level", "event", "method", "request_id", "route", "status", "ms", "bytes", "outcome",
}  # fmt: skip


def test_each_request_is_one_line_without_names(
    shared_micro_bundle: Path, lesion: bytes, tmp_path: Path
) -> None:
    """Nothing on either stream holds a name, a query, a token, an address or anything of the photo."""
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN, encoding="utf-8")
    photo = lesion[:2] + b"\xff\xfe\x00\x11EXIF of Jane Doe" + lesion[2:]
    with command(shared_micro_bundle, "--tokens", tokens) as served:
        headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": NAME, "X-Forwarded-For": "192.0.2.77"}
        requests = [
            ("POST", "/v1/assess?age=93.75", photo, 200, "/v1/assess", "assessed"),
            ("POST", "/v1/assess", b"broken", 415, "/v1/assess", "unsupported_format"),
            ("POST", "/v1/assess?patient=Doe", photo, 422, "/v1/assess", "bad_request"),
            ("POST", "/v1/explain", photo, 200, "/v1/explain", "assessed"),
            ("POST", "/v1/quality", photo, 200, "/v1/quality", None),
            ("GET", "/patients/Doe", b"", 404, "unmatched", "not_found"),
            ("DOE", "/healthz", b"", 405, "/healthz", "method_not_allowed"),
        ]
        for method, path, content, status, route, outcome in requests:
            if content:
                sent = {"files": {"photo": (f"{NAME}.jpg", content)}}
                answer = served.client.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]
            else:
                answer = served.client.request(method, path, headers=headers)
            assert answer.status_code == status
            line = served.event("request")
            assert line.keys() == KEYS
            assert line["request_id"] == answer.headers["X-Request-ID"]
            assert (line["status"], line["route"], line["outcome"]) == (status, route, outcome)
            assert line["method"] == (method if method != "DOE" else "other")
            assert line["bytes"] == len(answer.content)
            assert line["level"] == "info"
            assert line["time"].endswith("+00:00")
        refused = served.client.get("/v1/model", headers={"Authorization": f"Bearer {TOKEN}x"})
        assert refused.status_code == 401
        assert served.event("request")["outcome"] == "unauthorized"
        assert served.end() == 0
        written = json.dumps(served.lines)
    for secret in ("Doe", "Jane", TOKEN, "93.75", "192.0.2", "EXIF"):
        assert secret not in written.replace(served.url, ""), secret


def test_a_line_has_no_further_lines_of_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    """asyncio's messages end with the words of an exception."""
    logger = logging.getLogger("tests.of.logs")
    handler = JsonHandler()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        raise ValueError("Doe.jpg")
    except ValueError:
        logger.exception("it failed\nexception=ValueError('Doe.jpg')")
    finally:
        logger.removeHandler(handler)
    output = capsys.readouterr()
    assert output.out == ""
    line = json.loads(output.err)
    assert (line["event"], line["error"], line["level"]) == ("it failed", "ValueError", "error")
    assert "Doe" not in output.err
    assert "test_logs.py" in line["where"][0]


def test_the_place_of_an_error_is_outermost_first() -> None:
    def inner() -> None:
        raise ValueError

    try:
        inner()
    except ValueError as error:
        places = where(error)
    assert [place.rpartition(" ")[2] for place in places] == [
        "test_the_place_of_an_error_is_outermost_first", "inner",
    ]  # fmt: skip
