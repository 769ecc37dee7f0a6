"""The ledger of a run: what is done stays done, and belongs to one job and one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeskin.batch import ledger as module
from edgeskin.batch.ledger import ledger_folder, open_ledger, picture_key
from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo.archive import Member
from edgeskin.photo.listing import PhotoRef
from tests.conftest import ROOT

pytestmark = pytest.mark.hazard("H-14")

JOB: dict[str, Any] = {"bundle_sha256": "aa", "settings": {"age": None}, "versions": {"edgeskin": "1"}}
ROWS = [
    {"image": "é\udcff", "status": "assessed", "cancer_probability": 0.1 + 0.2},
    {"image": "b", "n": None},
]
HOLD = (
    "import sys, time; from pathlib import Path; from edgeskin.batch.ledger import open_ledger\n"
    "with open_ledger(Path(sys.argv[1]), {}): print('open', flush=True); time.sleep(60)"
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results.csv"


def holding(out: Path) -> "subprocess.Popen[str]":
    """A process that has the ledger open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_rows_come_back_as_they_were(out: Path) -> None:
    with open_ledger(out, JOB) as ledger:
        assert ledger.read("k") is None
        ledger.write("k", ROWS)
    with open_ledger(out, JOB) as ledger:
        assert ledger.read("k") == ROWS


def test_a_damaged_part_is_not_done(out: Path) -> None:
    with open_ledger(out, JOB) as ledger:
        ledger.write("k", ROWS)
        (part,) = ledger_folder(out).glob("part-*")
        part.write_bytes(part.read_bytes()[:-5])
        assert ledger.read("k") is None


def test_keys_differ_with_all_that_rows_depend_on(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"1")
    name = str(path)
    a, b = PhotoRef("a", name), PhotoRef("b", name)
    differing = [
        [a], [b], [a, b], [b, a], [], [PhotoRef("a", name, age=3)], [PhotoRef("a", name, site="nail")],
        [PhotoRef("a", name, Member(0, 1, 1, 1, False))], [PhotoRef("a", name, Member(0, 1, 1, 2, False))],
        [PhotoRef("a", str(tmp_path / "missing"))],
    ]  # fmt: skip
    with open_ledger(out, JOB) as ledger:
        keys = [ledger.key(photos) for photos in differing]
        assert len(set(keys)) == len(keys)
        assert ledger.key([PhotoRef("a", name, label="MEL")]) == keys[0]
        before = picture_key(a)
        path.write_bytes(b"22")
        assert ledger.key([a]) == keys[0]
    assert picture_key(a) != before
    one = [picture_key(photos[0]) for photos in differing if len(photos) == 1]
    assert len(set(one)) == len(one)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_name_is_another_picture_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a relative path, and by a link that is changed: size and time are the same."""
    keys = set()
    for folder in ("one", "two"):
        (tmp_path / folder / "p").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / folder)
        Path("p/x.bmp").write_bytes(folder.encode())
        os.utime("p/x.bmp", (10**9, 10**9))
        keys.add(picture_key(PhotoRef("p/x.bmp", "p/x.bmp")))
    link = tmp_path / "current"
    for folder in ("one", "two"):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / folder)
        keys.add(picture_key(PhotoRef("x", str(link / "p" / "x.bmp"))))
    assert len(keys) == 4


def test_a_name_that_no_file_can_have_has_a_key() -> None:
    assert picture_key(PhotoRef("a\0", "a\0")) != picture_key(PhotoRef("b\0", "b\0"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"bundle_sha256": "bb"}, "bundle_sha256"),
        ({"settings": {"age": 3}}, "settings"),
        ({"more": 1}, "more"),
    ],
)
def test_another_job_is_refused_with_what_differs(out: Path, change: dict[str, Any], named: str) -> None:
    with open_ledger(out, JOB) as ledger:
        ledger.write("k", ROWS)
    with pytest.raises(SettingError, match=rf"\({named}\)"), open_ledger(out, JOB | change):
        pass
    with open_ledger(out, JOB) as ledger:
        assert ledger.read("k") == ROWS


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a"'])
def test_a_damaged_record_of_the_job_is_refused(out: Path, content: str) -> None:
    with open_ledger(out, JOB):
        record = ledger_folder(out) / "run.json"
    assert json.loads(record.read_text()) == JOB
    record.write_text(content)
    with pytest.raises(SettingError, match=r"results\.csv"), open_ledger(out, JOB):
        pass


def test_one_process_at_a_time(out: Path) -> None:
    with holding(out) as process:
        with pytest.raises(SettingError, match=r"results\.csv"), open_ledger(out, {}):
            pass
        process.kill()  # SIGKILL leaves nothing locked
    with open_ledger(out, {}):
        pass


def test_a_ledger_within_this_process_is_locked_too(out: Path) -> None:
    with open_ledger(out, JOB), pytest.raises(SettingError), open_ledger(out, JOB):
        pass


def test_a_lock_of_a_folder_that_was_just_removed_is_none(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run finishes between the opening and the locking of the lock file."""
    lock, folder = module._lock, ledger_folder(out)  # noqa: SLF001

    def late(file: Any) -> None:
        monkeypatch.setattr(module, "_lock", lock)
        (folder / "lock").unlink()
        folder.rmdir()
        lock(file)

    monkeypatch.setattr(module, "_lock", late)
    with open_ledger(out, JOB) as ledger:
        ledger.write("k", ROWS)
        with pytest.raises(SettingError), open_ledger(out, JOB):
            pass


def test_a_folder_that_another_run_takes_away_is_made_again(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run finishes between the making of the folder and the opening of the lock file."""
    mkdir = Path.mkdir

    def early(folder: Path, exist_ok: bool = False) -> None:
        monkeypatch.setattr(Path, "mkdir", mkdir)
        folder.mkdir(exist_ok=exist_ok)
        folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", early)
    with open_ledger(out, JOB) as ledger:
        ledger.write("k", ROWS)


def test_a_removed_ledger_leaves_nothing_and_can_be_made_again(out: Path) -> None:
    with open_ledger(out, JOB) as ledger:
        ledger.write("k", ROWS)
        (ledger_folder(out) / ".edgeskin-0.part").touch()
    with open_ledger(out, JOB) as ledger:
        ledger.remove()
    assert list(out.parent.iterdir()) == []
    with open_ledger(out, JOB | {"more": 1}) as ledger:
        assert ledger.read("k") is None


def test_files_of_others_are_left_alone(out: Path) -> None:
    with open_ledger(out, JOB) as ledger:
        (ledger_folder(out) / "mine.txt").touch()
        ledger.remove()
    assert [path.name for path in ledger_folder(out).iterdir()] == ["mine.txt"]


def test_a_place_that_is_taken_is_an_error(out: Path) -> None:
    ledger_folder(out).touch()
    for taken in (out, out.parent / "missing" / "results.csv"):
        with pytest.raises(ResourceError) as caught, open_ledger(taken, JOB):
            pass
        assert caught.value.code == "not_written"
