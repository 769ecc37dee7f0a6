"""How fast, how large and how true is edgeskin beside the other ways to run its network?

    python -m benchmarks.peers [--data DIR] [--rounds 5] [--only NAME ...] [--runtime PYTHON]

Every way (`benchmarks.peer`) runs in a process of its own, all with the default bundle's weights; in every
round each takes its turn, forwards and backwards, so that a drift of the machine hits all. Measured: the
network on one picture in its eight views; from a JPEG file of 600x450 and of 12 megapixels to P(cancer); a
whole process for one answer; memory; photos a second; what has to be installed; and how far the answers are
from those of torch in float32, on pictures of --data's split val (drawn ones without). --runtime: the
Python of an environment that holds edgeskin alone, for the whole process; this one without.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.special import softmax

from benchmarks.machine import machine, spread, write
from benchmarks.peer import WAYS
from benchmarks.peer_models import convert, pictures
from benchmarks.quickness import peers_table
from edgeskin.bundle import open_bundle
from edgeskin.engine import available_threads, instruction_set
from edgeskin.errors import EdgeskinError

ROOT = Path(__file__).parents[1]
REFERENCE = "torch eager"
LITE = "edgeskin lite"
EXAMPLE = ROOT / "examples" / "lesion.jpg"
SMALL, LARGE = (600, 450), (4000, 3000)
WARM_UP, INFERS, ANSWERS = 3, 10, 5
AGREEMENT_IMAGES = 32
NEEDS = {
    "edgeskin": ("openvino", "numpy", "opencv-python-headless", "typer"),
    "openvino": ("openvino", "opencv-python-headless"),
    "onnxruntime": ("onnxruntime", "opencv-python-headless"),
    "torch": ("torch", "torchvision", "timm", "safetensors", "opencv-python-headless"),
    "model_api": ("openvino-model-api", "openvino", "opencv-python-headless"),
    "ncnn": ("ncnn", "opencv-python-headless"),
    "litert": ("ai-edge-litert", "opencv-python-headless"),
}
"""What has to be installed, without what that needs in turn, by the first word of a way's name."""
IMPORTS = {
    "model_api": ("model_api",),
    "ncnn": ("ncnn", "pnnx"),
    "litert": ("ai_edge_litert", "litert_torch"),
}


@dataclass
class Row:
    """What was measured of one way. Milliseconds; memory and what is installed in MB (10^6 bytes)."""

    infer_ms: list[float] = field(default_factory=list)
    small_ms: list[float] = field(default_factory=list)
    large_ms: list[float] = field(default_factory=list)
    process_ms: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    installed_mb: float = 0.0
    photos_per_second: float = 0.0
    photos: int = 0
    agreement: dict[str, float] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Medians with their quartiles and 95 % quantiles, instead of the samples."""
        told = asdict(self)
        for name in ("infer_ms", "small_ms", "large_ms", "process_ms"):
            samples = told[name]
            told[name] = spread(samples) | {"p95": float(np.quantile(samples, 0.95))} if samples else None
        return told


class Peer:
    """A running way, asked one thing at a time."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name, self._process = name, process

    def ask(self, **command: Any) -> Any:
        """Raises EdgeskinError when the way has ended."""
        assert self._process.stdin
        assert self._process.stdout
        if command:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise EdgeskinError(f"{self.name} has ended; its messages are above")
        return json.loads(line)


def is_there(name: str) -> bool:
    """Whether what a way imports is installed; said where it is not."""
    absent = [module for module in IMPORTS.get(name.split()[0], ()) if not importlib.util.find_spec(module)]
    if absent:
        print(f"{name} left out, not installed: {', '.join(absent)}; extra: peers", file=sys.stderr)
    return not absent


def command_of(name: str, folder: Path, threads: int) -> list[str]:
    """How a way is started."""
    return [sys.executable, "-m", "benchmarks.peer", name, str(folder), str(threads)]


def environment(name: str) -> dict[str, str]:
    """numpy with one thread, as the command line has it; ``NAME as ISA`` is held to older instructions."""
    isa = name.partition(" as ")[2]
    return os.environ | {"OPENBLAS_NUM_THREADS": "1"} | ({"ONEDNN_MAX_CPU_ISA": isa} if isa else {})


@contextmanager
def running(name: str, folder: Path, threads: int) -> Iterator[Peer]:
    """A way, loaded; ended with the context."""
    process = subprocess.Popen(
        command_of(name.partition(" as ")[0], folder, threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(name),
    )
    try:
        peer = Peer(name, process)
        peer.ask()
        yield peer
    finally:
        for end in (process.stdin, process.stdout):
            _close(end)
        process.wait(timeout=60)


def _close(end: "IO[str] | None") -> None:
    if end is not None:
        end.close()


def measure(names: list[str], folder: Path, rounds: int, photos: tuple[int, int]) -> dict[str, Row]:
    """All but the whole process. photos: how many in the folder, of edgeskin and of the others."""
    rows = {name: Row() for name in names}
    threads = available_threads()
    with ExitStack() as stack:
        peers = [stack.enter_context(running(name, folder, threads)) for name in names]
        judged = str(folder / "judged.npy")
        # The lite bundle's pictures have a size of their own.
        shown = {
            name: str(folder / f"shown-{'lite' if name.startswith(LITE) else 'default'}.npy")
            for name in names
        }
        small, large = str(folder / "small.jpg"), str(folder / "large.jpg")
        for peer in peers:
            peer.ask(do="infer", pictures=shown[peer.name], repeats=WARM_UP)
            peer.ask(do="answer", photo=large, repeats=1)
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
            for peer in peers[:: -1 if turn % 2 else 1]:
                row = rows[peer.name]
                row.infer_ms += peer.ask(do="infer", pictures=shown[peer.name], repeats=INFERS)
                row.small_ms += peer.ask(do="answer", photo=small, repeats=ANSWERS)
                row.large_ms += peer.ask(do="answer", photo=large, repeats=ANSWERS)
        logits = {}
        for peer in peers:
            row = rows[peer.name]
            row.peak_mb = peer.ask(do="peak")
            row.photos = photos[not peer.name.startswith("edgeskin")]
            row.photos_per_second = peer.ask(do="folder", photo=small, photos=row.photos)
            if not peer.name.startswith(LITE):
                logits[peer.name] = np.array(peer.ask(do="logits", pictures=judged))
    for name, row in rows.items():
        row.installed_mb = installed_mb(NEEDS[name.split()[0]])
        if name in logits and REFERENCE in logits:
            row.agreement = agreement(logits[name], logits[REFERENCE])
    return rows


def agreement(logits: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> dict[str, float]:
    """Of two networks' (n, C): images of the same class, and |dP(cancer)|, uncalibrated."""
    cancer = [0, 2, 3, 7]
    p = [softmax(values, axis=1)[:, cancer].sum(axis=1) for values in (logits, reference)]
    difference = np.abs(p[0] - p[1])
    return {
        "images": len(logits),
        "same_class": float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        "median": float(np.median(difference)),
        "largest": float(difference.max()),
        "largest_logit": float(np.abs(logits - reference).max()),
    }


def time_processes(names: list[str], rows: dict[str, Row], folder: Path, repeats: int, runtime: str) -> None:
    """From exec to the answer on the small photo; edgeskin by its own command, with and without its cache."""
    small = str(folder / "small.jpg")
    question = json.dumps({"do": "answer", "photo": small, "repeats": 1}) + "\n"
    predict = [runtime, "-m", "edgeskin", "predict", small]
    started = {
        "edgeskin int8": [*predict],
        "edgeskin fp32": [*predict, "--precision", "fp32"],
        "edgeskin lite int8": [*predict, "--bundle", "lite"],
    }
    cached = {f"{name}, prepared": [*by, "--cache", str(folder / "cache")] for name, by in started.items()}
    rows |= {name: Row() for name in cached if name.removesuffix(", prepared") in names}
    for turn in range(repeats + 1):
        for name, row in rows.items():
            if " as " in name or "streams" in name:
                continue
            command = (started | cached).get(name) or command_of(name, folder, available_threads())
            begun = time.perf_counter()
            # Elsewhere than the checkout, so that what is installed runs; a way has to be in it.
            where = folder if name in started | cached else ROOT
            subprocess.run(
                command, input=question, text=True, cwd=where, env=environment(name), check=True,
                capture_output=True,
            )  # fmt: skip
            if turn:  # the first fills the file cache
                row.process_ms.append(1e3 * (time.perf_counter() - begun))


def installed_mb(needs: tuple[str, ...]) -> float:
    """What distributions and all that they need take on disk, extras left out, MB."""
    found: dict[str, int] = {}
    open_names = list(needs)
    while open_names:
        name = re.sub(r"[-_.]+", "-", open_names.pop()).lower()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # needed on other systems
            continue
        files = [Path(str(file.locate())) for file in distribution.files or ()]
        found[name] = sum(file.stat().st_size for file in files if file.is_file())
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                open_names.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    return sum(found.values()) / 1e6


def draw(result: dict[str, Any], path: Path) -> None:
    """Bars of what matters, a way a row."""
    panels = {
        "network, 8 views, ms": "infer_ms",
        "12-megapixel file to answer, ms": "large_ms",
        "whole process, ms": "process_ms",
        "peak memory, MB": "peak_mb",
    }
    rows = result["results"]
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
    figure.suptitle(f"{result['machine']['processor']}, {result['isa']}, 2 threads", fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print and write benchmarks/results/peers.json and docs/peers.png."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=5, help="whole processes of each")
    parser.add_argument("--photos", type=int, nargs=2, default=(500, 40), help="of edgeskin, of the others")
    parser.add_argument("--only", nargs="+", choices=list(WAYS))
    parser.add_argument("--runtime", default=sys.executable)
    wanted = parser.parse_args()
    names = wanted.only or [name for name in WAYS if is_there(name)]
    if not wanted.only and instruction_set().startswith("avx512"):
        older = ("AVX2",) if instruction_set() == "avx512" else ("AVX2", "AVX512_CORE")
        names += [f"edgeskin {precision} as {isa}" for isa in older for precision in ("int8", "fp32")]
    bundle = open_bundle()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        convert(bundle, wanted.data, folder)
        for shipped in ("default", "lite"):
            np.save(folder / f"shown-{shipped}.npy", pictures(open_bundle(shipped), wanted.data, "val", 1))
        np.save(folder / "judged.npy", pictures(bundle, wanted.data, "val", AGREEMENT_IMAGES))
        example = cv2.imdecode(np.frombuffer(EXAMPLE.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        for name, size in (("small", SMALL), ("large", LARGE)):
            resized = cv2.resize(example, size, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"{name}.jpg"), resized, [cv2.IMWRITE_JPEG_QUALITY, 90])
        rows = measure(names, folder, wanted.rounds, tuple(wanted.photos))
        time_processes(names, rows, folder, wanted.processes, wanted.runtime)
    result = {
        "command": f"python -m benchmarks.peers --rounds {wanted.rounds} --processes {wanted.processes}",
        "machine": machine("openvino", "onnxruntime", "torch", "torchvision", "timm", "numpy"),
        "isa": instruction_set(),
        "bundle_sha256": bundle.sha256,
        "pictures": "of the split val" if wanted.data else "drawn",
        "results": {name: row.summary() for name, row in rows.items()},
    }
    print(peers_table(result))
    print(write("peers", result))
    draw(result, ROOT / "docs" / "peers.png")


if __name__ == "__main__":
    main()
