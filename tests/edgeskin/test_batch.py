"""``edgeskin predict --out`` as a user types it: tables, signals, kills, and what is refused."""

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeskin.batch.ledger import ledger_folder
from edgeskin.batch.runner import PART_SIZE
from tests.conftest import ROOT, run_cli

pytestmark = pytest.mark.hazard("H-14")

OLD = 1_600_000_000
MANY = 4 * PART_SIZE + 10


@pytest.fixture(scope="module")
def lesion(tmp_path_factory: pytest.TempPathFactory, lesion_jpg: Path) -> Path:
    """The example picture, last changed long ago, so that nobody waits for it."""
    path = tmp_path_factory.mktemp("lesion") / "lesion.jpg"
    path.write_bytes(lesion_jpg.read_bytes())
    os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
def few(tmp_path: Path, lesion: Path) -> Path:
    """A folder of pictures, one of which is in a sub-folder."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.jpg", "a.jpg", "deep/c.jpg"):
        (folder / name).hardlink_to(lesion)
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, lesion_folder: Path) -> Path:
    """A folder of several parts: names of one small picture, and one that is none."""
    folder = tmp_path_factory.mktemp("many")
    small = next((lesion_folder / "test" / "MEL").glob("*.png"))
    os.utime(small, (OLD, OLD))
    for number in range(MANY):
        (folder / f"{number:05}.png").hardlink_to(small)
    bad = folder / "00300.png"
    bad.unlink()
    bad.write_bytes(b"no picture")
    os.utime(bad, (OLD, OLD))
    return folder


def command(bundle: Path, out: Path, *arguments: str | Path) -> list[str]:
    options = ["--bundle", bundle, "--threads", "1", "--no-quality-gate", "--out", out]
    return [sys.executable, "-m", "edgeskin", "predict", *map(str, [*arguments, *options])]


def started(bundle: Path, out: Path, *arguments: str | Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command(bundle, out, *arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def parts(out: Path) -> int:
    return len(list(ledger_folder(out).glob("part-*.jsonl")))


def wait_for_parts(process: "subprocess.Popen[bytes]", out: Path, number: int) -> None:
    while parts(out) < number and process.poll() is None:
        time.sleep(0.01)


def rows_of(out: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table without their times."""
    with out.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file) if out.suffix == ".csv" else map(json.loads, file):
            yield {name: cell for name, cell in row.items() if name not in ("total_ms", "timing_ms")}


def test_a_table_and_nothing_on_stdout(shared_micro_bundle: Path, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    done = run_cli("predict", few, "--recursive", "--bundle", shared_micro_bundle, "--out", out)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    rows = list(rows_of(out))
    assert [row["image"] for row in rows] == [str(few / name) for name in ("a.jpg", "b.jpg", "deep/c.jpg")]
    assert {row["status"] for row in rows} == {"assessed"}
    assert "3 pictures: 3 assessed" in done.stderr
    assert "pictures/s" in done.stderr
    assert done.stderr.count("not a medical device") == 1
    assert not ledger_folder(out).exists()


def test_a_table_has_the_results_that_stdout_would_have(
    shared_micro_bundle: Path, few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    options = ("--bundle", shared_micro_bundle, "--age", 30, "--site")
    run_cli("predict", few, *options, "Palms/Soles", "--out", out)
    printed = run_cli("predict", few, *options, "palms/soles", "--json").stdout
    lines = [json.loads(line) for line in printed.splitlines()]
    assert lines
    assert list(rows_of(out)) == [
        {key: value for key, value in line.items() if key != "timing_ms"} for line in lines
    ]


def test_all_kinds_of_sources(shared_micro_bundle: Path, few: Path, lesion: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\nphotos/a.jpg,MEL\nphotos/b.jpg,NV\nmissing.jpg,MEL\n")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(lesion, "inside.jpg")
        archive.writestr("../evil.jpg", b"x")
    out = tmp_path / "results.csv"
    sources = [tmp_path / name for name in ("list.csv", "a.zip", "photos/*.jpg")]
    done = run_cli("predict", *sources, "--bundle", shared_micro_bundle, "--out", out)
    assert done.returncode == 1
    rows = {row["image"].removeprefix(f"{tmp_path}/"): row for row in rows_of(out)}
    assert list(rows) == [
        "photos/a.jpg", "photos/b.jpg", "missing.jpg", "a.zip/inside.jpg", "a.zip/../evil.jpg"
    ]  # fmt: skip
    assert [row["error_code"] for row in rows.values()] == ["", "", "not_found", "", "unsafe_archive"]
    assert rows["a.zip/inside.jpg"]["cancer_probability"] == rows["photos/a.jpg"]["cancer_probability"]
    assert "3 pictures with a known label; 2 assessed" in done.stdout
    assert "AUROC" in done.stdout


def test_a_run_does_not_list_what_it_writes(shared_micro_bundle: Path, few: Path, tmp_path: Path) -> None:
    """The table and the folder of its parts lie among the pictures; a picture that fails keeps the folder."""
    (few / "deep" / "c.jpg").unlink()
    (few / "deep").rmdir()
    (few / "bad.jpg").write_bytes(b"no picture")
    os.utime(few / "bad.jpg", (OLD, OLD))
    for name in ("r.jsonl", "r.csv"):
        for _ in range(2):
            done = run_cli("predict", few / "*", "--bundle", shared_micro_bundle, "--out", few / name)
            assert done.returncode == 1, done.stderr
            rows = list(rows_of(few / name))
            assert [Path(row["image"]).name for row in rows] == ["a.jpg", "b.jpg", "bad.jpg"]
        for path in (*ledger_folder(few / name).iterdir(), few / name):
            path.unlink()
        ledger_folder(few / name).rmdir()


def test_names_on_standard_input(shared_micro_bundle: Path, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    names = b"\0".join(os.fsencode(few / name) for name in ("b.jpg", "a.jpg"))
    done = subprocess.run(
        command(shared_micro_bundle, out, "-"),
        input=names + b"\0",
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [row["image"] for row in rows_of(out)] == [str(few / name) for name in ("b.jpg", "a.jpg")]


def test_parquet(shared_micro_bundle: Path, few: Path, tmp_path: Path) -> None:
    """A list in Parquet in, a table in Parquet out."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    listed = pyarrow.table(
        {"path": ["photos/b.jpg", "photos/a.jpg"], "age": [None, 30.0], "label": ["NV", None], "x": [1, 2]}
    )
    parquet.write_table(listed, tmp_path / "list.parquet")
    out = tmp_path / "results.parquet"
    done = run_cli("predict", tmp_path / "list.parquet", "--bundle", shared_micro_bundle, "--out", out)
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(out).to_pylist()
    assert [Path(row["image"]).name for row in rows] == ["b.jpg", "a.jpg"]
    assert ["age_under_40" in row["limitations"] for row in rows] == [False, True]
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1" + bytes(50))
    for source in ("damaged.parquet", "results.parquet"):  # the second has no column path
        out = tmp_path / "other.csv"
        done = run_cli("predict", tmp_path / source, "--bundle", shared_micro_bundle, "--out", out)
        assert (done.returncode, out.exists()) == (2, False)
        assert source in done.stderr


def test_without_pyarrow_the_error_names_the_extra(
    shared_micro_bundle: Path, few: Path, tmp_path: Path
) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('no pyarrow')")
    out, listed = tmp_path / "results.parquet", tmp_path / "list.parquet"
    listed.touch()
    for arguments in ((few, "--out", out), (listed, "--out", tmp_path / "results.csv")):
        done = run_cli("predict", *arguments, "--bundle", shared_micro_bundle, PYTHONPATH=str(tmp_path))
        assert done.returncode == 2
        assert "edgeskin[parquet]" in done.stderr


# Ends


def test_killed_at_any_moment_it_goes_on_to_the_same_table(
    shared_micro_bundle: Path, many: Path, tmp_path: Path
) -> None:
    """SIGKILL at three moments of chance, then the same command to its end."""
    clean, out = tmp_path / "clean.csv", tmp_path / "out.csv"
    assert subprocess.run(command(shared_micro_bundle, clean, many), cwd=ROOT, check=False).returncode == 1
    chance = random.Random(0)
    for number in range(3):
        with started(shared_micro_bundle, out, many) as process:
            wait_for_parts(process, out, number)
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            process.wait()
    done = subprocess.run(
        command(shared_micro_bundle, out, many), cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"{MANY:,} pictures: {MANY - 1:,} assessed, 1 error" in done.stderr
    rows = list(rows_of(out))
    assert [row["image"] for row in rows] == [str(many / f"{number:05}.png") for number in range(MANY)]
    assert rows == list(rows_of(clean))
    assert list(tmp_path.rglob(".edgeskin-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_between_whole_parts(
    shared_micro_bundle: Path, many: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "results.jsonl"
    with started(shared_micro_bundle, out, many) as process:
        wait_for_parts(process, out, 1)
        process.send_signal(number)
        stderr = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 128 + number, stderr
    assert str(ledger_folder(out)) in stderr
    assert not out.exists()
    assert 1 <= parts(out) <= 4
    assert list(ledger_folder(out).glob(".edgeskin-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no such terminals")
def test_a_second_signal_gives_the_cursor_back(shared_micro_bundle: Path, many: Path, tmp_path: Path) -> None:
    import pty

    out = tmp_path / "results.jsonl"
    terminal, stderr = pty.openpty()
    with subprocess.Popen(
        command(shared_micro_bundle, out, many),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env=os.environ | {"TERM": "xterm"},
    ) as process:
        os.close(stderr)
        shown, signals = b"", 0
        while b"once more" not in shown:
            shown += os.read(terminal, 4096)
            if parts(out) and not signals:
                process.send_signal(signal.SIGINT)
                signals = 1
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the terminal has no writer any more
            while block := os.read(terminal, 4096):
                shown += block
    os.close(terminal)
    assert process.returncode == 128 + signal.SIGINT
    _, hidden, after = shown.rpartition(b"\x1b[?25l")
    assert hidden
    assert b"\x1b[?25h" in after
    assert ledger_folder(out).name.encode() in after.replace(b"\r\n", b"")
    assert parts(out) >= 1


def test_a_second_run_on_one_table_is_refused(shared_micro_bundle: Path, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    with started(shared_micro_bundle, out, many) as process:
        while not (ledger_folder(out) / "run.json").exists() and process.poll() is None:
            time.sleep(0.01)
        second = subprocess.run(
            command(shared_micro_bundle, out, many), cwd=ROOT, check=False, capture_output=True, text=True
        )
        process.kill()
    if process.returncode != 1:  # 1: the first had finished before the second began
        assert second.returncode == 2
        assert str(out) in second.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_full_disk_is_an_error_and_the_same_command_goes_on(
    shared_micro_bundle: Path, few: Path, tmp_path: Path
) -> None:
    """As on a full disk: no file may grow beyond 1 KB."""
    out = tmp_path / "results.jsonl"
    arguments = command(shared_micro_bundle, out, few)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)); sys.argv = {arguments[2:]!r};"
        "from edgeskin.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, out.exists()) == (1, False)
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert parts(out) == 0
    assert subprocess.run(arguments, cwd=ROOT, check=False).returncode == 0
    assert len(list(rows_of(out))) == 2


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="a superuser may write anywhere")
def test_a_folder_that_may_not_be_written_is_an_error(
    shared_micro_bundle: Path, few: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    done = run_cli("predict", few, "--bundle", shared_micro_bundle, "--out", folder / "results.csv")
    assert done.returncode == 1
    assert str(folder) in done.stderr


# Refusals


@pytest.mark.parametrize(
    "arguments",
    [
        ("--out", "{tmp}/results.txt"),
        ("--out", "{tmp}/missing/results.csv"),
        ("--out", "{tmp}/results.csv", "--json"),
        ("--out", "{tmp}/results.csv", "--explain", "{tmp}"),
        ("--out", " "),
        ("--recursive",),
        ("--retry-errors",),
        ("--out", "{tmp}/list.csv"),
        ("{tmp}/list.csv", "--out", "{tmp}/list.csv"),
        ("{tmp}/li*.csv", "--out", "{tmp}/list.csv"),
        ("--out", "{tmp}/list.csv", "--retry-errors"),
        ("{tmp}/wrong.csv", "--out", "{tmp}/results.csv"),
        ("{tmp}/empty.csv", "--out", "{tmp}/results.csv"),
        ("{tmp}/list.csv",),
        ("-",),
        ("{tmp}/photos/*.jpg", "{tmp}/a.zip"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(few: Path, tmp_path: Path, arguments: Any) -> None:
    """The last bundle named does not exist, which would be exit code 3."""
    (tmp_path / "list.csv").write_text("path\nphotos/a.jpg\n")
    (tmp_path / "wrong.csv").write_text("path,site\nphotos/a.jpg,moon\n")
    (tmp_path / "empty.csv").write_text("path\n")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    first = [] if "empty" in filled[0] or ("--out" not in arguments and filled[0][:2] != "--") else [few]
    if filled == ["--out", f"{tmp_path}/list.csv"]:
        first = [tmp_path / "list.csv"]
    done = run_cli("predict", *first, *filled, "--bundle", "nowhere")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert (tmp_path / "list.csv").read_text() == "path\nphotos/a.jpg\n"
    assert not list(tmp_path.glob("*.parts"))


def test_another_job_on_an_unfinished_table_is_refused(
    shared_micro_bundle: Path, few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    (few / "bad.jpg").touch()
    os.utime(few / "bad.jpg", (OLD, OLD))
    options = ("--bundle", shared_micro_bundle, "--out", out)
    first = run_cli("predict", few, *options)
    assert (first.returncode, ledger_folder(out).is_dir()) == (1, True)
    assert "--retry-errors" in first.stderr
    other = run_cli("predict", few, *options, "--age", 30)
    assert (other.returncode, other.stdout) == (2, "")
    assert "settings" in other.stderr
    again = run_cli("predict", few, *options, "--retry-errors")
    assert "1 processed by this run" in again.stderr
