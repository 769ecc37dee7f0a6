"""Whether a language model's reply says what the facts say and nothing else.

A reply passes only if `edgeskin.service.reply_grammar` allows each of its sentences for the facts, and one of
them gives the action. Everything else is thrown away, so a true reply may be too.
"""

import re
import unicodedata
from collections.abc import Iterator

from edgeskin.service.message_facts import Facts
from edgeskin.service.reply_grammar import GRAMMARS, Kind, actions, known_words, sentences_of
from edgeskin.service.reply_words import (
    ALL_CLEAR,
    CANCER,
    CHARACTERS,
    CLASS_WORDS,
    CONDITIONS,
    CONFIDENCE,
    LEVELS,
    MARKUP,
    NEGATIONS,
    NUMBER_WORDS,
    OTHER_LEVELS,
    SIDES,
    TREATMENT,
)
from edgeskin.service.texts import LANGUAGES, Language

MOST_CHARACTERS = 1200
_SAFETY_NETS: set[Kind] = {"safety_net", "same_lesion"}
"""One of them goes with the advice that no referral is needed."""
_WORD = re.compile(r"[a-zäöüß]+")
_TYPOGRAPHIC = str.maketrans(
    "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u00a0\u202f\u2013\u2014\u2011",
    '\'\'\'"""""  ---',
)


def check(reply: str, facts: Facts, language: Language) -> tuple[str, ...]:
    """Compare a reply with the facts.

    Args:
        reply: The model's words.
        facts: That it was given.
        language: In which it was asked.

    Returns:
        Codes of the reasons to throw it away, sorted; none if it may be shown. ``empty``, ``too_long``,
        ``cut_off``, ``question``, ``markup``, ``characters`` and ``language`` are of its form. ``action``:
        the action is missing, or another one is given. ``class``: also a benign class without the plausible
        cancers. ``sentence``: a sentence is of no kind; ``all_clear``, ``cancer``, ``class``, ``condition``,
        ``confidence``, ``negation``, ``number``, ``risk``, ``treatment`` and ``vocabulary`` say more of it.
    """
    lowered = unicodedata.normalize("NFC", reply).translate(_TYPOGRAPHIC).strip().lower()
    if not lowered:
        return ("empty",)
    if len(lowered) > MOST_CHARACTERS:
        return ("too_long",)
    found = set(_of_form(lowered))
    sentences, allowed = _sentences(lowered), sentences_of(facts, language)
    sent = _sentences(" ".join(facts.sentences(language).values()).lower())
    kinds: set[Kind] = set()
    for sentence in sentences:
        of_sentence = {kind for kind, pattern in allowed.items() if pattern.fullmatch(sentence)}
        kinds |= of_sentence
        if not of_sentence and sentence not in sent:
            found |= {"sentence", *_reasons(sentence, facts, language)}
    if not ("refer" in kinds or ("no_referral" in kinds and kinds & _SAFETY_NETS)):
        found.add("action")
    found |= set(_of_language(sentences, language))
    named = {code for code, form in GRAMMARS[language].classes.items() if re.search(rf"\b{form}\b", lowered)}
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
    """The sentences of a text. Quotation marks around the whole are dropped; others may be ironic."""
    unquoted = lowered[1:-1] if lowered[0] == lowered[-1] == '"' else lowered
    parts = re.split(r"[.!?;](?=\s|$)|\n", unquoted)
    return [joined for part in parts if (joined := " ".join(part.split()))]


def _reasons(sentence: str, facts: Facts, language: Language) -> Iterator[str]:
    """Codes for a sentence of no kind, by its words."""
    words = {
        "class": CLASS_WORDS,
        "number": NUMBER_WORDS,
        "all_clear": ALL_CLEAR,
        "treatment": TREATMENT,
        "negation": NEGATIONS,
        "cancer": CANCER,
        "condition": CONDITIONS,
        "confidence": CONFIDENCE,
    }
    yield from (code for code, pattern in words.items() if pattern.search(sentence))
    if actions(language).fullmatch(sentence):
        yield "action"
    others = [pattern for level, pattern in LEVELS.items() if level != facts.risk]
    if any(pattern.search(sentence) for pattern in (OTHER_LEVELS, SIDES, *others)):
        yield "risk"
    if not set(_WORD.findall(sentence)) <= known_words(language):
        yield "vocabulary"


def _of_language(sentences: list[str], language: Language) -> Iterator[str]:
    """Whether more of the words are those of another language."""
    words = set(_WORD.findall(" ".join(sentences)))
    known = len(words & known_words(language))
    if any(len(words & known_words(other)) > known for other in LANGUAGES if other != language):
        yield "language"
