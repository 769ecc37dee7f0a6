"""Threads, processes, signals and memory: one Classifier under load, and many."""

import concurrent.futures
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeskin import Assessment, Classifier
from tests.conftest import ROOT

OPTIONS: list[dict[str, Any]] = [{}, {"explain": "grad-cam"}, {"mc_samples": 5, "seed": 3}]
WITH_PROC = pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux")
WITH_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def bits(result: Assessment) -> str:
    """Every value of a result but its times; floats in full."""
    return json.dumps(result.to_dict() | {"timing_ms": None})


@pytest.fixture(scope="module")
def photos(lesion_folder: Path) -> list[Path]:
    return sorted(lesion_folder.rglob("*.png"))[:12]


@pytest.mark.hazard("H-15")
@pytest.mark.parametrize("workers", [1, 2])
def test_threads_get_the_serial_answers_bit_for_bit(
    shared_micro_bundle: Path, photos: list[Path], workers: int
) -> None:
    classifier = Classifier(shared_micro_bundle, threads=2, workers=workers, quality_gate=False)
    work = [(photo, options) for photo in photos for options in OPTIONS]
    serial = [bits(classifier.assess(photo, **options)) for photo, options in work]
    starts = [len(work) * thread // 6 for thread in range(6)]
    meeting = threading.Barrier(len(starts), timeout=60)

    def all_from(start: int) -> list[str]:
        meeting.wait()
        found = [bits(classifier.assess(photo, **options)) for photo, options in work[start:] + work[:start]]
        return found[len(work) - start :] + found[: len(work) - start]

    with concurrent.futures.ThreadPoolExecutor(len(starts)) as pool:
        for found in pool.map(all_from, starts, timeout=120):
            assert found == serial


@pytest.mark.hazard("H-15")
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "explain", "mc-dropout"])
def test_workers_of_a_shipped_bundle_give_the_serial_answers(
    lesion_jpg: Path, photos: list[Path], options: dict[str, Any]
) -> None:
    with Classifier("lite", threads=2, workers=2, quality_gate=False) as classifier:
        sources = [lesion_jpg, *photos[:3]]
        serial = [bits(classifier.assess(photo, **options)) for photo in sources]
        assert [bits(one) for one in classifier.assess_many(sources * 2, **options)] == serial * 2


@pytest.mark.hazard("H-15")
def test_classifiers_beside_each_other_do_not_disturb_each_other(
    shared_micro_bundle: Path, photos: list[Path]
) -> None:
    settings: list[dict[str, Any]] = [
        {"precision": precision, "threads": 2, "workers": workers}
        for precision in ("fp32", "int8")
        for workers in (1, 2)
    ]
    alone = []
    for one in settings:
        with Classifier(shared_micro_bundle, **one) as classifier:
            alone.append([bits(classifier.assess(photo, explain="grad-cam")) for photo in photos[:4]])
    many = [Classifier(shared_micro_bundle, **one) for one in settings * 2]
    for place, photo in enumerate(photos[:4]):
        found = [bits(classifier.assess(photo, explain="grad-cam")) for classifier in many]
        assert found == [answers[place] for answers in alone] * 2


@pytest.mark.hazard("H-19")
def test_spawned_processes_give_the_same_answers(shared_micro_bundle: Path, photos: list[Path]) -> None:
    classifier = Classifier(shared_micro_bundle, threads=2, workers=2, quality_gate=False)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        for options in OPTIONS:
            futures = [pool.submit(classifier.assess, photo, **options) for photo in photos[:2]]
            there = [bits(future.result(timeout=60)) for future in futures]
            assert there == [bits(classifier.assess(photo, **options)) for photo in photos[:2]]


@WITH_FORK
@pytest.mark.parametrize("end", ["pass", "classifier.close()", "del classifier"])
def test_a_forked_child_ends(shared_micro_bundle: Path, lesion_jpg: Path, end: str) -> None:
    """Its networks would wait for threads that stayed in the parent. It may make a classifier of its own."""
    code = f"""
import os, sys, warnings
from edgeskin import Classifier, SettingError
warnings.simplefilter("ignore")
bundle, photo = {str(shared_micro_bundle)!r}, {str(lesion_jpg)!r}
classifier = Classifier(bundle, threads=2, workers=2)
before = classifier.assess(photo).cancer_probability
child = os.fork()
if not child:
    try:
        classifier.assess(photo)
    except SettingError:
        own = Classifier(bundle, threads=2).assess(photo)
        {end}
        sys.exit(7 if own.cancer_probability == before else 1)
    sys.exit(2)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(status, [one.cancer_probability == before for one in classifier.assess_many([photo] * 8)] == [True] * 8)
"""
    done = in_python(code)
    assert done.stdout.split() == ["7", "True"], done.stderr


def in_python(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own; a hanging child of it is ended as well."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, errors = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_an_abandoned_iterator_leaves_no_thread(
    shared_micro_bundle: Path, photos: list[Path], workers: int, taken: int
) -> None:
    classifier = Classifier(shared_micro_bundle, threads=2, workers=workers)
    before = set(threading.enumerate())
    results = classifier.assess_many(photos)
    for _ in range(taken):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before
    assert len(list(classifier.assess_many(photos))) == len(photos)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_iterable_reaches_the_caller(
    shared_micro_bundle: Path, photos: list[Path], workers: int
) -> None:
    def failing() -> Iterator[Path]:
        yield from photos[:3]
        raise KeyError("no more")

    classifier = Classifier(shared_micro_bundle, threads=2, workers=workers)
    before = set(threading.enumerate())
    with pytest.raises(KeyError, match="no more"):
        list(classifier.assess_many(failing()))
    assert set(threading.enumerate()) == before
    assert len(list(classifier.assess_many(photos))) == len(photos)


class Predicting:
    """The command at work on many pictures, from its first result on."""

    def __init__(
        self, folder: Path, bundle: Path, photo: Path, *options: str, start: tuple[str, ...] = ()
    ) -> None:
        self.out = folder / "results.jsonl"
        command = [
            *start,
            sys.executable,
            "-m",
            "edgeskin",
            "predict",
            *[str(photo)] * 2000,
            "--json",
            *options,
        ]
        with self.out.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, "--bundle", str(bundle)], stdout=file, stderr=subprocess.PIPE, text=True, cwd=ROOT
            )
        while self.process.poll() is None and b"\n" not in self.out.read_bytes():
            time.sleep(0.05)

    def ended(self) -> str:
        """What it wrote to stderr until it ended, which it must within seconds."""
        try:
            return self.process.communicate(timeout=20)[1]
        finally:
            self.process.kill()


@pytest.mark.hazard("H-14")
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_ends_the_command_between_whole_lines(
    tmp_path: Path,
    shared_micro_bundle: Path,
    lesion_jpg: Path,
    number: signal.Signals,
    code: int,
    workers: str,
) -> None:
    options = ("--threads", "2", "--workers", workers)
    command = Predicting(tmp_path, shared_micro_bundle, lesion_jpg, *options)
    command.process.send_signal(number)
    assert command.ended() == ""
    assert command.process.returncode == code
    lines = command.out.read_text().splitlines(keepends=True)
    assert 0 < len(lines) < 2000
    for line in lines:
        assert line.endswith("\n")
        assert json.loads(line)["status"] == "assessed"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_signal_while_modules_are_imported_is_no_traceback(lesion_jpg: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "edgeskin", "predict", str(lesion_jpg)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stderr is not None
        read = []
        for line in process.stderr:
            read.append(line)
            if (
                line.split("|")[-1].strip() == "edgeskin.errors"
            ):  # of typer's and numpy's imports, many are left
                break
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=10)[1]
    assert process.returncode == 130
    assert "Traceback" not in "".join(read) + errors


@WITH_PROC
def test_the_first_process_of_a_container_ends_on_a_signal(
    tmp_path: Path, shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    """The kernel drops signals that PID 1 does not handle."""
    start = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    try:
        subprocess.run([*start, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no process may have a PID namespace on this system")
    command = Predicting(tmp_path, shared_micro_bundle, lesion_jpg, start=start)
    pid = command.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    command.ended()
    assert command.process.returncode == 143


MEMORY = """
import gc, os, sys, tracemalloc
from pathlib import Path
import numpy as np
from edgeskin import Classifier, PhotoError

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def measured(work, warm_up, count):
    # Growth in MB of Python's objects and of the process, after a warm-up.
    tracemalloc.start()
    for place in range(warm_up):
        work(place)
    gc.collect()
    objects, process = tracemalloc.get_traced_memory()[0], resident()
    for place in range(count):
        work(place)
    gc.collect()
    print((tracemalloc.get_traced_memory()[0] - objects) / 1e6, resident() - process)

bundle, example = sys.argv[1:]
rng = np.random.default_rng(0)
coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
pictures = [np.repeat(np.repeat(coarse, side, 0), side, 1) for side in (2, 3, 5, 8)]
pictures += [example, b"damaged", Path(example).read_bytes()[:3000]]
options = [{}, {}, {"explain": "grad-cam"}, {"mc_samples": 5}]
"""
MANY_PICTURES = """
classifier = Classifier(bundle, threads=1, quality_gate=False)

def work(place):
    try:
        classifier.assess(pictures[place % len(pictures)], **options[place % len(options)])
    except PhotoError:
        pass

measured(work, 300, 2000)
"""
MANY_CLASSIFIERS = """
def work(place):
    with Classifier(bundle, threads=2, workers=1 + place % 2) as classifier:
        classifier.assess(example, explain="grad-cam")

measured(work, 10, 50)
"""


@pytest.mark.hazard("H-18")
@WITH_PROC
@pytest.mark.parametrize("code", [MANY_PICTURES, MANY_CLASSIFIERS], ids=["pictures", "classifiers"])
def test_memory_does_not_grow(shared_micro_bundle: Path, lesion_jpg: Path, code: str) -> None:
    """`benchmarks.robustness.load` measures more pictures, and the shipped bundles."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY + code, str(shared_micro_bundle), str(lesion_jpg)],
        capture_output=True, text=True, check=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    objects, process = map(float, done.stdout.split())
    assert objects < 0.2
    assert process < 5
