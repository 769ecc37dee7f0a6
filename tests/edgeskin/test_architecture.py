"""The runtime stays light: asserted in fresh processes, where nothing has been imported yet."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = [
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "nncf",
    "onnx",
    "onnxruntime",
    "sklearn",
    "scipy",
    "matplotlib",
]
OURS = ["train", "quantize", "benchmarks"]


def modules_after(code: str, **environment: str) -> set[str]:
    probe = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_whole_runtime_imports_nothing_of_the_training_side(shared_micro_bundle: Path) -> None:
    code = (
        "import numpy as np, pkgutil, importlib, edgeskin\n"
        "for m in pkgutil.iter_modules(edgeskin.__path__):\n"
        "    if m.name not in ('__main__', 'plots'): importlib.import_module('edgeskin.' + m.name)\n"
        f"edgeskin.Classifier({str(shared_micro_bundle)!r}, quality_gate=False).examine(\n"
        "    np.zeros((80, 80, 3), np.uint8), mc_samples=5)"
    )
    assert modules_after(code).isdisjoint(HEAVY + OURS)


def test_import_edgeskin_loads_nothing_heavy() -> None:
    assert modules_after("import edgeskin").isdisjoint([*HEAVY, *OURS, "numpy", "cv2", "openvino", "typer"])


def test_public_names_resolve() -> None:
    import edgeskin

    assert all(getattr(edgeskin, name) is not None for name in edgeskin.__all__)
    assert set(edgeskin.__all__) == set(dir(edgeskin))


def test_openvino_is_imported_without_its_telemetry(tmp_path: Path) -> None:
    # CI=true silences the telemetry by itself and would hide a leak; an empty home shows what is written.
    code = "import edgeskin.network.engine; assert sys.modules['openvino_telemetry'] is None"
    modules_after(code, CI="", HOME=str(tmp_path))
    assert not list(tmp_path.iterdir())
