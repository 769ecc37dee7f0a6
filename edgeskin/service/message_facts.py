"""The plain-language message of an assessment: a text from codes, and facts for a language model.

The facts hold nothing of the picture, its name, its file or the patient. Limitations that follow from the age
or the site are left out of them, since they would give those away.
"""

from dataclasses import dataclass

from edgeskin.decision.limitations import ALWAYS
from edgeskin.report.text import warnings
from edgeskin.results import ActionCode, Assessment, Level, Risk
from edgeskin.service.texts import Language, has_text, text
from edgeskin.taxonomy import full_name


@dataclass(frozen=True)
class Facts:
    """The facts of an assessment that a language model gets, and that its reply may state.

    Attributes:
        risk: The risk level.
        action_code: What should happen next.
        cancer_probability: P(cancer) as a rounded text, such as ``12.3%``.
        thresholds: From which P(cancer) on a referral is advised, as such texts, rising; the last is urgent.
        classes: Codes of the plausible classes, by falling probability.
        cancers: Those of them that count as cancer.
        most_serious: The code of the most serious one; None without a prediction set.
        confidence: Its level; None where the bundle has no rule.
    """

    risk: Risk
    action_code: ActionCode
    cancer_probability: str
    thresholds: tuple[str, ...]
    classes: tuple[str, ...]
    cancers: tuple[str, ...]
    most_serious: str | None
    confidence: Level | None

    def sentences(self, language: Language) -> dict[str, str]:
        """The facts in words, by topic: what is sent to the model."""
        limits = ", ".join(text(f"message.limitation.{one.code}", language) for one in ALWAYS)
        found = {
            "risk": text(f"message.risk.{self.risk}", language),
            "action": text(f"message.action.{self.action_code}", language),
            "probability": text("message.probability", language, percent=self.cancer_probability),
            "thresholds": _thresholds(self.thresholds, language),
            "classes": _classes(self.classes, self.most_serious, language),
            "confidence": text(f"message.confidence.{self.confidence}", language) if self.confidence else "",
            "limitations": text("message.limitations", language, limitations=limits),
            "always": text("message.safety_net", language),
        }
        return {topic: sentence for topic, sentence in found.items() if sentence}


def may_be_reworded(assessment: Assessment) -> bool:
    """Whether a model is asked: the picture was assessed, and both gates would let it through."""
    return assessment.risk is not None and not warnings(assessment)


def facts(assessment: Assessment, language: Language) -> Facts:
    """The facts of an assessment that may be reworded.

    Args:
        assessment: Of status ``assessed``.
        language: Of the rounded numbers.
    """
    points = assessment.operating_points
    assert assessment.risk is not None
    assert assessment.action_code is not None
    assert assessment.cancer_probability is not None
    assert points is not None
    plausible, cancers = assessment.prediction_set or (), assessment.cancer_classes or ()
    return Facts(
        assessment.risk,
        assessment.action_code,
        percent(assessment.cancer_probability, language),
        tuple(percent(point.threshold, language) for point in points),
        plausible,
        tuple(code for code in plausible if code in cancers),
        assessment.most_serious_label,
        assessment.confidence.level if assessment.confidence else None,
    )


def template(assessment: Assessment, language: Language) -> str:
    """The message from codes alone, for an assessment of any status; sentences separated by blanks."""
    if assessment.risk is None:
        return " ".join([*_no_result(assessment, language), *_always(language)])
    found = facts(assessment, language).sentences(language)
    found["limitations"] = " ".join(
        text(f"limitation.{one.code}", language) for one in assessment.limitations
    )
    del found["always"]
    if warnings(assessment):
        found["action"] += " " + text("message.refused_by_gate", language)
    if assessment.prevalence is not None:
        share = f"{assessment.prevalence:.0%}" if language == "en" else f"{100 * assessment.prevalence:.0f} %"
        found["thresholds"] += " " + text("message.prevalence", language, percent=share)
    return " ".join([*found.values(), *_always(language)])


def percent(share: float, language: Language) -> str:
    """A probability of 0 to 1 as a text of one decimal place, never quite 0% or 100%."""
    if share < 0.0005:
        return text("message.under", language, percent=_percent(0.001, language))
    if share > 0.9995:
        return text("message.over", language, percent=_percent(0.999, language))
    return _percent(share, language)


def class_name(code: str, language: Language) -> str:
    """The name of a class; for one without a text, as in another bundle, its English name or code."""
    return text(f"message.class.{code}", language) if has_text(f"message.class.{code}") else full_name(code)


def _percent(share: float, language: Language) -> str:
    rounded = f"{100 * share:.1f}"
    return f"{rounded}%" if language == "en" else f"{rounded.replace('.', ',')} %"


def _thresholds(thresholds: tuple[str, ...], language: Language) -> str:
    if len(thresholds) == 1:
        return text("message.threshold.only", language, urgent=thresholds[0])
    return text("message.thresholds", language, refer=thresholds[0], urgent=thresholds[-1])


def _classes(classes: tuple[str, ...], most_serious: str | None, language: Language) -> str:
    if not classes or most_serious is None:
        return ""
    names = ", ".join(class_name(code, language) for code in classes)
    if len(classes) == 1:
        return text("message.classes", language, classes=names)
    serious = class_name(most_serious, language)
    return text("message.classes.serious", language, classes=names, serious=serious)


def _no_result(assessment: Assessment, language: Language) -> list[str]:
    if assessment.status == "retake":
        failed = assessment.quality.failed if assessment.quality else ()
        advice = [text(f"quality.{code}", language) for code in failed]
        codes = ("message.no_result.retake", "message.action.retake")
        reason, action = (text(code, language) for code in codes)
        return [reason, *advice, action]
    if assessment.status == "out_of_scope":
        codes = ("message.no_result.out_of_scope", "message.action.out_of_scope")
    else:
        codes = ("message.no_result", "message.no_result.action")
    return [text(code, language) for code in codes]


def _always(language: Language) -> list[str]:
    return [text(code, language) for code in ("message.safety_net", "message.notice")]
