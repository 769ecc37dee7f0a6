"""Each hazard of docs/requirements.md has marked tests, and each marker names one of its hazards."""

import ast
import re
from collections import defaultdict

from tests.docs.documents import ROOT

ROW = re.compile(r"^\| (H-\d\d) \|(.*)\|$", re.MULTILINE)
TABLE = ROW.findall((ROOT / "docs" / "requirements.md").read_text(encoding="utf-8"))
CELLS = 5


def markers(code: str) -> set[str]:
    """The ids of every use of ``pytest.mark.hazard`` in a module that marks a test."""
    tree = ast.parse(code)
    marking: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marking += node.decorator_list
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark":
            marking.append(statement.value)
    calls = [call for one in marking for call in ast.walk(one) if isinstance(call, ast.Call)]
    return {
        ast.literal_eval(argument)
        for call in calls
        if ast.unparse(call.func) == "pytest.mark.hazard"
        for argument in call.args
    }


def files_by_hazard() -> dict[str, set[str]]:
    """The test modules below ``tests/`` that have a marker of each id."""
    found = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for hazard in markers(path.read_text(encoding="utf-8")):
            found[hazard].add(path.relative_to(ROOT / "tests").as_posix())
    return found


MARKED = files_by_hazard()


def test_ids_are_unique_and_rows_are_whole() -> None:
    ids = [hazard for hazard, _ in TABLE]
    assert ids == sorted(set(ids))
    assert len(ids) >= 24
    for hazard, rest in TABLE:
        cells = [cell.strip() for cell in rest.split("|")]
        assert len(cells) == CELLS, hazard
        assert all(cells), hazard


def test_every_hazard_has_a_marked_test() -> None:
    assert {hazard for hazard, _ in TABLE} - set(MARKED) == set()


def test_every_marker_names_a_hazard() -> None:
    assert set(MARKED) - {hazard for hazard, _ in TABLE} == set()


def test_every_named_file_has_tests_with_the_marker_of_its_row() -> None:
    for hazard, rest in TABLE:
        named = set(re.findall(r"`([\w/]+\.py)`", rest.split("|")[3]))
        assert named, hazard
        assert named - MARKED[hazard] == set(), hazard


def test_markers_are_read_from_modules_and_tests_alone() -> None:
    code = """
pytestmark = [pytest.mark.hazard("H-01"), pytest.mark.slow]
@pytest.mark.parametrize("x", [1])
@pytest.mark.hazard("H-02", "H-03")
def test_it(x): pass
@pytest.mark.hazard("H-04")
def helper(): pass
text = 'pytest.mark.hazard("H-05")'
"""
    assert markers(code) == {"H-01", "H-02", "H-03"}
