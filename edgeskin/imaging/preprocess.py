"""Preprocessing of a decoded photo to the network's input, shared by training, calibration and the runtime.

Its settings are part of the bundle's manifest. Pictures are uint8 RGB of shape (h, w, 3) throughout; the
network's graph scales them and applies the mean and standard deviation.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from edgeskin.arrays import Image
from edgeskin.errors import SettingError
from edgeskin.imaging.dihedral import DIHEDRAL

ColorConstancy = Literal["shades_of_gray", "gray_world", "none"]


@dataclass(frozen=True)
class Preprocessing:
    """Settings of `preprocess`.

    Attributes:
        size: Side of the network's square input, 32 to 1024 pixels.
        color_constancy: Illuminant estimate that is divided out; ``none`` leaves the colours as they are.
        minkowski_p: Norm of the shades-of-gray estimate, 1 to 32 (6 in Finlayson & Trezzi 2004).
        hair_removal: Whether hair is removed before resizing, for a network that was trained so.
        views: 1, or 8 for test-time augmentation over the dihedral transforms of the input.

    Raises:
        SettingError: A value is out of range.
    """

    size: int = 224
    color_constancy: ColorConstancy = "shades_of_gray"
    minkowski_p: float = 6.0
    hair_removal: bool = False
    views: int = 1

    def __post_init__(self) -> None:
        """Check the range of each value."""
        if not 32 <= self.size <= 1024:
            raise SettingError(f"preprocessing size {self.size}: choose 32 to 1024 pixels")
        if self.color_constancy not in get_args(ColorConstancy):
            known = ", ".join(get_args(ColorConstancy))
            raise SettingError(f"color_constancy {self.color_constancy!r}: choose one of {known}")
        if not 1 <= self.minkowski_p <= 32:
            raise SettingError(f"minkowski_p {self.minkowski_p}: choose 1 to 32")
        if self.views not in (1, DIHEDRAL):
            raise SettingError(f"views {self.views}: choose 1 or {DIHEDRAL}")


def preprocess(image: Image, settings: Preprocessing) -> Image:
    """Crop the centre square, resize it and divide the illuminant out.

    Args:
        image: uint8 RGB (h, w, 3), any size.
        settings: The settings of the network's manifest.

    Returns:
        uint8 RGB (size, size, 3), contiguous.
    """
    square = center_square(image)
    # Hair is thinner than a pixel of the network's input, so it must be removed before resizing.
    if settings.hair_removal:
        square = remove_hair(square)
    resized = resize(square, settings.size)
    if settings.color_constancy == "shades_of_gray":
        return balance_illuminant(resized, settings.minkowski_p)
    if settings.color_constancy == "gray_world":
        return balance_illuminant(resized, 1.0)
    return resized


def center_square(image: Image) -> Image:
    """Return the largest centred square of a picture (h, w, 3): (s, s, 3) with s = min(h, w)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def resize(square: Image, size: int) -> Image:
    """Resize (s, s, 3) to (size, size, 3): by area when shrinking, cubic when enlarging."""
    if square.shape[0] == size:
        return square
    shrinks = square.shape[0] > size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=method), dtype=np.uint8)


def balance_illuminant(image: Image, minkowski_p: float) -> Image:
    """Divide out the illuminant, estimated by the Minkowski norm of each channel.

    The estimate is e_c = (mean |I_c|^p)^(1/p) and the gain is mean(e) / e_c (Finlayson & Trezzi, "Shades of
    gray and colour constancy", CIC 2004). It is gray world for p = 1, shades of gray for p = 6, and
    approaches white patch as p grows. The mean brightness of the illuminant is preserved. A channel that is
    black everywhere stays black.

    Args:
        image: uint8 RGB (h, w, 3).
        minkowski_p: p, 1 or more.

    Returns:
        uint8 RGB (h, w, 3).
    """
    # The norm needs only each channel's histogram, which is faster than powers of all pixels.
    levels = (np.arange(256) / 255.0) ** minkowski_p
    counts = np.stack([cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in range(3)])
    illuminant = (counts @ levels / (image.size // 3)) ** (1.0 / minkowski_p)
    lit = illuminant > 0
    if not lit.any():
        return image
    gain = np.ones(3)
    gain[lit] = illuminant[lit].mean() / illuminant[lit]
    table = np.clip(np.rint(np.arange(256)[:, None] * gain), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), dtype=np.uint8)


def remove_hair(image: Image) -> Image:
    """Remove hair as DullRazor does (Lee et al., Comput. Biol. Med. 27, 1997).

    A black-hat transform finds dark structures thinner than its kernel, whose size is proportional to the
    picture's. They are inpainted from their surroundings.

    Args:
        image: uint8 RGB (h, w, 3).

    Returns:
        uint8 RGB (h, w, 3).
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # The method was published with 17 pixels for pictures of about 450 pixels.
    side = max(3, round(min(image.shape[:2]) * 17 / 450) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (side, side))
    blackhat = cv2.morphologyEx(gray, cv2.MORPH_BLACKHAT, kernel)
    _, hair = cv2.threshold(blackhat, 10, 255, cv2.THRESH_BINARY)
    return np.asarray(cv2.inpaint(image, hair, 3, cv2.INPAINT_TELEA), dtype=np.uint8)
