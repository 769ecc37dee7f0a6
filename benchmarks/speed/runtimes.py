"""How fast, how large and how true is edgeskin beside the other ways to run its network?

    python -m benchmarks.speed.runtimes [--data DIR] [--rounds 5] [--only NAME ...]

Every way (`benchmarks.speed.runtime_process`) runs in a process of its own, all with the default bundle's weights but the lite
row; in every round each takes its turn, forwards and backwards, so that a drift of the machine hits all.
Where a virtual machine's two cores come to lie on two caches (`benchmarks.speed.hand_over`), the network and the
answers are timed again until they lie on one, for 20 seconds at most; folders and processes as it comes.
Measured: photos a second of a folder of 600x450 JPEGs; the network on one picture in its eight views; from a
JPEG file of 600x450 and of 12 megapixels to P(cancer); a whole process for one answer; the highest memory;
what has to be installed; and how far the answers are from those of torch in float32, on pictures of --data's
split val (drawn ones without). --only prints and writes nothing.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from packaging.requirements import Requirement
from scipy.special import softmax

import edgeskin
from benchmarks.environment import machine, spread, write
from benchmarks.example import write_example
from benchmarks.quickness import peers_table
from benchmarks.speed.hand_over import hand_over_ns, share_a_cache
from benchmarks.speed.runtime_models import convert, pictures
from benchmarks.speed.runtime_process import WAYS
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import EdgeskinError
from edgeskin.network.engine import available_threads, instruction_set

ROOT = Path(__file__).parents[2]
REFERENCE = "torch eager"
LITE, STREAMS, OPENVINO_CACHED = "edgeskin lite", "streams", "openvino int8, cached"
SMALL, LARGE = (600, 450), (4000, 3000)
WARM_UP, INFERS, ANSWERS = 3, 10, 7
PATIENCE = 20
AGREEMENT_IMAGES = 32
NEEDS = {
    "edgeskin": ("edgeskin",),
    "openvino": ("openvino", "opencv-python-headless"),
    "onnxruntime": ("onnxruntime", "opencv-python-headless"),
    "torch": ("torch", "torchvision", "timm", "safetensors", "opencv-python-headless"),
    "model_api": ("openvino-model-api", "openvino", "opencv-python-headless"),
    "ncnn": ("ncnn", "opencv-python-headless"),
    "litert": ("ai-edge-litert", "opencv-python-headless"),
}
"""What has to be installed, without what that needs in turn, by the first word of a way's name."""
VERSIONS = (
    *("openvino", "numpy", "opencv-python-headless", "onnxruntime", "torch", "torchvision", "timm"),
    *("openvino-model-api", "ncnn", "pnnx", "ai-edge-litert", "litert-torch"),
)
GPU = ("nvidia-", "cuda-", "triton")
IMPORTS = {
    "model_api": ("model_api",),
    "ncnn": ("ncnn", "pnnx"),
    "litert": ("ai_edge_litert", "litert_torch"),
}


@dataclass
class Row:
    """What was measured of one way, lists by round. Milliseconds; memory and what is installed in MB (10^6
    bytes), the highest memory before and after 12-megapixel photos; nanoseconds from core to core before and
    after what counts of infer_ms."""

    hand_over_ns: list[list[float]] = field(default_factory=list)
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
        """Medians and quartiles instead of the samples, the 95 % quantile where there are twenty, and each
        round's median."""

        def told(value: Any) -> Any:
            if not isinstance(value, list):
                return value
            if not any(value):
                return None
            samples = [sample for of in value for sample in of]
            p95 = {"p95": float(np.quantile(samples, 0.95))} if len(samples) >= 20 else {}
            return spread(samples) | p95 | {"rounds": [float(np.median(of)) for of in value]}

        return {name: told(value) for name, value in vars(self).items()}


class Peer:
    """A running way, asked one thing at a time."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name, self._process = name, process

    def ask(self, **command: Any) -> Any:
        """Raises EdgeskinError when the way has ended."""
        assert self._process.stdin
        assert self._process.stdout
        line = ""
        with suppress(BrokenPipeError):
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


def is_installed(distribution: str) -> bool:
    """Whether a distribution is in this environment."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def command_of(name: str, folder: Path, threads: int) -> list[str]:
    """How a way is started."""
    return [sys.executable, "-m", "benchmarks.speed.runtime_process", name, str(folder), str(threads)]


def environment(name: str, folder: Path) -> dict[str, str]:
    """numpy with one thread, as the command line has it, and no compiled network kept before this run: of
    torch.compile, and OpenVINO with its cache, the first process fills what the others find.

    ``NAME as ISA`` is held to older instructions.
    """
    isa = name.partition(" as ")[2]
    nothing_kept = {"XDG_CACHE_HOME": str(folder), "EDGESKIN_CACHE": ""}
    nothing_kept["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    held = {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
    return os.environ | nothing_kept | {"OPENBLAS_NUM_THREADS": "1"} | held


@contextmanager
def running(name: str, folder: Path, threads: int) -> Iterator[Peer]:
    """A way, loaded; ended with the context."""
    process = subprocess.Popen(
        command_of(name.partition(" as ")[0], folder, threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(name, folder),
    )
    try:
        peer = Peer(name, process)
        peer.ask()
        yield peer
    finally:
        for end in (process.stdin, process.stdout):
            _close(end)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()


def _close(end: "IO[str] | None") -> None:
    with suppress(BrokenPipeError):
        if end is not None:
            end.close()


def measure(names: list[str], folder: Path, rounds: int, photos: tuple[int, int]) -> dict[str, Row]:
    """All but the whole process. photos: how many in a round's folder, of edgeskin and of the others."""
    rows = {name: Row() for name in names}
    threads = available_threads()
    cancer = json.loads((folder / "peers.json").read_text())["cancer"]
    small, large, judged = (str(folder / name) for name in ("small.jpg", "large.jpg", "judged.npy"))
    # The lite bundle's pictures have a size of their own.
    shown = {
        name: str(folder / f"shown-{'lite' if name.startswith(LITE) else 'default'}.npy") for name in names
    }
    with ExitStack() as stack:
        peers = [stack.enter_context(running(name, folder, threads)) for name in names]
        for peer in peers:
            peer.ask(do="infer", pictures=shown[peer.name], repeats=WARM_UP)
            peer.ask(do="answer", photo=small, repeats=1)
            rows[peer.name].peak_mb = peer.ask(do="peak")
            peer.ask(do="answer", photo=large, repeats=1)
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
            for peer in peers[:: -1 if turn % 2 else 1]:
                row = rows[peer.name]
                count = photos[0] if peer.name.startswith("edgeskin") else photos[1]
                row.photos += count
                row.photos_per_second.append([peer.ask(do="folder", photo=small, photos=count)])
                said, apart = asked_together(peer, do="infer", pictures=shown[peer.name], repeats=INFERS)
                row.infer_ms.append(said)
                row.hand_over_ns.append(apart)
                for times, photo in ((row.small_ms, small), (row.large_ms, large)):
                    times.append(asked_together(peer, do="answer", photo=photo, repeats=ANSWERS)[0])
        for peer in peers:
            rows[peer.name].peak_large_mb = peer.ask(do="peak")
        same = [peer for peer in peers if not peer.name.startswith(LITE)]
        logits = {peer.name: np.array(peer.ask(do="logits", pictures=judged)) for peer in same}
    for name, row in rows.items():
        row.installed_mb = installed_mb(NEEDS[name.split()[0]])
        if name in logits and REFERENCE in logits:
            row.agreement = agreement(logits[name], logits[REFERENCE], cancer)
    return rows


def asked_together(peer: Peer, **command: Any) -> tuple[list[float], list[float]]:
    """What a way says, asked until the cores share a cache before and after, PATIENCE seconds at most; and
    the nanoseconds from core to core before and after, none of one core.
    """
    end = time.monotonic() + PATIENCE
    before = hand_over_ns()
    while True:
        said: list[float] = peer.ask(**command)
        after = hand_over_ns()
        if (share_a_cache(before) and share_a_cache(after)) or time.monotonic() >= end:
            return said, [one for one in (before, after) if one is not None]
        before = after


def agreement(
    logits: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], cancer: list[int]
) -> dict[str, float]:
    """Of two networks' (n, C): images of the same class, and |dP(cancer)|, uncalibrated.

    cancer: which classes count as such.
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


def time_processes(names: list[str], rows: dict[str, Row], folder: Path, repeats: int) -> None:
    """From exec to the answer on the small photo, all by this interpreter; edgeskin by its own command, with
    and without its cache."""
    small = str(folder / "small.jpg")
    question = json.dumps({"do": "answer", "photo": small, "repeats": 1}) + "\n"
    predict = [sys.executable, "-m", "edgeskin", "predict", small]
    started = {
        "edgeskin int8": [*predict],
        "edgeskin fp32": [*predict, "--precision", "fp32"],
        "edgeskin lite int8": [*predict, "--bundle", "lite"],
    }
    prepared = {f"{name}, prepared": [*by, "--cache", str(folder / "cache")] for name, by in started.items()}
    alone = [name for name in prepared if name.removesuffix(", prepared") in names]
    if OPENVINO_CACHED.removesuffix(", cached") in names:
        alone.append(OPENVINO_CACHED)
    rows |= {name: Row() for name in alone}
    timed = [name for name in rows if " as " not in name and STREAMS not in name]
    for turn in range(repeats + 1):
        for name in timed[:: -1 if turn % 2 else 1]:
            command = (started | prepared).get(name) or command_of(name, folder, available_threads())
            begun = time.perf_counter()
            subprocess.run(
                command, input=question, text=True, cwd=ROOT, env=environment(name, folder), check=True,
                capture_output=True,
            )  # fmt: skip
            if turn:  # the first fills the file cache, and others
                rows[name].process_ms.append([1e3 * (time.perf_counter() - begun)])


def installed_mb(needs: tuple[str, ...]) -> float:
    """What distributions and all that they need take on disk, MB.

    Without extras, edgeskin's own models, and the GPU's libraries (whole packages, and files of that name),
    which torch's wheel for a CPU has not.
    """
    found: dict[str, int] = {}
    open_names = list(needs)
    while open_names:
        name = re.sub(r"[-_.]+", "-", open_names.pop()).lower()
        if name in found or name.startswith(GPU):
            continue
        if not is_installed(name):  # needed on other systems
            continue
        distribution = importlib.metadata.distribution(name)
        files = [Path(str(file.locate())) for file in distribution.files or ()]
        if name == "edgeskin":  # installed from the checkout, it lists none of its own
            files = [*Path(edgeskin.__file__).parent.glob("*.py")]
        found[name] = sum(file.stat().st_size for file in files if file.is_file() and "cuda" not in file.name)
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                open_names.append(requirement.name)
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
    figure.suptitle(
        f"{result['machine']['processor']}, {result['isa']}, {result['machine']['threads']} threads",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print and write benchmarks/results/peers.json and docs/peers.png."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=5, help="whole processes of each")
    parser.add_argument(
        "--photos", type=int, nargs=2, default=(100, 20), help="a round: edgeskin, the others"
    )
    parser.add_argument("--only", nargs="+", choices=[*WAYS])
    wanted = parser.parse_args()
    bundle, lite = open_bundle(), open_bundle("lite")
    names = wanted.only or [name for name in WAYS if is_there(name) and name != OPENVINO_CACHED]
    if available_threads() == 1:
        names = [name for name in names if STREAMS not in name]
    if not wanted.only and instruction_set().startswith("avx512"):
        older = ("AVX2",) if instruction_set() == "avx512" else ("AVX2", "AVX512_CORE")
        names += [f"edgeskin {precision} as {isa}" for isa in older for precision in ("int8", "fp32")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        convert(bundle, wanted.data, folder)
        for name, shipped in (("default", bundle), ("lite", lite)):
            np.save(folder / f"shown-{name}.npy", pictures(shipped, wanted.data, "val", 1))
        np.save(folder / "judged.npy", pictures(bundle, wanted.data, "val", AGREEMENT_IMAGES))
        for name, size in (("small", SMALL), ("large", LARGE)):
            write_example(folder / f"{name}.jpg", size)
        rows = measure(names, folder, wanted.rounds, tuple(wanted.photos))
        time_processes(names, rows, folder, wanted.processes)
    result = {
        "command": f"python -m benchmarks.speed.runtimes {'--data DIR ' * bool(wanted.data)}--rounds {wanted.rounds} "
        f"--processes {wanted.processes} --photos {wanted.photos[0]} {wanted.photos[1]}",
        "machine": machine(*(name for name in VERSIONS if is_installed(name))),
        "isa": instruction_set(),
        "bundle_sha256": bundle.sha256,
        "lite_sha256": lite.sha256,
        "pictures": "of the split val" if wanted.data else "drawn",
        "results": {name: row.summary() for name, row in rows.items()},
    }
    print(peers_table(result))
    if wanted.only:
        return
    print(write("peers", result))
    draw(result, ROOT / "docs" / "peers.png")


if __name__ == "__main__":
    main()
