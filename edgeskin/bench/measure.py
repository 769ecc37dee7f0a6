"""FP32 against INT8 on this machine. Every round is a new process, so that compile time, the first
image and peak memory are those of a cold start and no round warms up the next."""

import csv
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin import __version__
from edgeskin.bundle.bundle import Bundle, Precision, open_bundle
from edgeskin.classifier import Classifier
from edgeskin.errors import EdgeskinError, PhotoError, SettingError
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import available_threads, instruction_set
from edgeskin.photo.decode import load_photo
from edgeskin.results import Assessment

WARM_UP = 10


@dataclass(frozen=True)
class Round:
    """One process's measurements, milliseconds and MB (10^6 bytes).

    compile_ms: bundle read, verified and compiled. first_ms, p50_ms, p95_ms: the network alone, one picture
    in all its views, first run and steady. photos_per_second: decode, preprocessing and network, one after
    another. peak_mb: the process's highest resident memory, None where the system does not tell (Linux does).
    """

    compile_ms: float
    first_ms: float
    p50_ms: float
    p95_ms: float
    photos_per_second: float
    peak_mb: float | None


@dataclass(frozen=True)
class Row:
    """One precision: its model's bytes (.xml and .bin), the median round, and every round."""

    precision: str
    model_bytes: int
    median: Round
    rounds: tuple[Round, ...]


@dataclass(frozen=True)
class Agreement:
    """FP32 and INT8 on labelled images, each at its own screening threshold.

    recall, specificity: of cancer, by precision (None without cancers, or without benign images).
    lost: names of the images of cancers that FP32 finds and INT8 does not. p_cancer_difference:
    |dP(cancer)| at the median, 99 %, 99.9 % and largest. failed: images that could not be read. left_out:
    rows of the table by label, where the label is no class of the network.
    """

    images: int
    cancers: int
    recall: dict[str, float | None]
    specificity: dict[str, float | None]
    same_class: float
    p_cancer_difference: dict[str, float]
    lost: tuple[str, ...]
    failed: tuple[str, ...]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Result:
    """All of a bench run: speedup is FP32's median steady latency over INT8's."""

    rows: tuple[Row, ...]
    speedup: float
    agreement: Agreement | None
    settings: dict[str, Any]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``."""
        return asdict(self)


def run(
    folder: str | Path | None,
    threads: int | None,
    repeats: int,
    rounds: int,
    data: Path | None,
    split: str | None,
) -> Result:
    """Measure both precisions in turn. Raises EdgeskinError when a round fails or the data is no good."""
    bundle = open_bundle(folder)
    bundle.verify()
    labelled = read_labels(data, split, bundle.manifest.classes) if data else None
    measured: dict[str, list[Round]] = {precision: [] for precision in get_args(Precision)}
    for turn in range(rounds):
        # Now one first, now the other, so that neither always finds the warmer machine.
        for precision in list(measured)[:: -1 if turn % 2 else 1]:
            measured[precision].append(_in_new_process(bundle, precision, threads, repeats))
    rows = tuple(
        Row(precision, _model_bytes(bundle, precision), _median(results), tuple(results))
        for precision, results in measured.items()
    )
    latency = {row.precision: row.median.p50_ms for row in rows}
    return Result(
        rows,
        latency["fp32"] / latency["int8"],
        compare(bundle, threads, *labelled) if labelled else None,
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
            "processor": processor(),
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


def measure(folder: Path, precision: Precision, threads: int | None, repeats: int) -> Round:
    """One round, in this process."""
    started = time.perf_counter()
    classifier = Classifier(folder, precision, threads, quality_gate=False, scope_gate=False)
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


def compare(
    bundle: Bundle, threads: int | None, labelled: list[tuple[Path, str]], left_out: dict[str, int]
) -> Agreement:
    """Assess labelled images with both precisions; one that cannot be read is named, not counted."""
    both = {
        precision: Classifier(bundle, precision, threads, quality_gate=False, scope_gate=False)
        for precision in get_args(Precision)
    }
    read: list[tuple[str, str]] = []
    failed: list[str] = []
    assessed: dict[str, list[Assessment]] = {precision: [] for precision in both}
    for path, label in _with_progress(labelled):
        try:
            results = {precision: classifier.assess(path) for precision, classifier in both.items()}
        except PhotoError as error:
            failed.append(str(error).replace(str(path), path.name))
            continue
        read.append((path.name, label))
        for precision, result in results.items():
            assessed[precision].append(result)
    if not read:
        raise SettingError("none of the labelled images could be read: " + "; ".join(failed[:3]))
    is_cancer = np.array([label in bundle.manifest.cancer_classes for _, label in read])
    flagged = {name: np.array([one.risk != "LOW" for one in results]) for name, results in assessed.items()}
    p_cancer = {
        name: np.array([one.cancer_probability for one in results], dtype=np.float64)
        for name, results in assessed.items()
    }
    same = [a.predicted_class == b.predicted_class for a, b in zip(*assessed.values(), strict=True)]
    difference = np.abs(p_cancer["int8"] - p_cancer["fp32"])
    quantiles = {"median": 0.5, "99%": 0.99, "99.9%": 0.999, "max": 1.0}
    return Agreement(
        len(read),
        int(is_cancer.sum()),
        {name: _share(values[is_cancer]) for name, values in flagged.items()},
        {name: _share(~values[~is_cancer]) for name, values in flagged.items()},
        float(np.mean(same)),
        {name: float(np.quantile(difference, q)) for name, q in quantiles.items()},
        tuple(read[i][0] for i in np.flatnonzero(is_cancer & flagged["fp32"] & ~flagged["int8"])),
        tuple(failed),
        left_out,
    )


def _with_progress(labelled: list[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    import typer  # not in the rounds, whose memory is measured

    with typer.progressbar(labelled, label="assessing by both precisions", file=sys.stderr) as shown:
        yield from shown


def _share(found: npt.NDArray[np.bool_]) -> float | None:
    return float(found.mean()) if found.size else None


def read_labels(
    data: Path, split: str | None, classes: tuple[str, ...]
) -> tuple[list[tuple[Path, str]], dict[str, int]]:
    """(image, class) from a folder of class folders; or from a CSV, or a folder's index.csv, with columns
    path (relative to it) and label. split: of its column split. Second, the rows of other labels, counted.

    Raises SettingError when nothing comes of it.
    """
    if not data.exists():
        raise SettingError(f"{data}: there is no such file or folder; give class folders or a CSV")
    table = data / "index.csv" if data.is_dir() else data
    left_out: Counter[str] = Counter()
    if table.is_file():
        try:
            with table.open(encoding="utf-8", newline="") as file:
                rows = csv.DictReader(file)
                if split is not None and "split" not in (rows.fieldnames or ()):
                    raise SettingError(f"{table}: has no column split; leave --split off or add the column")
                told = [
                    (table.parent / row["path"], row["label"])
                    for row in rows
                    if split is None or row["split"] == split
                ]
            left_out.update(label for _, label in told if label not in classes)
            pairs = [(path, label) for path, label in told if label in classes]
        except (OSError, KeyError, UnicodeDecodeError) as error:
            raise SettingError(f"{table}: no CSV with columns path and label ({error})") from error
    elif split is not None:
        raise SettingError(f"{data}: class folders have no split {split!r}; leave --split off or give a CSV")
    else:
        pairs = [(path, name) for name in classes for path in sorted((data / name).glob("*.*"))]
    if not pairs:
        others = f"; labels there: {', '.join(sorted(left_out))}" if left_out else ""
        raise SettingError(
            f"{data}: no images of the classes {', '.join(classes)} (split: {split or 'any'}){others}"
        )
    return pairs, dict(left_out)


def table(result: Result) -> str:
    """The result for a terminal."""
    settings, machine = result.settings, result.machine
    lines = [
        f"{machine['processor']}, {machine['isa']}, {settings['threads']} threads, openvino "
        f"{machine['openvino']}; {settings['bundle']}",
        f"median of {settings['rounds']} rounds of {settings['repeats']} runs; range of p50 over the rounds",
        f"{'':<6}{'model MB':>10}{'compile ms':>12}{'first ms':>10}{'p50 ms':>9}{'(range)':>16}{'p95 ms':>9}"
        f"{'photos/s':>10}{'peak MB':>9}",
    ]
    for row in result.rows:
        m = row.median
        laps = sorted(one.p50_ms for one in row.rounds)
        peak = "-" if m.peak_mb is None else f"{m.peak_mb:.0f}"
        lines.append(
            f"{row.precision:<6}{row.model_bytes / 1e6:>10.1f}{m.compile_ms:>12.0f}{m.first_ms:>10.1f}"
            f"{m.p50_ms:>9.2f}{f'({laps[0]:.2f}-{laps[-1]:.2f})':>16}{m.p95_ms:>9.2f}"
            f"{m.photos_per_second:>10.1f}{peak:>9}"
        )
    lines.append(f"INT8 is {result.speedup:.2f} times as fast as FP32 (median steady latency)")
    if (agreement := result.agreement) is not None:
        lines += [
            f"{name}: cancer recall {_told(recall)}, specificity {_told(agreement.specificity[name])}"
            for name, recall in agreement.recall.items()
        ]
        differences = ", ".join(
            f"{name} {value:.3f}" for name, value in agreement.p_cancer_difference.items()
        )
        lines += [
            f"{agreement.images} images, {agreement.cancers} cancers: same class {agreement.same_class:.3f}; "
            f"|dP(cancer)| {differences}",
            " ".join([f"cancers found by FP32 and lost by INT8: {len(agreement.lost)}", *agreement.lost]),
            *(f"not read: {failure}" for failure in agreement.failed),
            *(f"left out, no class: {label} ({count})" for label, count in agreement.left_out.items()),
        ]
    return "\n".join(lines)


def _told(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


def require_plots() -> None:
    """Raise SettingError when matplotlib, the extra ``plots``, is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError("the figure needs matplotlib: pip install matplotlib, or leave --png off")


def draw(result: Result, figure: Path) -> None:
    """Draw the result as a PNG. Raises SettingError as `require_plots`."""
    require_plots()
    from edgeskin.bench.plot import draw_bench

    draw_bench(result, figure)


def _in_new_process(bundle: Bundle, precision: str, threads: int | None, repeats: int) -> Round:
    command = [
        sys.executable,
        "-m",
        "edgeskin.bench.measure",
        str(bundle.folder),
        precision,
        str(threads or 0),
        str(repeats),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeskinError(f"the {precision} round failed: {done.stderr.strip()[-500:]}")
    return Round(**json.loads(done.stdout))


def _median(rounds: list[Round]) -> Round:
    known = {
        name: [value for r in rounds if (value := getattr(r, name)) is not None]
        for name in Round.__annotations__
    }
    return Round(**{name: median(values) if values else None for name, values in known.items()})  # type: ignore[arg-type]


def _model_bytes(bundle: Bundle, precision: str) -> int:
    return sum(bundle.manifest.files[f"{precision}.{part}"][1] for part in ("xml", "bin"))


def _photo() -> bytes:
    """A JPEG of 600x450 pixels of blurred noise."""
    noise = np.random.default_rng(0).integers(60, 200, (450, 600, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 3))[1].tobytes()


def _peak_mb() -> float | None:
    try:
        # Not getrusage: Linux lets a process inherit the peak of the one that started it.
        status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
        return int(status.split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        return None


def processor() -> str:
    """The CPU's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    _folder, _precision, _threads, _repeats = sys.argv[1:]
    _round = measure(Path(_folder), _precision, int(_threads) or None, int(_repeats))  # type: ignore[arg-type]
    print(json.dumps(asdict(_round)))
