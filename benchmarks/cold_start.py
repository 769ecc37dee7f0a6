"""How long does one answer take from nothing? Whole processes with a warm file cache.

    python -m benchmarks.cold_start [--repeats 15]

Times, as a user would feel them: the interpreter alone, ``import edgeskin``, and ``edgeskin predict`` on
the example image with INT8 and FP32, each without and with its compiled network in a cache. The processes
alternate, so that a drift of the machine hits all.
"""

import argparse
import subprocess
import sys
import tempfile
import time

from benchmarks.machine import machine, spread, write
from edgeskin.bundle import open_bundle

PREDICT = ["-m", "edgeskin", "predict", "examples/lesion.jpg", "--precision"]


def commands(cache: str) -> dict[str, list[str]]:
    """What is timed, as arguments of the interpreter."""
    plain = {f"predict {precision}": [*PREDICT, precision] for precision in ("int8", "fp32")}
    cached = {f"{name}, cached": [*command, "--cache", cache] for name, command in plain.items()}
    return {"python": ["-c", "pass"], "import edgeskin": ["-c", "import edgeskin"]} | plain | cached


def main() -> None:
    """Measure, print and write benchmarks/results/cold_start.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as cache:
        timed = commands(cache)
        samples: dict[str, list[float]] = {name: [] for name in timed}
        for turn in range(repeats + 1):
            for name, arguments in timed.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
                if turn:  # the first turn fills the file cache, and the other
                    samples[name].append(1e3 * (time.perf_counter() - started))
    result = {
        "command": f"python -m benchmarks.cold_start --repeats {repeats}",
        "unit": "milliseconds, whole process",
        "machine": machine("openvino", "numpy", "opencv-python-headless", "typer"),
        "bundle_sha256": open_bundle().sha256,
        "results": {name: spread(values) for name, values in samples.items()},
        "samples": samples,
    }
    for name, values in result["results"].items():
        quartiles = f"{values['quartile_1']:.0f} to {values['quartile_3']:.0f}"
        print(f"{name:<20} {values['median']:7.0f} ms  (quartiles {quartiles})")
    print(write("cold_start", result))


if __name__ == "__main__":
    main()
