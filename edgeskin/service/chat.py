"""One question to an OpenAI-compatible endpoint, by HTTP/1.1 on asyncio streams.

It opens one connection a question, follows no redirect and reads no proxy from the environment. h11 comes
with uvicorn, so this needs no further package.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import h11

MOST_BYTES = 65536
"""Largest answer. The message itself has a few thousand characters at most."""
_CHUNK = 16384


class ChatError(Exception):
    """No reply came. code: ``unreachable``, ``timed_out``, ``bad_status``, ``too_large``, ``bad_reply``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def ask(
    url: str,
    model: str,
    messages: Sequence[Mapping[str, str]],
    *,
    key: str | None,
    max_tokens: int,
    timeout_s: float,
) -> tuple[str, bool]:
    """Send messages to ``URL/chat/completions`` and return the model's words.

    Args:
        url: Of the endpoint, with http or https, without a slash at its end.
        model: The model's name there.
        messages: Each with ``role`` and ``content``.
        key: Sent as a bearer token; None for no token.
        max_tokens: Of the reply, at most.
        timeout_s: Seconds for everything, the look-up of the name included.

    Returns:
        The words, and whether they are complete.

    Raises:
        ChatError: No reply came, or one in another form.
    """
    body = json.dumps(
        {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
    ).encode()
    try:
        async with asyncio.timeout(timeout_s):
            status, content = await _post(f"{url}/chat/completions", body, key)
    except TimeoutError:
        raise ChatError("timed_out") from None
    except (OSError, h11.RemoteProtocolError, UnicodeError):  # UnicodeError: an invalid host name
        raise ChatError("unreachable") from None
    if status != 200:
        raise ChatError("bad_status")
    return _reply(content)


async def _post(url: str, body: bytes, key: str | None) -> tuple[int, bytes]:
    """Post JSON; return the status and the body of the answer."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if tls else 80), ssl=tls
    )
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if key:
        headers["Authorization"] = f"Bearer {key}"
    http = h11.Connection(h11.CLIENT)
    try:
        for event in (
            h11.Request(method="POST", target=parts.path, headers=list(headers.items())),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(http.send(event) or b"")
        await writer.drain()
        return await _answer(http, reader)
    finally:
        # Not closed: an endpoint that is silent would hold the end of TLS back for half a minute.
        writer.transport.abort()


async def _answer(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, bytes]:
    status, content = 0, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            status = event.status_code
            if status != 200:
                return status, b""
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > MOST_BYTES:
                raise ChatError("too_large")
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(content)
        elif not isinstance(event, h11.InformationalResponse):
            raise ChatError("unreachable")


def _reply(content: bytes) -> tuple[str, bool]:
    try:
        choice: Any = json.loads(content)["choices"][0]
        words = choice["message"]["content"]
        is_complete = choice.get("finish_reason") in ("stop", None)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ChatError("bad_reply") from None
    if words is None:
        return "", is_complete
    if not isinstance(words, str):
        raise ChatError("bad_reply")
    return words, is_complete
