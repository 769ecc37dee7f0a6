"""Whether a language model's reply says what the facts say and nothing else.

A reply is thrown away when in doubt, so a true one may be too. It passes only if every word is known, every
negation, number, class and level is one of the facts in a known phrase, and one sentence gives the action
without a condition. What a reply says beyond that was not understood, only restricted: the template stays
beside it.
"""

import re
import unicodedata
from collections.abc import Iterator

from edgeskin.service.message_facts import Facts
from edgeskin.service.reply_words import (
    ALL_CLEAR,
    CHARACTERS,
    CLASS_FORMS,
    CLASS_WORDS,
    MARKUP,
    NEGATIONS,
    NUMBER_WORDS,
    OTHER_LEVELS,
    RULES,
    TREATMENT,
    VOCABULARY,
    LanguageRules,
)
from edgeskin.service.texts import LANGUAGES, Language

MOST_CHARACTERS = 1200
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?(?: ?(?:%|percent\b|per cent\b|prozent\b))?")
_WORD = re.compile(r"[a-zäöüß]+(?:'[a-z]+)?")
_TYPOGRAPHIC = str.maketrans(
    "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u00a0\u202f\u2013\u2014\u2011",
    '\'\'\'"""""  ---',
)
_CLASS = " xclassx "
"""Stands in a sentence for a class of the facts."""


def check(reply: str, facts: Facts, language: Language) -> tuple[str, ...]:
    """Compare a reply with the facts.

    Args:
        reply: The model's words.
        facts: That it was given.
        language: In which it was asked.

    Returns:
        Codes of the reasons to throw it away, sorted; none if it may be shown: ``action``, ``all_clear``,
        ``cancer``, ``characters``, ``class``, ``condition``, ``confidence``, ``cut_off``, ``empty``,
        ``language``, ``markup``, ``negation``, ``number``, ``question``, ``risk``, ``too_long``,
        ``treatment``, ``vocabulary``.
    """
    lowered = unicodedata.normalize("NFC", reply).translate(_TYPOGRAPHIC).strip().lower()
    if not lowered:
        return ("empty",)
    if len(lowered) > MOST_CHARACTERS:
        return ("too_long",)
    found = set(_of_form(lowered))
    sentences = _sentences(lowered)
    rules = RULES[language]
    for sentence in sentences:
        found |= set(_of_sentence(sentence, facts, rules, language))
    if not _says_action(sentences, facts, rules):
        found.add("action")
    found |= set(_of_words(sentences, facts, language))
    named = {code for code, form in CLASS_FORMS[language].items() if form.search(lowered)}
    if named and not named >= set(facts.cancers):
        found.add("class")  # a benign class alone would hide the cancer that is plausible too
    return tuple(sorted(found))


def _of_form(lowered: str) -> Iterator[str]:
    if MARKUP.search(lowered):
        yield "markup"
    elif "?" in lowered:
        yield "question"
    elif not CHARACTERS.fullmatch(lowered):
        yield "characters"
    if lowered[-1] not in '.!"':
        yield "cut_off"


def _sentences(lowered: str) -> list[str]:
    parts = re.split(r"[.!?;](?=[\s\"']|$)|\n", lowered)
    return [joined for part in parts if (joined := " ".join(part.replace('"', " ").split()))]


def _of_sentence(sentence: str, facts: Facts, rules: LanguageRules, language: Language) -> Iterator[str]:
    """The reasons that one sentence gives, apart from unknown words."""
    is_referred = facts.action_code != "no_referral"
    rest = rules.always.sub(" ", sentence)
    rest = (rules.if_referred if is_referred else rules.if_not_referred).sub(" ", rest)
    before_classes = rest
    for code in facts.classes:
        if code in CLASS_FORMS[language]:
            rest = CLASS_FORMS[language][code].sub(_CLASS, rest)
    if CLASS_WORDS.search(rest) or not _classes_as_in_facts(before_classes, facts, rules, language):
        yield "class"
    if not _numbers_as_in_facts(rest, facts, rules):
        yield "number"
    if ALL_CLEAR.search(rest):
        yield "all_clear"
    if TREATMENT.search(rest):
        yield "treatment"
    if NEGATIONS.search(rest):
        yield "negation"
    if re.search(r"cancer|krebs", rules.cancer.sub(" ", rest)):
        yield "cancer"
    yield from _of_levels(rest, facts, rules)
    is_conditional = rules.condition.search(rest) or rules.change.search(rest)
    if is_conditional and not _is_harmless_condition(rest, rules):
        yield "condition"


def _classes_as_in_facts(sentence: str, facts: Facts, rules: LanguageRules, language: Language) -> bool:
    """Whether classes are named as plausible ones, and the most serious one as such."""
    places = sorted(
        (match.start(), code)
        for code, form in CLASS_FORMS[language].items()
        for match in form.finditer(sentence)
    )
    serious = rules.serious.search(sentence)
    if serious is None:
        return not places or rules.hedge.search(sentence) is not None
    after = [code for place, code in places if place > serious.start()]
    before = [code for place, code in places if place < serious.start()]
    nearest = after[0] if after else before[-1] if before else None
    return nearest is not None and nearest == facts.most_serious


def _numbers_as_in_facts(sentence: str, facts: Facts, rules: LanguageRules) -> bool:
    """Whether each number is one of the facts, behind the word for what it is."""
    if NUMBER_WORDS.search(_NUMBER.sub(" ", sentence)):
        return False
    probabilities = {_normalized(facts.cancer_probability)}
    thresholds = {_normalized(threshold) for threshold in facts.thresholds}
    for number in _NUMBER.finditer(sentence):
        before = sentence[: number.start()]
        probability = max((match.end() for match in rules.probability.finditer(before)), default=-1)
        threshold = max((match.end() for match in rules.threshold.finditer(before)), default=-1)
        if probability == threshold or _normalized(number[0]) not in (
            probabilities if probability > threshold else thresholds
        ):
            return False
    # A share that is written in another way, such as 1 / 10.
    return not re.search(r"\d", _NUMBER.sub(" ", sentence))


def _normalized(number: str) -> str:
    digits = re.search(r"\d+(?:[.,]\d+)?", number)
    assert digits is not None
    is_percent = bool(re.search(r"%|per ?cent|prozent", number))
    return digits[0].replace(",", ".") + "%" * is_percent


def _of_levels(sentence: str, facts: Facts, rules: LanguageRules) -> Iterator[str]:
    """Levels that are not those of the risk, or, in a sentence on confidence, of the confidence."""
    named = {level for level, words in rules.levels.items() if words.search(sentence)}
    wrong_side = rules.above if facts.risk == "LOW" else rules.below
    if OTHER_LEVELS.search(sentence) or wrong_side.search(sentence):
        yield "risk"
    if rules.confidence.search(sentence):
        is_mixed = re.search(r"risk|risiko|cancer|krebs|probability|wahrscheinlichkeit", sentence)
        if is_mixed or named != {facts.confidence}:
            yield "confidence"
    elif not named <= {facts.risk}:
        yield "risk"


def _is_harmless_condition(sentence: str, rules: LanguageRules) -> bool:
    """Whether a condition only adds when to see a doctor, or leaves the judgement to one."""
    asks = rules.safety_net.search(sentence) and rules.doctor.search(sentence)
    return bool(asks or rules.cancer.search(sentence)) and not re.search(
        r"(?<!\w)(?:only|just|until|nur|erst|unless|außer)(?!\w)", sentence
    )


def _says_action(sentences: list[str], facts: Facts, rules: LanguageRules) -> bool:
    """Whether one sentence gives the action, and no sentence a more urgent one."""
    # A threshold of urgent referrals is not an action.
    is_urgent = [
        bool(rules.urgent.search(sentence))
        and not (re.search(r"\d", sentence) and rules.threshold.search(sentence))
        for sentence in sentences
    ]
    if facts.action_code == "no_referral":
        rests_on_picture = any(rules.alone.search(sentence) for sentence in sentences)
        has_safety_net = any(
            rules.safety_net.search(sentence) and rules.doctor.search(sentence) for sentence in sentences
        )
        return rests_on_picture and has_safety_net and not any(is_urgent)
    if facts.action_code == "refer" and any(is_urgent):
        return False
    return any(
        _refers(sentence, rules) and (urgent or facts.action_code == "refer")
        for sentence, urgent in zip(sentences, is_urgent, strict=True)
    )


def _refers(sentence: str, rules: LanguageRules) -> bool:
    rest = rules.if_referred.sub(" ", rules.urgent.sub(" ", sentence))
    wanted = rules.specialist.search(rest) and rules.examine.search(rest)
    return wanted is not None and not rules.weak.search(rest) and not NEGATIONS.search(rest)


def _of_words(sentences: list[str], facts: Facts, language: Language) -> Iterator[str]:
    """Whether words are unknown, or rather those of another language."""
    rules = RULES[language]
    patterns = [rules.always, rules.if_referred, rules.if_not_referred, rules.cancer, rules.urgent]
    patterns += [
        rules.above,
        rules.below,
        rules.serious,
        rules.threshold,
        rules.probability,
        rules.confidence,
    ]
    patterns += [*rules.levels.values(), rules.alone, rules.specialist, *CLASS_FORMS[language].values()]
    words: list[str] = []
    for sentence in sentences:
        rest = _NUMBER.sub(" ", sentence)
        for pattern in patterns:
            rest = pattern.sub(" ", rest)
        words += _WORD.findall(rest)
    sent = _WORD.findall(" ".join(facts.sentences(language).values()).lower())
    unknown = [word for word in words if word not in VOCABULARY[language] and word not in sent]
    for other in LANGUAGES:
        if other != language and sum(word in VOCABULARY[other] for word in words) > len(words) - len(unknown):
            yield "language"
    if unknown:
        yield "vocabulary"
