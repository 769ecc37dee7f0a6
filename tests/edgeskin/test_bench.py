"""``edgeskin bench``: its output, its files and its exit codes."""

import json
from pathlib import Path

import cv2
import pytest

from tests.conftest import run_cli


def test_a_run_with_every_output(shared_micro_bundle: Path, labelled_csv: Path, tmp_path: Path) -> None:
    """The damaged picture among the labelled ones makes the exit code 1."""
    out, png = tmp_path / "bench.json", tmp_path / "bench.png"
    done = run_cli(
        "bench", "--bundle", shared_micro_bundle, "--threads", 1, "--repeats", 10, "--rounds", 1, "--json",
        "--data", labelled_csv, "--split", "val", "--out", out, "--png", png,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    values = json.loads(done.stdout)
    assert values == json.loads(out.read_text())
    assert values["agreement"]["images"] == 4
    assert cv2.imread(str(png)) is not None


def test_a_run_without_labels_is_a_table(shared_micro_bundle: Path) -> None:
    done = run_cli("bench", "--bundle", shared_micro_bundle, "--threads", 1, "--repeats", 10, "--rounds", 1)
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    assert "fp32" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--bundle", "nowhere"], 3),
        (["--out", "nowhere/bench.json"], 2),
        (["--png", "nowhere/bench.png"], 2),
        (["--data", "nowhere"], 2),
        (["--repeats", "9"], 2),
        (["--rounds", "0"], 2),
        (["--data", ""], 2),
        (["--out", ""], 2),
        (["--png", ""], 2),
        (["--out", "."], 2),
        (["--png", "bench.pdf"], 2),
        (["--bundle", ""], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run_cli("bench", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
