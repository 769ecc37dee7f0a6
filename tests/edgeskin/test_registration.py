"""Registration of photos whose transform is known; refusal of photos of different lesions."""

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin.errors import RegistrationError
from edgeskin.imaging.preprocess import center_square, resize
from edgeskin.imaging.registration import SIDE, is_plausible, register, warp_to_first
from edgeskin.photo.decode import load_photo

ROOT = Path(__file__).parents[2]
draw_lesion = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return draw_lesion("MEL", np.random.default_rng(3), 512)


def moved(
    photo: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """The photo taken again under other light, and the transform from the first to it, at SIDE pixels."""
    side = len(photo)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, scale)
    matrix[:, 2] += np.array(shift) * side
    again = cv2.warpAffine(photo, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    again = np.clip(again * np.array([0.9, 1.0, 1.1]) + 8, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 3, again.shape)
    at_side = matrix.copy()
    # Pixel centres: x at `side` is (x' + 0.5) side / SIDE - 0.5.
    ratio = side / SIDE
    offset = np.array([0.5 * ratio - 0.5] * 2)
    at_side[:, 2] = (matrix[:, :2] @ offset + matrix[:, 2] - offset) / ratio
    return np.clip(again + noise, 0, 255).astype(np.uint8), at_side


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [(0, 1, (0, 0)), (7, 1, (0.03, -0.02)), (-35, 0.9, (0.05, 0.05)), (90, 1.2, (0, 0.04)), (180, 1, (0, 0))],
)
def test_a_known_movement_is_found(
    photo: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    again, expected = moved(photo, degrees, scale, shift)
    found = register(photo, again)
    corners = np.array([[40, 40, 1], [216, 40, 1], [40, 216, 1], [216, 216, 1]]).T
    apart = np.linalg.norm(found.transform @ corners - expected @ corners, axis=0)
    assert apart.max() < 1.5  # pixels of 256
    aligned, covered = warp_to_first(again, found)
    assert found.overlap == covered.mean()
    # Apart from the light, it is the first photo again.
    gray, other = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)[covered] for one in (resize(photo, SIDE), aligned))
    assert np.corrcoef(gray, other)[0, 1] > 0.98


@pytest.mark.parametrize("seed", range(5))
def test_another_lesion_is_refused(photo: np.ndarray, seed: int) -> None:
    other = draw_lesion("MEL", np.random.default_rng(100 + seed), 512)
    with pytest.raises(RegistrationError, match=r" 0\.\d\d, .* 0\.6 ") as caught:
        register(photo, other)
    assert caught.value.code == "registration"


@pytest.mark.parametrize("level", [0, 128])
def test_a_blank_picture_is_refused(photo: np.ndarray, level: int) -> None:
    with pytest.raises(RegistrationError):
        register(photo, np.full((300, 300, 3), level, np.uint8))


def test_the_same_photos_give_the_same_answer(photo: np.ndarray) -> None:
    again, _ = moved(photo, 20, 1.1, (0.02, 0))
    np.testing.assert_array_equal(register(photo, again).transform, register(photo, again).transform)


@pytest.mark.parametrize(
    ("matrix", "plausible"),
    [
        ([[1, 0, 0], [0, 1, 0]], True),
        ([[0, -1, 9], [1, 0, 0]], True),
        ([[-1, 0, 0], [0, 1, 0]], False),  # mirrored
        ([[3, 0, 0], [0, 3, 0]], False),  # too much closer
        ([[1.5, 0, 0], [0, 1, 0]], False),  # too wide
    ],
)
def test_transforms_that_no_hand_held_camera_causes_are_implausible(
    matrix: list[list[float]], plausible: bool
) -> None:
    assert is_plausible(np.array(matrix, np.float32)) is plausible


def test_photos_of_one_real_lesion_are_aligned_and_of_two_are_not(data_folder: Path) -> None:
    """HAM_0000118 twice, and another keratosis."""
    squares = [
        center_square(load_photo(data_folder / "ham10000" / f"{name}.jpg", 224).image)
        for name in ("ISIC_0027419", "ISIC_0025030", "ISIC_0026769")
    ]
    assert register(squares[0], squares[1]).correlation > 0.6
    with pytest.raises(RegistrationError):
        register(squares[0], squares[2])
