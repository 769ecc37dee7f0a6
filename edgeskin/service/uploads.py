"""The photos and options of a request, read in memory: nothing is written to disk."""

import io
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from edgeskin.arrays import Image
from edgeskin.errors import RequestError

PHOTO = "photo"
"""The name of the part with a photo, and of a photo without a file name."""
MAX_NAME = 255
MAX_OPTION = 1024
"""Bytes of an option's value."""


@dataclass(frozen=True)
class Upload:
    """A photo. name: base name of its file, or ``photo``. content: the bytes of the file."""

    name: str
    content: bytes


@dataclass(frozen=True)
class DecodedPhoto:
    """A photo that its sender decoded. name: what to call it. content: uint8 RGB (h, w, 3)."""

    name: str
    content: Image


@dataclass(frozen=True)
class Form:
    """The content of a request. photos: by part, in their order. options: by name."""

    photos: Mapping[str, tuple[Upload, ...]]
    options: Mapping[str, str]

    @property
    def photo(self) -> Upload:
        """The photo of a request that takes one."""
        return self.photos[PHOTO][0]


async def read_form(
    request: Request, options: Collection[str], parts: Mapping[str, int] = {PHOTO: 1}
) -> Form:
    """Read the photos and options of a request.

    A multipart body has photos in parts with a file name and options in the others. Any other body is one
    photo as it is. Options may be in the query string too.

    Args:
        request: Its body is not read yet.
        options: Names of the options that it may have.
        parts: Names of the parts with photos, and how many of each there may be; at least one of each must.

    Raises:
        RequestError: A part or option is missing, unknown or one too many, or the multipart is malformed.
    """
    pairs = list(request.query_params.multi_items())
    photos: dict[str, list[Upload]] = defaultdict(list)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        for name, value in await _parse(request, len(options), sum(parts.values())):
            if isinstance(value, Upload):
                photos[name].append(value)
            else:
                pairs.append((name, value))
    elif tuple(parts) == (PHOTO,):
        photos[PHOTO].append(Upload(PHOTO, await read_body(request)))
    _require_parts(photos, parts)
    return Form({name: tuple(items) for name, items in photos.items()}, _options(pairs, options))


async def read_body(request: Request) -> bytes:
    """The body of a request. Neither its chunks nor the request keep a second copy."""
    content = io.BytesIO()
    async for chunk in request.stream():
        content.write(chunk)
    return content.getvalue()  # not a copy: CPython shares the buffer


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, with files that never leave memory. It refuses a body without its last boundary."""

    spool_max_size = 0  # a SpooledTemporaryFile then never goes to disk

    def __init__(self, request: Request, *, max_files: int, max_fields: int) -> None:
        super().__init__(
            Headers({"Content-Type": f'multipart/form-data; boundary="{_boundary(request)}"'}),
            self._to_its_end(request.stream()),
            max_files=max_files,
            max_fields=max_fields,
            max_part_size=MAX_OPTION,
        )
        self._has_ended = False

    def on_end(self) -> None:
        self._has_ended = True

    async def _to_its_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self._has_ended:  # raised here, the parser closes its files
            raise MultiPartException("it ends before its last boundary")


def _boundary(request: Request) -> str:
    """The boundary of a multipart body (RFC 2046).

    Starlette gets nothing else of the header: it would decode names by any ``charset`` that Python has.
    """
    _, parameters = parse_options_header(request.headers["Content-Type"])
    boundary = parameters.get(b"boundary", b"").decode("latin-1")
    if not re.fullmatch(r"[0-9A-Za-z'()+_,./:=? -]{1,70}", boundary):
        raise RequestError("the multipart body has no valid boundary; give 1 to 70 letters and digits")
    return boundary


async def _parse(request: Request, fields: int, files: int) -> list[tuple[str, Upload | str]]:
    """The photos and options of a multipart body, in their order."""
    try:
        form = await _InMemoryParser(request, max_files=files, max_fields=fields).parse()
    except MultiPartException as error:
        raise RequestError(f"the multipart body cannot be read: {error.message}") from error
    try:
        return [(name, await _read(value)) for name, value in form.multi_items()]
    finally:
        await form.close()


async def _read(value: UploadFile | str) -> Upload | str:
    if isinstance(value, str):
        return value
    content = await value.read()
    await value.close()  # so that only one part at a time is in memory twice
    return Upload(_base_name(value.filename or ""), content)


def _require_parts(photos: Mapping[str, list[Upload]], parts: Mapping[str, int]) -> None:
    for name, most in parts.items():
        if not photos.get(name):
            raise RequestError(f"no part {name!r} with a file name; send the picture as multipart/form-data")
        if len(photos[name]) > most:
            raise RequestError(f"{len(photos[name])} parts {name!r}: send {most} at most")
    unknown = sorted(photos.keys() - parts.keys())
    if unknown:
        raise RequestError(f"unknown part {unknown[0]!r}: choose {', '.join(parts)}")


def _options(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise RequestError(f"unknown option {name!r}: choose {', '.join(sorted(known)) or 'none'}")
        if name in options:
            raise RequestError(f"option {name!r} is given more than once")
        options[name] = value
    return options


def _base_name(name: str) -> str:
    """The last part of a path in the style of any system; a browser may send a path."""
    return re.split(r"[/\\]", name)[-1][-MAX_NAME:] or PHOTO
