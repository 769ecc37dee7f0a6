"""From a decoded photo to the network's input: the one function for training, calibration and serving.

Its parameters travel in the bundle's manifest. Everything works on uint8 RGB of shape (h, w, 3);
scaling to floats and the ImageNet mean and deviation are inside the network's graph.
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
    """How a photo becomes the network's input.

    size: side of the square input, pixels.
    color_constancy: illuminant estimate that is divided out; ``none`` leaves the colours.
    minkowski_p: norm of the shades-of-gray estimate (6 in Finlayson & Trezzi 2004).
    hair_removal: DullRazor before resizing; off unless the network was trained with it.
    views: 1, or 8: the network sees the picture turned and mirrored in all ways, its answers are averaged.

    Raises SettingError when a value is out of range.
    """

    size: int = 224
    color_constancy: ColorConstancy = "shades_of_gray"
    minkowski_p: float = 6.0
    hair_removal: bool = False
    views: int = 1

    def __post_init__(self) -> None:
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
    """Crop the centre square, resize, and divide the illuminant out.

    image: uint8 RGB (h, w, 3), any size. Returns uint8 RGB (size, size, 3), contiguous.
    """
    square = center_square(image)
    # Hair is thinner than a pixel of the network's input, so it has to go before the resize.
    if settings.hair_removal:
        square = remove_hair(square)
    resized = resize(square, settings.size)
    if settings.color_constancy == "shades_of_gray":
        return balance_illuminant(resized, settings.minkowski_p)
    if settings.color_constancy == "gray_world":
        return balance_illuminant(resized, 1.0)
    return resized


def center_square(image: Image) -> Image:
    """The largest centred square of an (h, w, 3) picture: (s, s, 3) with s = min(h, w)."""
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
    """Divide out the illuminant estimated by the Minkowski norm of each channel.

    e_c = (mean |I_c|^p)^(1/p), gain_c = mean(e) / e_c: gray world for p = 1, shades of gray for
    p = 6, towards white patch as p grows (Finlayson & Trezzi, "Shades of gray and colour
    constancy", CIC 2004). Brightness is kept; a channel that is black everywhere stays black.
    image and result: uint8 RGB (h, w, 3).
    """
    # One histogram a channel holds all that the norm needs, and costs less than powers of pixels.
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
    """DullRazor (Lee et al., Comput. Biol. Med. 27, 1997): find thin dark lines, paint them over.

    A black-hat transform finds dark structures thinner than the kernel, which grows with the
    picture; they are inpainted from their surroundings. image and result: uint8 RGB (h, w, 3).
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # 17 pixels suits pictures of about 450 pixels, the size the method was published on.
    side = max(3, round(min(image.shape[:2]) * 17 / 450) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (side, side))
    blackhat = cv2.morphologyEx(gray, cv2.MORPH_BLACKHAT, kernel)
    _, hair = cv2.threshold(blackhat, 10, 255, cv2.THRESH_BINARY)
    return np.asarray(cv2.inpaint(image, hair, 3, cv2.INPAINT_TELEA), dtype=np.uint8)
