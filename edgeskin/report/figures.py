"""Pictures for people: the lesion's outline, the evidence laid over the photo, and a page of both with words.

Drawn with OpenCV, whose letters are ASCII: any other is drawn as a question mark.
"""

import re
import textwrap

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s as Floats
from edgeskin.arrays import Image, Mask
from edgeskin.examination import SHOWN_SIDE, Examination
from edgeskin.explain.cam import Explanation
from edgeskin.imaging.change import Comparison
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.registration import warp_to_first
from edgeskin.imaging.segmentation import outline, skin_color

STRONGEST = 0.6
"""Opacity of the map where there is most evidence; where there is none the photo is as it was."""
GAMMA = 0.8
HOTTEST = 0.2
MOST_DIFFERENCE = 60
"""Levels of colour, of 255, at which a map of changes is at its end."""
MARGIN, LINE = 16, 18
LABEL, COLUMN, COLUMNS = 12, 9, 112
"""Letters before a line's words, pixels a letter, and letters a line."""
BLACK, WHITE, GRAY = (0, 0, 0), (255, 255, 255), (110, 110, 110)


def colored(levels: npt.NDArray[np.uint8]) -> Image:
    """Cividis, even for eyes that tell red from green badly (Nunez et al., PLoS ONE 2018): (h, w) to RGB."""
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS)
    return np.asarray(cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def overlay(square: Image, explanation: Explanation) -> Image:
    """The map over a square, uint8 RGB (s, s, 3), a line around the HOTTEST share of it; a copy.

    A faint map is not drawn: at full brightness it would show what is next to nothing.
    """
    if explanation.faint:
        return square.copy()
    blended = _laid(explanation.normalized(len(square)), square)
    hottest = explanation.hottest(len(square), HOTTEST).astype(np.uint8)
    contours, _ = cv2.findContours(hottest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return _lined(blended, list(contours))


def _laid(heat: Floats, on: Image) -> Image:
    """Colours for a map (h, w), 0 to 1, on a picture, uint8 RGB (h, w, 3)."""
    strength = heat**GAMMA
    colors = colored(np.rint(255 * strength).astype(np.uint8))
    opacity = STRONGEST * strength
    return np.asarray(cv2.blendLinear(colors, on, opacity, 1 - opacity), dtype=np.uint8)


def outlined(square: Image, mask: Mask) -> Image:
    """The lesion's outline on a square, uint8 RGB (s, s, 3); a copy."""
    if not mask.any():
        return square.copy()
    # Pixel centres of the mask, in those of the square.
    contour = (outline(mask) + 0.5) * (len(square) / len(mask)) - 0.5
    return _lined(square.copy(), [np.rint(contour).astype(np.int32)])


def side_by_side(found: Examination) -> Image:
    """Photo and evidence beside each other, with a legend, uint8 RGB (h, w, 3); needs the square."""
    assert found.square is not None
    if found.mask is None or found.explanation is None:
        return _in_a_row([(found.square, f"photo; {found.assessment.status.replace('_', ' ')}")])
    page = _in_a_row(
        [
            (outlined(found.square, found.mask), "photo; line: the lesion, found by colour"),
            (overlay(found.square, found.explanation), caption(found.explanation)),
        ]
    )
    if not found.explanation.faint:
        most = f"more, within this picture; line: the {HOTTEST:.0%} with most"
        _legend(page, 1, found.square, "less", most)
    return page


def compared(comparison: Comparison) -> Image:
    """The first photo, the second laid on it, and where their colours differ, uint8 RGB (h, w, 3)."""
    before, after = comparison.before, comparison.after
    assert before.square is not None
    assert before.mask is not None
    assert after.square is not None
    laid, covered = warp_to_first(after.square, comparison.registration)
    laid[~covered] = WHITE
    heat = np.clip(np.nan_to_num(comparison.difference / np.float32(MOST_DIFFERENCE)), 0, 1)
    changed = _laid(heat, resize(before.square, len(heat)))
    changed[~covered] = WHITE
    page = _in_a_row(
        [
            (outlined(before.square, before.mask), "before; line: the lesion, found by colour"),
            (laid, "after, as before lies"),
            (changed, "where colours differ, the skin's own difference taken out"),
        ]
    )
    _legend(page, 2, before.square, "0", f"{MOST_DIFFERENCE} of 255 levels, or more")
    return page


def _in_a_row(panels: list[tuple[Image, str]]) -> Image:
    """Squares of any size, SHOWN_SIDE each, over their captions, with room for a legend."""
    width = MARGIN + len(panels) * (SHOWN_SIDE + MARGIN)
    page = np.full((MARGIN + SHOWN_SIDE + 4 * LINE, width, 3), 255, dtype=np.uint8)
    for place, (square, words) in enumerate(panels):
        left = _left(place)
        page[MARGIN : MARGIN + SHOWN_SIDE, left : left + SHOWN_SIDE] = _shown(square)
        _write(page, words, left, MARGIN + SHOWN_SIDE + LINE)
    return page


def _legend(page: Image, place: int, square: Image, least: str, most: str) -> None:
    """A map's colours on the colour of the skin, under the panel at a place."""
    left, top = _left(place), MARGIN + SHOWN_SIDE + 2 * LINE - 6
    heat = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (12, 1))
    skin = np.full((*heat.shape, 3), skin_color(square), dtype=np.uint8)
    page[top + 2 : top + 14, left + 40 : left + 168] = _laid(heat, skin)
    _write(page, least, left, top + 12, GRAY)
    _write(page, most, left + 176, top + 12, GRAY)


def _left(place: int) -> int:
    return MARGIN + place * (SHOWN_SIDE + MARGIN)


def caption(explanation: Explanation) -> str:
    """What a map shows."""
    if explanation.target is None:
        return f"what stands out in the features ({explanation.method})"
    if explanation.faint or not explanation.map.any():
        return f"hardly anything speaks for {explanation.target} ({explanation.method}); no all-clear"
    return f"where, not why: the evidence for {explanation.target} ({explanation.method})"


def page(found: Examination, words: str) -> Image:
    """`side_by_side` over words, line by line, uint8 RGB (h, w, 3)."""
    top = side_by_side(found)
    lines = [
        part
        for line in words.splitlines()
        for part in textwrap.wrap(line, COLUMNS, subsequent_indent=" " * LABEL, drop_whitespace=False) or [""]
    ]
    width = max(top.shape[1], 2 * (SHOWN_SIDE + MARGIN) + MARGIN)
    sheet = np.full((len(top) + LINE * (len(lines) + 1), width, 3), 255, dtype=np.uint8)
    sheet[: len(top), : top.shape[1]] = top
    for number, line in enumerate(lines):
        # The letters are not all as wide: what stands in columns is put there piece by piece.
        indented = line.startswith("  ")
        label, rest = (line[:LABEL], line[LABEL:]) if indented else ("", line)
        baseline = len(top) + LINE * (number + 1)
        _write(sheet, label.strip(), MARGIN, baseline, GRAY)
        for piece in re.finditer(r"\S+(?: \S+)*", rest):
            column = piece.start() + (LABEL if indented else 0)
            _write(sheet, piece.group(), MARGIN + column * COLUMN, baseline)
    return sheet


def encode_png(image: Image) -> bytes:
    """The bytes of a PNG file of uint8 RGB (h, w, 3)."""
    _, encoded = cv2.imencode(".png", image[..., ::-1])
    return encoded.tobytes()


def encode_jpeg(image: Image) -> bytes:
    """The bytes of a JPEG file of uint8 RGB (h, w, 3)."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return encoded.tobytes()


def _shown(square: Image) -> Image:
    size = (SHOWN_SIDE, SHOWN_SIDE)
    return np.asarray(cv2.resize(square, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _lined(image: Image, contours: list[cv2.typing.MatLike]) -> Image:
    """White lines with a black edge, to be seen on any skin."""
    for color, width in ((BLACK, 3), (WHITE, 1)):
        cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)
    return image


def _write(page: Image, words: str, left: int, baseline: int, color: tuple[int, int, int] = BLACK) -> None:
    shown = words.encode("ascii", "replace").decode()
    cv2.putText(page, shown, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
