"""What do bad input files cost: time, peak memory and exit code of `edgeskin predict BAD GOOD`?

    python -m benchmarks.robustness.bad_input

The files are those that tests/edgeskin/test_photo.py makes by hand. The good photo beside each must be
assessed; the limits for the whole process, network included, are 2 s and 300 MB (Linux). The gates are off,
as they would refuse the noise in the readable files. Writes benchmarks/robustness/results/bad_input.json; the
exit code is 1 if a file does not pass.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.environment import (
    EXAMPLE,
    argument_parser,
    hardware,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.tables import Table
from tests.edgeskin import pictures as made

RESULT = result_path(__file__)
SECONDS, MEGABYTES = 2.0, 300.0
READABLE = {"cmyk.jpg", "16-bit.png", "alpha.png", "grey.jpg", "皮膚 é.jpg", "folder"}
# The process reports its own peak, since the system's figure for a child includes the process that forked it.
PROBE = """
import os, re, sys
from pathlib import Path
from edgeskin.cli.main import main
end = os._exit
def report(code):
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print(peak, file=sys.stderr, flush=True)
    end(code)
os._exit = report
main()
"""


def main() -> None:
    """Measure, print and write the result."""
    argument_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(name, path) for name, path in bad_files(Path(folder)).items()]
    content = result(
        "python -m benchmarks.robustness.bad_input",
        *("openvino", "numpy", "opencv-python-headless"),
        limits={"seconds": SECONDS, "megabytes": MEGABYTES},
        results=rows,
    )
    for row in rows:
        verdict = "passed" if row["passed"] else "FAILED"
        print(f"{row['case']:<26}{row['seconds']:5.2f} s {row['peak_mb']:5.0f} MB  {verdict}  {row['error']}")
    write_result(RESULT, content)
    sys.exit(not all(row["passed"] for row in rows))


def bad_files(folder: Path) -> dict[str, Path]:
    """Write the files into a folder and list them, by name; one does not exist."""
    contents = {
        "empty.jpg": b"",
        "text.jpg": b"this is no picture\n" * 100,
        "truncated.jpg": made.JPEG[: len(made.JPEG) // 2],
        "1x1.png": made.encode(made.RGB[:1, :1], "PNG"),
        "20000x20000.png": made.pixel_bomb(),
        "text chunk, 57 bytes.png": made.TEXT_BOMB,
        "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(1000),
        "cmyk.jpg": made.encode(Image.fromarray(made.RGB).convert("CMYK"), "JPEG", quality=95),
        "16-bit.png": made.png(
            made.ihdr(160, 120, 16), (b"IDAT", made.png_rows(made.RGB.astype("uint16") * 257)), made.IEND
        ),
        "alpha.png": made.encode(made.RGBA, "PNG"),
        "grey.jpg": made.encode(made.RGB[..., 0], "JPEG"),
        "皮膚 é.jpg": made.JPEG,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "folder" / "inside.jpg").write_bytes(made.JPEG)
    (folder / "empty folder").mkdir()
    return {name: folder / name for name in (*contents, "folder", "empty folder", "missing.jpg")}


def measured(name: str, path: Path) -> dict[str, Any]:
    """Run the command on one file and the good photo."""
    options = ["--json", "--no-quality-gate", "--no-scope-gate"]
    command = [sys.executable, "-c", PROBE, "predict", str(path), str(EXAMPLE), *options]
    started = time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    peak_mb = int(process.stderr.split()[-1]) * 1024 / 1e6
    results = [json.loads(line) for line in process.stdout.splitlines()]
    statuses = [one["status"] for one in results]
    expected = (["assessed", "assessed"], 0) if name in READABLE else (["error", "assessed"], 1)
    message = (results[0]["error"] or {}).get("message", "") if results else process.stderr
    return {
        "case": name,
        "seconds": seconds,
        "peak_mb": peak_mb,
        "exit_code": process.returncode,
        "answers": statuses,
        "error": message.replace(f"{path.parent}{os.sep}", ""),
        "passed": (statuses, process.returncode) == expected and seconds <= SECONDS and peak_mb <= MEGABYTES,
    }


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    limits = content["limits"]
    return Table(
        "Bad input files",
        "`edgeskin predict` on one bad or unusual file and one good photo: time and peak memory of the whole "
        f"process, and its exit code. All stay within {limits['seconds']:.0f} s and "
        f"{limits['megabytes']:.0f} MB, and the good photo is always assessed. {hardware(content)}.",
        content["command"],
        ("file", "seconds", "peak MB", "first file", "exit code"),
        [
            (
                row["case"],
                f"{row['seconds']:.2f}",
                f"{row['peak_mb']:.0f}",
                row["answers"][0] if row["answers"] else "",
                str(row["exit_code"]),
            )
            for row in content["results"]
        ],
    )


if __name__ == "__main__":
    main()
