"""The threat model of SECURITY.md: every input has a control, tests that exist, and what remains."""

import re

from tests.docs.documents import ROOT

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
MODEL = TEXT.partition("## Who can hand us what")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in MODEL.splitlines() if line[:1] == "|"
]
INPUTS = (
    *("Image", "Table of labels", "Bundle", "Cache folder", "Command-line argument", "Environment variable"),
    *("Picture metadata", "Output path", "Request", "Page", "Reply"),
)


def test_rows_are_whole() -> None:
    head, rule, *rows = ROWS
    assert len(head) == 5
    assert set(rule) == {"---"}
    for row in rows:
        assert len(row) == len(head), row
        assert all(row), row


def test_every_input_has_a_row() -> None:
    named = [row[0] for row in ROWS[2:]]
    assert [one for one in INPUTS if not any(name.startswith(one) for name in named)] == []


def test_every_named_test_exists() -> None:
    for row in ROWS[2:]:
        files = re.findall(r"`([^`]+)`", row[3])
        assert files, row[0]
        for name in files:
            assert "def test_" in (ROOT / "tests" / name).read_text(encoding="utf-8"), name


def test_tests_named_in_sentences_exist() -> None:
    for name in re.findall(r"`((?:edgeskin|benchmarks|train|quantize|docs)/\S+\.py)`", TEXT):
        assert (ROOT / "tests" / name).is_file(), name


def test_nothing_crashed_or_hung() -> None:
    """The table that `benchmarks.render_docs` writes."""
    table = TEXT.partition("<!-- table: corpus -->\n")[2].partition("<!-- end -->")[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    assert len(rows) > 20
    for row in rows:
        counts = dict(zip(head, row, strict=True))
        tried, answered, refused = (
            int(counts[key].replace(",", "")) for key in ("tried", "answered", "refused")
        )
        assert answered + refused == tried > 0, row
        assert (counts["crashed"], counts["hung"]) == ("0", "0")
