"""Is the picture good enough to be judged? Measured before the network, on the centre square that it sees.

The limits are far out: of pictures that were good enough for a dataset hardly one is turned away, so that
what is turned away is clearly no picture to judge. ``python -m benchmarks.robustness.quality`` measures it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edgeskin.arrays import Image
from edgeskin.imaging.preprocess import center_square, resize
from edgeskin.imaging.segmentation import segment
from edgeskin.photo.decode import Photo

SIDE = 256
"""Everything but the resolution is measured at this size, so that it does not depend on the camera's."""


@dataclass(frozen=True)
class Limit:
    """What a measure has to stay within, and what to do where it does not.

    kind: ``retake`` turns the picture away, ``advice`` is told beside the assessment.
    """

    measure: str
    kind: Literal["retake", "advice"]
    instruction: str
    low: float = -np.inf
    high: float = np.inf


LIMITS = (
    Limit("resolution", "retake", "move closer, or use the camera's full resolution", low=112),
    Limit("sharpness", "retake", "hold still and focus: the picture is blurred", low=1.5),
    Limit("brightness", "retake", "use more light: the picture is too dark", low=50),
    Limit("brightness", "retake", "use less light: the picture is too bright", high=240),
    Limit("contrast", "retake", "wipe the lens and focus: there is hardly any contrast", low=12),
    Limit("overexposed", "retake", "use less light: much of the picture is white", high=0.15),
    Limit("overexposed", "advice", "wipe the gel, or tilt the camera: there is glare", high=0.02),
    Limit("black", "retake", "move closer, or crop the black margin", high=0.4),
    Limit(
        "unnatural_colour", "retake", "show skin alone: much of the picture has no colour of skin", high=0.35
    ),
    Limit("unnatural_colour", "advice", "take ink, stickers and rulers out of the picture", high=0.06),
    Limit("hair", "retake", "move the hair aside: it covers the lesion", high=0.5),
    Limit("hair", "advice", "move the hair aside", high=0.26),
    Limit("lesion_area", "advice", "move closer: hardly anything stands out from the skin", low=0.015),
    Limit("lesion_area", "advice", "move back: the skin around the lesion has to be seen", high=0.7),
    Limit("lesion_offset", "advice", "put the lesion in the middle", high=0.65),
)


@dataclass(frozen=True)
class Quality:
    """measures: see `measure`. retake: what to do better next time; where there is any, the picture is not
    assessed. advice: what would make it a better picture.
    """

    measures: Mapping[str, float]
    retake: tuple[str, ...]
    advice: tuple[str, ...]


def judge(photo: Photo) -> Quality:
    """Measure a picture and hold it against LIMITS."""
    measures = measure(photo)
    failed = [limit for limit in LIMITS if not limit.low <= measures[limit.measure] <= limit.high]
    retake, advice = (
        tuple(limit.instruction for limit in failed if limit.kind == kind) for kind in ("retake", "advice")
    )
    return Quality(measures, retake, advice)


def measure(photo: Photo) -> dict[str, float]:
    """What can be wrong with a picture, in numbers.

    resolution: short side as stored, pixels. Of the centre square at 256 pixels: sharpness: standard
    deviation of the Laplacian of the smoothed grey levels, but for a margin of an eighth (Pech-Pacheco et
    al., ICPR 2000). brightness: median grey level, 0 to 255. contrast: between its 5 and 95 % quantiles.
    overexposed, black: share of pixels at 250 and above, at 25 and below, in every channel.
    unnatural_colour: share that is saturated and neither red, orange, yellow nor brown: ink, gloves, rulers,
    and other things than skin. hair: share of thin dark structures (black-hat, as in DullRazor). lesion_area:
    share that stands out from the skin (`edgeskin.imaging.segmentation`). lesion_offset: distance of its centre from the
    middle, 1 being the edge.
    """
    square = resize(center_square(photo.image), SIDE)
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    hue, saturation, value = cv2.split(cv2.cvtColor(square, cv2.COLOR_RGB2HSV))
    # OpenCV's hue is half the angle: from yellow-green over blue to magenta.
    unnatural = (hue > 35) & (hue < 155) & (saturation > 60) & (value > 50)
    margin = SIDE // 8
    inner = cv2.GaussianBlur(grey, (3, 3), 0.8)[margin:-margin, margin:-margin]
    up_to = np.bincount(grey.ravel(), minlength=256).cumsum()
    ranks = [round(share * (grey.size - 1)) for share in (0.05, 0.5, 0.95)]
    dark, median, bright = np.searchsorted(up_to, ranks, side="right").astype(float).tolist()
    least = cv2.min(cv2.min(square[..., 0], square[..., 1]), square[..., 2])
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (9, 9))
    area, offset = _lesion(square)
    return {
        "resolution": float(min(photo.width, photo.height)),
        "sharpness": float(cv2.Laplacian(inner, cv2.CV_32F).std()),
        "brightness": median,
        "contrast": bright - dark,
        "overexposed": float((least >= 250).mean()),
        "black": float((value <= 25).mean()),
        "unnatural_colour": float(unnatural.mean()),
        "hair": float((cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, cross) > 12).mean()),
        "lesion_area": area,
        "lesion_offset": offset,
    }


def _lesion(square: Image) -> tuple[float, float]:
    """Share of the square that the lesion takes, and how far off the middle its centre is."""
    mask = segment(square)
    if not mask.any():
        return 0.0, 0.0
    rows, columns = np.nonzero(mask)
    middle = (len(mask) - 1) / 2
    offset = np.hypot(rows.mean() - middle, columns.mean() - middle) / (len(mask) / 2)
    return float(mask.mean()), float(offset)
