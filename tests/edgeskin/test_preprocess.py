"""Preprocessing against hand-worked cases and the published formula in floating point."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgeskin.arrays import Image
from edgeskin.errors import SettingError
from edgeskin.imaging.preprocess import (
    ColorConstancy,
    Preprocessing,
    balance_illuminant,
    center_square,
    preprocess,
    remove_hair,
    resize,
)

SKIN = (205, 160, 140)


def picture(height: int = 60, width: int = 90) -> Image:
    """Smooth colours under reddish light: uint8 RGB (height, width, 3)."""
    coarse = np.random.default_rng(0).integers(20, 200, (5, 6, 3)) * (1.0, 0.8, 0.6)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth, dtype=np.uint8)


def balanced_by_formula(image: Image, p: float) -> npt.NDArray[np.float64]:
    """Finlayson & Trezzi 2004, with float powers of every pixel."""
    light = image / 255
    illuminant = np.array([(light[..., c] ** p).mean() ** (1 / p) for c in range(3)])
    return np.clip(image * (illuminant.mean() / illuminant), 0, 255)


@pytest.mark.parametrize("p", [1.0, 2.0, 6.0, 32.0])
def test_illuminant_by_formula(p: float) -> None:
    difference = balance_illuminant(picture(), p) - balanced_by_formula(picture(), p)
    assert np.abs(difference).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("method", "p"), [("gray_world", 1.0), ("shades_of_gray", 6.0)])
def test_preprocess_balances_what_it_resized(method: ColorConstancy, p: float) -> None:
    plain = preprocess(picture(), Preprocessing(48, "none"))
    balanced = preprocess(picture(), Preprocessing(48, method))
    assert np.abs(balanced - balanced_by_formula(plain, p)).max() <= 0.5 + 1e-9


def test_gray_world_by_hand() -> None:
    # Means 150, 100, 150 with the mean 400/3: gains 8/9, 4/3, 8/9.
    image = np.array([[[100, 50, 200], [200, 150, 100]]], np.uint8)
    np.testing.assert_array_equal(balance_illuminant(image, 1.0), [[[89, 67, 178], [178, 200, 89]]])


def test_shades_of_gray_by_hand() -> None:
    # One lit pixel of two: the norm is value * (1/2)^(1/6) in each channel, so the gains are those of
    # the lit pixel alone: 120/60, 120/120, 120/180.
    image = np.array([[[60, 120, 180], [0, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(balance_illuminant(image, 6.0), [[[120, 120, 120], [0, 0, 0]]])


def test_bright_values_are_clipped() -> None:
    image = np.array([[[255, 100, 100], [0, 200, 250]]], np.uint8)
    balanced = balance_illuminant(image, 1.0)  # means 127.5, 150, 175; gain of red 150.83/127.5
    assert balanced[0, 0, 0] == 255
    assert balanced[0, 1, 2] == 215  # 250 * 150.83 / 175


@pytest.mark.parametrize("p", [1.0, 6.0])
def test_degenerate_pictures(p: float) -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    np.testing.assert_array_equal(balance_illuminant(black, p), black)
    single = np.full((4, 4, 3), (100, 150, 200), np.uint8)
    assert (balance_illuminant(single, p) == 150).all()
    without_green = np.full((4, 4, 3), (100, 0, 200), np.uint8)
    assert (balance_illuminant(without_green, p) == (150, 0, 150)).all()


@pytest.mark.parametrize("p", [1.0, 6.0])
def test_balancing_twice_changes_next_to_nothing(p: float) -> None:
    once = balance_illuminant(picture(), p)
    assert once.max() < 255
    assert np.abs(balance_illuminant(once, p).astype(int) - once).max() <= 1


def test_colour_of_the_light_is_divided_out() -> None:
    neutral = picture()
    reddish = np.clip(np.rint(neutral * (1.25, 1.0, 0.8)), 0, 255).astype(np.uint8)
    assert reddish.max() < 255
    chroma = [
        image / image.sum(axis=-1, keepdims=True)
        for image in (balance_illuminant(neutral, 6.0), balance_illuminant(reddish, 6.0))
    ]
    assert np.abs(chroma[0] - chroma[1]).max() < 0.02


def test_center_square_by_hand() -> None:
    numbered = np.arange(3 * 6 * 3, dtype=np.uint8).reshape(3, 6, 3)
    np.testing.assert_array_equal(center_square(numbered), numbered[:, 1:4])
    tall = np.ascontiguousarray(numbered.swapaxes(0, 1))
    np.testing.assert_array_equal(center_square(tall), tall[1:4])
    assert center_square(numbered).flags.c_contiguous


def test_resize_by_hand() -> None:
    red = np.array([[0, 4, 10, 10], [8, 12, 10, 30], [200, 200, 1, 3], [100, 100, 1, 3]], np.uint8)
    image = np.dstack([red, np.full_like(red, 7), 255 - red])
    halved = resize(image, 2)
    np.testing.assert_array_equal(halved[..., 0], [[6, 15], [150, 2]])
    np.testing.assert_array_equal(halved[..., 1], np.full((2, 2), 7))
    np.testing.assert_array_equal(halved[..., 2], [[249, 240], [105, 253]])
    assert resize(image, 4) is image
    assert (resize(np.full((3, 3, 3), SKIN, np.uint8), 32) == SKIN).all()


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (32, 32), (500, 40)])
@pytest.mark.parametrize("hair_removal", [False, True])
def test_preprocess_gives_the_network_its_shape(shape: tuple[int, int], hair_removal: bool) -> None:
    image = picture(*shape)
    before = image.copy()
    result = preprocess(image, Preprocessing(48, hair_removal=hair_removal))
    assert result.shape == (48, 48, 3)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(image, before)


def test_hair_is_removed_and_the_lesion_kept() -> None:
    clean = np.full((450, 450, 3), SKIN, np.uint8)
    cv2.ellipse(clean, (225, 225), (110, 80), 30, 0, 360, (110, 70, 50), -1)
    clean = np.asarray(cv2.GaussianBlur(clean, (0, 0), 4), dtype=np.uint8)
    hairy = clean.copy()
    for x in (30, 120, 380):
        cv2.line(hairy, (x, 0), (x + 40, 449), (45, 30, 25), 3, cv2.LINE_AA)
    hair = np.abs(hairy.astype(int) - clean).max(axis=-1) > 20
    assert hair.mean() > 0.01

    restored = remove_hair(hairy).astype(int)
    error = np.abs(restored - clean).max(axis=-1)
    assert np.abs(hairy.astype(int) - clean).max(axis=-1)[hair].mean() > 80
    assert error[hair].mean() < 5
    assert error[~hair].mean() < 1
    assert np.abs(remove_hair(clean).astype(int) - clean).mean() < 0.5


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ({"size": 31}, "size 31.* 32 to 1024 pixels"),
        ({"size": 1025}, "size 1025"),
        ({"color_constancy": "max_rgb"}, "'max_rgb'.* shades_of_gray, gray_world, none"),
        ({"minkowski_p": 0.5}, "minkowski_p 0.5.* 1 to 32"),
        ({"minkowski_p": 33}, "minkowski_p 33"),
        ({"minkowski_p": float("nan")}, "minkowski_p nan"),
    ],
)
def test_settings_out_of_range(setting: dict[str, object], names: str) -> None:
    with pytest.raises(SettingError, match=names) as caught:
        Preprocessing(**setting)  # type: ignore[arg-type]
    assert caught.value.code == "setting"


@pytest.mark.parametrize("views", [0, 2, 9])
def test_other_numbers_of_views_are_refused(views: int) -> None:
    with pytest.raises(SettingError, match="views"):
        Preprocessing(views=views)
