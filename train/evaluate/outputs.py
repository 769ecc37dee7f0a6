"""What a network said of many images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """Of n images in V views each. view_logits: (n, V, C). features: pooled, mean over the views (n, F).
    ood: the distances of `edgeskin.decision.ood` (n, 2). None where there are none.
    """

    view_logits: Floats
    features: Floats | None = None
    ood: Floats | None = None

    @property
    def logits(self) -> Floats:
        """(n, C): the mean over the views, which the answer follows from."""
        return np.asarray(self.view_logits.mean(axis=1))
