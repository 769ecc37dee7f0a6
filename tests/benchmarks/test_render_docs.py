"""Every published number follows from what is committed."""

import re
from pathlib import Path

import pytest

from benchmarks import render_docs
from benchmarks.evaluation.committed import Evaluations
from edgeskin.errors import SettingError

GENERATED = [render_docs.ROOT / "docs" / name for name in ("results.md", "performance-tables.md")]


def included(*names: str) -> str:
    """A document that includes tables."""
    return "".join(f"before\n<!-- table: {name} -->\nstale text\n<!-- end -->\nafter\n" for name in names)


@pytest.mark.hazard("H-12")
def test_committed_files_follow_from_their_sources(evaluations: Evaluations) -> None:
    assert list(render_docs.differences(evaluations)) == []


def test_a_changed_document_is_found(
    evaluations: Evaluations, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = tmp_path / "README.md"
    document.write_text(included("results"), encoding="utf-8")
    monkeypatch.setattr(render_docs, "INCLUDING", (document,))
    monkeypatch.setattr(render_docs.committed, "differences", lambda _: iter(()))
    monkeypatch.setattr(render_docs, "results", lambda _: GENERATED[0].read_text(encoding="utf-8"))
    assert [line.partition(":")[0] for line in render_docs.differences(evaluations)] == [str(document)]
    document.write_text(render_docs.with_tables(document, evaluations), encoding="utf-8")
    assert list(render_docs.differences(evaluations)) == []
    document.write_text(document.read_text(encoding="utf-8").replace("0.9", "0.8", 1), encoding="utf-8")
    assert [line.partition(":")[0] for line in render_docs.differences(evaluations)] == [str(document)]


def test_every_table_can_be_included(evaluations: Evaluations, tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(included(*render_docs.INCLUDED), encoding="utf-8")
    text = render_docs.with_tables(document, evaluations)
    assert "stale text" not in text
    assert text.count("| --- |") >= len(render_docs.INCLUDED)
    assert (
        text.count("before\n<!-- table: ") == text.count("<!-- end -->\nafter\n") == len(render_docs.INCLUDED)
    )


def test_every_table_is_included_somewhere() -> None:
    texts = [path.read_text(encoding="utf-8") for path in render_docs.INCLUDING if path.is_file()]
    names = {name for text in texts for name in re.findall(r"<!-- table: ([\w-]+) -->", text)}
    assert names == set(render_docs.INCLUDED)


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(included("nonsense"), encoding="utf-8")
    with pytest.raises(SettingError, match="nonsense"):
        render_docs.with_tables(document, {})


def test_every_row_is_as_long_as_its_head() -> None:
    for path in GENERATED:
        text = path.read_text(encoding="utf-8")
        for block in text.split("\n\n"):
            if block.startswith("|"):
                assert len({line.count("|") for line in block.splitlines()}) == 1, block
        assert "nan" not in text.split()
