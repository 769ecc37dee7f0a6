"""The commands and options that the documents name exist."""

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from edgeskin.cli.main import app
from quantize.cli import app as quantize
from tests.docs.documents import DOCUMENTS, ROOT
from train.cli import app as train

COMMAND = re.compile(
    r"(?:edgeskin|python -m (?:train|quantize|benchmarks[\w.]*|edgeskin))(?= |$|`)[^`\n|>&;#]*"
)
PAST = "CHANGELOG.md"
"""Names what existed once."""
CURRENT = [path for path in DOCUMENTS if path.name != PAST]


def commands() -> Iterator[tuple[str, str]]:
    """Each document and each command in its code, blocks and spans."""
    for path in CURRENT:
        content = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", content, re.DOTALL | re.MULTILINE)
        spans = re.findall(
            r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", content, flags=re.DOTALL | re.MULTILINE)
        )
        for code in [*blocks, *spans]:
            for line in code.replace("\\\n", " ").splitlines():
                for match in COMMAND.finditer(line):
                    is_word = match.start() == 0 or line[match.start() - 1] in " /"
                    if is_word and len(match[0].split()) > 1:
                        yield path.relative_to(ROOT).as_posix(), match[0].strip()


ALL = sorted(set(commands()))


def test_there_are_commands_to_check() -> None:
    assert len(ALL) > 30


@pytest.mark.parametrize(("document", "command"), ALL, ids=[f"{name}: {command}" for name, command in ALL])
def test_command_exists(document: str, command: str) -> None:
    words = command.split()
    if words[0] == "edgeskin":
        _require(app, words[1:])
    elif words[2] == "edgeskin":
        _require(app, words[3:])
    elif words[2] == "train":
        _require(train, words[3:])
    elif words[2] == "quantize":
        _require(quantize, words[3:])
    else:
        assert importlib.util.find_spec(words[2]) is not None, words[2]


def _require(typer_app: Any, words: list[str]) -> None:
    group = typer.main.get_command(typer_app)
    options = {name for parameter in group.params for name in (*parameter.opts, *parameter.secondary_opts)}
    subcommands = getattr(group, "commands", {})
    if subcommands and words and not words[0].startswith("-") and words[0] != "COMMAND":
        command = subcommands[words[0]]
        words = words[1:]
        if words and hasattr(command, "commands"):  # a group, such as `edgeskin bundle`
            command = command.commands[words[0]]
        options |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    elif subcommands and words and words[0] == "COMMAND":
        return
    unknown = {word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word)} - options - {"--help"}
    assert unknown == set()
