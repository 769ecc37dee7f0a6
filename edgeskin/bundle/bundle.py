"""The bundle: a folder with manifest.json and the files it lists; all that training hands to the runtime.

Each file is opened once, without following links; its size and SHA-256 are compared with the manifest, and
those same bytes are used: what was verified is what runs.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import BinaryIO

from edgeskin.bundle import schema_3
from edgeskin.bundle.manifest import SCHEMA_VERSION, Manifest
from edgeskin.bundle.plain_data import from_plain
from edgeskin.errors import BundleError, SettingError, require_kind
from edgeskin.results import Precision

READABLE_VERSIONS = (3, SCHEMA_VERSION)
MANIFEST = "manifest.json"
SHIPPED = {name: Path(__file__).parents[1] / "models" / name for name in ("default", "lite")}
"""The bundles that the package brings, by name."""
DEFAULT_BUNDLE = SHIPPED["default"]
_LARGEST_MANIFEST = 4 * 2**20


@dataclass(frozen=True)
class IR:
    """A network as OpenVINO's intermediate representation: two files, read when they have to be compiled.

    sha256: of xml and weights, in hex; they identify the network. read: returns both files' bytes, xml first.
    """

    sha256: tuple[str, str]
    read: Callable[[], tuple[bytes, bytes]]

    @classmethod
    def from_bytes(cls, xml: bytes, weights: bytes) -> "IR":
        """An IR of bytes that are in memory already."""
        xml_sha256, weights_sha256 = (hashlib.sha256(part).hexdigest() for part in (xml, weights))
        return cls((xml_sha256, weights_sha256), lambda: (xml, weights))


@dataclass(frozen=True)
class Bundle:
    """An open bundle. sha256: of the manifest's bytes, which name every other file's hash."""

    folder: Path
    manifest: Manifest
    sha256: str

    def read(self, name: str) -> bytes:
        """The verified bytes of a file that the manifest lists.

        Raises:
            BundleError: The file is missing, not a regular file, or altered; names the file.
        """
        with self.open(name) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != self.manifest.files[name].sha256:
            raise self._altered(name)
        return content

    def ir(self, precision: Precision) -> IR:
        """The network of a precision. Its ``read`` raises BundleError as `Bundle.read` does."""
        xml, weights = f"{precision}.xml", f"{precision}.bin"
        files = self.manifest.files
        return IR((files[xml].sha256, files[weights].sha256), lambda: (self.read(xml), self.read(weights)))

    def open(self, name: str) -> BinaryIO:
        """Open a file that the manifest lists, its size checked, its hash not yet. Raises as `read`."""
        path = self.folder / name
        if name not in self.manifest.files:
            raise BundleError(f"{self.folder / MANIFEST}: lists no file {name!r}; pack the bundle anew")
        file = _open_regular(path)
        if os.fstat(file.fileno()).st_size != self.manifest.files[name].size:
            file.close()
            raise self._altered(name)
        return file

    def _altered(self, name: str) -> BundleError:
        listed = self.manifest.files[name]
        return BundleError(
            f"{self.folder / name}: not the file that the manifest describes ({listed.size} bytes, SHA-256 "
            f"{listed.sha256[:12]}...); copy the bundle again from its source"
        )

    def verify(self) -> None:
        """Read every file that the manifest lists. Raises BundleError for the first that was altered."""
        for name in self.manifest.files:
            self.read(name)


def open_bundle(folder: str | os.PathLike[str] | None = None) -> Bundle:
    """Open a bundle: check its manifest, and that all its files are there with their sizes.

    Hashes are compared when a file is read.

    Args:
        folder: A bundle's folder, or the name of one that ships with the package (a folder of that name here
            is ``./lite``); None for the default bundle.

    Raises:
        BundleError: The manifest or a file is missing, malformed, a link, or of an unknown schema version.
        SettingError: ``folder`` is empty, which would be the working folder, or no path.
    """
    choices = f"a folder, or one of {', '.join(SHIPPED)}"
    require_kind("bundle", folder, (str, os.PathLike, NoneType), choices)
    if isinstance(folder, str) and not folder.strip():
        raise SettingError(f"bundle {folder!r}: choose {choices}")
    shipped = SHIPPED.get(folder) if isinstance(folder, str) else None
    chosen = DEFAULT_BUNDLE if folder is None else shipped or Path(folder)
    path = chosen / MANIFEST
    with _open_regular(path) as file:
        content = file.read(_LARGEST_MANIFEST)
    bundle = Bundle(chosen, _read_manifest(content, path), hashlib.sha256(content).hexdigest())
    for name in bundle.manifest.files:
        with bundle.open(name):
            pass
    return bundle


def _read_manifest(content: bytes, path: Path) -> Manifest:
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise TypeError("not a JSON object")
        version = values["schema_version"]
        if version not in READABLE_VERSIONS:
            raise BundleError(
                f"{path}: schema version {version!r}, this edgeskin reads {READABLE_VERSIONS}; "
                "install the edgeskin that the bundle was made for"
            )
        if version == 3:
            values = schema_3.upgraded(values)
        manifest = from_plain(Manifest, values)
        manifest.require_consistent()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SettingError) as error:
        raise BundleError(f"{path}: not a usable manifest ({type(error).__name__}: {error})") from error
    return manifest


def _open_regular(path: Path) -> BinaryIO:
    # Opened without following a link or waiting on a FIFO, then judged by the descriptor: nothing can
    # be swapped between the check and the read.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise BundleError(f"{path}: a link, refused; put the file itself there")
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be opened ({error.strerror}); name the folder of a bundle, 'default' or 'lite'"
        ) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BundleError(f"{path}: not a regular file, refused")
    return file
