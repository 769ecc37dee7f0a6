"""The outputs that the documents show are those of the commands, and README follows its outline.

Update them after a change of the output::

    python -m tests.docs.test_readme --write
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from edgeskin.report.text import LABEL_WIDTH
from tests.docs.documents import ROOT, WITH_OUTPUTS, differences, fenced, outputs, rewritten, run

README = ROOT / "README.md"
OUTPUTS = [
    pytest.param(command, code, text, id=f"{path.name}: {command}")
    for path in WITH_OUTPUTS
    for command, code, text in outputs(path.read_text(encoding="utf-8"))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, to which commands may write."""
    path = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", path / "examples")
    return path


@pytest.mark.parametrize(("command", "code", "text"), OUTPUTS)
def test_shown_output_is_what_the_command_prints(command: str, code: str, text: str, folder: Path) -> None:
    assert differences(text, run(command, code, folder)) == []


def test_readme_shows_the_output_of_its_first_command_and_of_its_python() -> None:
    content = README.read_text(encoding="utf-8")
    commands = [command for command, _, _ in outputs(content)]
    assert commands == ["edgeskin predict examples/lesion.jpg", "python"]
    assert fenced(content, "sh")[0].strip().endswith(commands[0])
    assert len(fenced(content, "python")[0].splitlines()) == 8


def test_readme_explains_every_line_of_the_first_output() -> None:
    content = README.read_text(encoding="utf-8")
    first = outputs(content)[0][2]
    verdict = first.splitlines()[0].split(": ")[1]
    starts = (line[2 : 2 + LABEL_WIDTH].strip() for line in first.splitlines()[1:])
    labels = [label for label in starts if label]
    explained = re.findall(r"^\| `(.+?)` \|", content, re.MULTILINE)
    assert explained[: 1 + len(labels)] == [verdict, *labels]


def test_readme_has_700_to_900_words_of_prose() -> None:
    content = README.read_text(encoding="utf-8")
    for block in (r"^```.*?^```", r"<!--.*?-->", r"<img.*?>", r"^\|.*?$"):
        content = re.sub(block, "", content, flags=re.DOTALL | re.MULTILINE)
    assert 700 <= len(content.split()) <= 900


def test_numbers_may_differ_a_little_and_milliseconds_at_will() -> None:
    assert differences("P 0.974, 162 ms", "P 0.971,  93 ms") == []
    assert differences("P 0.974, 162 ms", "P 0.944, 162 ms") == ["0.974 is 0.944 here"]
    assert len(differences("HIGH 0.974", "LOW 0.974")) == 1


if __name__ == "__main__":
    assert sys.argv[1:] == ["--write"], __doc__
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copytree(ROOT / "examples", Path(temporary) / "examples")
        for document in WITH_OUTPUTS:
            document.write_text(rewritten(document, Path(temporary)), encoding="utf-8")
            print(document)
