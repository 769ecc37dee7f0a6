"""Files that are whole or not there."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeskin.batch.ledger import open_ledger
from edgeskin.batch.sinks import write_table
from edgeskin.errors import ResourceError
from edgeskin.report.output_file import opened_whole, write_whole
from tests.conftest import ROOT


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Whoever reads the earlier one meanwhile, or ends this process, never finds a part of the new one."""
    out = tmp_path / "map.png"
    write_whole(out, b"first")
    with out.open("rb") as earlier:
        write_whole(out, b"second")
        assert earlier.read() == b"first"
    assert out.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [out]
    named = tmp_path / "named.png"
    named.touch()
    assert out.stat().st_mode == named.stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize("earlier", [True, False])
def test_a_full_disk_leaves_no_part(tmp_path: Path, earlier: bool) -> None:
    """By a limit on the size of files."""
    import resource

    out = tmp_path / "map.png"
    if earlier:
        write_whole(out, b"whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ResourceError, match=r"map\.png") as caught:
            write_whole(out, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "not_written"
    assert list(tmp_path.iterdir()) == ([out] if earlier else [])
    assert not earlier or out.read_bytes() == b"whole"


def test_a_name_is_as_long_as_the_system_allows(tmp_path: Path) -> None:
    longest = tmp_path / f"{'x' * 251}.png"
    write_whole(longest, b"all")
    assert longest.read_bytes() == b"all"
    with pytest.raises(ResourceError):
        write_whole(tmp_path / f"x{longest.name}", b"all")
    assert list(tmp_path.iterdir()) == [longest]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such files")
def test_devices_and_links_are_written_where_they_are(tmp_path: Path) -> None:
    """As /dev/stdout, a link to a pipe."""
    reader, writer = os.pipe()
    link = tmp_path / "link.json"
    link.symlink_to(f"/dev/fd/{writer}")
    write_whole(link, b"all")
    assert os.read(reader, 10) == b"all"
    assert link.is_symlink()
    os.close(reader)
    with pytest.raises(ResourceError):  # a pipe without a reader
        write_whole(link, b"all")
    os.close(writer)
    assert list(tmp_path.iterdir()) == [link]
    if Path("/dev/full").exists():
        with pytest.raises(ResourceError):
            write_whole(Path("/dev/full"), b"all")
        assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="of POSIX permissions")
def test_a_private_file_is_private_from_its_start(tmp_path: Path) -> None:
    write_whole(tmp_path / "photo.jpg", b"all", 0o600)
    assert stat.S_IMODE((tmp_path / "photo.jpg").stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("earlier", [b"first", None])
@pytest.mark.parametrize("durable", [True, False])
def test_the_file_that_a_link_leads_to_is_replaced_whole(
    tmp_path: Path, earlier: bytes | None, durable: bool
) -> None:
    """Through several links, each relative to its own folder; also if the file is not there yet."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "staging").mkdir()
    place, link = tmp_path / "disk" / "map.png", tmp_path / "link.png"
    (tmp_path / "disk" / "other.png").symlink_to("map.png")
    link.symlink_to("disk/other.png")
    if earlier:
        place.write_bytes(earlier)
    with contextlib.suppress(ZeroDivisionError), opened_whole(link, durable=durable) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert (place.read_bytes() if place.exists() else None) == earlier
    reader = place.open("rb") if earlier else None
    with opened_whole(link, durable=durable, folder=tmp_path / "staging") as file:
        file.write(b"second")
        assert list((tmp_path / "staging").iterdir()) == []  # which may be on another disk
    if reader:
        assert reader.read() == earlier
        reader.close()
    assert place.read_bytes() == b"second"
    assert link.is_symlink()
    assert sorted(one.name for one in (tmp_path / "disk").iterdir()) == ["map.png", "other.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("missing/map.png")
    for name in ("loop", "lost"):
        with pytest.raises(ResourceError):
            write_whole(tmp_path / name, b"all")


@pytest.mark.skipif(not Path("/dev/stdout").is_symlink(), reason="has no such link")
@pytest.mark.parametrize("through", ["/dev/stdout", "link.json"])
def test_standard_output_in_a_file_is_written_where_it_is(tmp_path: Path, through: str) -> None:
    """What the process prints afterwards goes into the same file."""
    (tmp_path / "link.json").symlink_to("/dev/stdout")
    code = (
        "import os, sys; from pathlib import Path; from edgeskin.report.output_file import write_whole\n"
        "write_whole(Path(sys.argv[1]), b'all'); os.write(1, b'printed')"
    )
    with (tmp_path / "out").open("ab") as out:
        subprocess.run([sys.executable, "-c", code, tmp_path / through], cwd=ROOT, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"allprinted"


def _write_part(out: Path) -> Path:
    with open_ledger(out, {}) as ledger:
        ledger.write("key", [{"a": 1}])
        (part,) = Path(str(ledger)).glob("part-*")
    return part


def _write_table(out: Path) -> Path:
    write_table(out, [{"a": 1}], "csv")
    return out


def _write_linked_table(out: Path) -> Path:
    place = out.with_name("place.csv")
    out.symlink_to(place)
    _write_table(out)
    return place


def _write_durable(out: Path) -> Path:
    write_whole(out, b"all", durable=True)
    return out


@pytest.mark.skipif(os.name != "posix", reason="of POSIX systems")
@pytest.mark.parametrize("write", [_write_durable, _write_table, _write_linked_table, _write_part])
def test_what_outlives_a_loss_of_power_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path]
) -> None:
    """The whole file before it is moved, then its name in the folder, then the folder's own name."""
    synced: list[tuple[int, int]] = []
    moved: list[int] = []
    replace = Path.replace

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append((status.st_ino, status.st_size if stat.S_ISREG(status.st_mode) else -1))

    def recorded(path: Path, target: Path) -> Path:
        moved.append(len(synced))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", recorded)
    (tmp_path / "new").mkdir()
    place = write(tmp_path / "new" / "results.csv")
    content, folders = place.stat(), (place.parent, place.parent.parent)
    last = moved[-1]
    assert synced[last - 1] == (content.st_ino, content.st_size)
    assert synced[last:] == [(folder.stat().st_ino, -1) for folder in folders]
