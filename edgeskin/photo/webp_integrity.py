"""Whether the compressed data of a WebP end where its picture ends.

WebP has no checksum. Its codes have no fixed length, so after damage they fill the picture with too many or
too few bytes. libwebp reports too few and ignores what is left over. So each part is decoded once more
without its last bytes: in a whole file, that must fail.
"""

import struct
from collections.abc import Iterator

import cv2
import numpy as np

from edgeskin.photo.formats import MAX_SEGMENTS, damaged

SPARE = {b"VP8 ": 8, b"VP8L": 4, b"ALPH": 4}
"""Bytes, by the kinds of chunks that hold pixels. libwebp leaves at most 4, 2 and 2 that no decoder needs."""
FRAME_HEADER = 10
"""Bytes before the first partition of VP8 (RFC 6386, 9.1)."""
SIZE_SHIFT = 5
"""Bits before the size of the first partition in the three bytes of VP8's frame tag."""


def require_whole_webp(data: bytes) -> None:
    """Raise PhotoError (code ``damaged``) where data are left over after the picture.

    Args:
        data: The file, without chunks after its pixels. libwebp reports missing data itself.

    Raises:
        PhotoError: Data are left over.
    """
    for start, length, kind in _pixel_chunks(data):
        content = data[start : start + length]
        for shorter in _shortened(content, kind):
            if _is_decoded(_replaced(data, start, length, shorter)):
                raise damaged()


def _pixel_chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, length and kind of the chunks that hold pixels."""
    position = 12
    for _ in range(MAX_SEGMENTS):
        if position + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind in SPARE:
            yield position + 8, length, kind
        position += 8 + length + length % 2


def _shortened(content: bytes, kind: bytes) -> Iterator[bytes]:
    """Yield a chunk without the last bytes of each partition of its own length."""
    spare = SPARE[kind]
    yield content[:-spare]
    if kind == b"VP8 " and len(content) > FRAME_HEADER:
        # The first partition holds how blocks are predicted; the last one, their residuals.
        tag = int.from_bytes(content[:3], "little")
        size = tag >> SIZE_SHIFT
        if size > spare:
            end = FRAME_HEADER + size
            shorter_tag = (tag - (spare << SIZE_SHIFT)).to_bytes(3, "little")
            yield shorter_tag + content[3 : end - spare] + content[end:]


def _replaced(data: bytes, start: int, length: int, content: bytes) -> bytes:
    """Return the file with other content in one of its chunks."""
    chunk = struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    changed = data[: start - 4] + chunk + data[start + length + length % 2 :]
    return changed[:4] + struct.pack("<I", len(changed) - 8) + changed[8:]


def _is_decoded(data: bytes) -> bool:
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        return False
    return image is not None
