"""The sentences that a language model's reply may consist of, by kind and in both languages.

A reply is shown only if each of its sentences is one of these, filled in with the facts. The patterns are
regular expressions of lower-case text. ``<name>`` stands for a phrase of the language or for a fact.
Words are written out, so that no word is allowed that cannot be read here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from edgeskin.decision.limitations import ALWAYS
from edgeskin.results import Level, Risk
from edgeskin.service.message_facts import Facts
from edgeskin.service.texts import Language, text

Kind = Literal[
    "risk", "refer", "no_referral", "haste", "probability", "above", "below", "refer_from", "urgent_from",
    "confidence", "opinion", "classes", "serious", "limitation", "safety_net", "same_lesion", "notice",
]  # fmt: skip


@dataclass(frozen=True)
class Grammar:
    """The sentences of a language.

    Attributes:
        phrases: By name. A phrase may hold others.
        urgently: What ``<urgently>`` stands for where the action is urgent; elsewhere it is empty.
        levels: Words for a level, alone and, in German, before a noun.
        sentences: By kind.
        classes: The forms in which a class may be named.
    """

    phrases: Mapping[str, str]
    urgently: str
    levels: Mapping[Risk | Level, tuple[str, str]]
    sentences: Mapping[Kind, tuple[str, ...]]
    classes: Mapping[str, str]


_ENGLISH = Grammar(
    phrases={
        "see": "(see|visit|consult|contact) <specialist>( about <lesion>)?",
        "changing": "<changes>((,|,? or) <changes>)*",
        "changes": "(changes|bleeds|itches|worries you)",
        "picture": "(this|the|your) (picture|image|photo)",
        "lesion": "(this|the|your) (lesion|spot)",
        "result": "(this|the) result",
        "program": "(this|the) (program|software)",
        "specialist": "(a|your) (dermatologist|skin specialist)",
        "doctor": "(a|your) (doctor|dermatologist|skin specialist)",
        "examined": "(examined|checked|assessed|seen|looked at)",
        "list": "<class>(, <class>)*(,? (or|and) <class>)?",
        "limits": "<limit>((,|,? and) <limit>)*",
        "cancer": "(cancer|skin cancer)",
        "threshold": "(threshold|limit) of",
    },
    urgently="(urgently|as soon as possible|immediately|promptly|right away|without delay)",
    levels={"LOW": ("low", "low"), "MEDIUM": ("(medium|moderate)",) * 2, "HIGH": ("high", "high")},
    sentences={
        "risk": (
            "the (risk of <cancer>|cancer risk) is <risk>",
            "(<program> (sees|finds)|<picture> shows|<result> shows|there is) a <risk> risk of <cancer>"
            "( in <picture>)?",
            "<program> (judges|rates|estimates) the risk of <cancer> (as|to be) <risk>",
        ),
        "refer": (
            "(please )?<see><urgently>",
            "(please )?(make|book|arrange) an appointment with <specialist><urgently>",
            "(please )?have <lesion> <examined>(<urgently> by <specialist>| by <specialist><urgently>)",
            "(please )?have <specialist> (examine|check|assess|see|look at) <lesion><urgently>",
            "(please )?show <lesion> to <specialist><urgently>",
            "<lesion> should be <examined>(<urgently> by <specialist>| by <specialist><urgently>)",
        ),
        "no_referral": ("<picture> alone (gives no reason for|does not give a reason for) a referral",),
        "haste": ("(please )?do not (wait|delay)( with this)?",),
        "probability": (
            "the (estimated )?probability of <cancer> is (estimated at )?<percent>",
            "the (estimated )?probability of <cancer> is <percent>, which is (above the <threshold> <passed>|"
            "below the <threshold> <unpassed>)",
            "<program> estimates the probability of <cancer> (at|as|to be) <percent>",
        ),
        "above": ("(this|it|the probability) is above the <threshold> <passed>",),
        "below": ("(this|it|the probability) is below the <threshold> <unpassed>",),
        "refer_from": ("from <refer> on, a referral is advised", "a referral is advised from <refer>( on)?"),
        "urgent_from": (
            "from <urgent> on, an urgent referral( is advised)?",
            "an urgent referral is advised from <urgent>( on)?",
        ),
        "confidence": (
            "the confidence (in|of) <result> is <confidence>",
            "<program> has <confidence> confidence in <result>",
        ),
        "opinion": ("(please )?ask for a (further|second) opinion",),
        "classes": (
            "<picture> (could|may|might) show <list>",
            "(it|this|<lesion>) (could|may|might) be <list>",
            "plausible(:| is| are) <list>",
            "<list> (is|are) (plausible|possible)",
            "<result> is plausible for <list>",
        ),
        "serious": ("the most serious( of these| one)? is <serious>",),
        "limitation": ("less is known (for|about) <limits>",),
        "safety_net": (
            "(please )?have any( other)? (lesion|spot) (examined|checked) that <changing>",
            "(please )?see <doctor> if any( other)? (lesion|spot) <changing>",
        ),
        "same_lesion": ("(please )?see <doctor> if <lesion> <changing>",),
        "notice": (
            "(this|it|<result>) is (no|not a) (medical )?diagnosis",
            "(this|it|<program>|<result>) (gives no|does not give a) diagnosis",
            "this is research software(, not a medical device)?",
            "<result> comes from research software(, not a medical device)?",
            "(this|it|<program>|<result>) (cannot|does not) rule out <cancer>",
            "(this|it|<program>|<result>) (cannot|does not) replace (an examination by )?<doctor>",
            "this is (no|not an) all-clear",
            "only <doctor> can (say|tell|decide) whether (it|this|<lesion>) is <cancer>",
        ),
    },
    classes={
        "MEL": "(melanoma|melanomas)",
        "NV": "melanocytic (nevus|naevus|nevi|naevi)",
        "BCC": "basal cell (carcinoma|carcinomas)",
        "AK": "actinic (keratosis|keratoses)",
        "BKL": "benign (keratosis|keratoses)",
        "DF": "(dermatofibroma|dermatofibromas)",
        "VASC": "vascular (lesion|lesions)",
        "SCC": "squamous cell (carcinoma|carcinomas)",
    },
)
_GERMAN = Grammar(
    phrases={
        "changing": "<changes>((,|,? oder) <changes>)*",
        "changes": "(ändert|verändert|sich ändert|sich verändert|ändern|verändern|sich ändern|sich verändern|"
        "blutet|bluten|juckt|jucken|sie beunruhigt|sie beunruhigen)",
        "picture": "(dieses|das|ihr) (bild|foto)",
        "in_picture": "(diesem|dem|ihrem) (bild|foto)",
        "lesion": "(diese|die|ihre) (stelle|hautveränderung)",
        "of_result": "(dieses|des) ergebnisses",
        "result": "(dieses|das) ergebnis",
        "program": "(dieses|das) programm",
        "by_specialist": "<by_one>( oder <by_one>)?",
        "by_one": "(einem (hautarzt|dermatologen)|einer (hautärztin|dermatologin|hautarztpraxis))",
        "specialist": "<one>( oder <one>)?",
        "one": "(einen (hautarzt|dermatologen)|eine (hautärztin|dermatologin|hautarztpraxis))",
        "doctor": "<one_doctor>( oder <one_doctor>)?",
        "one_doctor": "(ein (arzt|hautarzt|dermatologe)|eine (ärztin|hautärztin|dermatologin))",
        "medically": "(hautärztlich|fachärztlich|dermatologisch)",
        "examine": "(untersuchen|abklären|begutachten|beurteilen)",
        "list": "<class>(, <class>)*(,? (oder|und) <class>)?",
        "limits": "<limit>((,| und) <limit>)*",
        "cancer_risk": "(risiko für <cancer>|krebsrisiko|hautkrebsrisiko)",
        "cancer": "(krebs|hautkrebs)",
        "threshold": "(der schwelle|dem schwellenwert|dem grenzwert) von",
    },
    urgently="(dringend|umgehend|unverzüglich|sofort|schnellstmöglich|so schnell wie möglich|"
    "so bald wie möglich|ohne aufschub)",
    levels={
        "LOW": ("(niedrig|gering)", "(niedriges|geringes)"),
        "MEDIUM": ("mittel", "mittleres"),
        "HIGH": ("hoch", "hohes"),
    },
    sentences={
        "risk": (
            "das <cancer_risk> ist <risk>",
            "(<program> sieht|es besteht) in <in_picture> ein <a_risk> <cancer_risk>",
            "(<picture> zeigt|<program> sieht|es besteht) ein <a_risk> <cancer_risk>",
            "<program> schätzt das <cancer_risk> als <risk> ein",
        ),
        "refer": (
            "(bitte )?lassen sie <lesion><urgently> <medically> <examine>",
            "(bitte )?lassen sie <lesion><urgently> von <by_specialist> <examine>",
            "(bitte )?vereinbaren sie<urgently> einen termin (bei|in) <by_specialist>",
            "(bitte )?gehen sie<urgently> zu <by_specialist>",
            "(bitte )?suchen sie<urgently> <specialist> auf",
            "(bitte )?zeigen sie <lesion><urgently> <by_specialist>",
            "<lesion> (sollte|muss)<urgently> <medically> untersucht werden",
        ),
        "no_referral": (
            "<picture> allein ist kein grund für eine überweisung",
            "aus <in_picture> allein ergibt sich (keine|kein grund für eine) überweisung",
        ),
        "haste": ("(bitte )?warten sie (bitte )?(damit )?nicht", "(bitte )?zögern sie (bitte )?nicht"),
        "probability": (
            "die (geschätzte )?wahrscheinlichkeit für <cancer> (beträgt|liegt bei) <percent>",
            "das programm schätzt die wahrscheinlichkeit für <cancer> auf <percent>",
        ),
        "above": ("(sie|das|die wahrscheinlichkeit) liegt über <threshold> <passed>",),
        "below": ("(sie|das|die wahrscheinlichkeit) liegt unter <threshold> <unpassed>",),
        "refer_from": ("ab <refer> wird eine überweisung empfohlen",),
        "urgent_from": ("ab <urgent> wird eine dringende überweisung empfohlen",),
        "confidence": ("die verlässlichkeit <of_result> ist <confidence>",),
        "opinion": ("(bitte )?holen sie (bitte )?eine (weitere|zweite) meinung ein",),
        "classes": (
            "<picture> (könnte|kann) <list> zeigen",
            "es (könnte|kann) <list> sein",
            "(plausibel|möglich)(:| ist| sind) <list>",
            "in frage (kommt|kommen) <list>",
            "<list> (ist|sind) (plausibel|möglich)",
        ),
        "serious": ("am (schwersten|ernstesten) (wiegt|ist)( davon:?)? <serious>",),
        "limitation": ("weniger ist bekannt für <limits>", "für <limits> ist weniger bekannt"),
        "safety_net": (
            "(bitte )?lassen sie (jede|jede andere) (stelle|hautveränderung) (ärztlich )?untersuchen, die "
            "<changing>",
            "(bitte )?lassen sie (auch )?andere (stellen|hautveränderungen) (ärztlich )?untersuchen, die "
            "<changing>",
        ),
        "same_lesion": (
            "(bitte )?gehen sie (zum arzt|zu einem arzt|zu einer ärztin), wenn <lesion> <changing>",
        ),
        "notice": (
            "(dies|das|<result>) ist keine (ärztliche |medizinische )?diagnose",
            "(sie|<program>) stellt keine diagnose",
            "dies ist forschungssoftware(, kein medizinprodukt)?",
            "<result> stammt von forschungssoftware(, keinem medizinprodukt)?",
            "(es|<program>|<result>) (kann <cancer> nicht ausschließen|schließt <cancer> nicht aus)",
            "(es|<program>|<result>) ersetzt keine (ärztliche )?untersuchung",
            "(dies|das) ist keine entwarnung",
            "nur <doctor> kann (sagen|klären|feststellen|entscheiden), ob es <cancer> ist",
        ),
    },
    classes={
        "MEL": "(melanom|melanome|melanomen|melanoms)",
        "NV": "(melanozytäre|melanozytärer|melanozytären) (nävus|naevus|nävi|naevi)",
        "BCC": "(basalzellkarzinom|basalzellkarzinome|basalzellkarzinomen)",
        "AK": "(aktinische|aktinischen) (keratose|keratosen)",
        "BKL": "(gutartige|gutartigen) (keratose|keratosen)",
        "DF": "(dermatofibrom|dermatofibrome|dermatofibromen)",
        "VASC": "(gefäßveränderung|gefäßveränderungen)",
        "SCC": "(plattenepithelkarzinom|plattenepithelkarzinome|plattenepithelkarzinomen)",
    },
)
GRAMMARS: Mapping[Language, Grammar] = {"en": _ENGLISH, "de": _GERMAN}
_ARTICLES = {"en": "(a |an )?", "de": "(ein |eine |einen )?"}
_ANY_ARTICLES = {"en": "(a |an |the )?", "de": "(ein |eine |das |der |die )?"}
_NEVER = "(?!)"
_DECIMAL_MARK = re.compile(r"\\\.|,")


@cache
def known_words(language: Language) -> frozenset[str]:
    """The words of a language's patterns, names of classes included."""
    grammar = GRAMMARS[language]
    patterns = [*grammar.phrases.values(), grammar.urgently, *grammar.classes.values()]
    patterns += [pattern for kind in grammar.sentences.values() for pattern in kind]
    patterns += [word for level in grammar.levels.values() for word in level]
    plain = re.sub(r"<\w+>", " ", " ".join([*patterns, _ARTICLES[language], _ANY_ARTICLES[language]]))
    return frozenset(re.findall(r"[a-zäöüß]+", plain))


def sentences_of(facts: Facts, language: Language) -> dict[Kind, re.Pattern[str]]:
    """The sentences that facts allow, by kind.

    Args:
        facts: That fill the patterns in. What they do not hold, no sentence may say.
        language: Of the sentences.
    """
    barred: set[Kind] = {"no_referral", "same_lesion"}
    if facts.action_code == "no_referral":
        barred = {"refer", "haste"}
    if facts.confidence != "LOW":
        barred.add("opinion")
    slots = {**GRAMMARS[language].phrases, **_slots(facts, language)}
    slots["urgently"] = _urgently(language, facts.action_code == "refer_urgently")
    kinds = GRAMMARS[language].sentences.items()
    return {kind: _one_filled(patterns, slots) for kind, patterns in kinds if kind not in barred}


@cache
def actions(language: Language) -> re.Pattern[str]:
    """The sentences that give any action, whatever the facts are."""
    grammar = GRAMMARS[language]
    patterns = [*grammar.sentences["refer"], *grammar.sentences["no_referral"]]
    slots = [{**grammar.phrases, "urgently": _urgently(language, urgent)} for urgent in (False, True)]
    return re.compile("|".join(_one_filled(patterns, one).pattern for one in slots))


def _urgently(language: Language, is_urgent: bool) -> str:
    return f" {GRAMMARS[language].urgently}" if is_urgent else ""


def _one_filled(patterns: Sequence[str], slots: Mapping[str, str]) -> re.Pattern[str]:
    """Any of these patterns, with their slots filled in."""
    return re.compile("|".join(f"(?:{_filled(pattern, slots)})" for pattern in patterns))


def _slots(facts: Facts, language: Language) -> dict[str, str]:
    """What the facts say, as patterns by the name of their slot."""
    grammar = GRAMMARS[language]
    passed = {"HIGH": facts.thresholds, "MEDIUM": facts.thresholds[:-1], "LOW": ()}[facts.risk]
    unpassed = facts.thresholds[len(passed) :]
    named = [grammar.classes[code] for code in facts.classes if code in grammar.classes]
    serious = grammar.classes.get(facts.most_serious or "")
    limits = [text(f"message.limitation.{one.code}", language) for one in ALWAYS]
    return {
        "risk": grammar.levels[facts.risk][0],
        "a_risk": grammar.levels[facts.risk][1],
        "confidence": grammar.levels[facts.confidence][0] if facts.confidence else _NEVER,
        "percent": _one_of([facts.cancer_probability]),
        "passed": _one_of(passed),
        "unpassed": _one_of(unpassed),
        "refer": _one_of(facts.thresholds[:-1]),
        "urgent": _one_of(facts.thresholds[-1:]),
        "class": f"{_ARTICLES[language]}({'|'.join(named)})" if named else _NEVER,
        "serious": f"{_ANY_ARTICLES[language]}{serious}" if serious else _NEVER,
        "limit": _one_of(limits),
    }


def _one_of(texts: Sequence[str]) -> str:
    """A pattern of any of these texts. Numbers have either decimal mark, and may have a blank before %."""
    escaped = "|".join(re.escape(one.lower().replace(" %", "%")).replace("%", " ?%") for one in texts)
    return f"({_DECIMAL_MARK.sub('[.,]', escaped)})" if texts else _NEVER


def _filled(pattern: str, slots: Mapping[str, str]) -> str:
    while "<" in pattern:
        pattern = re.sub(r"<(\w+)>", lambda slot: slots[slot[1]], pattern)
    return pattern
