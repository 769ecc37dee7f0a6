"""The short tables of README.md: five numbers, and speed beside three other runtimes."""

from collections.abc import Mapping
from typing import Any

from benchmarks.evaluation.committed import Evaluations, find
from benchmarks.speed import runtimes
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle

RUNTIMES = {
    "edgeskin INT8": "edgeskin int8",
    "edgeskin lite INT8": "edgeskin lite int8",
    "OpenVINO FP32": "openvino fp32",
    "ONNX Runtime FP32": "onnxruntime fp32",
    "torch eager FP32": "torch eager",
}


def numbers(evaluations: Evaluations) -> Table:
    """Render the five numbers of the default bundle's INT8, with the times that `speed` renders too."""
    measures = find(evaluations, "test-int8").evaluation.lesions
    measured = runtimes.read()["results"]
    files = open_bundle().manifest.files
    model_mb = sum(files[f"int8.{part}"].size for part in ("xml", "bin")) / 1e6
    return Table(
        "Five numbers",
        "The default bundle, INT8, by lesion on the test split.",
        "python -m benchmarks.render_docs",
        (
            "Cancer sensitivity at specificity",
            "Cancer AUROC",
            "600x450 file to answer",
            "Model file",
            "A whole `predict` process",
        ),
        [
            (
                f"{measures.screening.recall.value:.3f} at {measures.screening.specificity.value:.3f}",
                f"{measures.cancer_auroc.value:.3f}",
                f"{measured['edgeskin int8']['small_ms']['median']:.0f} ms",
                f"{model_mb:.1f} MB",
                _processes(measured, "edgeskin int8"),
            )
        ],
    )


def speed() -> Table:
    """Render edgeskin beside three other runtimes."""
    content = runtimes.read()
    measured = content["results"]
    return Table(
        "Speed",
        "The same network and photos in each runtime.",
        content["command"],
        (
            "runtime",
            "network, 8 views",
            "600x450 file to answer",
            "12-megapixel file to answer",
            "whole process",
            "peak memory",
            "installed",
        ),
        [
            (
                words,
                *(f"{measured[name][key]['median']:.0f} ms" for key in ("infer_ms", "small_ms", "large_ms")),
                _processes(measured, name),
                f"{measured[name]['peak_mb']:.0f} MB",
                f"{measured[name]['installed_mb']:.0f} MB",
            )
            for words, name in RUNTIMES.items()
        ],
    )


def _processes(measured: Mapping[str, Any], name: str) -> str:
    text = f"{measured[name]['process_ms']['median']:.0f} ms"
    prepared = measured.get(f"{name}, prepared")
    return f"{text}; {prepared['process_ms']['median']:.0f} ms prepared" if prepared else text
