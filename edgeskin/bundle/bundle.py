"""The bundle: a folder with manifest.json and the files it lists; all that training hands to the runtime.

Each file is opened once, without following links; its size and SHA-256 are compared with the manifest, and
those same bytes are used: what was verified is what runs. Where a signature is required, it covers the
manifest's bytes, and so all others.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import NoneType

from edgeskin.bundle import schema_3
from edgeskin.bundle.ir import require_plain_ir
from edgeskin.bundle.manifest import SCHEMA_VERSION, Manifest
from edgeskin.bundle.plain_data import from_plain, read_json
from edgeskin.bundle.signature import SIGNATURE, Key, PublicKey, read_public_key, sign, signed_hashes
from edgeskin.errors import BundleError, ResourceError, SettingError, require_kind
from edgeskin.results import Precision

READABLE_VERSIONS = (3, SCHEMA_VERSION)
MANIFEST = "manifest.json"
SHIPPED = {name: Path(__file__).parents[1] / "models" / name for name in ("default", "lite")}
"""The bundles that the package brings, by name."""
DEFAULT_BUNDLE = SHIPPED["default"]
_LARGEST_JSON = 4 * 2**20
"""Bytes of a manifest or a signature; the shipped manifests have up to 0.12 MB."""


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
        """The network of a precision.

        Its ``read`` raises BundleError as `Bundle.read` does, and for an IR that could read from elsewhere.
        """
        xml, weights = f"{precision}.xml", f"{precision}.bin"

        def read() -> tuple[bytes, bytes]:
            parts = self.read(xml), self.read(weights)
            try:
                require_plain_ir(parts[0], len(parts[1]))
            except ValueError as error:
                raise BundleError(f"{self.folder / xml}: refused: {error}; pack the bundle anew") from error
            return parts

        files = self.manifest.files
        return IR((files[xml].sha256, files[weights].sha256), read)

    def open(self, name: str) -> BufferedReader:
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
            f"{listed.sha256[:12]}...); copy the bundle again from its source",
            "bundle_altered",
        )

    def verify(self) -> None:
        """Read every file that the manifest lists. Raises BundleError for the first that was altered."""
        for name in self.manifest.files:
            self.read(name)

    def require_signature(self, key: PublicKey) -> None:
        """Raise BundleError unless a key signed this manifest and every other file of the folder.

        The files that the manifest lists are read later; the signed manifest has their hashes.
        """
        path = self.folder / SIGNATURE
        if not os.path.lexists(path):
            raise BundleError(
                f"{path}: missing, and a signature is required; sign the bundle with `edgeskin bundle sign`",
                "unsigned",
            )
        try:
            signed = signed_hashes(_read_small(path), key)
        except ValueError as error:
            raise BundleError(
                f"{path}: {error}; get the bundle and the key from its source again", "bad_signature"
            ) from error
        found = self._hashes()
        for name in sorted({*found, *signed}):
            if found.get(name) != signed.get(name):
                raise BundleError(
                    f"{self.folder / name}: not as it was signed; copy the bundle again from its source",
                    "bad_signature",
                )

    def sign(self, key: Key) -> Path:
        """Write ``signature.json``, in place of an older one, and return its path.

        Args:
            key: The private key.

        Raises:
            BundleError: A file is altered, or something in the folder is not a regular file.
            SettingError: The key is not one of ECDSA P-256, or the extra ``sign`` is missing.
            ResourceError: The folder cannot be written.
        """
        self.verify()
        content = sign(f"{self.manifest.name} {self.manifest.version}", self._hashes(), key)
        path = self.folder / SIGNATURE
        try:
            path.unlink(missing_ok=True)
            with path.open("xb") as file:
                file.write(content)
        except OSError as error:
            raise ResourceError(
                f"{path}: cannot be written ({error.strerror}); sign a copy of the bundle", "not_written"
            ) from error
        return path

    def _hashes(self) -> dict[str, str]:
        """The SHA-256 of every file in the folder but the signature; those of listed files as listed."""
        hashes = {name: file.sha256 for name, file in self.manifest.files.items()} | {MANIFEST: self.sha256}
        for name in sorted({path.name for path in self.folder.iterdir()} - {*hashes, SIGNATURE}):
            with _open_regular(self.folder / name) as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return hashes


def folder_of(bundle: str | os.PathLike[str] | None) -> Path:
    """The folder of a bundle: of its path, or of the name of one that ships with the package."""
    shipped = SHIPPED.get(bundle) if isinstance(bundle, str) else None
    return DEFAULT_BUNDLE if bundle is None else shipped or Path(bundle)


def open_bundle(
    folder: str | os.PathLike[str] | None = None, *, require_signature: Key | None = None
) -> Bundle:
    """Open a bundle: check its manifest, and that all its files are there with their sizes.

    Hashes are compared when a file is read.

    Args:
        folder: A bundle's folder, or the name of one that ships with the package (a folder of that name here
            is ``./lite``); None for the default bundle.
        require_signature: A public key, as a PEM file or its bytes, that must have signed the bundle; None
            to open it signed or not.

    Raises:
        BundleError: The manifest or a file is missing, malformed, a link, or of an unknown schema version, or
            the bundle is not signed as required.
        SettingError: ``folder`` is no path, or empty, which would be the working folder. Or the key is not of
            ECDSA P-256, or the extra ``sign`` is missing.
    """
    choices = f"a folder, or one of {', '.join(SHIPPED)}"
    require_kind("bundle", folder, (str, os.PathLike, NoneType), choices)
    if isinstance(folder, str) and not folder.strip():
        raise SettingError(f"bundle {folder!r}: choose {choices}")
    key = None if require_signature is None else read_public_key(require_signature)
    chosen = folder_of(folder)
    path = chosen / MANIFEST
    content = _read_small(path)
    bundle = Bundle(chosen, _read_manifest(content, path), hashlib.sha256(content).hexdigest())
    if key is not None:
        bundle.require_signature(key)
    for name in bundle.manifest.files:
        with bundle.open(name):
            pass
    return bundle


def _read_manifest(content: bytes, path: Path) -> Manifest:
    try:
        values = read_json(content)
        version = values["schema_version"]
        if version not in READABLE_VERSIONS:
            raise BundleError(
                f"{path}: schema version {version!r}, this edgeskin reads {READABLE_VERSIONS}; "
                "install the edgeskin that the bundle was made for",
                "bundle_schema",
            )
        if version == 3:
            values = schema_3.upgraded(values)
        manifest = from_plain(Manifest, values)
        manifest.require_consistent()
    except (ValueError, KeyError, TypeError, AttributeError, SettingError) as error:
        raise BundleError(f"{path}: not a usable manifest ({type(error).__name__}: {error})") from error
    return manifest


def _read_small(path: Path) -> bytes:
    with _open_regular(path) as file:
        content = file.read(_LARGEST_JSON + 1)
    if len(content) > _LARGEST_JSON:
        raise BundleError(f"{path}: larger than {_LARGEST_JSON} bytes; copy the bundle again from its source")
    return content


def _open_regular(path: Path) -> BufferedReader:
    # Opened without following a link or waiting on a FIFO, then judged by the descriptor: nothing can
    # be swapped between the check and the read.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise BundleError(f"{path}: a link, refused; put the file itself there", "bundle_altered")
        opened = os.open(path, flags)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be opened ({error.strerror}); name the folder of a bundle, 'default' or 'lite'",
            "bundle_missing" if isinstance(error, FileNotFoundError | NotADirectoryError) else None,
        ) from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise BundleError(f"{path}: not a regular file, refused", "bundle_altered")
    return os.fdopen(opened, "rb")
