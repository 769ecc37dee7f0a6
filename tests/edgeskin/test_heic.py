"""HEIC pictures: pixels as they were encoded, upright, in sRGB, and what is refused."""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.errors import PhotoError
from edgeskin.photo.decode import decode
from edgeskin.photo.headers import read_header
from tests.conftest import ROOT
from tests.edgeskin.pictures import GRAY, RGBA, by_pillow, encode, smooth
from tests.edgeskin.profiles import profile

pytest.importorskip("pi_heif", reason="the extra heic is not installed")
from tests.edgeskin.heics import RGB, heic, heic_of_10_bits, oriented, with_byte, with_sides


def refusal(data: bytes) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        decode(data, 112)
    return caught.value


def test_pixels_are_those_that_were_encoded() -> None:
    found = decode(heic(), 112)
    np.testing.assert_array_equal(found.image, RGB)
    assert (found.width, found.height, found.format, found.transparent) == (160, 120, "heic", 0)
    assert found.image.flags.c_contiguous


@pytest.mark.parametrize(("height", "width"), [(121, 161), (97, 64), (64, 97)])
def test_odd_sides_are_cropped_as_the_file_says(height: int, width: int) -> None:
    picture = smooth(height, width)
    found = decode(heic(picture), 32)
    np.testing.assert_array_equal(found.image, picture)
    assert (found.width, found.height) == (width, height)


def test_grey_transparent_and_10_bit_pictures() -> None:
    grey = decode(heic(GRAY, matrix_coefficients=6), 112).image
    np.testing.assert_array_equal(grey, np.dstack([GRAY] * 3))
    clear = decode(heic(RGBA), 112)
    expected = by_pillow(encode(RGBA, "PNG"))
    assert np.abs(clear.image.astype(int) - expected).max() <= 2
    assert clear.transparent == pytest.approx(float((RGBA[..., 3] < 128).mean()), abs=0.001)
    assert np.abs(decode(heic_of_10_bits(), 112).image.astype(int) - RGB).max() <= 1


@pytest.mark.parametrize("quarters", range(4))
def test_the_rotation_of_the_file_is_applied_once(quarters: int) -> None:
    """It is anticlockwise (ISO/IEC 23008-12, 6.5.10). The EXIF orientation is not applied on top."""
    data = oriented(6)
    stored = decode(with_byte(data, b"irot", 0), 112).image
    turned = with_byte(data, b"irot", quarters)
    found = decode(turned, 112)
    np.testing.assert_array_equal(found.image, np.rot90(stored, quarters))
    header = read_header(turned)
    assert (found.width, found.height) == (header.width, header.height) == found.image.shape[1::-1]


def test_mirrors_are_applied() -> None:
    found = [decode(with_byte(oriented(2), b"imir", axis), 112).image for axis in (0, 1)]
    np.testing.assert_array_equal(found[0], found[1][::-1, ::-1])
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
def test_the_profile_is_applied(name: str) -> None:
    expected = decode(encode(RGB, "PNG", icc_profile=profile(name)), 112).image
    found = decode(heic(icc_profile=profile(name)), 112).image
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found.astype(int) - RGB).max() > 10


def test_labelled_colours_are_converted() -> None:
    labelled = heic(color_primaries=12, transfer_characteristics=13)
    expected = decode(encode(RGB, "PNG", icc_profile=profile("Display P3")), 112).image
    assert np.abs(decode(labelled, 112).image.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(
        decode(heic(color_primaries=1, transfer_characteristics=13), 112).image, RGB
    )


def test_labelled_colours_are_converted_with_transparency_too() -> None:
    own = encode(np.ascontiguousarray(RGBA[..., :3]), "PNG", icc_profile=profile("Display P3"))
    expected = by_pillow(encode(np.dstack([decode(own, 112).image, RGBA[..., 3:]]), "PNG"))
    found = decode(heic(RGBA, color_primaries=12, transfer_characteristics=13), 112)
    assert np.abs(found.image.astype(int) - expected).max() <= 3
    assert np.abs(decode(heic(RGBA), 112).image.astype(int) - expected).max() > 10
    assert found.transparent == pytest.approx(float((RGBA[..., 3] < 128).mean()), abs=0.001)


@pytest.mark.parametrize(("primaries", "curve"), [(9, 16), (9, 18), (12, 16), (9, 13), (1, 8)])
def test_high_dynamic_range_and_unknown_colours_are_refused(primaries: int, curve: int) -> None:
    data = heic(color_primaries=primaries, transfer_characteristics=curve)
    assert refusal(data).code == "unsupported_format"


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_is_refused(share: float) -> None:
    data = heic()
    assert refusal(data[: max(12, int(len(data) * share))]).code in ("cut_off", "unsupported_format")
    assert refusal(data[:-1]).code == "cut_off"


def test_sizes_are_checked_before_anything_is_decoded() -> None:
    assert refusal(with_sides(heic(), 16_000, 16_000)).code == "too_many_pixels"
    assert refusal(with_sides(heic(), 20_000, 100)).code == "side_too_long"
    assert refusal(with_sides(heic(), 20, 100)).code == "too_small"
    # A header that claims fewer pixels than the coded picture has.
    assert refusal(with_sides(heic(), 40, 40)).code == "damaged"
    assert refusal(with_sides(heic(), 170, 130)).code == "damaged"


def test_random_damage_raises_nothing_else() -> None:
    rng = np.random.default_rng(0)
    whole = heic()
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(12, 900, rng.integers(1, 4)):
            data[place] = rng.integers(256)
        with contextlib.suppress(PhotoError):
            decode(bytes(data), 112)


def test_a_file_without_a_picture_is_refused() -> None:
    for data in (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), b"\0\0\0\x18ftypheic" + bytes(12)):
        error = refusal(data)
        assert error.code == "unsupported_format"
        assert "HEIC" in str(error)


def test_a_classifier_answers_path_and_bytes_and_isolated(shared_micro_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "lesion.heic"
    path.write_bytes(heic())
    options = {"threads": 1, "quality_gate": False, "scope_gate": False}
    with Classifier(shared_micro_bundle, **options) as own:
        expected = own.assess(RGB, name="a")
        assert own.assess(path, name="a").cancer_probability == expected.cancer_probability
        with Classifier(shared_micro_bundle, isolate=True, **options) as isolated:
            assert isolated.assess(path, name="a") == own.assess(path, name="a")
            results = list(isolated.assess_many([path.read_bytes(), heic()[:-9]]))
    assert results[0].cancer_probability == expected.cancer_probability
    assert results[1].error is not None
    assert results[1].error.code == "cut_off"


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(heic())
    code = (
        "import sys; sys.modules['pi_heif'] = None\n"
        "from edgeskin import PhotoError\nfrom edgeskin.photo.decode import load_photo\n"
        "try: load_photo(sys.argv[1], 112)\nexcept PhotoError as error: print(error.code, error)"
    )
    command = [sys.executable, "-c", code, tmp_path / "a.heic"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("unsupported_format ")
    assert 'pip install "edgeskin[heic]"' in done.stdout
