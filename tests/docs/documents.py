"""The documents, the blocks in them, and the outputs of the commands that they show.

A document shows the output of a command so::

    <!-- output: edgeskin predict examples/lesion.jpg -->
    ```text
    examples/lesion.jpg: HIGH RISK of cancer
    ```
    <!-- end -->

``output: python`` stands for the Python block above it. Only stdout is shown. Words must be the same. Numbers
may differ by TOLERANCE, since instruction sets round differently; a number of milliseconds may be any.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
WITH_OUTPUTS = [path for path in DOCUMENTS if "<!-- output: " in path.read_text(encoding="utf-8")]
TOLERANCE = 0.02
"""Of numbers in outputs. P(cancer) of the example differs in its third digit between CPUs."""

_OUTPUT = re.compile(
    r"(?P<head><!-- output: (?P<command>[^\n]+) -->\n```text\n)(?P<text>.*?)(?P<tail>```\n<!-- end -->)",
    re.DOTALL,
)
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
_MILLISECONDS = re.compile(r"\d+(\.\d+)? ms\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def fenced(content: str, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return [match["code"] for match in _FENCE.finditer(content) if match["language"] == language]


def outputs(content: str) -> list[tuple[str, str, str]]:
    """Each shown output: the command, the Python block above it, and the text."""
    found = []
    for match in _OUTPUT.finditer(content):
        above = fenced(content[: match.start()], "python")
        found.append((match["command"], above[-1] if above else "", match["text"]))
    return found


def rewritten(path: Path, folder: Path) -> str:
    """The document with every shown output replaced. folder: has the examples, and may be written to."""
    content = path.read_text(encoding="utf-8")

    def output(match: re.Match[str]) -> str:
        above = fenced(content[: match.start()], "python")
        return match["head"] + run(match["command"], above[-1] if above else "", folder) + match["tail"]

    return _OUTPUT.sub(output, content)


def run(command: str, code: str, folder: Path) -> str:
    """What a command prints on stdout, as documents show it. code: for ``python``."""
    words = shlex.split(command)
    if words == ["python"]:
        arguments = [sys.executable, "-c", code]
    else:
        assert words[0] == "edgeskin", command
        arguments = [sys.executable, "-m", *words]
    # A cache folder of this user would shorten starts, and one that is not private adds a line.
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EDGESKIN_")},
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace(f"{ROOT}{os.sep}", "").rstrip().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def differences(shown: str, printed: str) -> list[str]:
    """What a shown output has differently from a printed one."""
    shown, printed = (_MILLISECONDS.sub("N ms", text) for text in (shown, printed))
    if _words(shown) != _words(printed):
        return [f"shown:\n{shown}\nprinted:\n{printed}"]
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return [f"{one} is {other} here" for one, other in pairs if abs(float(one) - float(other)) > TOLERANCE]


def _words(text: str) -> list[str]:
    """The text without its numbers, and without the columns that their lengths shift."""
    return _NUMBER.sub("#", text).split()
