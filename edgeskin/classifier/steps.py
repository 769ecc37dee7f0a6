"""What the steps of an assessment share: their times, and the parts that people are shown."""

import time
from dataclasses import replace

from edgeskin.arrays import Image
from edgeskin.imaging.descriptors import describe
from edgeskin.imaging.preprocess import center_square, resize
from edgeskin.imaging.segmentation import segment
from edgeskin.results import SHOWN_SIDE, ActionCode, Assessment, Pixels, Status


class StepClock:
    """Milliseconds of each step since the one before, and of all together."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._steps: dict[str, float] = {}

    def end(self, step: str) -> None:
        """Note the time of a step that ends now."""
        now = time.perf_counter()
        self._steps[step] = 1e3 * (now - self._last)
        self._last = now

    def milliseconds(self) -> dict[str, float]:
        """The times by step, and ``total`` until now."""
        return self._steps | {"total": 1e3 * (time.perf_counter() - self._started)}


def refused(result: Assessment, status: Status, action: str, clock: StepClock) -> Assessment:
    """The result of a picture that a gate refuses: it has an action and no risk."""
    code: ActionCode = "retake" if status == "retake" else "out_of_scope"
    return replace(result, status=status, action=action, action_code=code, timing_ms=clock.milliseconds())


def shown_square(image: Image) -> Pixels:
    """The centre square of a picture, uint8 RGB (s, s, 3), at most SHOWN_SIDE pixels a side."""
    square = center_square(image)
    return Pixels(resize(square, min(len(square), SHOWN_SIDE)))


def with_lesion(result: Assessment) -> Assessment:
    """The result with the lesion's mask and its descriptors."""
    assert result.pixels is not None
    square = result.pixels.square
    mask = segment(square)
    return replace(result, pixels=Pixels(square, mask), descriptors=describe(square, mask))
