"""The drift report: its numbers in text, JSON and HTML, and a page that loads nothing and runs no script."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeskin import NOTICE
from edgeskin.errors import SettingError
from edgeskin.monitoring.drift import Bin, DriftReport, MeasureDrift
from edgeskin.monitoring.report import encode, render_html, report_json, report_text
from edgeskin.report.text import WIDTH

CREATED = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
RETAKE = MeasureDrift(
    "retake", "drift", 400, 1000, 0.0004, 0.21, 0.004, (Bin("no", 980, 320), Bin("yes", 20, 80))
)
RISK = MeasureDrift(
    "risk", "no_drift", 320, 980, 1.0, 0.01, 0.008,
    (Bin("LOW", 490, 160), Bin("MEDIUM", 245, 80), Bin("HIGH", 245, 80)),
)  # fmt: skip
DRIFT = DriftReport(
    "drift", 400, 3, 300, 0.05, "micro", "7", "ab" * 32, "int8", "<month>\x1b[2J.csv", (RETAKE, RISK),
    {"quality_hair": "not_in_table"},
)  # fmt: skip
NO_DRIFT = dataclasses.replace(DRIFT, verdict="no_drift", measures=(RISK,), errors=0, reference="bundle")
TOO_FEW = dataclasses.replace(NO_DRIFT, verdict="too_few", pictures=120)


def test_the_text_starts_with_the_verdict_and_says_where_to_look() -> None:
    lines = report_text(DRIFT).splitlines()
    assert lines[0] == "DRIFT in 1 of 2 measures; 1 not compared"
    text = " ".join(" ".join(lines).split())
    assert "retake is higher (yes: 20% of 400 pictures, 2% of the reference); PSI 0.21 (0.004 " in text
    assert "Not compared 1 without a value in the tables" in text
    assert "camera" in text
    assert "400 pictures; 3 more could not be read" in text
    assert "at most 5%" in text
    assert "confirmed diagnosis" in text
    assert all(len(line) <= WIDTH for line in lines)
    assert "\x1b" not in text
    assert "\\x1b" in text
    assert report_text(NO_DRIFT).startswith("no drift found in 1 measure; 1 not compared\n")
    assert "ot compared" not in report_text(dataclasses.replace(NO_DRIFT, not_compared={}))
    assert report_text(TOO_FEW).splitlines()[0] == (
        "no verdict: 120 pictures are too few, at least 300 are needed"
    )


def test_classes_are_neither_higher_nor_lower() -> None:
    classes = dataclasses.replace(RETAKE, name="predicted_class")
    text = report_text(dataclasses.replace(DRIFT, measures=(classes,)))
    assert not re.search("higher|lower", text)


def test_measures_that_are_not_compared_are_counted_by_reason() -> None:
    missing = {f"quality_{i}": "not_in_table" if i < 3 else "not_in_reference" for i in range(20)}
    report = dataclasses.replace(NO_DRIFT, not_compared=missing)
    text = " ".join(report_text(report).split())
    assert "3 without a value in the tables, 17 without enough values in the reference" in text
    assert "3 without a value in the tables, 17 without" in render_html(report, CREATED)


def test_many_drifting_measures_are_counted() -> None:
    many = tuple(dataclasses.replace(RETAKE, name=f"quality_{i}") for i in range(9))
    text = report_text(dataclasses.replace(DRIFT, measures=many))
    assert "and 3 more" in text
    assert text.count("Look at") == 1


def test_the_json_has_stable_keys_and_codes() -> None:
    values = json.loads(report_json(DRIFT, CREATED))
    assert set(values) == {
        "schema_version", "created", "edgeskin", "verdict", "pictures", "errors", "needed",
        "false_alarm_rate", "model", "version", "sha256", "precision", "reference", "measures",
        "not_compared", "notice",
    }  # fmt: skip
    assert (values["schema_version"], values["verdict"], values["created"]) == (
        1, "drift", "2026-01-02T03:04:00+00:00",
    )  # fmt: skip
    assert values["not_compared"] == {"quality_hair": "not_in_table"}
    assert values["measures"][0] == {
        "name": "retake", "verdict": "drift", "pictures": 400, "reference_pictures": 1000,
        "p_value": 0.0004, "psi": 0.21, "expected_psi": 0.004,
        "bins": [
            {"label": "no", "reference": 980, "pictures": 320},
            {"label": "yes", "reference": 20, "pictures": 80},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("report", [DRIFT, NO_DRIFT, TOO_FEW], ids=lambda report: report.verdict)
def test_the_page_stands_alone(report: DriftReport) -> None:
    page = render_html(report, CREATED)
    assert "default-src 'none'" in page
    assert not re.search(r"<script|https?://|\son\w+=|\x1b|<month>", page)
    assert page.count("<section><h2>") == len(report.measures)
    assert NOTICE in page
    assert "$" not in page


def test_the_page_has_a_bar_for_reference_and_pictures_of_each_bin() -> None:
    page = render_html(DRIFT, CREATED)
    widths = [float(width) for width in re.findall(r'<rect (?:y="5" )?width="([\d.]+)"', page)]
    assert widths == [98, 80, 2, 20, 50, 50, 25, 25, 25, 25]
    assert "2.0%, 20.0%" in page


def test_suffixes_choose_the_kind() -> None:
    assert json.loads(encode(DRIFT, Path("drift.json"), CREATED))["verdict"] == "drift"
    assert encode(DRIFT, Path("drift.HTML"), CREATED).startswith(b"<!doctype html>")
    with pytest.raises(SettingError, match=r"drift\.pdf"):
        encode(DRIFT, Path("drift.pdf"), CREATED)
