"""The outputs of a network for many images, and how the dihedral views of an image are averaged."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]


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
        return average_views(self.view_logits)


def average_views(view_values: Float32s) -> Float32s:
    """The mean over the dihedral views of each image.

    Args:
        view_values: (n, V, ...).

    Returns:
        (n, ...).
    """
    return np.asarray(view_values.mean(axis=1))
