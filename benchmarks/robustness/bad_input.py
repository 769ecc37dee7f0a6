"""What does a bad picture cost? Time, peak memory, exit code of `edgeskin predict BAD GOOD`, without gates.

    python -m benchmarks.robustness.bad_input

Each file is one of those that tests/test_photo.py makes by hand. The good picture beside it must be
assessed every time; the limits are 2 s and 300 MB for the whole process, network included (Linux).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.environment import machine, write
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network.engine import instruction_set
from tests.edgeskin import test_photo as made

GOOD = Path("examples/lesion.jpg")
SECONDS, MEGABYTES = 2.0, 300.0


READABLE = {"cmyk.jpg", "16-bit.png", "alpha.png", "grey.jpg", "皮膚 é.jpg", "folder"}


def main() -> None:
    """Measure, print and write benchmarks/results/bad_input.json; exit code 1 where a row does not pass."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [_measure(name, path) for name, path in _cases(Path(folder)).items()]
    for row in rows:
        verdict = "passed" if row["passed"] else "FAILED"
        print(f"{row['case']:<26}{row['seconds']:5.2f} s {row['peak_mb']:5.0f} MB  {verdict}  {row['error']}")
    result = {
        "command": "python -m benchmarks.robustness.bad_input",
        "limits": {"seconds": SECONDS, "megabytes": MEGABYTES},
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "isa": instruction_set(),
        "bundle_sha256": open_bundle().sha256,
        "results": rows,
    }
    print(write("bad_input", result))
    sys.exit(not all(row["passed"] for row in rows))


def _cases(folder: Path) -> dict[str, Path]:
    contents = {
        "empty.jpg": b"",
        "text.jpg": b"this is no picture\n" * 100,
        "truncated.jpg": made.JPEG[: len(made.JPEG) // 2],
        "1x1.png": made.encode(made.RGB[:1, :1], "PNG"),
        "20000x20000.png": made.pixel_bomb(),
        "text chunk, 57 bytes.png": made.TEXT_BOMB,
        "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(1000),
        "cmyk.jpg": made.READABLE["jpeg cmyk"],
        "16-bit.png": made.png(
            made.ihdr(160, 120, 16), (b"IDAT", made.png_rows(made.RGB.astype("uint16") * 257)), made.IEND
        ),
        "alpha.png": made.READABLE["png alpha"],
        "grey.jpg": made.READABLE["jpeg gray"],
        "皮膚 é.jpg": made.JPEG,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "folder" / "inside.jpg").write_bytes(made.JPEG)
    (folder / "empty folder").mkdir()
    return {name: folder / name for name in (*contents, "folder", "empty folder", "missing.jpg")}


# Reports its own peak: what the system tells of a child includes the memory of the process that forked it.
# Ends at once after that, as the command does.
PROBE = """
import os, re, sys, traceback
from pathlib import Path
from edgeskin.cli import main as cli
try:
    code = cli._run()
except BaseException:
    traceback.print_exc()
    code = 70
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr, flush=True)
os._exit(code)
"""


def _measure(name: str, path: Path) -> dict[str, Any]:
    # The gates would turn away the noise that readable files hold here, one of them before the network.
    options = ["--json", "--no-quality-gate", "--no-scope-gate"]
    command = [sys.executable, "-c", PROBE, "predict", str(path), str(GOOD), *options]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    peak_mb = int(done.stderr.split()[-1]) * 1024 / 1e6
    results = [json.loads(line) for line in done.stdout.splitlines()]
    expected = (["assessed", "assessed"], 0) if name in READABLE else (["error", "assessed"], 1)
    answers = ([result["status"] for result in results], done.returncode)
    message = (results[0]["error"] or {}).get("message", "") if results else done.stderr
    return {
        "case": name,
        "seconds": seconds,
        "peak_mb": peak_mb,
        "exit_code": done.returncode,
        "answers": answers[0],
        "error": message.replace(f"{path.parent}{os.sep}", ""),
        "passed": answers == expected and seconds <= SECONDS and peak_mb <= MEGABYTES,
    }


if __name__ == "__main__":
    main()
