"""The engine on Ray: the same table as this process, whatever becomes of workers and nodes."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.batch.ledger import ledger_folder
from edgeskin.batch.ray import MAX_LOSSES, RayEngine
from edgeskin.batch.runner import PartSettings, Summary, run
from edgeskin.errors import BundleError, ResourceError
from edgeskin.photo.listing import PhotoRef, list_photos
from tests.conftest import ROOT, run_cli

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")

pytestmark = pytest.mark.hazard("H-14")
OLD = 1_600_000_000
PICTURES, BAD = 24, 7


class Deadly(PhotoRef):
    """A picture that ends the Ray worker that reads it, as the system does where memory is short."""

    def source(self, patience_s: float = 60) -> bytes:
        if self.refusal is None and "default_worker" in sys.argv[0]:
            os._exit(9)
        return super().source(patience_s)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoRef]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        image = rng.integers(60, 200, (70, 70, 3), dtype=np.uint8)
        path = folder / f"{number:02}.png"
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes() if number != BAD else b"no picture")
        os.utime(path, (OLD, OLD))
    return list(list_photos([str(folder)]))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs, and two nodes with one each."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = str(ROOT)  # workers read `Deadly` in this module
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
    del os.environ["PYTHONPATH"]


@pytest.fixture(scope="module")
def part_settings(shared_micro_bundle: Path) -> Iterator[PartSettings]:
    with Classifier(shared_micro_bundle, threads=1, quality_gate=False) as opened:
        yield PartSettings(opened, "jsonl")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def table(out: Path) -> list[dict[str, Any]]:
    """The results without their times."""
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return [line | {"timing_ms": None} for line in lines]


def test_an_address_without_a_cluster_is_an_error(part_settings: PartSettings) -> None:
    with pytest.raises(ResourceError) as caught:
        RayEngine(part_settings, address="127.0.0.1:9")
    assert caught.value.code == "no_workers"


@pytest.fixture(scope="module")
def expected(
    photos: list[PhotoRef], part_settings: PartSettings, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What this process writes."""
    out = tmp_path_factory.mktemp("local") / "results.jsonl"
    run(photos, part_settings, out, part_size=4)
    return table(out)


def run_on(
    cluster: Any,
    photos: Sequence[PhotoRef],
    part_settings: PartSettings,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, computed: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Summary:
    with RayEngine(part_settings, address=cluster.address) as engine:
        return run(
            photos, part_settings, out, engine=engine, part_size=4, progress=progress, should_stop=should_stop
        )


def worker_pids() -> list[int]:
    """The processes of Ray workers that have a network."""
    lines = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
    return [int(path.parent.name) for path, line in lines.items() if line.startswith(b"ray::Worker")]


def test_the_table_is_that_of_this_process(
    cluster: Any,
    photos: list[PhotoRef],
    part_settings: PartSettings,
    expected: list[dict[str, Any]],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the paths are relative to a folder that the workers do not run in."""
    folder = Path(photos[0].path).parent
    monkeypatch.chdir(folder.parent)
    relative = [replace(photo, path=os.path.relpath(photo.path)) for photo in photos]
    summary = run_on(cluster, relative, part_settings, out)
    assert table(out) == expected
    assert (summary.computed, summary.statuses) == (PICTURES, {"assessed": PICTURES - 1, "error": 1})


def test_a_killed_worker_loses_and_doubles_nothing(
    cluster: Any,
    photos: list[PhotoRef],
    part_settings: PartSettings,
    expected: list[dict[str, Any]],
    out: Path,
) -> None:
    killed: list[int] = []

    def kill_one(done: int, computed: int) -> None:
        if not killed:
            killed.append(worker_pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    summary = run_on(cluster, photos, part_settings, out, kill_one)
    assert killed
    assert table(out) == expected
    assert summary.computed == PICTURES


def test_a_lost_node_loses_and_doubles_nothing(
    cluster: Any,
    photos: list[PhotoRef],
    part_settings: PartSettings,
    expected: list[dict[str, Any]],
    out: Path,
) -> None:
    nodes = [cluster.add_node(num_cpus=1)]
    cluster.wait_for_nodes()

    def lose_one(done: int, computed: int) -> None:
        if nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    run_on(cluster, photos, part_settings, out, lose_one)
    assert not nodes
    assert table(out) == expected


def test_a_picture_that_kills_its_workers_costs_one_row(
    cluster: Any,
    photos: list[PhotoRef],
    part_settings: PartSettings,
    expected: list[dict[str, Any]],
    out: Path,
) -> None:
    deadly = Deadly(photos[1].name, photos[1].path)
    run_on(cluster, [photos[0], deadly, *photos[2:]], part_settings, out)
    rows = table(out)
    assert rows[1]["image"] == photos[1].name
    assert rows[1]["error"]["code"] == "worker_lost"
    assert str(MAX_LOSSES + 1) in rows[1]["error"]["message"]
    assert [*rows[:1], *rows[2:]] == [*expected[:1], *expected[2:]]


def test_a_run_that_was_stopped_goes_on_with_another_engine(
    cluster: Any,
    photos: list[PhotoRef],
    part_settings: PartSettings,
    out: Path,
) -> None:
    asked = iter(range(10**6))
    first = run_on(cluster, photos, part_settings, out, should_stop=lambda: next(asked) >= 3)
    assert (first.is_finished, first.computed) == (False, 12)
    assert len(list(ledger_folder(out).glob("part-*"))) == 3
    second = run(photos, part_settings, out, part_size=4)
    assert (second.is_finished, second.computed) == (True, PICTURES - 12)
    assert [row["image"] for row in table(out)] == [photo.name for photo in photos]


def test_a_worker_that_cannot_open_the_bundle_ends_the_run(
    cluster: Any, photos: list[PhotoRef], shared_micro_bundle: Path, tmp_path: Path, out: Path
) -> None:
    bundle = shutil.copytree(shared_micro_bundle, tmp_path / "bundle")
    with Classifier(bundle, threads=1) as opened:
        (bundle / "int8.bin").write_bytes(b"another")
        with pytest.raises(BundleError) as caught:
            run_on(cluster, photos, PartSettings(opened, "jsonl"), out)
    assert caught.value.code == "bundle_altered"


def test_a_cluster_that_is_too_small_is_an_error(cluster: Any, part_settings: PartSettings) -> None:
    for options in ({"workers": 9}, {"threads": 9}, {"workers": 3, "threads": 3}):
        with pytest.raises(ResourceError) as caught:
            RayEngine(part_settings, address=cluster.address, **options)
        assert caught.value.code == "no_workers"


def test_the_command_starts_a_ray_of_its_own(
    photos: list[PhotoRef], expected: list[dict[str, Any]], shared_micro_bundle: Path, out: Path
) -> None:
    done = run_cli(
        "predict", Path(photos[0].path).parent, "--out", out, "--bundle", shared_micro_bundle,
        "--engine", "ray", "--workers", 1, "--no-quality-gate",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert [row["probabilities"] for row in table(out)] == [row["probabilities"] for row in expected]
