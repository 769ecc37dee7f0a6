"""Occlusion: how much a target's score falls when a part of the picture is hidden."""

import numpy as np

from edgeskin.arrays import Float32s, Image
from edgeskin.errors import EdgeskinError
from edgeskin.explain.target import Target
from edgeskin.imaging.segmentation import skin_color
from edgeskin.network.engine import Engine

CELLS = 7
"""Cells a side of the map; a window hides two by two of them."""


def occlusion(image: Image, engine: Engine, target: Target) -> Float32s:
    """The map of falls, 0 or more, (CELLS, CELLS).

    A window of two by two cells, painted in the colour of the skin, moves cell by cell. A cell gets the mean
    fall of the four windows that hide it (after Zeiler & Fergus, ECCV 2014). This takes 65 passes of the
    network, in one view of the picture.

    Args:
        image: As the network saw it, uint8 RGB (s, s, 3).
        engine: Of the network.
        target: Whose score is measured.

    Raises:
        EdgeskinError: The network's output is not finite.
    """
    cells = CELLS
    edges = np.rint(np.linspace(0, len(image), cells + 1)).astype(int)
    # Windows start one cell outside, so that cells at the edge are hidden as often as those inside.
    starts = [(row, column) for row in range(-1, cells) for column in range(-1, cells)]
    hidden = np.repeat(image[None], 1 + len(starts), axis=0)
    color = skin_color(image)
    for picture, (row, column) in zip(hidden[1:], starts, strict=True):
        down, across = (slice(edges[max(at, 0)], edges[min(at + 2, cells)]) for at in (row, column))
        picture[down, across] = color
    logits = engine.infer_batch(hidden).logits
    if not np.isfinite(logits).all():  # a score may hide it
        raise EdgeskinError(
            "the network gave no finite answer with a part of the picture hidden; report the photo",
            "not_finite",
        )
    scores = target.score(logits)
    falls = (scores[0] - scores[1:]).reshape(cells + 1, cells + 1)
    covering = (falls[:-1, :-1] + falls[1:, :-1] + falls[:-1, 1:] + falls[1:, 1:]) / 4
    return np.asarray(np.maximum(covering, 0), dtype=np.float32)
