"""The page's table of texts: every code that the service can give has words, in both languages."""

import ast
import html
import json
import re
from pathlib import Path
from typing import get_args

import pytest

import edgeskin
from edgeskin import errors
from edgeskin.decision.limitations import ALWAYS, SITES, PatientContext, known_limitations
from edgeskin.imaging import change
from edgeskin.imaging.quality import LIMITS
from edgeskin.results import ActionCode, Level, Risk, Status
from edgeskin.taxonomy import ISIC_2019

PACKAGE = Path(edgeskin.__file__).parent
STATIC = PACKAGE / "service" / "static"
TABLE: dict[str, dict[str, str]] = json.loads((STATIC / "texts.json").read_text(encoding="utf-8"))
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}
PAGE = (STATIC / "index.html").read_text(encoding="utf-8")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
CODE = re.compile(r"``([a-z_]+)``")


def error_codes() -> set[str]:
    """The codes of all errors: those that the classes document, and those that are raised anywhere."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = {kind.code for kind in kinds if issubclass(kind, errors.EdgeskinError)}
    codes |= {code for kind in kinds for code in CODE.findall(kind.__doc__ or "")}
    names = {kind.__name__ for kind in kinds}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node, "func", None)
            if isinstance(node, ast.Call) and isinstance(called, ast.Name) and called.id in names:
                given = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "code")]
                codes |= {
                    value.value
                    for value in given
                    if isinstance(value, ast.Constant) and isinstance(value.value, str)
                }
    return codes - {"code"}  # of "their ``code``"


def limitation_codes() -> set[str]:
    contexts = [PatientContext(age, site) for age in (None, 30, 50) for site in (None, *SITES)]
    found = {one.code for context in contexts for one in known_limitations(context)}
    return found | {one.code for one in ALWAYS}


REFUSED = set(get_args(Status)) - {"assessed"}
CODES = {
    "risk": set(get_args(Risk)),
    "status": REFUSED,
    "action": set(get_args(ActionCode)),
    "confidence": set(get_args(Level)),
    "quality": {limit.code for limit in LIMITS},
    "limitation": limitation_codes(),
    "class": set(ISIC_2019),
    "site": {*SITES, "unknown"},
    "change": set(change.LIMITS),
    "error": error_codes() | {"unknown"},
    "result.zone": set(get_args(Risk)),
    "message.action": set(get_args(ActionCode)),
    "message.class": set(ISIC_2019),
    "message.confidence": set(get_args(Level)),
    "message.limitation": {one.code for one in ALWAYS},
    "message.risk": set(get_args(Risk)),
}
"""The codes of each kind: a text has the kind and the code as its key."""
CHOSEN = {
    "camera": {"denied", "none", "in_use", "insecure", "unsupported"},
    "compare": {"before", "after", "beyond", "within", "no_limit"},
    "refused": {f"why_{status}" for status in REFUSED - {"error"}},
}
"""What the page's modules choose from by a name of their own; other texts have the same beginning."""


@pytest.mark.parametrize(("kind", "codes"), CODES.items())
def test_every_code_has_words_and_no_words_are_left_over(kind: str, codes: set[str]) -> None:
    assert {key.removeprefix(f"{kind}.") for key in TABLE if key.startswith(f"{kind}.")} == codes


def test_the_errors_are_found() -> None:
    assert {"queue_full", "registration", "damaged", "not_assessed", "out_of_memory"} <= error_codes()


def test_each_text_is_whole_in_both_languages() -> None:
    for key, texts in TABLE.items():
        assert set(texts) == {"en", "de"}, key
        assert all(one and one == one.strip() for one in texts.values()), key
        assert set(PLACEHOLDER.findall(texts["en"])) == set(PLACEHOLDER.findall(texts["de"])), key
        assert len({one[-1] in ".…" for one in texts.values()}) == 1, key


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize("language", ["en", "de"])
def test_low_risk_and_refusals_are_no_all_clear(language: str) -> None:
    word = {"en": "all-clear", "de": "Entwarnung"}[language]
    actions = ("no_referral", "retake", "out_of_scope")
    keys = [f"{kind}.{action}" for kind in ("action", "message.action") for action in actions]
    for key in (*keys, "message.no_result.action", "evidence.low", "compare.unchanged"):
        assert word in TABLE[key][language]


@pytest.mark.hazard("H-11")
def test_the_page_and_the_message_advise_the_same() -> None:
    for action in ("refer_urgently", "refer", "no_referral"):
        assert TABLE[f"action.{action}"] == TABLE[f"message.action.{action}"]


def used_keys() -> set[str]:
    """The keys that the page and its modules name."""
    keys = set(re.findall(r'data-(?:text|label)="([^"]+)"', PAGE))
    for script in SCRIPTS.values():
        keys |= {
            quoted for quoted in re.findall(r'"([a-z_]+\.[a-z_/ ]+)"', script) if not quoted.endswith(".js")
        }
    return keys


def test_the_page_names_only_keys_of_the_table() -> None:
    assert sorted(key for key in used_keys() if key not in TABLE) == []


def test_every_text_is_used() -> None:
    """By the page, or by the template of the plain-language message."""
    template = (PACKAGE / "service" / "message_facts.py").read_text(encoding="utf-8")
    scripts = "".join(SCRIPTS.values())
    named = used_keys() | set(re.findall(r'"(message\.[a-z_.]+)"', template))
    built = {kind.rpartition(".")[0] for kind in re.findall(r"text\(`([a-z_.]+)\$", scripts)}
    built |= set(re.findall(r'codeText\("([a-z]+)"', scripts))
    built |= set(re.findall(r'f"(message\.[a-z]+)\.\{', template))
    families = CODES | CHOSEN
    assert built - set(families) == set()
    named |= {f"{kind}.{code}" for kind in built for code in families[kind]}
    assert [key for key in TABLE if key not in named] == []
    assert [key for key in named if key not in TABLE] == []


def test_markup_and_modules_hold_no_words_of_their_own() -> None:
    body = re.sub(r"<noscript>.*?</noscript>|<!--.*?-->", "", PAGE.partition("<body>")[2], flags=re.DOTALL)
    words = [html.unescape(text).strip() for text in re.findall(r">([^<]+)<", body)]
    assert [word for word in words if word] == ["edgeskin", "English", "Deutsch"]


def test_the_sites_are_those_of_the_api() -> None:
    assert tuple(re.findall(r'<option value="([^"]+)"', PAGE)) == SITES


def test_the_page_is_whole_without_anything_from_outside() -> None:
    linked = re.findall(r'(?:src|href)="([^"#]+)"', PAGE)
    assert linked
    assert all(link.startswith("/static/") and (STATIC / Path(link).name).is_file() for link in linked)
    for name, script in SCRIPTS.items():
        imported = re.findall(r'from "([^"]+)"', script)
        assert all(one.startswith("./") and (STATIC / one).is_file() for one in imported), name
    sources = "".join([*SCRIPTS.values(), PAGE, (STATIC / "style.css").read_text(encoding="utf-8")])
    assert re.findall(r"https?://(?!www\.w3\.org/)\S+", sources) == []
    assert re.findall(r"\bstyle=|\bon\w+=\"|innerHTML|localStorage|serviceWorker|\beval\(", sources) == []
