"""Threads within quota and affinity, and the instruction set within its limit."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeskin.network.cpu import available_threads, instruction_set, processor_name

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("root", "own", "quota"),
    [
        ("max 100000", "max 100000", math.inf),
        ("max 100000", "150000 100000", 2),
        ("50000 100000", "max 100000", 1),
        ("x 100000", "", math.inf),
    ],
)
def test_the_tightest_cgroup_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, own: str, quota: float
) -> None:
    (tmp_path / "kiosk.service").mkdir()
    (tmp_path / "cpu.max").write_text(root)
    (tmp_path / "kiosk.service" / "cpu.max").write_text(own)
    (tmp_path / "cgroup").write_text("0::/kiosk.service\n")
    monkeypatch.setattr("edgeskin.network.cpu.CGROUP", tmp_path)
    monkeypatch.setattr("edgeskin.network.cpu.PROCESS_CGROUP", tmp_path / "cgroup")
    assert available_threads() == min(ALLOWED, quota)


def test_a_version_1_cgroup_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    monkeypatch.setattr("edgeskin.network.cpu.CGROUP", tmp_path)
    assert available_threads() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity mask")
def test_the_affinity_mask_counts() -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}}); "
        "from edgeskin.network.cpu import available_threads; print(available_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


def test_the_instruction_set_never_exceeds_the_cpu_or_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    order = ["generic", "sse4_2", "avx2", "avx512", "avx512_vnni"]
    native = instruction_set()
    if native == "neon":
        pytest.skip("oneDNN's limits are those of x86")
    limits = (("SSE41", "sse4_2"), ("AVX2", "avx2"), ("AVX512_CORE_VNNI", "avx512_vnni"), ("ALL", native))
    for limit, most in limits:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert order.index(instruction_set()) == min(order.index(native), order.index(most))


def test_the_processor_has_a_name() -> None:
    assert processor_name().strip()
