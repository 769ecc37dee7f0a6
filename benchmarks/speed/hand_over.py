"""How long does a byte take from one CPU core to the next?

    python -m benchmarks.speed.hand_over [--watch SECONDS]

A virtual machine's cores are where its host puts them: on one last-level cache or on two, and that may change
within minutes. One network on two threads hands its data from core to core; two networks of one thread do
not. What is timed is compared within one state alone, so benchmarks keep this beside their times.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

APART_NS = 85
"""From here on two cores share no cache. On one AMD EPYC this gave 48 to 56 ns where they did and 119 to 130
otherwise; a loop in C, which looks more often, 32 and 190 to 210."""
TURNS, TRIES = 10_000, 5
SIDE = f"""
import mmap, os, sys, time
path, core, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.sched_setaffinity(0, {{core}})
with open(path, "r+b") as file:
    byte = memoryview(mmap.mmap(file.fileno(), 0))

def turns(byte, wanted, left):
    begun = time.perf_counter_ns()
    for _ in range({TURNS}):
        while byte[0] != wanted:
            pass
        byte[0] = left
    return time.perf_counter_ns() - begun

together = min(turns(byte, first, 1 - first) for _ in range({TRIES}))
alone = min(turns(bytearray([first]), first, first) for _ in range({TRIES}))
print((together / 2 - alone) / {TURNS})
"""


def hand_over_ns() -> float | None:
    """Nanoseconds from one of the first two cores allowed to the other, the shortest of five tries, without
    what the loop itself takes; None where there is one core, or no way to choose it. Beside other work it is
    hundreds, wherever the cores lie.

    Two processes take turns at a byte that they share.
    """
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return None
    with tempfile.NamedTemporaryFile() as shared:
        shared.write(bytes(1))
        shared.flush()
        sides: list[subprocess.Popen[str]] = []
        try:
            sides += [
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", SIDE, shared.name, str(core), str(place)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for place, core in enumerate(cores)
            ]
            told = [side.communicate(timeout=10)[0] for side in sides]
        finally:
            for side in sides:  # one that waits for the other would go on for ever
                side.kill()
    return sum(map(float, told)) / len(told)


def share_a_cache(nanoseconds: float | None) -> bool:
    """Whether two cores that far from each other do; one core does with itself."""
    return nanoseconds is None or nanoseconds < APART_NS


def told(measured: Sequence[float | None]) -> str:
    """As tables tell it: how far apart the cores were, and how often they shared no cache."""
    known = [one for one in measured if one is not None]
    if not known:
        return "one core" if measured else "how far apart the cores were is not known"
    apart = sum(not share_a_cache(one) for one in known)
    return f"cores {min(known):.0f} to {max(known):.0f} ns apart" + (
        f", without a cache in common {apart} times of {len(known)}" if apart else ""
    )


def main() -> None:
    """Print it, once or as long as wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--watch", type=float, default=0)
    end = time.monotonic() + parser.parse_args().watch
    while True:
        nanoseconds = hand_over_ns()
        print("one core" if nanoseconds is None else f"{nanoseconds:.0f} ns", flush=True)
        if time.monotonic() >= end:
            return
        time.sleep(1)


if __name__ == "__main__":
    main()
