"""Pictures that arrive in a folder: each gets one line, whatever ends the command."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeskin.batch.watch import Arrivals, Form, GrowingTable
from edgeskin.errors import ResourceError, SettingError
from tests.conftest import ROOT, run_cli

pytestmark = pytest.mark.hazard("H-14")

OLD = 1_600_000_000
WAIT_S = 30.0


def row(name: str) -> dict[str, Any]:
    return {"image": name, "status": "assessed", "cancer_probability": 0.5, "risk": None}


def written(path: Path, content: bytes = b"picture") -> Path:
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))
    return path


def lines_of(out: Path) -> list[str]:
    """The names in a table."""
    with out.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file) if out.suffix == ".csv" else map(json.loads, file)
        return [str(one["image"]) for one in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


FORMS: tuple[Form, ...] = ("jsonl", "csv")


@pytest.mark.parametrize("form", FORMS)
def test_a_table_grows_and_knows_what_it_has(tmp_path: Path, form: Form) -> None:
    out = tmp_path / f"results.{form}"
    names = ["a.jpg", "=1.jpg", 'b,"c.jpg', "é\udcff.jpg", "d\n.jpg"]
    for name in names:
        table = GrowingTable(out, form)
        assert table.shown(name) not in table.done
        table.add(row(name))
        assert table.shown(name) in table.done
        table.close()
    table = GrowingTable(out, form)
    assert table.done == {table.shown(name) for name in names}
    table.close()
    assert len(lines_of(out)) == len(names)


@pytest.mark.parametrize("form", FORMS)
def test_a_line_that_was_cut_off_is_removed(tmp_path: Path, form: Form) -> None:
    """At every place where a loss of power may have cut the last one."""
    out = tmp_path / f"results.{form}"
    table = GrowingTable(out, form)
    table.add(row("a.jpg"))
    whole = out.read_bytes()
    table.add(row("b.jpg"))
    table.close()
    both = out.read_bytes()
    for end in range(len(whole), len(both)):
        out.write_bytes(both[:end])
        table = GrowingTable(out, form)
        assert table.done == {"a.jpg"}
        table.add(row("b.jpg"))
        table.close()
        assert out.read_bytes() == both


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("jsonl", b"no table\n"), ("jsonl", b"[1]\nrest"), ("csv", b"name,label\na,b\nrest"),
        ("csv", b"\xff\xfe\n\n"),
    ],
)  # fmt: skip
def test_another_file_is_refused_and_left_alone(tmp_path: Path, form: Form, content: bytes) -> None:
    out = tmp_path / f"results.{form}"
    out.write_bytes(content)
    with pytest.raises(SettingError, match=out.name):
        GrowingTable(out, form)
    assert out.read_bytes() == content


def test_a_place_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        GrowingTable(tmp_path, "csv")
    assert caught.value.code == "not_written"


def test_pictures_arrive_once_they_stay_the_same(tmp_path: Path, folder: Path) -> None:
    table = GrowingTable(tmp_path / "results.jsonl", "jsonl")
    arrivals = Arrivals(folder, False, table)
    assert arrivals.new() == []
    path = written(folder / "b.jpg", b"1")
    written(folder / "notes.txt")
    assert arrivals.new() == []
    written(path, b"12")  # it grows
    assert arrivals.new() == []
    written(folder / "a.jpg")
    assert [photo.path for photo in arrivals.new()] == [str(path)]
    table.add(row(str(path)))
    assert [photo.path for photo in arrivals.new()] == [str(folder / "a.jpg")]
    assert [photo.path for photo in arrivals.new()] == [str(folder / "a.jpg")]  # until it is in the table
    shutil.rmtree(folder)
    assert arrivals.new() == []  # as while a network drive is away
    table.close()


# The command


@pytest.fixture
def watching(shared_micro_bundle: Path, folder: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    processes = []

    def start(out: Path) -> "subprocess.Popen[bytes]":
        options = ["--bundle", shared_micro_bundle, "--out", out, "--every", "0.1", "--no-quality-gate"]
        command = [sys.executable, "-m", "edgeskin", "watch", folder, *options]
        processes.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
@pytest.mark.parametrize("form", FORMS)
def test_each_picture_has_one_line_whatever_ends_the_command(
    watching: Any, folder: Path, lesion_jpg: Path, tmp_path: Path, form: Form
) -> None:
    out, chance = tmp_path / f"results.{form}", random.Random(1)
    content, wanted = lesion_jpg.read_bytes(), []
    for _ in range(2):
        process = watching(out)
        for _ in range(4):
            wanted.append(written(folder / f"{len(wanted)}.jpg", content))
            time.sleep(chance.uniform(0, 0.2))
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") > 1)
        process.kill()
        process.wait()
    wanted.append(written(folder / "bad.jpg", b"no picture"))
    process = watching(out)
    wait_for(lambda: out.read_bytes().count(b"\n") >= len(wanted) + (form == "csv"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=WAIT_S) == 0
    assert sorted(lines_of(out)) == sorted(map(str, wanted))


@pytest.mark.parametrize(
    "arguments",
    [
        ("{tmp}/missing", "--out", "{tmp}/results.csv"),
        ("{tmp}", "--out", "{tmp}/results.parquet"),
        ("{tmp}", "--out", "{tmp}/missing/results.csv"),
        ("{tmp}",),
        ("{tmp}", "--out", "{tmp}/results.csv", "--every", "0"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_cli("watch", *(one.format(tmp=tmp_path) for one in arguments), "--bundle", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
