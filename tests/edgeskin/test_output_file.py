"""Files that are whole or not there."""

import os
import stat
import sys
from pathlib import Path

import pytest

from edgeskin.errors import ResourceError
from edgeskin.report.output_file import write_whole


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
