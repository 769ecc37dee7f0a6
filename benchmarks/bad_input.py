"""What does a bad picture cost? Time, peak memory and exit code of `edgeskin predict BAD GOOD --json`.

    python -m benchmarks.bad_input

Each file is one of those that tests/test_photo.py makes by hand. The good picture beside it must be
assessed every time; the limits are 2 s and 300 MB for the whole process, network included (Linux, macOS).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine, write
from tests import test_photo as made

GOOD = Path("examples/lesion.jpg")
SECONDS, MEGABYTES = 2.0, 300.0


def main() -> None:
    """Measure, print and write benchmarks/results/bad_input.json; exit code 1 beyond a limit."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [_measure(name, path) for name, path in _cases(Path(folder)).items()]
    for row in rows:
        print(
            f"{row['case']:<22} {row['seconds']:5.2f} s {row['peak_mb']:6.0f} MB  exit {row['exit_code']}  "
            f"{row['answers'][0]}"
        )
    within = all(
        row["seconds"] <= SECONDS and row["peak_mb"] <= MEGABYTES and row["answers"][1] == "assessed"
        for row in rows
    )
    result = {
        "command": "python -m benchmarks.bad_input",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "within_limits": within,
        "results": rows,
    }
    print(write("bad_input", result))
    sys.exit(not within)


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
    return {name: folder / name for name in (*contents, "folder", "missing.jpg")}


def _measure(name: str, path: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "edgeskin", "predict", str(path), str(GOOD), "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    results = [json.loads(line) for line in lines]
    return {
        "case": name,
        "seconds": time.perf_counter() - started,
        "peak_mb": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6,
        "exit_code": os.waitstatus_to_exitcode(status),
        "answers": [result["status"] for result in results],
        "error": (results[0]["error"] or {}).get("message", "").replace(str(path.parent), "..."),
    }


if __name__ == "__main__":
    main()
