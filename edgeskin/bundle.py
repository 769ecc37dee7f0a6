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

from edgeskin.errors import BundleError, SettingError
from edgeskin.preprocess import Preprocessing

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""1 had a temperature instead of a calibration."""
MANIFEST = "manifest.json"
HEAD = "head.npz"
SCREENING_POINT = "screen"
Precision = Literal["int8", "fp32"]
FILES = ("fp32.xml", "fp32.bin", "int8.xml", "int8.bin", HEAD)
DEFAULT_BUNDLE = Path(__file__).parent / "models" / "default"
_LARGEST_MANIFEST = 4 * 2**20


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on P(cancer), fixed on validation as the highest that reaches ``target_recall``.

    recall, specificity: what it gave on validation, 0 to 1.
    """

    name: str
    threshold: float
    target_recall: float
    recall: float
    specificity: float


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(weights @ log softmax(logits) + bias) (Kull et al., NeurIPS 2019).

    method: how it was fitted; temperature scaling is weights I / T without bias. weights: (C, C). bias: (C,).
    """

    method: str
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]


@dataclass(frozen=True)
class Variant:
    """What is fitted to one precision's own outputs: calibration, and operating points by falling recall.

    class_priors: (C,), mean probability that the network gives each class on validation, which the decision
    for a class is freed of; empty: the most probable class is decided for.
    """

    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    class_priors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What the runtime needs to know of a network, and where it comes from.

    variants: by precision. ood: statistics for the out-of-distribution score, None until fitted.
    validation, training, gate, versions: for people and documents; the runtime does not read them.
    files: name -> (SHA-256 in hex, size in bytes).
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
    when a file is read. Without a folder: the bundle that ships with the package.

    Raises BundleError naming what is missing, malformed or of an unknown schema version.
    """
    chosen = DEFAULT_BUNDLE if folder is None else Path(folder)
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


def temperature_scaling(temperature: float, n_classes: int) -> Calibration:
    """softmax(logits / temperature) (Guo et al., ICML 2017). Raises ValueError unless it is 0.01 to 100."""
    if not 0.01 <= temperature <= 100:
        raise ValueError(f"temperature {temperature}: expected 0.01 to 100")
    rows = tuple(tuple(float(i == j) / temperature for j in range(n_classes)) for i in range(n_classes))
    return Calibration("temperature", rows, (0.0,) * n_classes)


def read_calibration(values: Mapping[str, Any]) -> Calibration:
    """From plain data, as in a manifest. Raises ValueError unless it is (C, C), above 0 on the diagonal, and
    (C,), all within +-100.
    """
    weights = tuple(tuple(float(weight) for weight in row) for row in values["weights"])
    bias = tuple(float(value) for value in values["bias"])
    numbers = (*bias, *(weight for row in weights for weight in row))
    if {len(weights), *map(len, weights)} != {len(bias)} or not all(abs(number) <= 100 for number in numbers):
        raise ValueError("calibration needs weights (C, C) and bias (C,), all within +-100")
    if not all(row[position] > 0 for position, row in enumerate(weights)):
        raise ValueError("calibration needs weights above 0 on the diagonal")
    return Calibration(str(values["method"]), weights, bias)


def _manifest(values: dict[str, Any]) -> Manifest:
    n_classes = len(values["classes"])
    variants = {
        name: Variant(
            temperature_scaling(float(variant["temperature"]), n_classes)
            if values["schema_version"] == 1
            else read_calibration(variant["calibration"]),
            tuple(OperatingPoint(**point) for point in variant["operating_points"]),
            tuple(float(prior) for prior in variant.get("class_priors", ())),
        )
        for name, variant in values["variants"].items()
    }
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
    names = [manifest.name, manifest.version]
    for listed in (values["classes"], values["cancer_classes"]):
        if not isinstance(listed, list):
            raise TypeError(f"{listed!r} is not a list of classes")
        names += listed
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"name, version and classes must be text, not {names}")
    strangers = set(manifest.cancer_classes) - set(manifest.classes)
    if strangers or not manifest.cancer_classes or len(set(manifest.classes)) != len(manifest.classes):
        raise ValueError(
            f"classes {manifest.classes} and cancer classes {manifest.cancer_classes} do not fit"
        )
    # Names are a fixed set, so that no manifest can point outside its folder.
    if set(manifest.files) != set(FILES):
        raise ValueError(f"files {sorted(manifest.files)}, expected {sorted(FILES)}")
    if set(variants) != set(get_args(Precision)):
        raise ValueError(f"variants {sorted(variants)}, expected {sorted(get_args(Precision))}")
    for variant in variants.values():
        thresholds = [point.threshold for point in variant.operating_points]
        if not thresholds or sorted(thresholds) != thresholds or len(variant.calibration.bias) != n_classes:
            raise ValueError("operating points must rise in threshold, calibration be for every class")
        if variant.operating_points[0].name != SCREENING_POINT:
            raise ValueError(f"the first operating point must be {SCREENING_POINT!r}")
        priors = variant.class_priors
        if priors and (len(priors) != len(manifest.classes) or not all(0 < prior <= 1 for prior in priors)):
            raise ValueError(f"class priors {priors}: expected one above 0 for each class, or none")
        if not all(0 <= threshold <= 1 for threshold in thresholds):
            raise ValueError(f"thresholds {thresholds} outside 0 to 1")
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
