"""Label sets with a promise for each class: class-conditional split conformal prediction.

Vovk, "Conditional validity of inductive conformal predictors", ACML 2012, with 1 - p(class) as
nonconformity. Of n lesions of a class, the threshold is the floor(alpha (n + 1))-th lowest probability of
it: a new lesion of the class, drawn as those were, falls below it with a probability of at most alpha. With
fewer than 1 / alpha - 1 lesions nothing can be promised but by always having the class in the set. The
theorem is about scores by a rule that had seen none of the lesions; cross-fitted ones come close.
"""

import math

import numpy as np
import numpy.typing as npt

from edgeskin.bundle.manifest import LabelSets
from quantize.fitting.calibration import Floats

COVERAGE = 0.9


def fit_label_sets(
    p: Floats, targets: npt.NDArray[np.int64], lesions: npt.NDArray[np.str_], coverage: float = COVERAGE
) -> LabelSets:
    """A threshold for each class. p: (n, C), calibrated without the lesion. targets, lesions: (n,).

    A lesion counts with its photo that has the least of its class.
    """
    thresholds, counts = [], []
    for c in range(p.shape[1]):
        of_lesion = np.sort(lowest(p[targets == c, c], lesions[targets == c]))
        rank = math.floor((1 - coverage) * (len(of_lesion) + 1) + 1e-9)
        # Rounded down, so that a last bit that comes out otherwise in the runtime takes no class out.
        thresholds.append(math.floor(of_lesion[rank - 1] * 1e6) / 1e6 if rank else 0.0)
        counts.append(len(of_lesion))
    return LabelSets(coverage, tuple(thresholds), tuple(counts))


def lowest(values: Floats, lesions: npt.NDArray[np.str_]) -> Floats:
    """The least value of each lesion's images, in the order of the lesions' names. values, lesions: (n,)."""
    order = np.lexsort((values, lesions))
    _, first = np.unique(lesions[order], return_index=True)
    return np.asarray(values[order][first])
