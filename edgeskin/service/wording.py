"""The plain-language message of an assessment, which a language model may reword; off by default.

The template (`edgeskin.service.message_facts`) always stands. A model that the operator names gets the facts
alone, and its reply is shown beside the template only if `edgeskin.service.reply_check` finds nothing wrong.
"""

import asyncio
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from edgeskin.errors import SettingError, require_kind
from edgeskin.results import Assessment
from edgeskin.service import chat
from edgeskin.service.message_facts import facts, may_be_reworded, template
from edgeskin.service.reply_check import check
from edgeskin.service.texts import Language

KEY_VARIABLE = "EDGESKIN_WORDING_KEY"
"""The environment variable with the endpoint's key."""
QUESTIONS_AT_ONCE = 4
_PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_LANGUAGE_NAMES: dict[Language, str] = {"en": "English", "de": "German"}
_INSTRUCTION = """\
You reword the result of a program that assesses pictures of skin lesions, for a reader without medical \
training. Answer in {language}, in three to six short sentences of everyday words, one statement in each, \
without lists, headings or markup. Say only what the facts say, in sentences close to theirs. Give the \
action in a sentence of its own, without conditions. Keep the words of the facts for the risk, the action, \
the confidence and the classes. Name no other number, class or risk, no diagnosis, treatment, medicine or \
cause. Do not reassure. End with the advice under "always"."""


@dataclass(frozen=True)
class WordingSettings:
    """Which model rewords the message.

    Attributes:
        url: Of an OpenAI-compatible endpoint, such as http://127.0.0.1:9000/v1.
        model: The model's name there.
        key: The endpoint's key; None for none.
        timeout_s: Seconds to wait for a reply, above 0, at most 60.
        max_tokens: Of a reply, 16 to 2000.
        allow_plain_http: Whether plain http may go to a host that is neither this one nor private.

    Raises:
        SettingError: One of them is out of range, or the address is invalid or not safe.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 5.0
    max_tokens: int = 400
    allow_plain_http: bool = False

    def __post_init__(self) -> None:
        for name, value in (("wording url", self.url), ("wording model", self.model)):
            require_kind(name, value, str, "a text")
        if not self.model.strip() or not self.model.isprintable():
            raise SettingError(f"wording model {self.model!r}: choose the name of a model at the endpoint")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable() and self.key.strip()):
            raise SettingError(f"{KEY_VARIABLE}: choose printable ASCII, or leave it off")
        if not 0 < self.timeout_s <= 60:
            raise SettingError(f"wording timeout {self.timeout_s}: choose seconds above 0, at most 60")
        if not 16 <= self.max_tokens <= 2000:
            raise SettingError(f"wording max_tokens {self.max_tokens}: choose 16 to 2000")
        object.__setattr__(self, "url", _checked_url(self.url, self.allow_plain_http))


def wording_settings(
    url: str | None, model: str | None, environment: Mapping[str, str]
) -> WordingSettings | None:
    """The settings that an operator gives: an address and a model, and a key in the environment.

    Returns:
        None if neither is given.

    Raises:
        SettingError: One is given without the other, or is not usable.
    """
    if url is None and model is None:
        return None
    if url is None or model is None:
        raise SettingError("rewording needs both an endpoint and a model: --wording-url and --wording-model")
    return WordingSettings(url, model, environment.get(KEY_VARIABLE) or None)


@dataclass(frozen=True)
class Message:
    """The message of an assessment.

    Attributes:
        text: From the template, always.
        message: The model's words; None if there are none or they were thrown away.
        rejected: Why, as codes: ``not_configured``, ``not_asked`` (the picture was not assessed, or a gate
            would have refused it), a code of `chat.ChatError` or of `reply_check.check`.
    """

    text: str
    message: str | None
    rejected: tuple[str, ...]


class Wording:
    """Asks the configured model, a few questions at once. Without settings it asks nothing."""

    def __init__(self, settings: WordingSettings | None) -> None:
        """Use these settings; None if the operator named no model."""
        self._settings = settings
        self._places = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def message(self, assessment: Assessment, language: Language) -> Message:
        """The message of an assessment of any status. It always has the template's text."""
        text = template(assessment, language)
        if self._settings is None:
            return Message(text, None, ("not_configured",))
        if not may_be_reworded(assessment):
            return Message(text, None, ("not_asked",))
        known = facts(assessment, language)
        try:
            reply, is_complete = await self._ask(self._settings, known.sentences(language), language)
        except chat.ChatError as error:
            return Message(text, None, (error.code,))
        rejected = check(reply, known, language)
        if not is_complete:
            rejected = tuple(sorted({*rejected, "cut_off"}))
        return Message(text, None if rejected else reply.strip(), rejected)

    async def _ask(
        self, settings: WordingSettings, sentences: dict[str, str], language: Language
    ) -> tuple[str, bool]:
        try:
            # Waiting for a place counts, so that no request waits longer than the time limit twice.
            async with asyncio.timeout(settings.timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise chat.ChatError("timed_out") from None
        try:
            return await chat.ask(
                settings.url,
                settings.model,
                question(sentences, language),
                key=settings.key,
                max_tokens=settings.max_tokens,
                timeout_s=settings.timeout_s,
            )
        finally:
            self._places.release()


def question(sentences: dict[str, str], language: Language) -> list[dict[str, str]]:
    """The messages that ask for a rewording of facts, by topic."""
    return [
        {"role": "system", "content": _INSTRUCTION.format(language=_LANGUAGE_NAMES[language])},
        {"role": "user", "content": json.dumps(sentences, ensure_ascii=False, indent=1)},
    ]


def _checked_url(url: str, allow_plain_http: bool) -> str:
    """The address without a slash at its end.

    Raises:
        SettingError: It is not the address of an endpoint, or is plain http to a public host.
    """
    choices = "an address such as http://127.0.0.1:9000/v1 or https://llm.example.org/v1"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SettingError(f"wording url {url!r}: choose {choices}") from None
    extra: tuple[Any, ...] = (parts.username, parts.password, parts.query, parts.fragment)
    is_clean = url.isascii() and url.isprintable() and " " not in url and port != 0
    if parts.scheme not in ("http", "https") or not host or not is_clean or any(extra):
        raise SettingError(
            f"wording url: choose {choices}, without a user, query or fragment (the key goes into "
            f"{KEY_VARIABLE})"
        )
    if parts.scheme == "http" and not allow_plain_http and not _is_private(host):
        raise SettingError(
            f"wording url {url}: plain http to a public host could be read on its way; use https, or a host "
            "of a private network"
        )
    return url.rstrip("/")


def _is_private(host: str) -> bool:
    """Whether a host is this machine, on a private network, or a name without a domain (compose files)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_ENDINGS)
    return address.is_loopback or address.is_private or address.is_link_local
