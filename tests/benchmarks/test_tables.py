"""Tables are rendered alone and as sections of a document."""

from benchmarks.tables import NOTICE, Table, document
from tests.edgeskin.test_architecture import modules_after

TABLE = Table("Title", "What was measured.", "python -m x", ("a", "b"), [("1", "2"), ("3", "4")])
GRID = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


def test_a_grid_is_markdown() -> None:
    assert TABLE.grid() == GRID


def test_a_section_has_caption_command_and_figure() -> None:
    assert TABLE.section() == f"### Title\n\nWhat was measured.\n\nCommand: `python -m x`\n\n{GRID}\n"
    drawn = Table("Title", "Facts.", "", ("a",), [("1",)], "x.png").section()
    assert "Command" not in drawn
    assert drawn.endswith("\n\n![Title](x.png)\n")


def test_a_document_has_chapters() -> None:
    text = document("All", "Introduction.", {"One": [TABLE], "Two": [TABLE, TABLE]})
    assert text.startswith(f"# All\n\n{NOTICE}\n\nIntroduction.\n\n## One\n\n### Title\n")
    assert text.count("### Title") == 3
    assert text.endswith("| 3 | 4 |\n")
    assert "\n\n\n" not in text


def test_speed_is_measured_without_torch() -> None:
    """Its import would count in the memory of a process that measures its own."""
    modules = "batches, cold_start, latency_breakdown, mc_dropout, overhead, scaling"
    assert "torch" not in modules_after(f"from benchmarks.speed import {modules}")
