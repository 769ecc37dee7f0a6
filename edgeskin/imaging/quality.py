"""Quality of a photo, measured before the network runs, on the centre square that the network sees.

The limits are far out: they refuse hardly any photo that was good enough for a dataset
(``python -m benchmarks.robustness.quality`` measures how many).
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edgeskin.arrays import Image
from edgeskin.imaging.preprocess import center_square, resize
from edgeskin.imaging.segmentation import segment
from edgeskin.photo.decode import Photo
from edgeskin.results import Quality

SIDE = 256
"""Side at which everything but the resolution is measured, pixels, so that cameras are comparable."""
COLOR_SIDE = 64
"""Side at which colours are measured, pixels: small, so that a camera's or JPEG's noise averages out."""


@dataclass(frozen=True)
class Limit:
    """The range of a measure, and what to do about a photo outside it.

    Attributes:
        code: Stable name of this limit, for programs.
        measure: Key of `measure`'s result.
        kind: ``retake`` refuses the photo; ``advice`` is given beside its assessment.
        instruction: What the user should do, for people.
        low: Lowest value inside the range.
        high: Highest value inside the range.
    """

    code: str
    measure: str
    kind: Literal["retake", "advice"]
    instruction: str
    low: float = -np.inf
    high: float = np.inf

    def allows(self, value: float) -> bool:
        """Return whether a value is inside the range; NaN is not."""
        return self.low <= value <= self.high


LIMITS = (
    Limit("cut_out", "transparent", "retake", "send the picture as it was taken, not cut out", high=0.05),
    Limit(
        "resolution_low", "resolution", "retake", "move closer, or use the camera's full resolution", low=112
    ),
    Limit("sharpness_low", "sharpness", "retake", "hold still and focus: the picture is blurred", low=1.5),
    Limit("brightness_low", "brightness", "retake", "use more light: the picture is too dark", low=50),
    Limit("brightness_high", "brightness", "retake", "use less light: the picture is too bright", high=240),
    Limit(
        "contrast_low", "contrast", "retake", "wipe the lens and focus: there is hardly any contrast", low=12
    ),
    Limit(
        "overexposed_high", "overexposed", "retake", "use less light: much of the picture is white", high=0.15
    ),
    Limit("glare", "overexposed", "advice", "wipe the gel, or tilt the camera: there is glare", high=0.02),
    Limit("black_margin", "black", "retake", "move closer, or crop the black margin", high=0.4),
    Limit(
        "unnatural_colour_high",
        "unnatural_colour",
        "retake",
        "show skin alone: much of the picture has no colour of skin",
        high=0.35,
    ),
    Limit(
        "ink_or_ruler",
        "unnatural_colour",
        "advice",
        "take ink, stickers and rulers out of the picture",
        high=0.06,
    ),
    Limit(
        "colourless",
        "colour_variation",
        "retake",
        "send the picture in colour: it is grey or of one tint",
        low=1.3,
    ),
    Limit(
        "colours_exchanged",
        "red_excess",
        "retake",
        "send the picture with its own colours: skin is never this little red",
        low=-0.07,
    ),
    Limit(
        "little_red",
        "red_excess",
        "advice",
        "check that the colours are those of the skin: there is unusually little red",
        low=0.02,
    ),
    Limit("hair_high", "hair", "retake", "move the hair aside: it covers the lesion", high=0.5),
    Limit("some_hair", "hair", "advice", "move the hair aside", high=0.26),
    Limit(
        "lesion_small",
        "lesion_area",
        "advice",
        "move closer: hardly anything stands out from the skin",
        low=0.015,
    ),
    Limit(
        "lesion_large",
        "lesion_area",
        "advice",
        "move back: the skin around the lesion has to be seen",
        high=0.7,
    ),
    Limit(
        "may_be_damaged",
        "misfit",
        "advice",
        "copy the picture again: it may be damaged, since its parts or its length do not fit",
        high=0,
    ),
    Limit("lesion_off_centre", "lesion_offset", "advice", "put the lesion in the middle", high=0.65),
)
"""All limits, in the order in which instructions are given."""
DOUBTFUL = frozenset({"little_red", "may_be_damaged"})
"""Codes of advice with which the answer's confidence is LOW, whatever the network says."""


def assess_quality(photo: Photo) -> Quality:
    """Measure a photo and compare it with LIMITS."""
    measures = measure(photo)
    unmet = [limit for limit in LIMITS if not limit.allows(measures[limit.measure])]
    # The white in place of what was cut out would count as too much light.
    unmet = [limit for limit in unmet if limit.code == "cut_out"] or unmet
    retake = [limit for limit in unmet if limit.kind == "retake"]
    advice = [limit for limit in unmet if limit.kind == "advice"]
    return Quality(
        measures,
        retake=tuple(limit.instruction for limit in retake),
        advice=tuple(limit.instruction for limit in advice),
        failed=tuple(limit.code for limit in retake),
        advised=tuple(limit.code for limit in advice),
    )


def measure(photo: Photo) -> dict[str, float]:
    """Measure what can be wrong with a photo.

    Returns:
        The measures by name, which are those of `edgeskin.results.QUALITY_MEASURES`. All but ``transparent``,
        ``resolution`` and ``misfit`` are of the centre square at SIDE pixels:

        - ``transparent``: share of transparent pixels in the file.
        - ``resolution``: short side as stored, pixels.
        - ``sharpness``: standard deviation of the Laplacian of the smoothed grey levels, without a margin of
          an eighth (Pech-Pacheco et al., ICPR 2000).
        - ``brightness``: median grey level, 0 to 255.
        - ``contrast``: difference between the 95% and 5% quantiles of the grey levels.
        - ``overexposed``: share of pixels of at least 250 in every channel.
        - ``black``: share of pixels of at most 25 in every channel.
        - ``unnatural_colour``: share of pixels that are saturated and neither red, orange, yellow nor brown,
          such as ink, gloves, rulers and things other than skin.
        - ``colour_variation``: standard deviation of the chrominance among pixels of equal luminance, levels;
          0 for a grey picture and for one of a single tint.
        - ``red_excess``: mean red less the larger of mean green and blue, as a share of their mean.
        - ``hair``: share of thin dark structures (black-hat transform, as in DullRazor).
        - ``lesion_area``: share of the lesion's mask (`edgeskin.imaging.segmentation`).
        - ``misfit``: 1 where the file may be damaged (`edgeskin.photo.decode.Photo`), else 0.
        - ``lesion_offset``: distance of the mask's centre from the middle, in half sides.
    """
    square = resize(center_square(photo.image), SIDE)
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    hue, saturation, value = cv2.split(cv2.cvtColor(square, cv2.COLOR_RGB2HSV))
    # OpenCV's hue is half the angle; 35 to 155 is yellow-green over blue to magenta.
    unnatural = (hue > 35) & (hue < 155) & (saturation > 60) & (value > 50)
    margin = SIDE // 8
    inner = cv2.GaussianBlur(grey, (3, 3), 0.8)[margin:-margin, margin:-margin]
    pixels_up_to = np.bincount(grey.ravel(), minlength=256).cumsum()
    ranks = [round(share * (grey.size - 1)) for share in (0.05, 0.5, 0.95)]
    dark, median, bright = np.searchsorted(pixels_up_to, ranks, side="right").astype(float).tolist()
    darkest_channel = cv2.min(cv2.min(square[..., 0], square[..., 1]), square[..., 2])
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (9, 9))
    area, offset = _area_and_offset(square)
    colour_variation, red_excess = _color_measures(square)
    return {
        "transparent": photo.transparent,
        "resolution": float(min(photo.width, photo.height)),
        "sharpness": float(cv2.Laplacian(inner, cv2.CV_32F).std()),
        "brightness": median,
        "contrast": bright - dark,
        "overexposed": float((darkest_channel >= 250).mean()),
        "black": float((value <= 25).mean()),
        "unnatural_colour": float(unnatural.mean()),
        "colour_variation": colour_variation,
        "red_excess": red_excess,
        "hair": float((cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, cross) > 12).mean()),
        "misfit": float(photo.may_be_damaged),
        "lesion_area": area,
        "lesion_offset": offset,
    }


def _color_measures(square: Image) -> tuple[float, float]:
    """Return the measures ``colour_variation`` and ``red_excess``; both are 0 without pixels to tell from."""
    small = resize(square, COLOR_SIDE)
    is_usable = (small.max(-1) > 25) & (small.min(-1) < 250)
    if is_usable.mean() < 1 / 16:
        return 0.0, 0.0
    red, green, blue = small[is_usable].mean(0).tolist()
    luminance, *chrominance = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)[is_usable].T
    counts = np.bincount(luminance, minlength=256)
    variance = 0.0
    for channel in chrominance:
        sums = np.bincount(luminance, channel, minlength=256)
        expected = sums / np.maximum(counts, 1)
        variance += float(np.mean((channel - expected[luminance]) ** 2))
    return variance**0.5, 3 * (red - max(green, blue)) / (red + green + blue)


def _area_and_offset(square: Image) -> tuple[float, float]:
    """Return the measures ``lesion_area`` and ``lesion_offset``; both are 0 without a lesion."""
    mask = segment(square)
    if not mask.any():
        return 0.0, 0.0
    rows, columns = np.nonzero(mask)
    middle = (len(mask) - 1) / 2
    offset = np.hypot(rows.mean() - middle, columns.mean() - middle) / (len(mask) / 2)
    return float(mask.mean()), float(offset)
