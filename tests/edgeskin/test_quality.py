"""Measures of a photo by hand and as scipy computed them; which photos are refused, and which get advice."""

import csv
import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.imaging.quality import LIMITS, SIDE, Limit, assess_quality, measure
from edgeskin.photo.decode import Photo, load_photo
from edgeskin.results import QUALITY_MEASURES
from tests.conftest import ROOT

pytestmark = pytest.mark.hazard("H-06")

Image = np.ndarray
INSTRUCTIONS = {limit.code: limit.instruction for limit in LIMITS}


@pytest.fixture(scope="module")
def good(lesion_jpg: Path) -> Image:
    """The example, whole, which meets every limit."""
    return load_photo(lesion_jpg, 224).image


def photo(image: Image) -> Photo:
    return Photo(np.ascontiguousarray(image), image.shape[1], image.shape[0], "array")


def blurred(image: Image) -> Image:
    return cv2.GaussianBlur(image, (0, 0), 0.04 * min(image.shape[:2]))


def scaled(image: Image, factor: float, offset: float = 0.0) -> Image:
    return np.clip(image * factor + offset, 0, 255).astype(np.uint8)


def painted(image: Image, share: float, colour: tuple[int, int, int]) -> Image:
    """A band of this share of the height, from the top, in one colour."""
    out = image.copy()
    out[: round(share * len(out))] = colour
    return out


def lined(image: Image, spacing: int) -> Image:
    """Dark lines of two pixels of the measured square, as thick hair."""
    square = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    for start in range(0, SIDE, spacing):
        square[:, start : start + 2] = (60, 45, 40)
    return square


def test_the_example_is_good_enough(good: Image) -> None:
    quality = assess_quality(photo(good))
    assert quality.retake == quality.advice == quality.failed == quality.advised == ()


def test_drawn_lesions_of_every_class_are_good_enough() -> None:
    draw_lesion = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]
    rng = np.random.default_rng(3)
    for label in ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"):
        assert assess_quality(photo(draw_lesion(label, rng, 300))).retake == ()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda image: cv2.resize(image, (100, 100)), "resolution_low"),
        (blurred, "sharpness_low"),
        (lambda image: scaled(image, 0.2), "brightness_low"),
        (lambda image: scaled(image, 0.2, 210), "brightness_high"),
        (lambda image: scaled(image, 0.05, 150), "contrast_low"),
        (lambda image: painted(image, 0.3, (255, 255, 255)), "overexposed_high"),
        (lambda image: painted(image, 0.5, (5, 5, 5)), "black_margin"),
        (lambda image: painted(image, 0.5, (40, 90, 200)), "unnatural_colour_high"),
        (lambda image: lined(image, 3), "hair_high"),
    ],
)
def test_photos_that_are_refused(spoil: Callable[[Image], Image], code: str, good: Image) -> None:
    quality = assess_quality(photo(spoil(good)))
    assert code in quality.failed
    assert INSTRUCTIONS[code] in quality.retake
    assert quality.retake == tuple(INSTRUCTIONS[failed] for failed in quality.failed)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda image: painted(image, 0.05, (255, 255, 255)), "glare"),
        (lambda image: painted(image, 0.15, (40, 90, 200)), "ink_or_ruler"),
        (lambda image: lined(image, 8), "some_hair"),
        (lambda image: np.full_like(image, (200, 160, 140)), "lesion_small"),
    ],
)
def test_photos_that_get_advice(spoil: Callable[[Image], Image], code: str, good: Image) -> None:
    quality = assess_quality(photo(spoil(good)))
    assert code in quality.advised
    assert INSTRUCTIONS[code] in quality.advice
    assert quality.advice == tuple(INSTRUCTIONS[advised] for advised in quality.advised)


@pytest.mark.parametrize(
    ("offset", "radius", "code"), [(70, 30, "lesion_off_centre"), (0, 124, "lesion_large"), (0, 60, None)]
)
def test_advice_on_where_the_lesion_is(offset: int, radius: int, code: str | None) -> None:
    disc = np.full((SIDE, SIDE, 3), (210, 165, 145), np.uint8)
    cv2.circle(disc, (SIDE // 2 + offset, SIDE // 2 + offset), radius, (90, 60, 50), cv2.FILLED)
    assert assess_quality(photo(disc)).advised == (() if code is None else (code,))


def test_measures_of_noise_and_of_a_drawing() -> None:
    """Grey noise; a dark disc of known area and place on skin.

    The literal is scipy's: the deviation of ndimage.laplace of ndimage.gaussian_filter (0.8, truncate 1.25,
    both mirrored, rounded between), without 33 pixels at each edge.
    """
    noise = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE), dtype=np.uint8)
    measures = measure(photo(np.repeat(noise[..., None], 3, axis=2)))
    assert measures["sharpness"] == pytest.approx(28.25929369945863, rel=0.05)
    assert measures["brightness"] == np.median(noise)
    assert measures["contrast"] == np.percentile(noise, 95) - np.percentile(noise, 5)

    disc = np.full((2 * SIDE, 2 * SIDE, 3), (210, 165, 145), np.uint8)
    cv2.circle(disc, (SIDE + 128, SIDE), 100, (90, 60, 50), -1)
    measures = measure(photo(disc))
    assert measures["resolution"] == 2 * SIDE
    assert measures["lesion_area"] == pytest.approx(np.pi * 100**2 / (2 * SIDE) ** 2, rel=0.1)
    assert measures["lesion_offset"] == pytest.approx(0.5, abs=0.02)
    assert (measures["overexposed"], measures["black"], measures["unnatural_colour"]) == (0, 0, 0)


def test_measures_hardly_depend_on_the_cameras_pixels(good: Image) -> None:
    large = cv2.resize(good, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    one, other = measure(photo(good)), measure(photo(large))
    for name in ("sharpness", "brightness", "contrast", "hair", "lesion_area"):
        assert other[name] == pytest.approx(one[name], rel=0.15, abs=0.01)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128)])
def test_an_empty_picture_is_refused(colour: tuple[int, int, int]) -> None:
    assert assess_quality(photo(np.full((300, 300, 3), colour, np.uint8))).failed


@pytest.mark.parametrize(("radius", "code"), [(0.5, "cut_out"), (0.3, "cut_out"), (0.68, None)])
def test_a_cut_out_is_told_so_alone(good: Image, radius: float, code: str | None, tmp_path: Path) -> None:
    """The white around it is no light, and rounded corners are no cut-out."""
    alpha = np.zeros(good.shape[:2], np.uint8)
    height, width = alpha.shape
    cv2.ellipse(
        alpha, (width // 2, height // 2), (int(radius * width), int(radius * height)), 0, 0, 360, 255, -1
    )
    path = tmp_path / "lesion.png"
    cv2.imwrite(str(path), np.dstack([good[..., ::-1], alpha]))
    cut_out = load_photo(path, 224)
    assert cut_out.transparent == pytest.approx((alpha == 0).mean(), abs=1e-9)
    assert assess_quality(cut_out).failed == (() if code is None else (code,))


def test_every_limit_is_of_a_measure_and_has_its_own_code(good: Image) -> None:
    assert {limit.measure for limit in LIMITS} == set(measure(photo(good)))
    assert set(QUALITY_MEASURES) == set(measure(photo(good)))
    assert len({limit.code for limit in LIMITS}) == len(LIMITS)


def test_limits_are_inclusive_and_refuse_what_is_not_a_number() -> None:
    limit = Limit("code", "measure", "retake", "do this", low=1, high=2)
    assert [limit.allows(value) for value in (0.9, 1, 2, 2.1, np.nan)] == [False, True, True, False, False]


@pytest.mark.hazard("H-16")
def test_a_refused_picture_has_no_risk(shared_micro_bundle: Path, good: Image) -> None:
    dark = scaled(good, 0.2)
    result = Classifier(shared_micro_bundle).assess(dark)
    assert result.status == "retake"
    assert (result.risk, result.cancer_probability, result.probabilities) == (None, None, None)
    assert (result.action_code, result.quality.failed) == ("retake", ("brightness_low",))
    assert INSTRUCTIONS["brightness_low"] in result.action
    all_the_same = Classifier(shared_micro_bundle, quality_gate=False).assess(dark)
    assert all_the_same.status == "assessed"
    assert all_the_same.quality == result.quality
    assert set(result.timing_ms) == {"decode", "quality", "total"}
    steps = {name: value for name, value in all_the_same.timing_ms.items() if name != "total"}
    assert sum(steps.values()) <= all_the_same.timing_ms["total"]


def codes(pixels: np.ndarray) -> tuple[str, ...]:
    quality = assess_quality(photo(pixels))
    return quality.failed + quality.advised


@pytest.mark.hazard("H-03")
def test_a_picture_without_colour_is_sent_back(lesion_jpg: Path) -> None:
    """Grey, of one tint, hardly any colour left: the network would call most cancers benign."""
    pixels = load_photo(lesion_jpg, 224).image
    assert not {"colourless", "colours_exchanged", "little_red"} & set(codes(pixels))
    grey = np.dstack([cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)] * 3)
    assert "colourless" in codes(grey)
    for tint in ((1.07, 0.95, 0.78), (0.8, 1.0, 1.1), (1.0, 0.6, 0.6)):
        assert "colourless" in codes((grey * np.minimum(tint, 1)).astype(np.uint8))
    assert "colourless" in codes((0.9 * grey + 0.1 * pixels).astype(np.uint8))


@pytest.mark.hazard("H-03")
def test_colours_turned_round_are_sent_back(lesion_jpg: Path) -> None:
    pixels = load_photo(lesion_jpg, 224).image
    for order in ((2, 1, 0), (1, 0, 2), (1, 2, 0), (2, 0, 1)):
        assert {"colours_exchanged", "unnatural_colour_high"} & set(codes(pixels[..., order])), order


@pytest.mark.hazard("H-03")
def test_colours_on_validation(data_folder: Path) -> None:
    """At most 0.5% of real pictures are sent back for their colours, and nearly all without their own."""
    with (data_folder / "index.csv").open(encoding="utf-8", newline="") as file:
        paths = [data_folder / row["path"] for row in csv.DictReader(file) if row["split"] == "val"]

    def is_sent_back(pixels: Image) -> bool:
        return not {"colourless", "colours_exchanged"}.isdisjoint(codes(pixels))

    real = [load_photo(path, 224).image for path in paths]
    assert np.mean([is_sent_back(pixels) for pixels in real]) <= 0.005
    grey = [np.dstack([cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)] * 3) for pixels in real[::5]]
    assert np.mean([is_sent_back(pixels) for pixels in grey]) >= 0.99
    assert np.mean([is_sent_back(pixels[..., ::-1]) for pixels in real[::5]]) >= 0.9
