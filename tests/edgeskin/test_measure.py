"""A benchmark run on a user's machine: its numbers add up, and its settings are recorded."""

import dataclasses
import importlib.util
import json
from pathlib import Path
from statistics import median

import pytest

from edgeskin.bench.measure import WARM_UP, Result, measure, require_plots, run
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import BundleError, SettingError


def test_a_whole_run_adds_up(bench_result: Result, shared_micro_bundle: Path) -> None:
    by_name = {row.precision: row for row in bench_result.rows}
    assert set(by_name) == {"int8", "fp32"}
    sizes = {path.name: path.stat().st_size for path in shared_micro_bundle.iterdir()}
    for precision, row in by_name.items():
        assert row.model_bytes == sizes[f"{precision}.xml"] + sizes[f"{precision}.bin"]
        assert len(row.rounds) == 2
        for name, value in vars(row.median).items():
            assert value == median(getattr(one, name) for one in row.rounds)
        for one in row.rounds:
            assert one.p95_ms >= one.p50_ms > 0
            assert min(one.compile_ms, one.first_ms, one.photos_per_second) > 0
    assert bench_result.speedup == by_name["fp32"].median.p50_ms / by_name["int8"].median.p50_ms
    assert bench_result.agreement is not None
    assert bench_result.agreement.images == 4
    assert len(bench_result.agreement.failed) == 1


def test_a_result_records_its_settings_and_machine(bench_result: Result, shared_micro_bundle: Path) -> None:
    values = json.loads(json.dumps(bench_result.to_dict(), allow_nan=False))
    assert set(values) == {"rows", "speedup", "agreement", "settings", "machine"}
    assert values["settings"] == {
        "repeats": 10, "rounds": 2, "threads": 1, "warm_up": WARM_UP, "views": 1, "bundle": "micro 0",
        "bundle_sha256": open_bundle(shared_micro_bundle).sha256,
    }  # fmt: skip
    assert set(values["machine"]) == {
        "processor", "isa", "isa_limit", "system", "python", "edgeskin", "openvino", "numpy", "opencv"
    }  # fmt: skip
    assert values["rows"][0]["median"] == dataclasses.asdict(bench_result.rows[0].median)


def test_a_round_in_this_process(shared_micro_bundle: Path) -> None:
    one = measure(shared_micro_bundle, "int8", 1, 10)
    assert one.p95_ms >= one.p50_ms > 0
    assert one.peak_mb is None or one.peak_mb > 10


def test_an_altered_bundle_is_not_measured(micro_bundle: Path) -> None:
    path = micro_bundle / "head.npz"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BundleError, match=r"head\.npz"):
        run(micro_bundle, 1, 10, 1, None, None)


def test_without_matplotlib_a_figure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_plots()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="matplotlib"):
        require_plots()
