"""The code of docs/api.md runs, and its tables name the fields and codes that exist."""

import ast
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from edgeskin import errors
from edgeskin.decision.limitations import ALWAYS, SITES, YOUNG, PatientContext, known_limitations
from edgeskin.imaging.quality import LIMITS
from edgeskin.results import ActionCode, Assessment
from tests.docs.documents import ROOT, fenced

API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for position, code in enumerate(fenced(API, "python")):
        exec(compile(code, f"docs/api.md, block {position}", "exec"), names)
    assert (tmp_path / "report.html").is_file()


def test_it_names_every_field_of_an_assessment() -> None:
    table = API.partition("## The result")[2].partition("##")[0]
    named = set(re.findall(r"`([\w.\[\]]+)`", table))
    wanted = {one.name for one in fields(Assessment)} - {"schema_version", "image"}
    assert wanted <= named


def test_it_names_every_code() -> None:
    rows = API.partition("## Codes for programs")[2].partition("\n## ")[0]
    listed = {
        row.split("`")[1]: set(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| `.*$", rows, re.M)
    }
    assert listed["action_code"] - {"action_code"} == set(get_args(ActionCode))
    by_kind = {kind: {one.code for one in LIMITS if one.kind == kind} for kind in ("retake", "advice")}
    assert listed["quality.failed"] == by_kind["retake"]
    assert listed["quality.advised"] == by_kind["advice"]
    contexts = [
        PatientContext(),
        PatientContext(age=YOUNG - 1),
        *(PatientContext(site=site) for site in SITES),
    ]
    found = {one.code for context in contexts for one in known_limitations(context)}
    assert {one.code for one in ALWAYS} <= found == listed["limitations[].code"]


def test_it_names_every_code_of_an_error() -> None:
    rows = re.findall(
        r"^\| `(\w+Error)` \| (.*?) \|", API.partition("\n## Errors")[2].partition("\n## ")[0], re.M
    )
    listed = [(kind, code) for kind, codes in rows for code in re.findall(r"`(\w+)`", codes)]
    assert len(listed) == len(set(listed))
    assert {code for _, code in listed} == raised_codes()


def raised_codes() -> set[str]:
    """The codes of edgeskin's errors: the default of each class, and those that its code raises by name."""
    family = {name: one for name, one in vars(errors).items() if name.endswith("Error")}
    codes = {one.code for one in family.values()}
    for path in (ROOT / "edgeskin").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in family:
                given = [*node.args[1:], *(one.value for one in node.keywords if one.arg == "code")]
                values = [inner for value in given for inner in ast.walk(value)]
                constants = [inner.value for inner in values if isinstance(inner, ast.Constant)]
                codes |= {value for value in constants if isinstance(value, str)}
    return codes
