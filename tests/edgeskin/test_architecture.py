"""The floors of the package: what each module may import, and how little ``import edgeskin`` loads."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import edgeskin
from tests.conftest import ROOT

PACKAGE = Path(edgeskin.__file__).parent
GROUND = ("errors", "taxonomy", "arrays", "results")
FLOORS = (
    "ground", "photo", "imaging", "bundle", "network", "decision", "explain", "classifier", "report", "bench",
    "batch", "monitoring", "service", "cli",
)  # fmt: skip
"""From the ground up: a module imports from its own floor and those below it."""
OF_ALL = {"NOTICE", "__version__"}
"""What every module may import from the package itself."""
FORBIDDEN = {
    "train", "quantize", "benchmarks", "tests", "torch", "torchvision", "timm", "lightning", "nncf", "onnx",
    "onnxruntime", "sklearn", "scipy", "matplotlib", "yaml", "pandas", "PIL", "cryptography", "model_signing",
    "fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client", "limits", "python_multipart", "httpx",
    "h11", "pyarrow", "pydicom", "highdicom", "pi_heif", "ray", "fsspec", "s3fs", "boto3",
}  # fmt: skip
SERVE = {"fastapi", "starlette", "uvicorn", "prometheus_client", "limits", "python_multipart", "h11"}

SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
ALLOWED = {
    "bench/plot.py": {"matplotlib"},
    "bundle/signature.py": {"cryptography"},
    "photo/parquet.py": {"pyarrow"},
    "batch/ray.py": {"ray"},
    "photo/remote.py": {"fsspec"},
    "photo/dicom.py": {"pydicom"},
    "photo/heic.py": {"pi_heif"},
    "report/dicom.py": {"pydicom", "highdicom"},
    **{name: SERVE for name in SOURCES if name.startswith("service/")},
}
"""Modules of an extra, which nothing outside the extra imports at module level."""
INNER = {name: path for name, path in SOURCES.items() if name not in ("__init__.py", "__main__.py")}


def imports_of(path: Path) -> list[tuple[str, str | None, int]]:
    """Every import in a module, in functions and for type checking too: module, name or None, line."""
    found: list[tuple[str, str | None, int]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, None, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            found += [(node.module, alias.name, node.lineno) for alias in node.names]
    return found


def modules_in(imported: tuple[str, str | None, int]) -> list[str]:
    """The edgeskin modules that an import names: ``edgeskin.a.b``, or its submodule where that is one."""
    module, name, _ = imported
    if name is not None and (PACKAGE.parent / Path(*module.split("."), f"{name}.py")).is_file():
        return [f"{module}.{name}"]
    return [module]


def floor_of(parts: list[str]) -> int:
    """The floor of a module below edgeskin, by the parts of its name."""
    return 0 if parts[0] in GROUND else FLOORS.index(parts[0])


@pytest.mark.parametrize("name", INNER)
def test_a_module_imports_only_from_its_own_floor_and_those_below(name: str) -> None:
    own = floor_of(name.removesuffix(".py").split("/"))
    for imported in imports_of(INNER[name]):
        for module in modules_in(imported):
            package, *parts = module.split(".")
            if package != "edgeskin":
                continue
            if not parts:
                assert imported[1] in OF_ALL, f"{name}:{imported[2]} imports {imported[1]} from the package"
                continue
            assert floor_of(parts) <= own, f"{name}:{imported[2]} imports {module} from a floor above"


@pytest.mark.parametrize("name", SOURCES)
def test_no_module_imports_the_training_side_or_an_extra(name: str) -> None:
    for module, _, line in imports_of(SOURCES[name]):
        package = module.partition(".")[0]
        assert package not in FORBIDDEN - ALLOWED.get(name, set()), f"{name}:{line} imports {module}"


def test_every_module_is_on_a_floor() -> None:
    rooms = {name.removesuffix(".py").split("/")[0] for name in INNER}
    assert rooms <= {*GROUND, *FLOORS}


def test_modules_import_each_other_without_a_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for name, path in INNER.items():
        own = "edgeskin." + name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        named = {module for imported in imports_of(path) for module in modules_in(imported)}
        graph[own] = {module for module in named if module.startswith("edgeskin.")} - {own}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process has loaded after some code."""
    probe = (
        f"import json, sys\nbefore = set(sys.modules)\n{code}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_edgeskin_loads_itself_alone() -> None:
    """Beside it and the standard library, nothing: no numpy, no OpenCV, no OpenVINO, no typer."""
    loaded = modules_after("import edgeskin")
    packages = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert packages == {"edgeskin"}
    assert {name for name in loaded if name.startswith("edgeskin")} == {"edgeskin"}


@pytest.mark.parametrize(
    ("code", "unloaded"),
    [
        ("from edgeskin import SettingError, PhotoError", {"numpy", "cv2", "openvino", "typer"}),
        ("from edgeskin import Assessment", {"openvino", "typer"}),
        ("from edgeskin import open_bundle", {"openvino", "typer"}),
        ("import edgeskin.decision.decide", {"openvino", "typer"}),
        ("from edgeskin import Classifier", {"typer"}),
        ("from edgeskin import render_html, render_text, compare_photos", {"typer"}),
        ("import edgeskin.cli.main", {"openvino", "edgeskin.classifier"}),
    ],
)
def test_a_name_loads_only_what_it_needs(code: str, unloaded: set[str]) -> None:
    assert modules_after(code).isdisjoint(unloaded)


def test_all_of_the_runtime_loads_nothing_heavy(shared_micro_bundle: Path) -> None:
    names = [
        "edgeskin." + name.removesuffix(".py").replace("/", ".")
        for name in INNER
        if not name.endswith("__init__.py") and name not in ALLOWED
    ]
    code = (
        f"import importlib, numpy as np, edgeskin\nfor name in {names}: importlib.import_module(name)\n"
        f"edgeskin.Classifier({str(shared_micro_bundle)!r}, quality_gate=False).assess(\n"
        "    np.zeros((80, 80, 3), np.uint8), mc_samples=5, explain='grad-cam')"
    )
    assert {name.partition(".")[0] for name in modules_after(code)}.isdisjoint(FORBIDDEN)


def test_public_names_resolve() -> None:
    assert all(getattr(edgeskin, name) is not None for name in edgeskin.__all__)
    assert set(edgeskin.__all__) == set(dir(edgeskin))
    assert {"Classifier", "Assessment", "compare_photos", "render_text"} <= set(dir(edgeskin))
    with pytest.raises(AttributeError, match="Examination"):
        _ = edgeskin.Examination
