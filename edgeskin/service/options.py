"""The options of a request, as text from its query string or form, and what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeskin.classifier import Classifier
from edgeskin.decision.limitations import PatientContext
from edgeskin.decision.mc_dropout import require_samples
from edgeskin.errors import RequestError
from edgeskin.explain.cam import find_method
from edgeskin.explain.target import CANCER, find_target
from edgeskin.results import Method

CONTEXT = ("age", "site")
ASSESS = ("method", "target", "mc_dropout", "seed", *CONTEXT)


@dataclass(frozen=True)
class AssessOptions:
    """The options of an assessment, as `Classifier.assess` takes them.

    Attributes:
        explain: Method of the map; None for no map.
        target: What the map shows the evidence for.
        mc_samples: Samples of the head under dropout; 0 for none.
        seed: Of the sampling.
        context: Age and site.
    """

    explain: Method | None
    target: str
    mc_samples: int
    seed: int
    context: PatientContext

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of `Classifier.assess`."""
        return dict(vars(self))


def assess_options(
    options: Mapping[str, str], classifier: Classifier, method: Method | None = None
) -> AssessOptions:
    """Read the options of an assessment.

    Args:
        options: By name; of ASSESS, any or none.
        classifier: Which will assess.
        method: Method of the map where none is given; None for no map.

    Raises:
        RequestError: A value is not a number where one is needed, a target is given without a map, or a seed
            without sampling.
        SettingError: A value is out of range.
    """
    explain = find_method(options["method"]) if "method" in options else method
    if explain is None and "target" in options:
        raise RequestError("option 'target' chooses a map: add 'method', such as grad-cam")
    target = options.get("target", CANCER)
    find_target(target, classifier.rules)
    mc_samples, seed = _whole(options, "mc_dropout"), _whole(options, "seed")
    if "seed" in options and not mc_samples:
        raise RequestError("option 'seed' needs sampling: add 'mc_dropout', such as 20")
    require_samples(mc_samples, seed)
    return AssessOptions(explain, target, mc_samples, seed, patient_context(options))


def patient_context(options: Mapping[str, str]) -> PatientContext:
    """Age and site, if given. Raises as `assess_options`."""
    try:
        age = float(options["age"]) if "age" in options else None
    except ValueError:
        raise RequestError(f"age {options['age']!r}: give a number of years") from None
    return PatientContext(age, options.get("site"))


def _whole(options: Mapping[str, str], name: str) -> int:
    try:
        return int(options.get(name, "0"))
    except ValueError:
        raise RequestError(f"{name} {options[name]!r}: give a whole number") from None
