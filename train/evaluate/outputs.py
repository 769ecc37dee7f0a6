"""The outputs of a network for many images."""

from dataclasses import dataclass

from edgeskin.arrays import Float32s
from edgeskin.imaging.dihedral import average_views


@dataclass(frozen=True)
class Outputs:
    """The outputs for n images in V dihedral views each.

    Attributes:
        view_logits: (n, V, C).
        features: After pooling, averaged over the views (n, F); None where they are not needed.
        ood: The distances of `edgeskin.decision.ood` (n, 2); None where there are none.
    """

    view_logits: Float32s
    features: Float32s | None = None
    ood: Float32s | None = None

    @property
    def logits(self) -> Float32s:
        """Logits averaged over the views (n, C), which decisions are based on."""
        return average_views(self.view_logits, axis=1)
