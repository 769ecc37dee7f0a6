"""An assessment, the picture, where the evidence lies in it, and what the lesion looks like."""

from dataclasses import asdict, dataclass
from typing import Any

from edgeskin.arrays import Image, Mask
from edgeskin.explain.cam import Explanation
from edgeskin.imaging.descriptors import Descriptors
from edgeskin.results import Assessment

SHOWN_SIDE = 448
"""Pixels a side, at most, of the square that is shown to people."""


@dataclass(frozen=True)
class Examination:
    """square: the photo's centre square, uint8 RGB (s, s, 3), s up to SHOWN_SIDE; None when the photo cannot
    be read. Of a photo that was assessed, mask: the lesion in it, found by colour, (m, m), all False where
    nothing stands out; descriptors: of the mask, None where there is nothing to tell; explanation.
    """

    assessment: Assessment
    square: Image | None = None
    mask: Mask | None = None
    descriptors: Descriptors | None = None
    explanation: Explanation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``: the assessment's, ``descriptors``, ``explanation``."""
        return self.assessment.to_dict() | {
            "descriptors": asdict(self.descriptors) if self.descriptors else None,
            "explanation": self.explanation.to_dict() if self.explanation else None,
        }
