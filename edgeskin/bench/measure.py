"""FP32 against INT8 on this machine.

Each round is a new process, so that compile time, the first image and peak memory are those of a cold start,
and no round warms up the next.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast, get_args

import cv2
import numpy as np

from edgeskin import __version__
from edgeskin.bench.agreement import Agreement, measure_agreement, read_labels
from edgeskin.bundle.bundle import Bundle, open_bundle
from edgeskin.classifier import Classifier
from edgeskin.errors import EdgeskinError, SettingError
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.cpu import available_threads, instruction_set, processor_name
from edgeskin.photo.decode import load_photo
from edgeskin.results import Precision, to_plain

WARM_UP = 10


@dataclass(frozen=True)
class Round:
    """The measurements of one process, in milliseconds and MB (10^6 bytes).

    compile_ms: reading, verifying and compiling the bundle. first_ms, p50_ms, p95_ms: the network alone on
    one picture in all its views, its first run and steady ones. photos_per_second: whole assessments, one
    after another. peak_mb: highest resident memory; None where the system does not report it (Linux does).
    """

    compile_ms: float
    first_ms: float
    p50_ms: float
    p95_ms: float
    photos_per_second: float
    peak_mb: float | None


@dataclass(frozen=True)
class Row:
    """One precision: bytes of its model (.xml and .bin), the median round, and every round."""

    precision: str
    model_bytes: int
    median: Round
    rounds: tuple[Round, ...]


@dataclass(frozen=True)
class Result:
    """A whole bench run. speedup: FP32's median steady latency over INT8's."""

    rows: tuple[Row, ...]
    speedup: float
    agreement: Agreement | None
    settings: dict[str, Any]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``."""
        return cast(dict[str, Any], to_plain(self))


def run(
    folder: str | Path | None,
    threads: int | None,
    repeats: int,
    rounds: int,
    data: Path | None,
    split: str | None,
    require_signature: Path | None = None,
) -> Result:
    """Measure both precisions in alternating rounds.

    Raises:
        EdgeskinError: A round failed, the labelled images cannot be used, or the bundle is not signed by the
            key that is required.
    """
    bundle = open_bundle(folder, require_signature=require_signature)
    bundle.verify()
    labelled = read_labels(data, split, bundle.manifest.classes) if data else None
    measured: dict[str, list[Round]] = {precision: [] for precision in get_args(Precision)}
    for number in range(rounds):
        # The order alternates, so that neither always finds the warmer machine.
        for precision in list(measured)[:: -1 if number % 2 else 1]:
            measured[precision].append(
                _in_new_process(bundle, precision, threads, repeats, require_signature)
            )
    rows = tuple(
        Row(precision, _model_bytes(bundle, precision), _median(results), tuple(results))
        for precision, results in measured.items()
    )
    latency = {row.precision: row.median.p50_ms for row in rows}
    return Result(
        rows,
        latency["fp32"] / latency["int8"],
        measure_agreement(bundle, threads, *labelled) if labelled else None,
        {
            "repeats": repeats,
            "rounds": rounds,
            "threads": threads or available_threads(),
            "warm_up": WARM_UP,
            "views": bundle.manifest.preprocessing.views,
            "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
            "bundle_sha256": bundle.sha256,
        },
        {
            "processor": processor_name(),
            "isa": instruction_set(),
            "isa_limit": os.environ.get("ONEDNN_MAX_CPU_ISA"),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
            "edgeskin": __version__,
            "openvino": importlib.metadata.version("openvino"),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    )


def measure(
    folder: Path,
    precision: Precision,
    threads: int | None,
    repeats: int,
    require_signature: Path | None = None,
) -> Round:
    """Measure one round, in this process."""
    started = time.perf_counter()
    classifier = Classifier(
        folder, precision, threads, quality_gate=False, scope_gate=False, require_signature=require_signature
    )
    compiled = time.perf_counter()
    photo = _photo()
    settings = classifier.manifest.preprocessing
    prepared = preprocess(load_photo(photo, settings.size).image, settings)
    first = time.perf_counter()
    classifier.engine.infer(prepared)
    laps = [time.perf_counter()]
    for _ in range(WARM_UP + repeats):
        classifier.engine.infer(prepared)
        laps.append(time.perf_counter())
    steady = 1e3 * np.diff(laps)[WARM_UP:]
    began = time.perf_counter()
    photos = max(10, repeats // 4)
    for _ in range(photos):
        classifier.assess(photo)
    p50, p95 = np.percentile(steady, [50, 95])
    return Round(
        1e3 * (compiled - started),
        1e3 * (laps[0] - first),
        float(p50),
        float(p95),
        photos / (time.perf_counter() - began),
        _peak_mb(),
    )


def require_plots() -> None:
    """Raise SettingError when matplotlib, the extra ``plots``, is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError("the figure needs matplotlib: pip install matplotlib, or leave --png off")


def _in_new_process(
    bundle: Bundle, precision: str, threads: int | None, repeats: int, require_signature: Path | None
) -> Round:
    command = [
        sys.executable,
        "-m",
        "edgeskin.bench.measure",
        str(bundle.folder),
        precision,
        str(threads or 0),
        str(repeats),
        *([str(require_signature)] if require_signature else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise EdgeskinError(f"the {precision} round failed: {reason}")
    return Round(**json.loads(done.stdout))


def _median(rounds: list[Round]) -> Round:
    known = {
        name: [value for r in rounds if (value := getattr(r, name)) is not None]
        for name in Round.__annotations__
    }
    return Round(**{name: median(values) if values else None for name, values in known.items()})  # type: ignore[arg-type]


def _model_bytes(bundle: Bundle, precision: str) -> int:
    return sum(bundle.manifest.files[f"{precision}.{part}"].size for part in ("xml", "bin"))


def _photo() -> bytes:
    """A JPEG of 600x450 pixels, of blurred noise."""
    noise = np.random.default_rng(0).integers(60, 200, (450, 600, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 3))[1].tobytes()


def _peak_mb() -> float | None:
    try:
        # Not getrusage: on Linux a process inherits the peak of the one that started it.
        status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
        return int(status.split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        return None


if __name__ == "__main__":
    _folder, _precision, _threads, _repeats, *_key = sys.argv[1:]
    _key_of_signature = Path(_key[0]) if _key else None
    _round = measure(Path(_folder), _precision, int(_threads) or None, int(_repeats), _key_of_signature)  # type: ignore[arg-type]
    print(json.dumps(to_plain(_round)))
