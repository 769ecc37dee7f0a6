"""The pictures that sources name, and reading them once they are whole."""

import io
import itertools
import os
import pickle
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeskin.errors import PhotoError, SettingError
from edgeskin.photo import listing as module
from edgeskin.photo.decode import read_bytes
from edgeskin.photo.listing import AHEAD_S, PhotoRef, list_photos

pytestmark = pytest.mark.hazard("H-14")

OLD = 1_600_000_000
NAMES = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=("Cs",)), min_size=1)


def names(*sources: str | Path, recursive: bool = False, stdin: bytes = b"") -> list[str]:
    found = list_photos(map(str, sources), recursive=recursive, names=io.BytesIO(stdin))
    return [photo.name for photo in found]


def written(path: Path, content: bytes = b"picture") -> Path:
    """A file that was last changed long ago, so that nobody waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        "deep/2.jpg",
        "deep/er/1.jpg",
        "._a.jpg",
        "deep/__MACOSX/x.jpg",
    ):
        written(tmp_path / name)
    (tmp_path / "empty").mkdir()
    return tmp_path


# Folders and patterns


def test_one_text_is_no_list_of_sources() -> None:
    with pytest.raises(SettingError, match="photos: give the sources as a list"):
        next(list_photos("photos"))


def test_folders_give_their_own_pictures_and_with_recursive_those_below(tree: Path) -> None:
    own = [str(tree / name) for name in ("a.PNG", "b.jpg")]
    below = [str(tree / name) for name in ("deep/2.jpg", "deep/er/1.jpg")]
    assert names(tree) == own
    assert names(tree, recursive=True) == own + below
    assert names(tree / "b.jpg", tree) == [own[1], *own]


def test_folders_without_pictures_are_named(tree: Path) -> None:
    """So that they give an error by name."""
    assert names(tree / "empty") == [str(tree / "empty")]
    assert names(tree / "empty", recursive=True) == [str(tree / "empty")]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_to_folders_are_not_followed(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "deep" / "loop").symlink_to(tree)
    assert len(names(tree, recursive=True)) == 4
    assert (tree / "deep", 1) in [record.args for record in caplog.records]
    caplog.clear()
    assert len(list(list_photos([str(tree)], recursive=True, quiet=True))) == 4
    assert caplog.records == []


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="a superuser may list all folders")
def test_a_folder_below_that_cannot_be_listed_is_named(tree: Path) -> None:
    (tree / "deep" / "er").chmod(0)
    try:
        assert str(tree / "deep" / "er") in names(tree, recursive=True)
    finally:
        (tree / "deep" / "er").chmod(0o700)


def test_patterns(tree: Path) -> None:
    assert names(tree / "*.jpg") == [str(tree / "b.jpg")]
    assert names(tree / "**" / "[b12].jpg") == [
        str(tree / name) for name in ("b.jpg", "deep/2.jpg", "deep/er/1.jpg")
    ]
    assert names(tree / "[ab].*") == [str(tree / name) for name in ("a.PNG", "b.jpg")]
    assert names(tree / "*.tif") == [str(tree / "*.tif")]
    written(tree / "odd[1].jpg")
    assert names(tree / "odd[1].jpg") == [str(tree / "odd[1].jpg")]


def test_patterns_leave_out_what_the_caller_writes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table and its ledger, by whatever path; a ledger of nobody's is a folder like others."""
    for name in ("r.csv", "r.csv.parts/run.json", "deep/r.csv"):
        written(tree / name, b"path\nx.jpg\n")
    monkeypatch.chdir(tree / "deep")
    own = [Path("../r.csv"), Path("../r.csv.parts")]
    for pattern in ("*", "r*", "**/r*", "**"):
        found = list_photos([str(tree / pattern)], leave_out=own, quiet=True)
        assert not [photo.name for photo in found if photo.name.startswith(str(tree / "r.csv"))], pattern
    assert names(tree / "r.*s*") == [str(tree / "x.jpg"), str(tree / "r.csv.parts")]


# Lists


def test_a_csv_list_is_relative_to_itself(tmp_path: Path) -> None:
    table = tmp_path / "deep" / "list.csv"
    absolute = tmp_path / "c.jpg"
    rows = (
        "label,path,age,site,more",
        "MEL,a.jpg,41,nail,x",
        ",../b.jpg, ,,",
        f"NV,{absolute},,,",
        ", c .jpg ,,,",
    )
    written(table, "\n".join(rows).encode("utf-8-sig"))
    first, second, third, fourth = list_photos([str(table)])
    assert (first.name, first.label, first.age, first.site) == (
        str(table.parent / "a.jpg"),
        "MEL",
        41.0,
        "nail",
    )
    assert second == PhotoRef(str(table.parent / "../b.jpg"), str(table.parent / "../b.jpg"))
    assert (third.name, third.label) == (str(absolute), "NV")
    assert fourth.name == str(table.parent / " c .jpg ")


@pytest.mark.parametrize(
    "content",
    [
        "name\na.jpg\n", "path,age\na.jpg,old\n", "path,label\n ,MEL\n", 'path\n"a.jpg\n', "", "path\n",
        "path,Label\na.jpg,MEL\n", "AGE,path\n30,a.jpg\n", "path,site,Site\na.jpg,nail,nail\n",
    ],
)  # fmt: skip
def test_a_wrong_list_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    table = written(tmp_path / "list.csv", content.encode())
    with pytest.raises(SettingError, match=r"list\.csv"):
        names(table)


def test_a_wrong_row_is_an_error_that_names_it(tmp_path: Path) -> None:
    for row in (",40", "b.jpg,old"):
        table = written(tmp_path / "list.csv", f"path,age\na.jpg,30\n{row}\n".encode())
        with pytest.raises(SettingError, match="row 3"):
            names(table)


def test_a_parquet_list_with_a_column_in_capitals_is_refused(tmp_path: Path) -> None:
    """It would be read as if it were not there."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("Label", "AGE"):
        parquet.write_table(pyarrow.table({"path": ["a.jpg"], name: ["30"]}), tmp_path / "list.parquet")
        with pytest.raises(SettingError, match=name):
            names(tmp_path / "list.parquet")


def test_sites_may_have_capitals(tmp_path: Path) -> None:
    table = written(tmp_path / "list.csv", b"path,site\na.jpg,Head/Neck\n")
    assert [photo.site for photo in list_photos([str(table)])] == ["head/neck"]


def test_a_long_list_is_not_held(tmp_path: Path) -> None:
    """The first names come although the last row is wrong."""
    table = written(tmp_path / "list.csv", b"path\n" + b"a.jpg\n" * 10_000 + b"a,b,c\n")
    photos = list_photos([str(table)])
    assert next(photos).name == str(tmp_path / "a.jpg")
    with pytest.raises(SettingError, match="10002"):
        list(photos)


# Archives


def test_an_archive_gives_its_pictures_under_its_name(tmp_path: Path, lesion_jpg: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(lesion_jpg, "deep/lesion.jpg")
        archive.writestr("../evil.jpg", b"x")
    good, evil = list_photos([str(tmp_path / "a.zip")])
    assert (good.name, good.source()) == (f"{tmp_path / 'a.zip'}/deep/lesion.jpg", lesion_jpg.read_bytes())
    status = (tmp_path / "a.zip").stat()
    assert good.version() == (status.st_size, status.st_mtime_ns)
    assert pickle.loads(pickle.dumps(good)) == good
    with pytest.raises(PhotoError) as caught:
        evil.source()
    assert caught.value.code == "unsafe_archive"


def test_an_archive_that_is_being_copied_is_waited_for(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("a.jpg", bytes(1000))
    whole, path = (tmp_path / "whole.zip").read_bytes(), tmp_path / "a.zip"
    path.write_bytes(whole[:500])

    def copy() -> None:
        time.sleep(0.3)
        path.write_bytes(whole)

    copier = threading.Thread(target=copy)
    copier.start()
    (photo,) = list_photos([str(path)])
    copier.join()
    assert (photo.name, photo.source()) == (f"{path}/a.jpg", bytes(1000))


def test_a_refused_archive_is_one_picture_that_fails(tmp_path: Path) -> None:
    written(tmp_path / "a.zip", b"no archive")
    (photo,) = list_photos([str(tmp_path / "a.zip")])
    assert photo.name == str(tmp_path / "a.zip")
    with pytest.raises(PhotoError) as caught:
        photo.source()
    assert caught.value.code == "damaged"


# Standard input


@settings(deadline=None)
@given(st.lists(NAMES.filter(str.strip), max_size=20))
def test_names_by_line_and_by_nul(wanted: list[str]) -> None:
    lines = "\n".join(wanted).encode()
    assert names("-", stdin=lines) == wanted
    assert names("-", stdin=lines + b"\n") == wanted
    assert names("-", stdin=lines.replace(b"\n", b"\r\n")) == [name.rstrip("\r") for name in wanted]
    ended = "".join(f"{name}\0" for name in wanted).encode()
    assert names("-", stdin=ended) == wanted


def test_names_by_nul_may_hold_line_ends_and_names_need_not_be_unicode() -> None:
    assert names("-", stdin=b"a\nb.jpg\0c.jpg\0") == ["a\nb.jpg", "c.jpg"]
    assert [os.fsencode(name) for name in names("-", stdin=b"\xff.jpg\n")] == [b"\xff.jpg"]


class Slow(io.RawIOBase):
    """A pipe whose writer writes these blocks one after another."""

    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks = blocks

    def read1(self, size: int) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""


@pytest.mark.parametrize("cuts", [[3], [5], [6], [3, 8], [12], []])
@pytest.mark.parametrize("end", [b"\0", b"\n"])
def test_names_of_a_slow_writer(cuts: list[int], end: bytes) -> None:
    content = end.join((b"a.jpg", b"b.jpg", b""))
    places = [0, *cuts, len(content)]
    stream: Any = Slow([content[one:other] for one, other in itertools.pairwise(places) if one < other])
    assert [photo.name for photo in list_photos(["-"], names=stream)] == ["a.jpg", "b.jpg"]


def test_many_names_come_over_blocks() -> None:
    wanted = [f"{'x' * 90}{number}.jpg" for number in range(3000)]
    assert names("-", stdin="\n".join(wanted).encode()) == wanted


def test_a_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SettingError):
        list(list_photos(["-"]))


def test_names_come_before_standard_input_ends() -> None:
    code = (
        "from edgeskin.photo.listing import list_photos\n"
        "for photo in list_photos(['-']): print(photo.name, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"a.jpg\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"a.jpg" + os.linesep.encode()
        process.stdin.close()
        assert process.wait(timeout=60) == 0


# Any mixture


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.permutations(["b.jpg", "deep", "*.PNG", "list.csv", "a.zip", "missing.jpg"]))
def test_sources_keep_their_order(tree: Path, sources: list[str]) -> None:
    written(tree / "list.csv", b"path\nz.jpg\ny.jpg\n")
    with zipfile.ZipFile(tree / "a.zip", "w") as archive:
        archive.writestr("q.jpg", b"1")
    os.utime(tree / "a.zip", (OLD, OLD))
    stands_for = {
        "deep": ["deep/2.jpg"], "*.PNG": ["a.PNG"], "list.csv": ["z.jpg", "y.jpg"], "a.zip": ["a.zip/q.jpg"],
    }  # fmt: skip
    wanted = [str(tree / name) for source in sources for name in stands_for.get(source, [source])]
    assert names(*(tree / source for source in sources)) == wanted


# Reading


def test_a_file_that_is_old_is_read_at_once(tmp_path: Path) -> None:
    path = str(written(tmp_path / "a.jpg", b"content"))
    assert PhotoRef(path, path).source(patience_s=0) == b"content"
    assert PhotoRef(path, path).version() == (7, OLD * 10**9)


def test_what_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    photo = PhotoRef("x", str(tmp_path / "missing.jpg"))
    assert photo.version() == (-1, -1)
    with pytest.raises(PhotoError) as caught:
        photo.source()
    assert caught.value.code == "not_found"


def test_a_file_that_is_being_copied_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"0")

    def copy() -> None:
        for number in range(1, 10):
            time.sleep(0.05)
            with path.open("ab") as file:
                file.write(str(number).encode())

    copier = threading.Thread(target=copy)
    copier.start()
    content = PhotoRef("a", str(path)).source()
    copier.join()
    assert content == b"0123456789"


def test_a_file_that_is_being_copied_is_waited_for_though_its_date_is_ahead(tmp_path: Path) -> None:
    """As on a drive whose server's clock is a second ahead, or a minute."""
    for ahead in (1, 60):
        path = tmp_path / f"{ahead}.jpg"

        def write(content: bytes, path: Path = path, ahead: int = ahead) -> None:
            path.write_bytes(content)
            os.utime(path, (time.time() + ahead,) * 2)

        write(b"0")
        copier = threading.Timer(0.5, write, (b"0123",))
        copier.start()
        content = PhotoRef("a", str(path)).source()
        copier.join()
        assert content == b"0123"


def test_a_file_with_a_wrong_date_is_read_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg", b"content")
    os.utime(path, (time.time() + 2 * AHEAD_S,) * 2)
    assert PhotoRef("a", str(path)).source(patience_s=0) == b"content"


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.jpg", b"half")

    def read(source: str) -> bytes:
        monkeypatch.setattr(module, "read_bytes", read_bytes)
        content = read_bytes(source)
        written(path, b"the whole")
        return content

    monkeypatch.setattr(module, "read_bytes", read)
    assert PhotoRef("a", str(path)).source() == b"the whole"


def test_a_file_that_never_settles_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"0")
    with pytest.raises(PhotoError) as caught:
        PhotoRef("a", str(path)).source(patience_s=0.3)
    assert caught.value.code == "still_changing"


def test_another_process_refuses_a_file_of_another_size_or_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    written(path, b"1234")
    photo = PhotoRef("a", str(path)).absolute()
    assert photo.source() == b"1234"
    for content, changed in ((b"12345", OLD), (b"4321", OLD + 10)):
        path.write_bytes(content)
        os.utime(path, (changed, changed))
        with pytest.raises(PhotoError) as caught:
            photo.source()
        assert caught.value.code == "other_file"
    path.unlink()
    with pytest.raises(PhotoError):
        photo.source()
