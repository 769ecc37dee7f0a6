"""The short tables of README.md: five numbers, and speed beside three other runtimes."""

from collections.abc import Mapping
from typing import Any

from benchmarks.evaluation.committed import Evaluations, find
from benchmarks.speed import bundles, cold_start, runtimes
from benchmarks.tables import Table

RUNTIMES = {
    "edgeskin INT8": "edgeskin int8",
    "edgeskin lite INT8": "edgeskin lite int8",
    "OpenVINO FP32": "openvino fp32",
    "ONNX Runtime FP32": "onnxruntime fp32",
    "torch eager FP32": "torch eager",
}


def numbers(evaluations: Evaluations) -> Table:
    """Render the five numbers of the default bundle's INT8, times on the CPU of `cold_start`."""
    measures = find(evaluations, "test-int8").evaluation.lesions
    cold = cold_start.read()
    processes = [cold["results"][f"predict int8{cache}"]["median"] / 1e3 for cache in ("", ", prepared")]
    bench = bundles.committed()[bundles.path_of("default", cold["isa"])]
    (int8,) = (row for row in bench["rows"] if row["precision"] == "int8")
    return Table(
        "Five numbers",
        "The default bundle, INT8, by lesion on the test split.",
        "python -m benchmarks.render_docs",
        (
            "Cancer sensitivity at specificity",
            "Cancer AUROC",
            "A picture",
            "Model file",
            "A whole `predict` process",
        ),
        [
            (
                f"{measures.screening.recall.value:.3f} at {measures.screening.specificity.value:.3f}",
                f"{measures.cancer_auroc.value:.3f}",
                f"{int8['median']['p50_ms']:.0f} ms",
                f"{int8['model_bytes'] / 1e6:.1f} MB",
                f"{processes[0]:.2f} s; {processes[1]:.2f} s after `edgeskin prepare`",
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
