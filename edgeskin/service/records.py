"""Records, which the operator switches on: each photo unchanged, and its answer."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from edgeskin.errors import PhotoError, SettingError
from edgeskin.photo.formats import FileFormat
from edgeskin.photo.headers import read_header
from edgeskin.report.output_file import write_whole
from edgeskin.results import Assessment

OWNER_ONLY = 0o600
"""Permissions of the files."""
_SUFFIXES: dict[FileFormat, str] = {
    "jpeg": ".jpg", "png": ".png", "webp": ".webp", "bmp": ".bmp", "tiff": ".tif", "dicom": ".dcm",
    "heic": ".heic",
}  # fmt: skip
_OTHER = ".bin"


class Records:
    """A folder with two files a photo: ``TIME-REQUESTID.json``, and the photo under the same name."""

    def __init__(self, folder: Path) -> None:
        """Keep records in a folder. Raises SettingError unless it is there and this user may write to it."""
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise SettingError(f"records {folder}: not a folder that this user may write to; make it first")
        self._folder = folder

    def keep(self, request_id: str, photo: bytes, result: Assessment) -> None:
        """Write the photo, then its assessment, so no assessment is ever without its photo.

        Args:
            request_id: Of the request; part of the files' names.
            photo: The bytes of the file, with all metadata in it.
            result: Of the photo.

        Raises:
            ResourceError: One of them cannot be written.
        """
        stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{request_id}"
        write_whole(self._folder / f"{stem}{_suffix(photo)}", photo, OWNER_ONLY)
        answer = json.dumps(result.to_dict(), allow_nan=False)
        write_whole(self._folder / f"{stem}.json", f"{answer}\n".encode(), OWNER_ONLY)


def _suffix(photo: bytes) -> str:
    try:
        return _SUFFIXES[read_header(photo).format]
    except PhotoError:
        return _OTHER
