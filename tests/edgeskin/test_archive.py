"""Pictures in zip archives, and archives that were made to do harm."""

import io
import logging
import os
import stat
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeskin.errors import PhotoError
from edgeskin.photo import archive as module
from edgeskin.photo.archive import Member, members_of, read_member

pytestmark = pytest.mark.hazard("H-18")


def packed(folder: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "photos.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def found(path: Path) -> dict[str, str | bytes]:
    """The bytes of each member by name, or the code of its refusal."""
    return {
        name: one.code if isinstance(one, PhotoError) else read_member(path, one)
        for name, one in members_of(path, quiet=True)
    }


def refused(path: Path) -> str:
    """The code by which an archive is refused as a whole, in an error that names it."""
    with pytest.raises(PhotoError, match=path.name) as caught:
        list(members_of(path))
    return caught.value.code


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_in_their_order(tmp_path: Path, lesion_jpg: Path, method: int) -> None:
    contents = {"b.jpg": lesion_jpg.read_bytes(), "folder/a.PNG": bytes(range(256)) * 9, "c.dcm": b""}
    path = packed(tmp_path, contents, method)
    assert found(path) == contents
    assert [name for name, _ in members_of(path)] == list(contents)


def test_it_is_read_as_the_reference_reads_it(tmp_path: Path) -> None:
    """A prefix, as of a self-extracting archive, a comment, a descriptor and an extra field."""

    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return False

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("é.jpg")
        info.extra = struct.pack("<HH4s", 0xCAFE, 4, b"more")
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, b"picture " * 99)
        archive.comment = b"a comment"
    path = tmp_path / "photos.zip"
    path.write_bytes(b"#!/bin/sh\n" * 50 + stream.getvalue())
    with zipfile.ZipFile(path) as archive:
        assert found(path) == {name: archive.read(name) for name in archive.namelist()}


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_any_content_comes_back(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        named = {f"{number}.jpg": content for number, content in enumerate(contents)}
        assert found(packed(Path(folder), named)) == named


def test_other_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contents = {"a.jpg": b"1", "notes.txt": b"2", "__MACOSX/._a.jpg": b"3", "Thumbs.db": b"4", "folder/": b""}
    path = packed(tmp_path, contents)
    with caplog.at_level(logging.WARNING):
        assert [name for name, _ in members_of(path)] == ["a.jpg"]
    assert [record.args for record in caplog.records] == [(path, 3)]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../a.jpg", "unsafe_archive"),
        ("folder/../../a.jpg", "unsafe_archive"),
        ("..\\a.jpg", "unsafe_archive"),
        ("/etc/a.jpg", "unsafe_archive"),
        ("\\\\server\\a.jpg", "unsafe_archive"),
        ("C:\\a.jpg", "unsafe_archive"),
        ("../notes.txt", "unsafe_archive"),
        ("inner.zip", "unsupported_format"),
        ("inner.tar.gz", "unsupported_format"),
    ],
)
def test_unsafe_names_and_archives_within_are_refused_by_name(tmp_path: Path, name: str, code: str) -> None:
    assert found(packed(tmp_path, {name: b"x", "good.jpg": b"y"})) == {name: code, "good.jpg": b"y"}


def test_what_fuzzing_found(tmp_path: Path) -> None:
    """A member without a name, and one that begins before the archive."""
    path = packed(tmp_path, {"x": b"1", "good.jpg": b"y"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 28] = 0  # length of the name: the byte of the name is then that of the extra field's
    data[at + 30] = 1
    path.write_bytes(data)
    assert found(path) == {"": "unsafe_archive", "good.jpg": b"y"}
    with pytest.raises(PhotoError) as caught:
        read_member(path, Member(-5, 1, 1, 0, False))
    assert caught.value.code in ("damaged", "unreadable")


def test_links_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link.jpg")
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert found(path) == {"link.jpg": "unsafe_archive"}


def test_encrypted_members_are_refused_by_name(tmp_path: Path) -> None:
    """The flag alone, in the local header and in the directory (APPNOTE.TXT, 4.4.4)."""
    path = packed(tmp_path, {"a.jpg": b"secret", "b.jpg": b"open"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert found(path) == {"a.jpg": "encrypted", "b.jpg": b"open"}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused_by_name(tmp_path: Path, method: int) -> None:
    assert found(packed(tmp_path, {"a.jpg": b"x" * 100}, method)) == {"a.jpg": "unsupported_format"}


def test_a_bomb_of_one_member_is_refused_by_name(tmp_path: Path) -> None:
    """60 MiB of zeros in 60 KB, and 65 MiB."""
    path = packed(tmp_path, {"a.bmp": bytes(60 * 2**20), "b.bmp": bytes(65 * 2**20)})
    assert path.stat().st_size < 2**18
    assert found(path) == {"a.bmp": "unsafe_archive", "b.bmp": "file_too_large"}


def test_a_member_that_unpacks_to_more_than_it_says_is_damaged(tmp_path: Path) -> None:
    """No more is unpacked than the directory says."""
    path = packed(tmp_path, {"a.jpg": bytes(50 * 2**20)})
    ((_, _),) = members_of(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 1000)
    path.write_bytes(data)
    ((_, member),) = members_of(path)
    assert isinstance(member, Member)
    assert member.size == 1000
    with pytest.raises(PhotoError) as caught:
        read_member(path, member)
    assert caught.value.code == "damaged"


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    """As in Fifield's bomb, where all names of the directory lead to one piece of data (WOOT 2019)."""
    path = packed(tmp_path, {f"{number}.jpg": b"x" * 100 for number in range(3)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    for _ in range(3):
        data[at + 42 : at + 46] = bytes(4)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    assert refused(path) == "unsafe_archive"


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path, {f"{number}.jpg": b"" for number in range(11)})
    monkeypatch.setattr(module, "MAX_MEMBERS", 10)
    assert refused(path) == "unsafe_archive"
    monkeypatch.setattr(module, "MAX_MEMBERS", 11)
    assert len(list(members_of(path))) == 11


def test_too_many_members_are_refused_before_their_entries_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever number the end record has."""
    path = packed(tmp_path, {f"{number}.jpg": b"" for number in range(11)})
    data = bytearray(path.read_bytes())
    data[-14:-10] = b"\1\0\1\0"
    path.write_bytes(data)
    monkeypatch.setattr(module, "MAX_MEMBERS", 10)
    monkeypatch.setattr(zipfile, "ZipInfo", None)
    assert refused(path) == "unsafe_archive"


def test_a_huge_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path, {f"{'x' * 200}{number}.jpg": b"" for number in range(400)})
    monkeypatch.setattr(module, "MAX_DIRECTORY", 66_000)
    assert refused(path) == "damaged"


def test_damage_is_an_error(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a.jpg": bytes(range(256))}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    ((_, member),) = members_of(path)
    assert isinstance(member, Member)
    for content in (bytes(data), bytes(data[:20]), b"", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(PhotoError) as caught:
            read_member(path, member)
        assert caught.value.code == "damaged"
    path.unlink()
    with pytest.raises(PhotoError) as caught:
        read_member(path, member)
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("contents", [{}, {"notes.txt": b"x"}, {"folder/": b""}])
def test_an_archive_without_pictures_is_an_error(tmp_path: Path, contents: dict[str, bytes]) -> None:
    """As a folder without pictures is."""
    assert refused(packed(tmp_path, contents)) == "empty_file"


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    assert refused(path) == "not_found"
    for content in (b"", b"no archive", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        assert refused(path) == "damaged"
    path.write_bytes(packed(tmp_path, {"a.jpg": b"x" * 500}).read_bytes()[:-30])
    assert refused(path) == "damaged"


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFO")
def test_a_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photos.zip")
    assert refused(tmp_path / "photos.zip") == "not_a_file"


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300))
def test_altered_bytes_give_errors_of_ours_alone(noise: bytes, at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = packed(Path(folder), {"a.jpg": b"picture" * 30, "b/c.png": b"other"})
        data = bytearray(path.read_bytes())
        data[at : at + len(noise)] = noise
        path.write_bytes(data)
        try:
            for _, one in members_of(path, quiet=True):
                if isinstance(one, Member):
                    read_member(path, one)
        except PhotoError:
            pass
