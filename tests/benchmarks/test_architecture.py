"""The views of a picture are averaged in one place, `edgeskin.imaging.dihedral.average_views`."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

AVERAGING = ROOT / "edgeskin" / "imaging" / "dihedral.py"
SOURCES = [
    path
    for package in ("edgeskin", "train", "quantize", "benchmarks")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != AVERAGING
]


def averages_of_views(code: str) -> list[int]:
    """Lines that average a name starting with ``view_`` over axis 1, in numpy or torch."""
    return [node.lineno for node in ast.walk(ast.parse(code)) if _averages_views(node)]


def _averages_views(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "mean"):
        return False
    is_function = isinstance(node.func.value, ast.Name) and node.func.value.id in ("np", "numpy", "torch")
    values, *positional = node.args if is_function and node.args else [node.func.value, *node.args]
    axes = positional[:1] + [keyword.value for keyword in node.keywords if keyword.arg in ("axis", "dim")]
    return _name(values).startswith("view_") and any(ast.unparse(axis) == "1" for axis in axes)


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@pytest.mark.parametrize(
    "code",
    [
        "view_logits.mean(axis=1)",
        "view_logits.mean(1)",
        "outputs.view_features.mean(dim=1)",
        "np.mean(view_p, axis=1)",
        "torch.mean(self.view_logits, 1)",
    ],
)
def test_an_average_by_hand_is_found(code: str) -> None:
    assert averages_of_views(code) == [1]


@pytest.mark.parametrize("code", ["average_views(view_logits, axis=1)", "p.mean(axis=1)", "view_p.mean()"])
def test_other_code_is_not(code: str) -> None:
    assert averages_of_views(code) == []


@pytest.mark.parametrize("path", SOURCES, ids=[path.relative_to(ROOT).as_posix() for path in SOURCES])
def test_no_other_module_averages_views(path: Path) -> None:
    assert averages_of_views(path.read_text(encoding="utf-8")) == []
