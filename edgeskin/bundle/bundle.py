"""The bundle: a folder with manifest.json and the files it lists; all that training hands to the runtime.

Each file is opened once, without following links, its size and SHA-256 compared with the manifest, and
those same bytes are used: what was verified is what runs.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from edgeskin.bundle.ir import IR
from edgeskin.bundle.manifest import Variant, read_variant
from edgeskin.errors import BundleError, SettingError
from edgeskin.imaging.preprocess import Preprocessing

SCHEMA_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
"""1 had a temperature instead of a calibration; 2 no certificates, label sets, certainty and ood.npz."""
MANIFEST = "manifest.json"
HEAD = "head.npz"
OOD = "ood.npz"
Precision = Literal["int8", "fp32"]
FILES = ("fp32.xml", "fp32.bin", "int8.xml", "int8.bin", HEAD)
OPTIONAL_FILES = (OOD,)
SHIPPED = {name: Path(__file__).parents[1] / "models" / name for name in ("default", "lite")}
"""The bundles that the package brings, by name."""
DEFAULT_BUNDLE = SHIPPED["default"]
_LARGEST_MANIFEST = 4 * 2**20


@dataclass(frozen=True)
class Manifest:
    """What the runtime needs to know of a network, and where it comes from.

    variants: by precision. ood: which score tells what is out of scope, and how the others compare with it;
    None where there was nothing to fit it on. validation, training, gate, versions: for people and
    documents; the runtime does not read them. files: name -> (SHA-256 in hex, size in bytes).
    """

    name: str
    version: str
    classes: tuple[str, ...]
    cancer_classes: tuple[str, ...]
    preprocessing: Preprocessing
    variants: Mapping[str, Variant]
    ood: Mapping[str, Any] | None
    validation: Mapping[str, Any]
    training: Mapping[str, Any]
    gate: Mapping[str, Any]
    versions: Mapping[str, str]
    files: Mapping[str, tuple[str, int]]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Bundle:
    """An open bundle. sha256: of the manifest's bytes, which name every other file's hash."""

    folder: Path
    manifest: Manifest
    sha256: str

    def read(self, name: str) -> bytes:
        """The verified bytes of a file of the manifest.

        Raises BundleError naming the file when it is missing, no regular file, or altered.
        """
        with self.open(name) as file:
            content = file.read()
        sha256, _ = self.manifest.files[name]
        if hashlib.sha256(content).hexdigest() != sha256:
            raise self._altered(name)
        return content

    def ir(self, precision: Precision) -> IR:
        """The network of a precision; reading it raises BundleError as `read`."""
        xml, weights = f"{precision}.xml", f"{precision}.bin"
        files = self.manifest.files
        return IR((files[xml][0], files[weights][0]), lambda: (self.read(xml), self.read(weights)))

    def open(self, name: str) -> BinaryIO:
        """A file of the manifest, its size checked, its hash not yet. Raises BundleError as `read`."""
        path = self.folder / name
        if name not in self.manifest.files:
            raise BundleError(f"{self.folder / MANIFEST}: lists no file {name!r}; pack the bundle anew")
        file = _open_regular(path)
        if os.fstat(file.fileno()).st_size != self.manifest.files[name][1]:
            file.close()
            raise self._altered(name)
        return file

    def _altered(self, name: str) -> BundleError:
        sha256, size = self.manifest.files[name]
        return BundleError(
            f"{self.folder / name}: not the file that the manifest describes ({size} bytes, SHA-256 "
            f"{sha256[:12]}...); copy the bundle again from where it came from"
        )

    def verify(self) -> None:
        """Read every file of the manifest. Raises BundleError at the first that is not as described."""
        for name in self.manifest.files:
            self.read(name)


def open_bundle(folder: str | os.PathLike[str] | None = None) -> Bundle:
    """Check a bundle's manifest and that all its files are there with their sizes; hashes are compared
    when a file is read. folder: a bundle's, or the name of one that ships with the package (SHIPPED; a folder
    of that name here is ``./lite``); without one the default bundle.

    Raises BundleError naming what is missing, malformed or of an unknown schema version.
    """
    shipped = SHIPPED.get(folder) if isinstance(folder, str) else None
    chosen = DEFAULT_BUNDLE if folder is None else shipped or Path(folder)
    path = chosen / MANIFEST
    with _open_regular(path) as file:
        content = file.read(_LARGEST_MANIFEST)
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
        manifest = _manifest(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SettingError) as error:
        raise BundleError(f"{path}: not a usable manifest ({type(error).__name__}: {error})") from error
    bundle = Bundle(chosen, manifest, hashlib.sha256(content).hexdigest())
    for name in manifest.files:
        with bundle.open(name):
            pass
    return bundle


def _manifest(values: dict[str, Any]) -> Manifest:
    for listed in (values["classes"], values["cancer_classes"]):
        if not isinstance(listed, list):
            raise TypeError(f"{listed!r} is not a list of classes")
    n_classes = len(values["classes"])
    variants = {name: read_variant(variant, n_classes) for name, variant in values["variants"].items()}
    manifest = Manifest(
        **values
        | {
            "classes": tuple(values["classes"]),
            "cancer_classes": tuple(values["cancer_classes"]),
            "preprocessing": Preprocessing(**values["preprocessing"]),
            "variants": variants,
            "files": {name: (str(sha256), int(size)) for name, (sha256, size) in values["files"].items()},
        }
    )
    names = (manifest.name, manifest.version, *manifest.classes, *manifest.cancer_classes)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"name, version and classes must be text, not {names}")
    strangers = set(manifest.cancer_classes) - set(manifest.classes)
    if strangers or not manifest.cancer_classes or len(set(manifest.classes)) != len(manifest.classes):
        raise ValueError(
            f"classes {manifest.classes} and cancer classes {manifest.cancer_classes} do not fit"
        )
    # Names are a fixed set, so that no manifest can point outside its folder.
    files = {*FILES, *(OPTIONAL_FILES if manifest.ood else ())}
    if set(manifest.files) != files:
        raise ValueError(f"files {sorted(manifest.files)}, expected {sorted(files)}")
    if any((variant.ood_threshold is None) != (manifest.ood is None) for variant in variants.values()):
        raise ValueError("thresholds for what is out of scope must be there where ood is, and nowhere else")
    if set(variants) != set(get_args(Precision)):
        raise ValueError(f"variants {sorted(variants)}, expected {sorted(get_args(Precision))}")
    return manifest


def _open_regular(path: Path) -> BinaryIO:
    # Opened without following a link or waiting on a FIFO, then judged by the descriptor: nothing can
    # be swapped between the check and the read.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    if path.is_symlink():
        raise BundleError(f"{path}: a link, refused; put the file itself there")
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be opened ({error.strerror}); name a bundle made by `python -m quantize`"
        ) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BundleError(f"{path}: not a regular file, refused")
    return file
