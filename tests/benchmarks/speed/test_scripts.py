"""Scripts that time the runtime still fit it: each runs on the micro bundle, and its table renders."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from benchmarks.speed import batches, cold_start, latency_breakdown, mc_dropout, overhead
from edgeskin import Classifier
from edgeskin.bundle.bundle import open_bundle
from edgeskin.cli.main import app
from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.results import to_plain
from tests.conftest import MICRO_SIZE, write_manifest

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def bundle(micro_bundle: Path) -> Path:
    """A micro bundle of eight views, as the shipped ones."""
    write_manifest(micro_bundle, preprocessing=to_plain(Preprocessing(size=MICRO_SIZE, views=8)))
    return micro_bundle


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the main function of a script with three rounds, and returns its result, which is not written."""

    def run(script: ModuleType, **constants: object) -> dict[str, Any]:
        written: list[dict[str, Any]] = []
        replaced = constants | {"write_result": lambda _, content: written.append(content)}
        for name, value in replaced.items():
            monkeypatch.setattr(script, name, value)
        monkeypatch.setattr(sys, "argv", [script.__name__, "--rounds", "3"])
        script.main()
        monkeypatch.setattr(script, "read_result", lambda _: written[0])
        assert script.table().rows
        return written[0]["results"]

    return run


def test_batches(run: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.engine, "VIEWS_PER_BATCH", batches.engine.VIEWS_PER_BATCH)
    results = run(batches, open_bundle=lambda: open_bundle(bundle))
    assert set(results) == {"int8", "fp32"}


def test_latency_breakdown(run: Run, bundle: Path) -> None:
    micro = partial(Classifier, bundle)
    results = run(latency_breakdown, Classifier=micro, WARM_UP=0, PHOTOS=2)
    assert set(results) == {"int8", "fp32"}
    assert {"decode", "network", "sampling", "explanation", "HTML", "total"} <= set(results["int8"])


def test_mc_dropout_samples_all_views(run: Run, bundle: Path) -> None:
    views: set[int] = set()
    sample = mc_dropout.sample

    def counted(classifier: Classifier, features: Any, samples: int) -> None:
        views.add(len(features))
        sample(classifier, features, samples)

    run(mc_dropout, Classifier=partial(Classifier, bundle), sample=counted)
    assert views == {8}


def test_overhead(run: Run, bundle: Path) -> None:
    results = run(
        overhead,
        Classifier=lambda _: Classifier(bundle),
        WARM_UP=0,
        require_bundle=lambda *_: None,
    )
    assert set(results) == {"default", "lite"}


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_process_reports_its_steps(is_prepared: bool, bundle: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache") if is_prepared else ""
    done = cold_start.steps(sys.executable, os.environ, cache, str(tmp_path), str(bundle))
    assert {"interpreter", "import edgeskin", "network", "render", "exit"} <= set(done)
    assert (cold_start.LOAD if is_prepared else cold_start.COMPILE) in done
    assert all(milliseconds >= 0 for milliseconds in done.values())


def test_timed_commands_exist() -> None:
    predict = typer.main.get_command(app).commands["predict"]
    options = {name for parameter in predict.params for name in parameter.opts}
    for command in cold_start.commands("cache").values():
        assert {word for word in command if word.startswith("--")} <= options
