"""How fast, how large and how accurate is edgeskin beside other runtimes of the same network?

    python -m benchmarks.speed.runtimes [--data DIR] [--rounds 5] [--only NAME ...]

Every runtime (`benchmarks.speed.runtime_process`) has a process of its own and, except in the lite row, the
default bundle's weights. Runtimes alternate in every round. Measured: photos per second of a folder of
600x450 JPEGs; the network on one photo in its eight views; a JPEG file of 600x450 and one of 12 megapixels to
P(cancer); a whole process for one photo; the peak memory; the installed size; and the agreement with torch in
float32 on photos of the split val of --data (synthetic ones without). Needs the extra `peers`; a runtime that
is not installed is left out. Writes benchmarks/speed/results/runtimes.json. --only prints the table and
writes nothing.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.special import softmax

from benchmarks.environment import (
    ROOT,
    argument_parser,
    hardware,
    read_result,
    require_bundle,
    result,
    result_path,
    write_example,
    write_result,
)
from benchmarks.speed.installed_size import installed_mb, is_installed
from benchmarks.speed.rounds import alternate, paired_rounds, spread
from benchmarks.speed.runtime_client import command, environment, running
from benchmarks.speed.runtime_models import convert, prepared_views
from benchmarks.speed.runtime_process import RUNTIMES
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network.cpu import available_threads, instruction_set

RESULT = result_path(__file__)
FIGURE = "runtimes.png"
OURS, REFERENCE = "edgeskin int8", "torch eager"
LITE, WORKERS, OPENVINO_CACHED = "edgeskin lite", "workers", "openvino int8, cached"
SMALL, LARGE = (600, 450), (4000, 3000)
WARM_UP, INFERS, ASSESSMENTS = 3, 10, 7
AGREEMENT_IMAGES = 32
DISTRIBUTIONS = {
    "edgeskin": ("edgeskin",),
    "openvino": ("openvino", "opencv-python-headless"),
    "onnxruntime": ("onnxruntime", "opencv-python-headless"),
    "torch": ("torch", "torchvision", "timm", "safetensors", "opencv-python-headless"),
    "model_api": ("openvino-model-api", "openvino", "opencv-python-headless"),
    "ncnn": ("ncnn", "opencv-python-headless"),
    "litert": ("ai-edge-litert", "opencv-python-headless"),
}
"""What has to be installed, by the first word of a runtime's name."""
VERSIONS = (
    *("openvino", "numpy", "opencv-python-headless", "onnxruntime", "torch", "torchvision", "timm"),
    *("openvino-model-api", "ncnn", "pnnx", "ai-edge-litert", "litert-torch"),
)
IMPORTS = {
    "model_api": ("model_api",),
    "ncnn": ("ncnn", "pnnx"),
    "litert": ("ai_edge_litert", "litert_torch"),
}


@dataclass
class Row:
    """Measurements of one runtime; of lists there is one per round.

    Attributes:
        infer_ms: The network on one photo in eight views.
        small_ms: From a 600x450 file to P(cancer).
        large_ms: From a 12-megapixel file to P(cancer).
        process_ms: A whole process for the small file.
        photos_per_second: Of a folder of small files.
        photos: How many photos these were.
        peak_mb: The peak memory in MB (10^6 bytes) after small files.
        peak_large_mb: And after large files.
        installed_mb: The installed size in MB.
        agreement: With the reference runtime.
    """

    infer_ms: list[list[float]] = field(default_factory=list)
    small_ms: list[list[float]] = field(default_factory=list)
    large_ms: list[list[float]] = field(default_factory=list)
    process_ms: list[list[float]] = field(default_factory=list)
    photos_per_second: list[list[float]] = field(default_factory=list)
    photos: int = 0
    peak_mb: float | None = None
    peak_large_mb: float | None = None
    installed_mb: float | None = None
    agreement: dict[str, float] | None = None

    def summary(self) -> dict[str, Any]:
        """Summarize lists: median, quartiles, each round's median, the 95% quantile of 20 samples or more."""
        return {
            name: _summary(value) if isinstance(value, list) else value for name, value in vars(self).items()
        }


def main() -> None:
    """Measure, print and write the result."""
    options = _options()
    bundle, lite = open_bundle(), open_bundle("lite")
    names = options.only or default_names()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        convert(bundle, options.data, folder)
        for name, shipped in (("default", bundle), ("lite", lite)):
            np.save(folder / f"timed-{name}.npy", prepared_views(shipped, options.data, "val", 1))
        np.save(folder / "compared.npy", prepared_views(bundle, options.data, "val", AGREEMENT_IMAGES))
        for name, size in (("small", SMALL), ("large", LARGE)):
            write_example(folder / f"{name}.jpg", size)
        rows = measure(names, folder, options.rounds, options.photos)
        time_processes(names, rows, folder, options.processes)
    content = result(
        f"python -m benchmarks.speed.runtimes {'--data DIR ' * bool(options.data)}--rounds {options.rounds} "
        f"--processes {options.processes} --photos {options.photos[0]} {options.photos[1]}",
        *filter(is_installed, VERSIONS),
        lite_sha256=lite.sha256,
        pictures="of the split val" if options.data else "synthetic",
        results={name: row.summary() for name, row in rows.items()},
    )
    print(table(content).grid())
    if not options.only:
        write_result(RESULT, content)


def default_names() -> list[str]:
    """List the runtimes that are installed, and edgeskin limited to older instruction sets."""
    names = [name for name in RUNTIMES if is_available(name) and name != OPENVINO_CACHED]
    if available_threads() == 1:
        names = [name for name in names if WORKERS not in name]
    if instruction_set().startswith("avx512"):
        older = ("AVX2",) if instruction_set() == "avx512" else ("AVX2", "AVX512_CORE")
        names += [f"edgeskin {precision} as {isa}" for isa in older for precision in ("int8", "fp32")]
    return names


def is_available(name: str) -> bool:
    """Return whether a runtime's modules are installed; report on stderr where they are not."""
    absent = [module for module in IMPORTS.get(name.split()[0], ()) if not importlib.util.find_spec(module)]
    if absent:
        print(f"{name} left out, not installed: {', '.join(absent)}; extra: peers", file=sys.stderr)
    return not absent


def measure(names: Sequence[str], folder: Path, rounds: int, photos: Sequence[int]) -> dict[str, Row]:
    """Measure everything except whole processes.

    Args:
        names: The runtimes.
        folder: Of the converted networks and the photos.
        rounds: Alternating rounds.
        photos: How many photos a round's folder has, for edgeskin and for the others.
    """
    rows = {name: Row() for name in names}
    cancer = json.loads((folder / "network.json").read_text())["cancer"]
    small, large = (str(folder / f"{name}.jpg") for name in ("small", "large"))
    # The lite bundle's images have another size.
    views = {
        name: str(folder / f"timed-{'lite' if name.startswith(LITE) else 'default'}.npy") for name in names
    }
    with ExitStack() as stack:
        runtimes = [stack.enter_context(running(name, folder, available_threads())) for name in names]
        for runtime in runtimes:
            runtime.ask(do="infer", views=views[runtime.name], repeats=WARM_UP)
            runtime.ask(do="assess", photo=small, repeats=1)
            rows[runtime.name].peak_mb = runtime.ask(do="peak")
            runtime.ask(do="assess", photo=large, repeats=1)
        for number, runtime in alternate(runtimes, rounds):
            print(f"round {number + 1} of {rounds}: {runtime.name}", file=sys.stderr)
            row = rows[runtime.name]
            count = photos[0] if runtime.name.startswith("edgeskin") else photos[1]
            row.photos += count
            row.photos_per_second.append([runtime.ask(do="folder", photo=small, photos=count)])
            row.infer_ms.append(runtime.ask(do="infer", views=views[runtime.name], repeats=INFERS))
            row.small_ms.append(runtime.ask(do="assess", photo=small, repeats=ASSESSMENTS))
            row.large_ms.append(runtime.ask(do="assess", photo=large, repeats=ASSESSMENTS))
        for runtime in runtimes:
            rows[runtime.name].peak_large_mb = runtime.ask(do="peak")
        compared = str(folder / "compared.npy")
        logits = {
            runtime.name: np.array(runtime.ask(do="logits", views=compared))
            for runtime in runtimes
            if not runtime.name.startswith(LITE)
        }
    for name, row in rows.items():
        row.installed_mb = installed_mb(DISTRIBUTIONS[name.split()[0]])
        if name in logits and REFERENCE in logits:
            row.agreement = agreement(logits[name], logits[REFERENCE], cancer)
    return rows


def agreement(
    logits: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], cancer: Sequence[int]
) -> dict[str, float]:
    """Compare two networks' logits (n, C).

    Args:
        logits: Of one network.
        reference: Of the other.
        cancer: The positions of the cancer classes.

    Returns:
        The share of images with the same class, and differences of P(cancer) (uncalibrated) and of logits.
    """
    p = [softmax(values, axis=1)[:, cancer].sum(axis=1) for values in (logits, reference)]
    difference = np.abs(p[0] - p[1])
    return {
        "images": len(logits),
        "same_class": float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        "median": float(np.median(difference)),
        "largest": float(difference.max()),
        "largest_logit": float(np.abs(logits - reference).max()),
    }


def time_processes(names: Sequence[str], rows: dict[str, Row], folder: Path, repeats: int) -> None:
    """Time whole processes from start to P(cancer) of the small photo, and add them to the rows.

    Edgeskin runs as its own command, without and with its cache; rows of processes alone are added.
    """
    small = str(folder / "small.jpg")
    predict = [sys.executable, "-m", "edgeskin", "predict", small]
    own = {
        OURS: predict,
        "edgeskin fp32": [*predict, "--precision", "fp32"],
        "edgeskin lite int8": [*predict, "--bundle", "lite"],
    }
    own |= {f"{name}, prepared": [*by, "--cache-dir", str(folder / "cache")] for name, by in own.items()}
    alone = [name for name in own if name.endswith(", prepared") and name.removesuffix(", prepared") in names]
    if OPENVINO_CACHED.removesuffix(", cached") in names:
        alone.append(OPENVINO_CACHED)
    rows |= {name: Row() for name in alone}
    run = partial(subprocess.run, text=True, cwd=ROOT, check=True, capture_output=True)
    question = json.dumps({"do": "assess", "photo": small, "repeats": 1}) + "\n"
    processes = {
        name: partial(
            run,
            own.get(name) or command(name, folder, available_threads()),
            input=question,
            env=environment(name, folder),
        )
        for name in rows
        if " as " not in name and WORKERS not in name
    }
    for name, milliseconds in paired_rounds(processes, repeats).items():
        rows[name].process_ms = [[one] for one in milliseconds]


def read() -> dict[str, Any]:
    """Read the committed result.

    Raises:
        SettingError: It was measured with other bundles than the shipped ones.
    """
    content = read_result(RESULT)
    require_bundle(RESULT, content["lite_sha256"], "lite")
    return content


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render a result, the committed one by default."""
    content = content or read()
    ours = content["results"].get(OURS)
    rows = []
    for name, row in content["results"].items():
        ratio = ""
        if ours and row["infer_ms"]:
            pairs = zip(row["infer_ms"]["rounds"], ours["infer_ms"]["rounds"], strict=True)
            ratios = [theirs / our for theirs, our in pairs]
            ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rate, agrees = row["photos_per_second"], row["agreement"]
        rows.append(
            (
                name,
                _median_and_p95(row["infer_ms"]),
                ratio,
                *(_median_and_p95(row[key]) for key in ("small_ms", "large_ms", "process_ms")),
                f"{row['peak_mb']:.0f}; {row['peak_large_mb']:.0f}" if row["peak_mb"] else "",
                f"{rate['median']:.1f}" if rate else "",
                f"{row['installed_mb']:.0f}" if row["installed_mb"] else "",
                f"{agrees['same_class']:.3f}; {agrees['largest']:.1g}" if agrees else "",
            )
        )
    return Table(
        "Runtimes",
        "The default bundle's network (except the lite rows) in each runtime: milliseconds as median (95% "
        "quantile), memory and size in MB. edgeskin's times include its gates; the others' code is the least "
        "that gives P(cancer). `prepared` and `cached` processes load compiled networks. "
        f"{hardware(content)}.",
        content["command"],
        (
            "runtime",
            "network, 8 views, ms",
            "over edgeskin INT8, paired (range)",
            "600x450 file, ms",
            "12-megapixel file, ms",
            "whole process, ms",
            "peak MB: small; large file",
            "photos per second",
            "installed, MB",
            "same class as torch; largest change of uncalibrated P(cancer)",
        ),
        rows,
        FIGURE,
    )


def plot(path: Path) -> None:
    """Plot the main measures of the committed result as bars, one row per runtime."""
    content = read()
    panels = {
        "network, 8 views, ms": "infer_ms",
        "12-megapixel file, ms": "large_ms",
        "whole process, ms": "process_ms",
        "peak memory, MB": "peak_mb",
    }
    rows = content["results"]
    figure = Figure(figsize=(13, 0.35 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (title, name) in zip(axes, panels.items(), strict=True):
        values = [row[name]["median"] if isinstance(row[name], dict) else row[name] for row in rows.values()]
        bars = axis.barh(range(len(rows)), [value or 0 for value in values])
        axis.bar_label(bars, [f"{value:.0f}" if value else "" for value in values], fontsize=8, padding=2)
        axis.set_title(title, fontsize=9)
        axis.margins(x=0.2)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].invert_yaxis()
    figure.suptitle(hardware(content), fontsize=9)
    figure.savefig(path, dpi=110)


def _options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=5, help="whole processes of each runtime")
    parser.add_argument(
        "--photos", type=int, nargs=2, default=(100, 20), help="in a round's folder: edgeskin, the others"
    )
    parser.add_argument("--only", nargs="+", choices=[*RUNTIMES])
    return parser.parse_args()


def _summary(rounds: list[list[float]]) -> dict[str, Any] | None:
    samples = [sample for of in rounds for sample in of]
    if not samples:
        return None
    p95 = {"p95": float(np.quantile(samples, 0.95))} if len(samples) >= 20 else {}
    return spread(samples) | p95 | {"rounds": [float(np.median(of)) for of in rounds]}


def _median_and_p95(of: Mapping[str, float] | None) -> str:
    if of is None:
        return ""
    return f"{of['median']:.0f} ({of['p95']:.0f})" if "p95" in of else f"{of['median']:.0f}"


if __name__ == "__main__":
    main()
