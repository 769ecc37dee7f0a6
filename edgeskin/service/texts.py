"""The texts of the service by code and language, as the page and the plain-language message show them.

``static/texts.json`` holds them, because the page reads the same file. Each code has a text in each language.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from edgeskin.errors import SettingError

Language = Literal["en", "de"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@cache
def all_texts() -> Mapping[str, Mapping[str, str]]:
    """Every text: code -> language -> text, where ``{name}`` stands for a value."""
    content = files("edgeskin.service").joinpath("static/texts.json").read_text(encoding="utf-8")
    texts: dict[str, dict[str, str]] = json.loads(content)
    return texts


def has_text(code: str) -> bool:
    """Whether there is a text for a code."""
    return code in all_texts()


def text(code: str, language: Language, **values: str) -> str:
    """The text of a code.

    Args:
        code: Such as ``message.risk.HIGH``.
        language: One of LANGUAGES.
        values: For the places ``{name}`` of the text.

    Raises:
        KeyError: There is no such code, or the text needs a value that is not given.
    """
    return all_texts()[code][language].format(**values)


def find_language(name: str) -> Language:
    """The language of a request, such as ``de``.

    Raises:
        SettingError: It is not one of LANGUAGES.
    """
    for language in LANGUAGES:
        if name == language:
            return language
    raise SettingError(f"language {name!r}: choose {' or '.join(LANGUAGES)}")
