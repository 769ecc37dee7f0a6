"""A reply passes if it says what the facts say; whatever else a model might write is thrown away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeskin.service.message_facts import Facts
from edgeskin.service.reply_check import check
from edgeskin.service.texts import Language
from tests.edgeskin.service.misleading_sentences import MISLEADING
from tests.edgeskin.service.replies import BAD, CALM, DRINGEND, GOOD, RUHIG, URGENTLY

pytestmark = pytest.mark.hazard("H-25")

HIGH = Facts("HIGH", "refer_urgently", "44.4%", ("3.9%", "9.2%"), ("NV", "MEL"), ("MEL",), "MEL", "LOW")
MEDIUM = Facts("MEDIUM", "refer", "5.4%", ("3.9%", "9.2%"), ("NV", "BKL", "BCC"), ("BCC",), "BCC", "MEDIUM")
LOW = Facts("LOW", "no_referral", "1.4%", ("3.9%", "9.2%"), ("NV",), (), "NV", "HIGH")
BY_RISK = {"HIGH": HIGH, "MEDIUM": MEDIUM, "LOW": LOW}


@pytest.mark.parametrize(("risk", "language", "reply"), GOOD)
def test_a_reply_that_says_what_the_facts_say_passes(risk: str, language: Language, reply: str) -> None:
    assert check(reply, BY_RISK[risk], language) == ()


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("facts", BY_RISK.values(), ids=BY_RISK)
def test_the_facts_themselves_pass(facts: Facts, language: Language) -> None:
    assert check(" ".join(facts.sentences(language).values()), facts, language) == ()


@pytest.mark.parametrize(("risk", "language", "reply", "code"), BAD)
def test_any_other_reply_is_thrown_away(risk: str, language: Language, reply: str, code: str) -> None:
    assert code in check(reply, BY_RISK[risk], language)


@pytest.mark.parametrize(("risk", "language", "sentence"), MISLEADING)
def test_a_good_reply_with_a_misleading_sentence_is_thrown_away(
    risk: str, language: Language, sentence: str
) -> None:
    good = {"HIGH": {"en": URGENTLY, "de": DRINGEND}, "LOW": {"en": CALM, "de": RUHIG}}[risk][language]
    assert check(good, BY_RISK[risk], language) == ()
    for reply in (f"{good} {sentence}", f"{sentence} {good}"):
        assert "sentence" in check(reply, BY_RISK[risk], language)


@given(st.text(max_size=300), st.sampled_from(sorted(BY_RISK)), st.sampled_from(["en", "de"]))
def test_no_text_breaks_the_check(text: str, risk: str, language: Language) -> None:
    """And none that is made of anything passes, as it would have to hold the action."""
    assert check(text, BY_RISK[risk], language)


@pytest.mark.parametrize(("risk", "language", "reply"), GOOD)
def test_a_good_reply_is_bad_for_any_other_risk(risk: str, language: Language, reply: str) -> None:
    for other, facts in BY_RISK.items():
        assert other == risk or check(reply, facts, language)


@pytest.mark.parametrize(("risk", "language", "reply"), GOOD)
def test_a_good_reply_is_bad_in_the_other_language(risk: str, language: Language, reply: str) -> None:
    other: Language = "de" if language == "en" else "en"
    assert "language" in check(reply, BY_RISK[risk], other)


def test_without_a_confidence_rule_a_reply_may_not_speak_of_confidence() -> None:
    facts = Facts("HIGH", "refer_urgently", "44.4%", ("9.2%",), (), (), None, None)
    assert check(URGENTLY, facts, "en") == ()
    assert "confidence" in check(f"{URGENTLY} The confidence in this result is low.", facts, "en")
    assert "class" in check(f"{URGENTLY} Melanoma is possible.", facts, "en")
