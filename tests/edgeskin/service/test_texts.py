"""Every code of the service has a text in every language, with the same places for values."""

import json
import re
from pathlib import Path

import pytest

import edgeskin.service
from edgeskin.decision.limitations import SITES, PatientContext, known_limitations
from edgeskin.errors import SettingError
from edgeskin.imaging.quality import LIMITS
from edgeskin.service.texts import LANGUAGES, all_texts, find_language, has_text, text
from edgeskin.taxonomy import ISIC_2019

FILE = Path(edgeskin.service.__file__).parent / "static" / "texts.json"


def test_every_text_is_there_in_every_language_with_the_same_places() -> None:
    for code, texts in all_texts().items():
        assert set(texts) == set(LANGUAGES), code
        assert all(value.strip() for value in texts.values()), code
        places = {tuple(sorted(re.findall(r"\{(\w+)\}", value))) for value in texts.values()}
        assert len(places) == 1, code


def test_no_code_is_there_twice() -> None:
    pairs = json.loads(FILE.read_text(encoding="utf-8"), object_pairs_hook=list)
    codes = [code for code, _ in pairs]
    assert len(codes) == len(set(codes))


def test_what_an_assessment_may_hold_has_a_text() -> None:
    codes = {f"message.class.{name}" for name in ISIC_2019} | {f"quality.{limit.code}" for limit in LIMITS}
    for age in (None, 30, 50):
        for site in (None, *SITES):
            limitations = known_limitations(PatientContext(age, site))
            codes |= {f"limitation.{limitation.code}" for limitation in limitations}
    assert {code for code in codes if not has_text(code)} == set()


def test_values_fill_their_places() -> None:
    assert "12.3%" in text("message.probability", "en", percent="12.3%")
    with pytest.raises(KeyError):
        text("message.probability", "en")
    with pytest.raises(KeyError):
        text("message.nonsense", "en")


def test_an_unknown_language_is_refused() -> None:
    assert find_language("de") == "de"
    with pytest.raises(SettingError) as caught:
        find_language("fr")
    assert caught.value.code == "setting"
