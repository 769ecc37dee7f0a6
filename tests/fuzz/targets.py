"""What is fuzzed: each target takes any bytes, and raises for nothing but a fault of edgeskin."""

import contextlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeskin.bench.agreement import read_labels
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.ir import require_plain_ir
from edgeskin.bundle.manifest import FILES
from edgeskin.decision.decide import decide
from edgeskin.errors import BundleError, PhotoError, ResourceError, SettingError
from edgeskin.photo.archive import Member, members_of, read_member
from edgeskin.photo.color_profile import inflated, read_profile
from edgeskin.photo.decode import MAX_BYTES, load_photo
from edgeskin.photo.directory import exif_orientation
from edgeskin.photo.headers import PNG_SIGNATURE, read_header
from edgeskin.taxonomy import ISIC_2019
from tests.conftest import write_manifest
from tests.edgeskin.pictures import encode, right_checksums, smooth
from tests.edgeskin.profiles import SRGB_CURVE, gamma, parametric, profile, srgb_light, table
from tests.edgeskin.samples import kinds_of, refused_kinds, with_metadata
from tests.edgeskin.tiffs import directory

INPUT_SIZE = 32
SMALL = smooth(40, 56)
FOLDER = Path(tempfile.gettempdir())


@dataclass(frozen=True)
class Target:
    """A reader under test. run: takes the bytes; seeds: whole inputs, from which the fuzzer starts."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def read_headers(data: bytes) -> None:
    with contextlib.suppress(PhotoError):
        header = read_header(_mended(data))
        assert header.orientation in range(1, 9)
        assert isinstance(header.width, int)
        assert isinstance(header.height, int)


def decode(data: bytes) -> None:
    with contextlib.suppress(PhotoError, ResourceError):
        photo = load_photo(_mended(data), INPUT_SIZE)
        scale = -(-photo.height // photo.image.shape[0])
        assert photo.image.shape == (-(-photo.height // scale), -(-photo.width // scale), 3)
        assert photo.image.dtype == np.uint8
        assert 0 <= photo.transparent <= 1


def _mended(data: bytes) -> bytes:
    """The data, with the right checksums if they are a PNG: otherwise no change would get past them."""
    return right_checksums(data) if data.startswith(PNG_SIGNATURE) else data


def read_colors(data: bytes) -> None:
    for content in (data, inflated(data)):
        read = read_profile(content)
        if read is not None:
            assert np.isfinite(read.curves).all()
            assert np.isfinite(read.matrix).all()
            assert read.to_srgb(SMALL).shape == SMALL.shape


def read_orientation(data: bytes) -> None:
    assert exif_orientation(data) in range(1, 9)


def read_manifest(data: bytes) -> None:
    folder = _bundle()
    (folder / "manifest.json").write_bytes(data)
    with contextlib.suppress(BundleError):
        manifest = open_bundle(folder).manifest
        for rules in manifest.decision_rules.values():
            decisions = decide(np.zeros((2, 1, len(rules.classes))), rules)
            assert np.isfinite(decisions.probabilities).all()


def _bundle() -> Path:
    """A folder with the files that a manifest lists, all of them empty."""
    folder = FOLDER / "bundle"
    folder.mkdir(exist_ok=True)
    for name in FILES:
        (folder / name).touch()
    return folder


def read_tables(data: bytes) -> None:
    path = FOLDER / "table.csv"
    path.write_bytes(data)
    for split in (None, "val"):
        with contextlib.suppress(SettingError):
            pairs, left_out = read_labels(path, split, ISIC_2019)
            assert pairs
            assert not left_out.keys() & set(ISIC_2019)


def read_archive(data: bytes) -> None:
    path = FOLDER / "photos.zip"
    path.write_bytes(data)
    with contextlib.suppress(PhotoError):
        for name, member in members_of(path, quiet=True):
            assert isinstance(name, str)
            if isinstance(member, Member):
                with contextlib.suppress(PhotoError):
                    assert len(read_member(path, member)) == member.size <= MAX_BYTES


def read_network(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        require_plain_ir(data, 1000)


def _pictures() -> list[bytes]:
    tagged = [with_metadata(SMALL, fmt) for fmt in ("JPEG", "PNG", "WEBP", "TIFF")]
    return [*kinds_of(SMALL).values(), *tagged]


def _dicoms() -> list[bytes]:
    from tests.edgeskin.dicoms import photograph, with_jpeg  # which needs the extra dicom

    height, width = SMALL.shape[:2]
    syntaxes = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
    return [
        *(photograph(SMALL, syntax) for syntax in syntaxes),
        photograph(SMALL, color="YBR_FULL", PlanarConfiguration=1),
        with_jpeg(encode(SMALL, "JPEG"), Rows=height, Columns=width),
        with_jpeg(encode(SMALL, "JPEG"), fragments=2, Rows=height, Columns=width),
    ]


def _manifests() -> list[bytes]:
    """One of today's schema, short, and what schema 3 made of it."""
    folder = _bundle()
    write_manifest(folder, ood=None)
    values = json.loads((folder / "manifest.json").read_bytes())
    for rules in values["decision_rules"].values():
        rules["lesion_scores"] = {"cancer": [0.2, 0.9], "benign": [0.1, 0.3], "bounds": [0.9]}
    older = {key: value for key, value in values.items() if key != "decision_rules"}
    older |= {"schema_version": 3, "variants": {}}
    older["files"] = {name: [file["sha256"], file["size"]] for name, file in values["files"].items()}
    for precision, rules in values["decision_rules"].items():
        points = [point | {"certificate": point["bound"]} for point in rules["operating_points"]]
        older["variants"][precision] = {
            "calibration": rules["calibration"],
            "operating_points": [{k: v for k, v in point.items() if k != "bound"} for point in points],
            "class_priors": rules["class_priors"],
            "lesion_scores": {"cancer": [0.2, 0.9], "others": [0.1, 0.3]},
            "label_sets": rules["prediction_sets"],
            "certainty": rules["confidence"],
        }
    return [json.dumps(one).encode() for one in (values, older)]


def _archives() -> list[bytes]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name in ("a.jpg", "deep/b.png", "../c.jpg", "notes.txt"):
                archive.writestr(name, b"picture " * 9)
        found.append(stream.getvalue())
    return found


TABLES = [
    b"path,label\na.jpg,MEL\nb.jpg,NV\n",
    b'\xef\xbb\xbfpath,label,split\r\n"a ""b"".jpg",MEL,val\r\n\r\n,,\r\nc.jpg,XYZ,train\r\n',
    b"path;label\ra.jpg;MEL\r",
    "path,label\na.jpg,MEL\n".encode("utf-16"),
]
CURVES = [
    gamma(2.2),
    table(srgb_light(np.linspace(0, 1, 64))),
    parametric(0, 2.4),
    parametric(1, 2.4, 0.9, 0.1),
    parametric(2, 2.4, 0.9, 0.1, 0.1),
    SRGB_CURVE,
    parametric(4, 2.4, 0.9, 0.1, 0.1, 0.04, 0.0, 0.0),
]
NETWORK = (
    b'<?xml version="1.0"?><net name="n" version="11"><layers><layer id="0" name="c" type="Const" '
    b'version="opset1"><data element_type="f32" shape="2, 3" offset="0" size="24"/></layer></layers></net>'
)

TARGETS = {
    "headers": Target(read_headers, lambda: [*_pictures(), *refused_kinds(SMALL).values()]),
    "decode": Target(decode, _pictures),
    "dicom": Target(decode, _dicoms),
    "manifest": Target(read_manifest, _manifests),
    "tables": Target(read_tables, lambda: TABLES),
    "archives": Target(read_archive, _archives),
    "icc": Target(read_colors, lambda: [profile(curve=curve) for curve in CURVES]),
    "exif": Target(
        read_orientation,
        lambda: [
            head + directory({274: (3, (6,)), 282: (12, (72.0,))}, order, 8)
            for order, head in (("<", b"II*\0\x08\0\0\0"), (">", b"Exif\0\0MM\0*\0\0\0\x08"))
        ],
    ),
    "ir": Target(read_network, lambda: [NETWORK]),
}
