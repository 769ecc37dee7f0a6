"""docs/monitoring.md has every measure, and every key of the JSON."""

import json
import re
from datetime import UTC, datetime

from edgeskin.monitoring.drift import LEAST_PICTURES
from edgeskin.monitoring.reference import LEAST_REFERENCE, MOST_REFERENCE, measures_of
from edgeskin.monitoring.report import report_json
from edgeskin.taxonomy import ISIC_2019
from tests.docs.documents import ROOT
from tests.edgeskin.test_monitoring_report import DRIFT

TEXT = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def named(heading: str) -> set[str]:
    """What the first column of a section's table names."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_measure_has_a_row() -> None:
    measures = {measure.name for measure in measures_of(ISIC_2019)}
    quality = {name for name in measures if name.startswith("quality_")}
    assert named("What is compared") == measures - quality | {"quality_NAME"}


def test_every_key_has_a_row() -> None:
    values = json.loads(report_json(DRIFT, datetime(2026, 1, 2, tzinfo=UTC)))
    assert named("The JSON") == {*values, *(f"measures[].{key}" for key in values["measures"][0])}


def test_its_numbers_are_those_of_the_code() -> None:
    for number in (LEAST_PICTURES, LEAST_REFERENCE, MOST_REFERENCE):
        assert f"{number:,} " in TEXT
