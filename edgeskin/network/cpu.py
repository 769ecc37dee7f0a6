"""What this machine's CPU offers the process: threads within the quota, and the instruction set."""

import math
import os
import platform
from pathlib import Path

import cv2

CGROUP = Path("/sys/fs/cgroup")
PROCESS_CGROUP = Path("/proc/self/cgroup")
_INSTRUCTION_SETS = ("generic", "sse4_2", "avx2", "avx512", "avx512_vnni")
_LIMITS = {"SSE41": 1, "AVX2": 2, "AVX2_VNNI": 2, "AVX512_CORE": 3, "AVX512_CORE_VNNI": 4}


def available_threads() -> int:
    """Threads that this process may use, at least 1: its affinity mask, lowered to the cgroups' CPU quota.

    OpenVINO does not read the quota (openvino#37838) and would start a thread for each core of the host.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _cgroup_quota())))


def instruction_set() -> str:
    """The vector instructions that decide OpenVINO's INT8 kernels here, such as ``avx512_vnni``.

    Lower than the CPU's own where ONEDNN_MAX_CPU_ISA says so. AVX-VNNI of client CPUs counts as ``avx2``.
    """
    # OpenCV's numbers of CPU features (opencv2/core/cvdef.h); its Python module names none of them.
    if cv2.checkHardwareSupport(100):
        return "neon"
    features = {23: 4, 13: 3, 11: 2, 7: 1}
    level = next((level for number, level in features.items() if cv2.checkHardwareSupport(number)), 0)
    limit = _LIMITS.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), level)
    return _INSTRUCTION_SETS[min(level, limit)]


def processor_name() -> str:
    """The CPU's name, as far as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cgroup_quota() -> float:
    """CPUs' worth of time that the cgroups allow (v2, then v1); infinity without a limit."""
    try:
        own = PROCESS_CGROUP.read_text().partition("0::/")[2].splitlines()
    except OSError:
        own = []
    # The tightest of this process's own group and all groups above it counts.
    group = CGROUP / (own[0] if own else "")
    groups = [folder for folder in (group, *group.parents) if folder.is_relative_to(CGROUP)]
    limits = [_quota(folder / "cpu.max") for folder in groups]
    v1 = CGROUP / "cpu"
    limits.append(_quota(v1 / "cpu.cfs_quota_us", v1 / "cpu.cfs_period_us"))
    return min(limits)


def _quota(*files: Path) -> float:
    """Quota over period, which the files hold in this order; infinity when they hold anything else."""
    try:
        quota, period = (int(word) for file in files for word in file.read_text().split())
    except (OSError, ValueError):
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf
