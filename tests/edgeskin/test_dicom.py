"""DICOM photographs: pixels as pydicom reads them, JPEG frames as the JPEG file, and what is refused."""

import contextlib
import io
import logging
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeskin import Classifier
from edgeskin.errors import PhotoError
from edgeskin.photo.decode import Photo, decode, load_photo
from edgeskin.photo.headers import read_header
from tests.conftest import ROOT, run_cli
from tests.edgeskin.pictures import GRAY, PNG, encode, smooth
from tests.edgeskin.profiles import profile

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
from pydicom import uid  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.pixels.decoders.base import get_decoder  # noqa: E402

from edgeskin.photo import dicom  # noqa: E402
from tests.edgeskin.dicoms import JPEG, RGB, SECRETS, attributes, photograph, saved, with_jpeg  # noqa: E402

BASELINE, LOSSLESS = b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.57"
NATIVE = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian]


def read(data: bytes) -> Photo:
    return decode(data, 112)


def refusal(data: bytes) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        read(data)
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return caught.value


def by_pydicom(data: bytes) -> npt.NDArray[np.uint8]:
    """RGB, as pydicom converts it."""
    return np.asarray(pydicom.dcmread(io.BytesIO(data)).pixel_array)


@pytest.mark.parametrize("input_size", [32, 112, 600])
@pytest.mark.parametrize("fragments", [1, 3])
def test_a_jpeg_frame_is_read_as_the_jpeg_file(input_size: int, fragments: int) -> None:
    expected = decode(JPEG, input_size)
    found = decode(with_jpeg(fragments=fragments), input_size)
    np.testing.assert_array_equal(found.image, expected.image)
    assert (found.width, found.height, found.format) == (800, 600, "dicom")
    assert found.may_be_damaged == expected.may_be_damaged


@pytest.mark.parametrize("sop_class", dicom.PHOTOGRAPHS)
def test_photographs_of_each_class(sop_class: str) -> None:
    np.testing.assert_array_equal(read(photograph(SOPClassUID=sop_class)).image, RGB)
    framed = photograph(SOPClassUID=sop_class, NumberOfFrames=1)
    np.testing.assert_array_equal(read(framed).image, RGB)


@pytest.mark.parametrize("syntax", NATIVE)
def test_uncompressed_pixels(syntax: str) -> None:
    found = read(photograph(syntax=syntax))
    np.testing.assert_array_equal(found.image, RGB)
    assert (found.width, found.height, found.format, found.may_be_damaged) == (160, 120, "dicom", False)
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    planar = photograph(planes.tobytes(), syntax, PlanarConfiguration=1)
    np.testing.assert_array_equal(read(planar).image, RGB)


@pytest.mark.parametrize(("color", "channels"), [("YBR_FULL", 3), ("YBR_FULL_422", 2)])
def test_luma_and_chroma_are_converted_as_pydicom_does(color: str, channels: int) -> None:
    values = smooth(120, 160, seed=5)
    stored = values if channels == 3 else values.reshape(-1)[: 120 * 160 * 2]
    data = photograph(stored.tobytes(), color=color)
    assert np.abs(read(data).image.astype(int) - by_pydicom(data)).max() <= 1


@pytest.mark.parametrize("color", ["RGB", "YBR_FULL"])
def test_rle(color: str) -> None:
    values = np.where(smooth(121, 161) > 120, smooth(121, 161), 7).astype(np.uint8)  # with runs
    dataset = pydicom.dcmread(io.BytesIO(photograph(values, color=color)))
    dataset.compress(uid.RLELossless)
    data = saved(dataset)
    assert np.abs(read(data).image.astype(int) - by_pydicom(data)).max() <= (color != "RGB")


def jpeg_2000(syntax: str, pixels: npt.NDArray[np.uint8] = RGB) -> bytes:
    is_lossless = syntax == uid.JPEG2000Lossless
    options = {} if is_lossless else {"quality_mode": "rates", "quality_layers": [5], "irreversible": True}
    frame = encode(pixels, "JPEG2000", no_jp2=True, mct=1, **options)
    return photograph(encapsulate([frame]), syntax, color="YBR_RCT" if is_lossless else "YBR_ICT")


@pytest.mark.parametrize("syntax", dicom.JPEG_2000)
def test_jpeg_2000(syntax: str) -> None:
    if not get_decoder(syntax).is_available:
        pytest.skip("pydicom finds no decoder of JPEG 2000")
    data = jpeg_2000(syntax)
    limit = 0 if syntax == uid.JPEG2000Lossless else 12
    assert np.abs(read(data).image.astype(int) - RGB).max() <= limit
    np.testing.assert_array_equal(read(data).image, by_pydicom(data))


@pytest.mark.parametrize("syntax", dicom.JPEG_LS)
def test_jpeg_ls(syntax: str) -> None:
    pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    dataset = pydicom.dcmread(io.BytesIO(photograph()))
    dataset.compress(syntax, **({"jls_error": 2} if syntax == uid.JPEGLSNearLossless else {}))
    assert np.abs(read(saved(dataset)).image.astype(int) - RGB).max() <= (
        2 if syntax == uid.JPEGLSNearLossless else 0
    )


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_a_missing_decoder_is_named(syntax: str, tmp_path: Path) -> None:
    frame = struct.pack(">BHHB", 8, *RGB.shape)
    frames = {
        uid.JPEGLSLossless: b"\xff\xd8\xff\xf7\0\x11" + frame + bytes(20),
        uid.JPEG2000Lossless: b"\xff\x4f\xff\x51"
        + struct.pack(">HH8IHB", 47, 0, 160, 120, 0, 0, 160, 120, 0, 0, 3, 7),
    }
    color = "RGB" if syntax == uid.JPEGLSLossless else "YBR_RCT"
    (tmp_path / "a.dcm").write_bytes(photograph(encapsulate([frames[syntax]]), syntax, color=color))
    blocked = "import sys\nfor name in ('jpeg_ls', 'openjpeg', 'PIL', 'gdcm'): sys.modules[name] = None\n"
    code = blocked + "from edgeskin.photo.decode import load_photo\nload_photo(sys.argv[1], 112)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.dcm"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert f"pip install {dicom.PACKAGES[syntax]}" in done.stderr


def test_the_profile_of_the_file_is_applied() -> None:
    expected = read(encode(RGB, "PNG", icc_profile=profile())).image
    np.testing.assert_array_equal(read(photograph(ICCProfile=profile())).image, expected)
    assert np.abs(expected.astype(int) - RGB).max() > 10
    picture = smooth(600, 800)
    tagged, plain = (encode(picture, "JPEG", quality=90, **o) for o in ({"icc_profile": profile()}, {}))
    expected = read(tagged).image
    np.testing.assert_array_equal(read(with_jpeg(tagged)).image, expected)
    np.testing.assert_array_equal(read(with_jpeg(plain, ICCProfile=profile())).image, expected)


@pytest.mark.parametrize(
    ("data", "code", "named"),
    [
        (photograph(SOPClassUID=uid.CTImageStorage), "unsupported_format", "CT Image"),
        (photograph(SOPClassUID="1.2.3.4"), "unsupported_format", "unknown"),
        (photograph(NumberOfFrames=2), "unsupported_format", "frames"),
        (photograph(BitsAllocated=16, BitsStored=12), "unsupported_format", "8 bits"),
        (photograph(BitsStored=7), "unsupported_format", "8 bits"),
        (photograph(PixelRepresentation=1), "unsupported_format", "8 bits"),
        (photograph(GRAY.tobytes(), color="MONOCHROME2", SamplesPerPixel=1), "unsupported_format", "grey"),
        (photograph(GRAY.tobytes(), color="PALETTE COLOR", SamplesPerPixel=1), "unsupported_format", ""),
        (photograph(color="YBR_PARTIAL_420"), "unsupported_format", "colours"),
        (photograph(SamplesPerPixel=1), "unsupported_format", ""),
        (photograph(syntax=uid.ExplicitVRBigEndian), "unsupported_format", "Big Endian"),
        (with_jpeg().replace(BASELINE, LOSSLESS), "unsupported_format", "Lossless"),
        (with_jpeg().replace(BASELINE, BASELINE[:-1] + b"x"), "unsupported_format", "unknown"),
        (with_jpeg(color="MONOCHROME2"), "unsupported_format", "grey"),
        (with_jpeg(Rows=601), "damaged", ""),
        (with_jpeg(encode(smooth(600, 800)[..., 0], "JPEG")), "damaged", ""),
        (with_jpeg(PNG, Rows=120, Columns=160), "damaged", ""),
        (with_jpeg(JPEG[:-2000]), "cut_off", ""),
        (photograph(Rows=121), "cut_off", ""),
        (photograph(PixelData=None), "cut_off", ""),
        (photograph(Rows=None), "too_small", ""),
        (photograph(Rows=20_000, Columns=20_000), "cut_off", ""),
        (photograph(RGB[:20]), "too_small", ""),
        (bytes(128) + b"DICM" + bytes(100), "unsupported_format", "DICOM"),
        (bytes(128) + b"DICM", "unsupported_format", "DICOM"),
    ],
)  # fmt: skip
def test_refused(data: bytes, code: str, named: str) -> None:
    error = refusal(data)
    assert error.code == code, error
    assert named in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PixelAspectRatio", [1, 3]), ("PixelAspectRatio", [100, 99]), ("PixelAspectRatio", [0, 0]),
        ("PixelSpacing", [0.1, 0.2]), ("ImagerPixelSpacing", [0.2, 0.1]),
        ("NominalScannedPixelSpacing", [1, 2]),
    ],
)  # fmt: skip
def test_pixels_that_are_not_square_are_refused(name: str, value: list[float]) -> None:
    for data in (photograph(**{name: value}), with_jpeg(**{name: value})):
        error = refusal(data)
        assert (error.code, name in str(error)) == ("unsupported_format", True)


def test_pixels_that_are_square_are_read() -> None:
    ratios = {"PixelAspectRatio": [5, 5], "PixelSpacing": [0.0123, 0.01231]}
    np.testing.assert_array_equal(read(photograph(**ratios)).image, RGB)
    for value in ([1], [1, 1, 1]):
        assert refusal(photograph(PixelAspectRatio=value)).code == "damaged"


def test_pictures_of_several_frames_in_one_element_are_refused() -> None:
    two = encapsulate([JPEG, JPEG])
    data = photograph(
        two, uid.JPEGBaseline8Bit, color="YBR_FULL_422", Rows=600, Columns=800, NumberOfFrames=1
    )
    assert refusal(data).code == "damaged"


def marked(name: bytes) -> bytes:
    """A JPEG of 64 x 64 pixels whose colours Pillow marks by JFIF; b"": without any mark."""
    jpeg = encode(smooth(64, 64), "JPEG")
    return jpeg if name else jpeg[:2] + jpeg[20:]


def test_a_jpeg_that_does_not_say_what_its_colours_are_must_not_be_labelled_rgb() -> None:
    sides = {"Rows": 64, "Columns": 64}
    read(with_jpeg(marked(b"JFIF"), color="RGB", **sides))
    read(with_jpeg(marked(b""), **sides))
    assert refusal(with_jpeg(marked(b""), color="RGB", **sides)).code == "unsupported_format"
    named = bytearray(marked(b""))
    at = named.index(b"\xff\xc0\0\x11") + 10
    scan = named.index(b"\xff\xda\0\x0c") + 5
    for place, letter in enumerate(b"RGB"):
        named[at + 3 * place] = named[scan + 2 * place] = letter
    found = read(with_jpeg(bytes(named), color="RGB", **sides))
    np.testing.assert_array_equal(found.image, read(bytes(named)).image)


def test_more_pixels_than_the_picture_has_are_noted() -> None:
    assert not read(photograph(RGB.tobytes())).may_be_damaged
    assert read(photograph(RGB.tobytes() + bytes(4))).may_be_damaged


@pytest.mark.parametrize(
    "whole", [photograph(), with_jpeg(), photograph(syntax=NATIVE[2])], ids=["native", "jpeg", "deflated"]
)
def test_a_file_that_is_cut_anywhere_is_refused(whole: bytes) -> None:
    for length in [*range(140, 1200, 7), *range(1200, len(whole) - 20, len(whole) // 50)]:
        assert refusal(whole[:length]).code in ("cut_off", "damaged", "unsupported_format")


def test_a_bomb_of_deflated_zeros_is_refused_by_its_size() -> None:
    dataset = attributes()
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    data = saved(dataset)
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = b"".join(stream.compress(bytes(2**24)) for _ in range(20)) + stream.flush()
    start = data.index(uid.DeflatedExplicitVRLittleEndian.encode())
    end = 132 + 12 + struct.unpack_from("<I", data, 140)[0]
    assert start < end < len(data)
    assert refusal(data[:end] + zeros).code == "file_too_large"


def test_a_bomb_of_runs_is_refused_by_its_length() -> None:
    """64 MB of runs would unpack to 4 GB."""
    frame = struct.pack("<16I", 3, 64, 66, 68, *[0] * 12) + b"\x81\0" * 2**24
    data = photograph(encapsulate([frame]), uid.RLELossless)
    assert refusal(data).code == "cut_off"


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_file_of_tiny_elements_is_given_up(is_nested: bool) -> None:
    element = struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 0)
    head = photograph(PixelData=None)[: photograph(PixelData=None).index(b"\x28\0\x02\0")]
    sequence = struct.pack("<HH2sHI", 0x0009, 0x1000, b"SQ", 0, 0xFFFFFFFF)
    sequence += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert refusal(head + (sequence if is_nested else b"") + element * 2**21).code == "damaged"


def test_deep_sequences_are_refused() -> None:
    head = photograph(PixelData=None)[: photograph(PixelData=None).index(b"\x28\0\x02\0")]
    level = struct.pack("<HH2sHI", 0x0009, 0x1000, b"SQ", 0, 0xFFFFFFFF)
    level += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert refusal(head + level * 5000).code == "damaged"


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_raises_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wholes = [photograph(), with_jpeg(), photograph(syntax=NATIVE[0]), photograph(syntax=NATIVE[2])]
    for _ in range(60):
        data = bytearray(wholes[seed])
        for place in rng.integers(128, min(len(data), 1500), rng.integers(1, 6)):
            data[place] = rng.integers(256)
        with contextlib.suppress(PhotoError):
            read(bytes(data))


def test_nothing_of_pydicom_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Of a file that makes pydicom warn, with the patient in the warning."""
    odd = photograph(PhotometricInterpretation="RGB").replace(b"ISO_IR 192", b"ISO_IR 999")
    odd = odd.replace(SECRETS[0].encode(), b"Marker\\Patient")
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(read(odd).image, RGB)
        refusal(odd[:1000])
    assert not caught
    assert not [record for record in caplog.records if record.name.startswith("pydicom")]
    assert logging.getLogger("pydicom").propagate


def test_a_classifier_answers_a_dicom_file_as_its_jpeg(shared_micro_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "lesion.dcm"
    path.write_bytes(with_jpeg())
    options = {"threads": 1, "quality_gate": False, "scope_gate": False}
    with Classifier(shared_micro_bundle, **options) as own:
        expected = own.assess(JPEG, name="a")
        assert own.assess(path, name="a") == expected
        with Classifier(shared_micro_bundle, isolate=True, **options) as isolated:
            assert isolated.assess(path, name="a") == expected
            results = list(isolated.assess_many([path, path.read_bytes(), photograph(NumberOfFrames=2)]))
    assert [one.cancer_probability for one in results[:2]] == [expected.cancer_probability] * 2
    assert results[2].error is not None
    assert results[2].error.code == "unsupported_format"


@pytest.mark.hazard("H-17")
def test_no_patient_in_any_output(shared_micro_bundle: Path, tmp_path: Path) -> None:
    for name, data in {
        "a.dcm": with_jpeg(),
        "b.dcm": with_jpeg()[:3000],
        "c.dcm": photograph(Rows=3),
    }.items():
        (tmp_path / name).write_bytes(data)
    for options in (["--json"], ["--isolate"], ["--explain", tmp_path]):
        done = run_cli("predict", tmp_path, "--bundle", shared_micro_bundle, "--no-scope-gate", *options)
        assert done.stderr.count("error: ") + done.stdout.count('"error": {') >= 2
        assert not re.search("marker", done.stdout + done.stderr, re.IGNORECASE)
    report = tmp_path / "report.html"
    run_cli("report", tmp_path / "a.dcm", "-o", report, "--bundle", shared_micro_bundle, "--no-scope-gate")
    assert "marker" not in report.read_text().lower()


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(with_jpeg())
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from edgeskin import PhotoError\nfrom edgeskin.photo.decode import load_photo\n"
        "try: load_photo(sys.argv[1], 112)\nexcept PhotoError as error: print(error.code, error)"
    )
    command = [sys.executable, "-c", code, tmp_path / "a.dcm"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("unsupported_format ")
    assert 'pip install "edgeskin[dicom]"' in done.stdout


def test_the_header_knows_the_size_before_anything_is_decoded() -> None:
    header = read_header(with_jpeg())
    assert (header.format, header.width, header.height) == ("dicom", 800, 600)
    large = photograph(bytes(3 * 6000 * 3000), Rows=3000, Columns=6000)
    assert refusal(large).code == "too_many_pixels"
    assert load_photo(photograph(), 112).format == "dicom"
