"""Pictures that arrive in a folder: each gets one line, whatever ends the command."""

import contextlib
import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edgeskin import Classifier
from edgeskin.batch.ledger import ledger_folder, open_ledger
from edgeskin.batch.runner import PART_SIZE, PartSettings
from edgeskin.batch.watch import (
    GROWING,
    RECORD,
    Arrivals,
    GrowingTable,
    job_of,
    require_new_or_own,
    warnings_once,
)
from edgeskin.cli.main import app
from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo.listing import PhotoRef
from edgeskin.photo.sources import photos_in
from tests.conftest import ROOT, run_cli
from tests.edgeskin.pictures import encode, smooth

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


@contextlib.contextmanager
def opened(out: Path, folder: Path = Path("in")) -> Iterator[GrowingTable]:
    with open_ledger(out, {}), GrowingTable(out, GROWING[out.suffix], folder) as table:
        yield table


@pytest.fixture(params=GROWING)
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"results{request.param}"


def record_of(out: Path) -> Path:
    return ledger_folder(out) / RECORD


def test_a_table_grows_and_knows_what_it_has(out: Path) -> None:
    """Also names that a CSV shows alike."""
    names = ["a.jpg", "=1.jpg", "'=1.jpg", 'b,"c.jpg', "é\udcff.jpg", "d\n.jpg", "d\\n.jpg"]
    for number, name in enumerate(names):
        with opened(out) as table:
            assert name not in table.done
            table.add(row(name), (number, OLD))
    with opened(out) as table:
        assert table.done == {name: (number, OLD) for number, name in enumerate(names)}
    assert len(lines_of(out)) == len(names)


def test_the_last_line_of_a_picture_counts(out: Path) -> None:
    with opened(out) as table:
        table.add(row("a.jpg"), (1, OLD))
        table.add(row("a.jpg"), (2, OLD))
    with opened(out) as table:
        assert table.done == {"a.jpg": (2, OLD)}
    assert lines_of(out) == ["a.jpg", "a.jpg"]


@pytest.mark.parametrize("first", [True, False])
def test_a_line_that_was_cut_off_is_completed(out: Path, first: bool) -> None:
    """At every place where a loss of power may have cut the table, with zeros behind it or not."""
    with opened(out) as table:
        if not first:
            table.add(row("a.jpg"), (1, OLD))
        before = out.read_bytes()
        table.add(row("b.jpg"), (2, OLD))
    both = out.read_bytes()
    for end in range(len(before), len(both)):
        for content in (both[:end], both[:end].ljust(len(both), b"\0")):
            out.write_bytes(content)
            with opened(out) as table:
                assert "b.jpg" in table.done
            assert out.read_bytes() == both


def test_a_record_that_was_cut_off_has_no_line_in_the_table(out: Path) -> None:
    """At every place where a loss of power may have cut it. Its picture is assessed again."""
    with opened(out) as table:
        table.add(row("a.jpg"), (1, OLD))
        before, recorded = out.read_bytes(), record_of(out).read_bytes()
        table.add(row("b.jpg"), (2, OLD))
    both, whole = out.read_bytes(), record_of(out).read_bytes()
    for end in range(len(recorded), len(whole)):
        for content in (whole[:end], whole[:end].ljust(len(whole) - 1, b"\0") + b"\n"):
            if content == whole:
                continue
            out.write_bytes(before)
            record_of(out).write_bytes(content)
            with opened(out) as table:
                assert table.done == {"a.jpg": (1, OLD)}
                table.add(row("b.jpg"), (2, OLD))
            assert (out.read_bytes(), record_of(out).read_bytes()) == (both, whole)


def test_a_line_is_on_the_disk_in_the_record_before_it_is_in_the_table(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append((status.st_ino, status.st_size, out.stat().st_size))

    with opened(out) as table:
        monkeypatch.setattr(os, "fsync", fsync)
        table.add(row("a.jpg"), (1, OLD))
    size, record = out.stat().st_size, record_of(out).stat()
    assert synced == [(record.st_ino, record.st_size, 0), (out.stat().st_ino, size, size)]


OTHERS = (
    b"", b"no table\n", b"[1]\nrest", b"name,label\na,b\nrest", b"image,label\na.jpg,MEL\n", b"\xff\xfe\n\n",
    b"one line", b"patient;diagnosis\rA;melanoma\r",
)  # fmt: skip


@pytest.mark.parametrize("content", OTHERS)
def test_a_file_that_watch_did_not_begin_is_refused_and_left_alone(out: Path, content: bytes) -> None:
    out.write_bytes(content)
    with pytest.raises(SettingError, match=out.name):
        require_new_or_own(out)
    with pytest.raises(SettingError, match=out.name), opened(out):
        pass
    assert out.read_bytes() == content
    assert not record_of(out).exists()


@pytest.mark.parametrize("lines", [0, 1, 2])
@pytest.mark.parametrize("content", OTHERS[1:])
def test_a_table_that_was_replaced_is_refused_and_left_alone(out: Path, content: bytes, lines: int) -> None:
    with opened(out) as table:
        for number in range(lines):
            table.add(row(f"{number}.jpg"), (1, OLD))
    recorded = record_of(out).read_bytes()
    for changed in (content, content + out.read_bytes(), out.read_bytes() + content):
        out.write_bytes(changed)
        with pytest.raises(SettingError, match=out.name), opened(out):
            pass
        assert (out.read_bytes(), record_of(out).read_bytes()) == (changed, recorded)


def test_a_table_that_is_gone_is_refused(out: Path) -> None:
    with opened(out):
        pass
    out.unlink()
    with opened(out) as table:  # nothing was in it
        table.add(row("a.jpg"), (1, OLD))
    out.unlink()
    with pytest.raises(SettingError, match=out.name), opened(out):
        pass
    assert not out.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[]\n", b"{}\n", b'{"folder": 1}\n', b'{"folder": "in"}\n1\n2\n']
)
def test_a_damaged_record_is_refused(out: Path, content: bytes) -> None:
    with opened(out) as table:
        table.add(row("a.jpg"), (1, OLD))
    record_of(out).write_bytes(content)
    with pytest.raises(SettingError, match=RECORD), opened(out):
        pass
    assert record_of(out).read_bytes() == content


def test_a_full_disk_loses_and_doubles_nothing(out: Path) -> None:
    """By a limit on the size of files, which stops the record first, and at last the table."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(out) as table:
        table.add(row("a.jpg"), (1, OLD))
    for limit in range(record_of(out).stat().st_size, record_of(out).stat().st_size + 400, 37):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            with opened(out) as table, contextlib.suppress(ResourceError):
                if "b.jpg" not in table.done:
                    table.add(row("b.jpg"), (2, OLD))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with opened(out) as table:
        assert set(table.done) == {"a.jpg", "b.jpg"}
    assert lines_of(out) == ["a.jpg", "b.jpg"]


def test_a_place_that_cannot_be_written_is_an_error(out: Path) -> None:
    with pytest.raises(ResourceError) as caught, GrowingTable(out, GROWING[out.suffix], Path("in")):
        pass  # without the folder of a ledger
    assert caught.value.code == "not_written"
    assert not out.exists()


def paths(arrivals: Arrivals) -> list[str]:
    return [photo.path for photo, _ in arrivals.new()]


def test_pictures_arrive_once_they_stay_the_same(out: Path, folder: Path) -> None:
    with opened(out, folder) as table:
        arrivals = Arrivals(folder, False, table)
        assert paths(arrivals) == []
        path = written(folder / "b.jpg", b"1")
        written(folder / "notes.txt")
        assert paths(arrivals) == []
        written(path, b"12")  # it grows
        assert paths(arrivals) == []
        written(folder / "a.jpg")
        assert paths(arrivals) == [str(path)]
        table.add(row(str(path)), PhotoRef("", str(path)).version())
        assert paths(arrivals) == [str(folder / "a.jpg")]
        assert paths(arrivals) == [str(folder / "a.jpg")]  # until it is in the table
        shutil.rmtree(folder)
        assert paths(arrivals) == []  # as while a network drive is away


def test_a_picture_that_changed_arrives_again(out: Path, folder: Path) -> None:
    """By its size, or by its time alone, also after a restart; a copy that stalled does, too."""
    path = written(folder / "capture.jpg", b"half")
    contents = [(b"half", OLD), (b"whole", OLD), (b"other", OLD + 1)]
    for content, changed in contents:
        written(path, content)
        os.utime(path, (changed, changed))
        with opened(out, folder) as table:
            arrivals = Arrivals(folder, False, table)
            assert paths(arrivals) == []
            ((photo, version),) = arrivals.new()
            table.add(row(photo.name), version)
            assert paths(arrivals) == []
    assert lines_of(out) == [str(path)] * len(contents)


def test_what_changes_before_its_turn_waits(out: Path, folder: Path) -> None:
    for name in "abc":
        written(folder / f"{name}.jpg")
    with opened(out, folder) as table:
        arrivals = Arrivals(folder, False, table)
        assert paths(arrivals) == []
        turns = arrivals.new()
        assert next(turns)[0].path == str(folder / "a.jpg")
        written(folder / "b.jpg", b"longer")
        (folder / "c.jpg").unlink()
        assert list(turns) == []
        assert paths(arrivals) == [str(folder / "a.jpg")]
        assert paths(arrivals) == [str(folder / "a.jpg"), str(folder / "b.jpg")]


def test_another_spelling_of_the_folder_names_pictures_alike(
    out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    written(folder / "sub" / "a.jpg")
    monkeypatch.chdir(folder.parent)
    spellings = (Path("in"), Path("../" + folder.parent.name) / "in", folder)
    for number, spelling in enumerate(spellings):
        written(folder / f"{number}.jpg")
        with opened(out, spelling) as table:
            arrivals = Arrivals(spelling, True, table)
            assert paths(arrivals) == []
            for photo, version in arrivals.new():
                table.add(row(photo.name), version)
    assert lines_of(out) == [str(Path("in", name)) for name in ("0.jpg", "sub/a.jpg", "1.jpg", "2.jpg")]


def test_what_is_skipped_is_said_once(out: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(folder / "IM0001")
    with opened(out, folder) as table, warnings_once():
        arrivals = Arrivals(folder, False, table)
        for more in ("IM0002", "a.jpg", "IM0003"):
            written(folder / more)
            assert paths(arrivals) == paths(arrivals) or more == "a.jpg"
        assert len(caplog.records) == 2  # without a picture, and with one
        caplog.clear()
        shutil.rmtree(folder)
        assert paths(arrivals) == paths(arrivals) == []
        assert len(caplog.records) == 1  # that it cannot be listed
    folder.mkdir()
    written(folder / "a.jpg")
    written(folder / "notes.txt")
    for _ in range(2):
        caplog.clear()
        list(photos_in([folder]))
        assert len(caplog.records) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_the_job_is_watchs_own_and_of_one_folder(
    shared_micro_bundle: Path, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with Classifier(shared_micro_bundle) as classifier:
        settings = PartSettings(classifier, GROWING[out.suffix])
        own = job_of(settings, Path("in"))
        (tmp_path / "link").symlink_to("in", target_is_directory=True)
        for spelling in (tmp_path / "in", Path("other/../in"), Path("link")):
            assert own == job_of(settings, spelling)
        assert own != job_of(settings, tmp_path / "other")
        with open_ledger(out, own):
            pass
        with (
            pytest.raises(SettingError, match=r"\(command, folder\)"),
            open_ledger(out, settings.job(PART_SIZE)),
        ):
            pass


# The command


@pytest.fixture
def watching(shared_micro_bundle: Path, folder: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    processes = []

    def start(out: Path) -> "subprocess.Popen[bytes]":
        options = ["--bundle", shared_micro_bundle, "--out", out, "--every", "0.1", "--no-quality-gate"]
        command = [sys.executable, "-m", "edgeskin", "watch", folder, *options]
        with (out.parent / "stderr").open("wb") as stderr:
            processes.append(subprocess.Popen(command, cwd=ROOT, stderr=stderr))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_for_lines(out: Path, number: int) -> None:
    """Wait until a table has so many lines at least, its header not counted."""
    number += out.suffix == ".csv"
    deadline = time.monotonic() + WAIT_S
    while not out.exists() or out.read_bytes().count(b"\n") < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_each_picture_has_one_line_whatever_ends_the_command(
    watching: Any, folder: Path, lesion_jpg: Path, out: Path
) -> None:
    chance, content, wanted = random.Random(1), lesion_jpg.read_bytes(), []
    for _ in range(3):
        process = watching(out)
        for _ in range(4):
            wanted.append(written(folder / f"{len(wanted)}.jpg", content))
            time.sleep(chance.uniform(0, 0.2))
        wait_for_lines(out, 1)
        process.kill()
        process.wait()
    process = watching(out)
    wait_for_lines(out, len(wanted))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=WAIT_S) == 0
    assert sorted(lines_of(out)) == sorted(map(str, wanted))


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_a_picture_that_is_replaced_or_copied_on_gets_a_new_line(
    watching: Any, folder: Path, lesion_jpg: Path, out: Path, shared_micro_bundle: Path
) -> None:
    """With its own result, and with the reason of an error on stderr; `predict` leaves the table alone."""
    content = lesion_jpg.read_bytes()
    path = written(folder / "capture.jpg", content[: len(content) // 2])
    process = watching(out)
    for lines, following in enumerate((content, encode(smooth(), "PNG"), None), 1):
        wait_for_lines(out, lines)
        if following is not None:
            written(path, following)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=WAIT_S) == 0
    stderr = (out.parent / "stderr").read_text()
    assert f"{path}: error (cut_off): " in stderr
    assert stderr.count("cut_off") == 2  # of the picture, and of the summary
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file)) if out.suffix == ".csv" else [json.loads(line) for line in file]
    assert [one["status"] for one in rows] == ["error", "assessed", "assessed"]
    assert rows[1]["cancer_probability"] != rows[2]["cancer_probability"]
    before = out.read_bytes()
    done = run_cli("predict", folder, "--out", out, "--bundle", shared_micro_bundle)
    assert (done.returncode, out.read_bytes()) == (2, before)
    assert "command" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_a_table_of_predict_is_refused(
    folder: Path, lesion_jpg: Path, out: Path, shared_micro_bundle: Path
) -> None:
    written(folder / "a.jpg", lesion_jpg.read_bytes())
    options = ("--out", out, "--bundle", shared_micro_bundle)
    assert run_cli("predict", folder, *options, "--no-quality-gate").returncode == 0
    before = sorted(out.parent.iterdir()), out.read_bytes()
    assert run_cli("watch", folder, *options).returncode == 2
    assert (sorted(out.parent.iterdir()), out.read_bytes()) == before


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


def test_the_document_names_the_options_that_are_those_of_predict() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    own, others = ({name for one in commands[of].params for name in one.opts} for of in ("watch", "predict"))
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.partition("\n## watch\n")[2].partition("\n## ")[0]
    named = {name.replace("--no-", "--") for name in re.findall(r"`(--[a-z-]+)", section)}
    assert named == {name for name in own if name.startswith("--")} - {"--help", "--out"}
    assert named - others == {"--every"}
