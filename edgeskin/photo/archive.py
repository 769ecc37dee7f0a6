"""Pictures in zip archives, read one by one without extracting any.

An archive of a few kilobytes can unpack to petabytes, and its names can lead out of a folder. So the number
of members, the size and ratio of each, and their places are bounded before a byte is unpacked, and no name of
a member is ever opened as a file.
"""

import io
import itertools
import logging
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeskin.errors import PhotoError
from edgeskin.photo.decode import MAX_BYTES
from edgeskin.photo.sources import SUFFIXES, is_system_file

MAX_MEMBERS = 100_000
MAX_DIRECTORY = 32 * 2**20
"""Bytes of the table of contents, at the end of an archive."""
MAX_RATIO = 200
"""Unpacked over packed size of a member larger than FREE_OF_RATIO. Photographs hardly shrink."""
FREE_OF_RATIO = 2**20
ARCHIVES = {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"}
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Signature, then the lengths of name and extra field (APPNOTE.TXT, 4.3.7)."""
_ENTRY = b"PK\1\2"
"""Signature of an entry in the table of contents (APPNOTE.TXT, 4.3.12)."""
_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flags: encrypted, strongly encrypted, encrypted directory (APPNOTE.TXT, 4.4.4)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """Where a picture lies in an archive: offset of its header, sizes in bytes, CRC-32, way of packing."""

    offset: int
    packed: int
    size: int
    crc: int
    is_deflated: bool


def members_of(archive: Path, *, quiet: bool = False) -> Iterator[tuple[str, Member | PhotoError]]:
    """The pictures in a zip archive, in its order, by name.

    Members that are not named like pictures are counted in a warning.

    Args:
        archive: The file.
        quiet: Whether to log nothing.

    Yields:
        The name of each picture, and its place. What is unsafe or cannot be read (a name that is absolute or
        has ``..``, a link, an encrypted member, an archive within, a size or ratio beyond the limits) comes
        with an error instead.

    Raises:
        PhotoError: The archive is unreadable, damaged, unsafe as a whole, or without pictures. The message
            names it.
    """
    try:
        if archive.exists() and not archive.is_file():  # opening a FIFO can block for ever
            raise PhotoError("this is not a regular file", "not_a_file")
        with _Bounded(archive) as file, zipfile.ZipFile(file) as opened:
            infos = [info for info in opened.infolist() if not info.filename.endswith("/")]
    except PhotoError as error:
        raise PhotoError(f"{archive}: {error}", error.code) from None
    except FileNotFoundError as error:
        raise PhotoError(f"{archive}: there is no such file; check the path", "not_found") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise PhotoError(f"{archive}: the archive cannot be read ({reason})", "unreadable") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise PhotoError(f"{archive}: not a whole zip archive ({error}); pack it again", "damaged") from error
    _require_sound(archive, infos)
    read = skipped = 0
    for info in infos:
        suffix = PurePosixPath(info.filename).suffix.lower()
        unsafe = _unsafe(info)
        if unsafe is None and any(map(is_system_file, PurePosixPath(info.filename).parts)):
            skipped += 1
        elif unsafe or suffix in ARCHIVES:
            read += 1
            yield (
                info.filename,
                unsafe or PhotoError("an archive within an archive; unpack it", "unsupported_format"),
            )
        elif suffix in SUFFIXES:
            read += 1
            yield info.filename, _place(info)
        else:
            skipped += 1
    if skipped and not quiet:
        _log.warning("%s: skipped %d file(s) not named as pictures", archive, skipped)
    if not read:
        raise PhotoError(f"{archive}: the archive holds no pictures; leave it out", "empty_file")


def read_member(archive: Path, member: Member) -> bytes:
    """The bytes of a picture in an archive.

    Raises:
        PhotoError: The archive has changed since it was listed, is damaged or cannot be read.
    """
    try:
        with archive.open("rb") as file:
            file.seek(member.offset)
            signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(name + extra, io.SEEK_CUR)
            packed = file.read(member.packed)
        data = (
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
            if member.is_deflated
            else packed
        )
    except OSError as error:
        raise PhotoError(
            f"the archive cannot be read ({error.strerror}); check the path", "unreadable"
        ) from error
    except (struct.error, zlib.error, ValueError) as error:
        raise _damaged() from error
    if signature != b"PK\x03\x04" or len(data) != member.size or zlib.crc32(data) != member.crc:
        raise _damaged()
    return data


class _Bounded(io.FileIO):
    """A file of which no more is read at once than a table of contents may have, of no more files."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"its table of contents has more than {MAX_DIRECTORY >> 20} MiB")
        data = super().read(size)
        # The end record has a number of files too, which may be wrong. Reading their entries takes seconds.
        files = data.count(_ENTRY)
        if files > MAX_MEMBERS:
            raise PhotoError(
                f"{files:,} files, but at most {MAX_MEMBERS:,} are read; split it", "unsafe_archive"
            )
        return data


def _require_sound(archive: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Raise PhotoError if two members share bytes, as in bombs of small files."""
    for one, following in itertools.pairwise(sorted(infos, key=lambda info: info.header_offset)):
        if one.header_offset + _LOCAL_HEADER.size + one.compress_size > following.header_offset:
            raise PhotoError(
                f"{archive}: its files overlap, as in a zip bomb; pack it again", "unsafe_archive"
            )


def _unsafe(info: zipfile.ZipInfo) -> PhotoError | None:
    """Why a member is not read, by its name, kind and encryption."""
    parts = re.split(r"[/\\]", info.filename)
    if ".." in parts or not parts[0] or re.match("[A-Za-z]:", info.filename):
        return PhotoError("the name leads out of the archive; pack it with relative names", "unsafe_archive")
    if stat.S_ISLNK(info.external_attr >> 16):
        return PhotoError("a link, not a picture; pack the picture itself", "unsafe_archive")
    if info.flag_bits & _ENCRYPTED:
        return PhotoError("encrypted; pack it without a password", "encrypted")
    return None


def _place(info: zipfile.ZipInfo) -> Member | PhotoError:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return PhotoError("packed by a method that is not read; pack it by Deflate", "unsupported_format")
    if info.file_size > MAX_BYTES or info.compress_size > MAX_BYTES:
        return PhotoError(f"larger than {MAX_BYTES >> 20} MiB; export it as a smaller JPEG", "file_too_large")
    if info.file_size > max(FREE_OF_RATIO, MAX_RATIO * info.compress_size):
        return PhotoError(
            f"unpacks to more than {MAX_RATIO} times its size, as a zip bomb does", "unsafe_archive"
        )
    is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Member(info.header_offset, info.compress_size, info.file_size, info.CRC, is_deflated)


def _damaged() -> PhotoError:
    return PhotoError("damaged in the archive, or the archive has changed; pack it again", "damaged")
