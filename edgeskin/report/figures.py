"""Pictures for people: the lesion's outline, the evidence over the photo, and a page of both with text.

Drawn by OpenCV, whose letters are ASCII: any other is drawn as a question mark.
"""

import re
import textwrap

import cv2
import numpy as np

from edgeskin.arrays import Float32s, Image, Mask, UInt8s
from edgeskin.imaging.change import Comparison
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.registration import warp_to_first
from edgeskin.imaging.segmentation import outline, skin_color
from edgeskin.results import SHOWN_SIDE, Assessment, Explanation

STRONGEST = 0.6
"""Opacity of the map where the evidence is strongest; where there is none the photo shows through."""
GAMMA = 0.8
HOTTEST = 0.2
MOST_DIFFERENCE = 60
"""Levels of colour, of 255, at which the colour map of changes ends."""
MARGIN, LINE = 16, 18
LABEL, COLUMN, COLUMNS = 16, 9, 112
"""Letters before a line's text, pixels a letter, and letters a line."""
BLACK, WHITE, GRAY = (0, 0, 0), (255, 255, 255), (110, 110, 110)


def colored(levels: UInt8s) -> Image:
    """Levels (h, w) as RGB by cividis, for all kinds of colour vision (Nunez et al., PLoS ONE 2018)."""
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS)
    return np.asarray(cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def overlay(square: Image, explanation: Explanation) -> Image:
    """A copy of a square, uint8 RGB (s, s, 3), under its map, with a line around the HOTTEST share of it.

    A map of low evidence is not drawn: at full brightness it would show next to nothing.
    """
    if explanation.low_evidence:
        return square.copy()
    blended = _blended(explanation.normalized(len(square)), square)
    hottest = explanation.hottest(len(square), HOTTEST).astype(np.uint8)
    contours, _ = cv2.findContours(hottest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return _lined(blended, list(contours))


def evidence_layer(explanation: Explanation, side: int) -> UInt8s:
    """The map alone, uint8 RGBA (side, side, 4), to lay over the square as `overlay` does.

    It is transparent where there is no evidence, and all over where `overlay` draws no map.
    """
    if explanation.low_evidence:
        return np.zeros((side, side, 4), np.uint8)
    strength = explanation.normalized(side) ** GAMMA
    opacity = np.rint(255 * STRONGEST * strength).astype(np.uint8)
    return np.dstack([colored(np.rint(255 * strength).astype(np.uint8)), opacity])


def _blended(heat: Float32s, on: Image) -> Image:
    """A map (h, w), 0 to 1, in colours over a picture, uint8 RGB (h, w, 3)."""
    strength = heat**GAMMA
    colors = colored(np.rint(255 * strength).astype(np.uint8))
    opacity = STRONGEST * strength
    return np.asarray(cv2.blendLinear(colors, on, opacity, 1 - opacity), dtype=np.uint8)


def outlined(square: Image, mask: Mask) -> Image:
    """A copy of a square, uint8 RGB (s, s, 3), with the lesion's outline."""
    if not mask.any():
        return square.copy()
    # Pixel centres of the mask, in those of the square.
    contour = (outline(mask) + 0.5) * (len(square) / len(mask)) - 0.5
    return _lined(square.copy(), [np.rint(contour).astype(np.int32)])


def side_by_side(assessment: Assessment) -> Image:
    """Photo and evidence side by side with a legend, uint8 RGB (h, w, 3). It needs the pixels."""
    assert assessment.pixels is not None
    square, mask, explanation = assessment.pixels.square, assessment.pixels.mask, assessment.explanation
    if mask is None or explanation is None:
        return _in_a_row([(square, f"photo; {assessment.status.replace('_', ' ')}")])
    page = _in_a_row(
        [
            (outlined(square, mask), "photo; line: the lesion, found by its colour"),
            (overlay(square, explanation), caption(explanation)),
        ]
    )
    if not explanation.low_evidence:
        most = f"more, within this picture; line: the {HOTTEST:.0%} with most"
        _legend(page, 1, square, "less", most)
    return page


def compared(comparison: Comparison) -> Image:
    """The first photo, the second aligned to it, and where their colours differ, uint8 RGB (h, w, 3)."""
    before, after = comparison.before.pixels, comparison.after.pixels
    assert before is not None
    assert before.mask is not None
    assert after is not None
    warped, covered = warp_to_first(after.square, comparison.registration)
    warped[~covered] = WHITE
    heat = np.clip(np.nan_to_num(comparison.difference / np.float32(MOST_DIFFERENCE)), 0, 1)
    changed = _blended(heat, resize(before.square, len(heat)))
    changed[~covered] = WHITE
    page = _in_a_row(
        [
            (outlined(before.square, before.mask), "before; line: the lesion, found by its colour"),
            (warped, "after, aligned to before"),
            (changed, "where colours differ, without the skin's own difference"),
        ]
    )
    _legend(page, 2, before.square, "0", f"{MOST_DIFFERENCE} of 255 levels, or more")
    return page


def _in_a_row(panels: list[tuple[Image, str]]) -> Image:
    """Squares, resized to SHOWN_SIDE, over their captions, with room for a legend."""
    width = MARGIN + len(panels) * (SHOWN_SIDE + MARGIN)
    page = np.full((MARGIN + SHOWN_SIDE + 4 * LINE, width, 3), 255, dtype=np.uint8)
    for place, (square, text) in enumerate(panels):
        left = panel_left(place)
        page[MARGIN : MARGIN + SHOWN_SIDE, left : left + SHOWN_SIDE] = _shown(square)
        _write(page, text, left, MARGIN + SHOWN_SIDE + LINE)
    return page


def _legend(page: Image, place: int, square: Image, least: str, most: str) -> None:
    """The map's colours over the colour of the skin, below the panel at a place."""
    left, top = panel_left(place), MARGIN + SHOWN_SIDE + 2 * LINE - 6
    heat = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (12, 1))
    skin = np.full((*heat.shape, 3), skin_color(square), dtype=np.uint8)
    page[top + 2 : top + 14, left + 40 : left + 168] = _blended(heat, skin)
    _write(page, least, left, top + 12, GRAY)
    _write(page, most, left + 176, top + 12, GRAY)


def panel_left(place: int) -> int:
    """First column of a panel of `side_by_side`, by its place."""
    return MARGIN + place * (SHOWN_SIDE + MARGIN)


def caption(explanation: Explanation) -> str:
    """What a map shows, in a few words."""
    if explanation.target is None:
        return f"what stands out in the features ({explanation.method})"
    if explanation.low_evidence or not explanation.map.any():
        return f"hardly any evidence for {explanation.target} ({explanation.method}); no all-clear"
    return f"where, not why: the evidence for {explanation.target} ({explanation.method})"


def page(assessment: Assessment, text: str) -> Image:
    """`side_by_side` over lines of text, uint8 RGB (h, w, 3)."""
    top = side_by_side(assessment)
    lines = [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, COLUMNS, subsequent_indent=" " * LABEL, drop_whitespace=False) or [""]
    ]
    width = max(top.shape[1], 2 * (SHOWN_SIDE + MARGIN) + MARGIN)
    sheet = np.full((len(top) + LINE * (len(lines) + 1), width, 3), 255, dtype=np.uint8)
    sheet[: len(top), : top.shape[1]] = top
    for number, line in enumerate(lines):
        # Letters differ in width, so what stands in columns is drawn piece by piece.
        is_indented = line.startswith("  ")
        label, rest = (line[:LABEL], line[LABEL:]) if is_indented else ("", line)
        baseline = len(top) + LINE * (number + 1)
        _write(sheet, label.strip(), MARGIN, baseline, GRAY)
        for piece in re.finditer(r"\S+(?: \S+)*", rest):
            column = piece.start() + (LABEL if is_indented else 0)
            _write(sheet, piece.group(), MARGIN + column * COLUMN, baseline)
    return sheet


def encode_png(image: UInt8s) -> bytes:
    """The bytes of a PNG file of uint8 RGB (h, w, 3) or RGBA (h, w, 4)."""
    swap = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, swap))
    return encoded.tobytes()


def encode_jpeg(image: Image) -> bytes:
    """The bytes of a JPEG file of uint8 RGB (h, w, 3)."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return encoded.tobytes()


def _shown(square: Image) -> Image:
    size = (SHOWN_SIDE, SHOWN_SIDE)
    return np.asarray(cv2.resize(square, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _lined(image: Image, contours: list[cv2.typing.MatLike]) -> Image:
    """White lines with a black edge, visible on any skin."""
    for color, width in ((BLACK, 3), (WHITE, 1)):
        cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)
    return image


def _write(page: Image, text: str, left: int, baseline: int, color: tuple[int, int, int] = BLACK) -> None:
    shown = text.encode("ascii", "replace").decode()
    cv2.putText(page, shown, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
