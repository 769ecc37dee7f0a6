"""Compiled networks in a folder: what is loaded, what is compiled anew, and whose folder it may be."""

import hashlib
import os
import shutil
import stat
import struct
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from edgeskin.bundle.bundle import IR, open_bundle
from edgeskin.errors import BundleError, SettingError
from edgeskin.network.cache import (
    is_private,
    read_export,
    require_writable,
    user_cache_dir,
    write_export,
)
from edgeskin.network.engine import Engine
from edgeskin.results import Precision
from tests.conftest import MICRO_SIZE

pytestmark = pytest.mark.hazard("H-08")

IMAGE = np.random.default_rng(2).integers(0, 256, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)


@pytest.fixture
def logits_of(shared_micro_bundle: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Logits of an engine with a cache, of either precision's network."""

    def logits(precision: Precision = "fp32", threads: int = 1, views: int = 1) -> np.ndarray:
        ir = open_bundle(shared_micro_bundle).ir(precision)
        return Engine(ir, threads, views, tmp_path / "cache").infer(IMAGE).logits

    return logits


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").iterdir())


def test_a_cached_network_is_the_one_that_runs(logits_of: Callable[..., np.ndarray], tmp_path: Path) -> None:
    expected = logits_of()
    (file,) = cached(tmp_path)
    written = file.stat().st_mtime_ns
    np.testing.assert_array_equal(logits_of(), expected)
    assert cached(tmp_path) == [file]
    assert file.stat().st_mtime_ns == written
    # Another network in its place shows that it was not compiled.
    other = logits_of("int8")
    (another,) = set(cached(tmp_path)) - {file}
    file.write_bytes(another.read_bytes())
    np.testing.assert_array_equal(logits_of(), other)
    assert not np.array_equal(other, expected)


@pytest.mark.hazard("H-19")
def test_a_cached_shipped_network_gives_the_same_bits_and_is_not_read_again(tmp_path: Path) -> None:
    ir = open_bundle("lite").ir("int8")
    image = np.random.default_rng(3).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    compiled = Engine(ir, views=8, cache_dir=tmp_path).infer(image, fmaps=True)

    def never() -> tuple[bytes, bytes]:
        raise AssertionError("read again")

    loaded = Engine(IR(ir.sha256, never), views=8, cache_dir=tmp_path).infer(image, fmaps=True)
    for one, other in zip(vars(loaded).values(), vars(compiled).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_change_to_the_graph_has_its_own_file(
    logits_of: Callable[..., np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits_of()
    monkeypatch.setattr("edgeskin.network.engine.GRAPH_CHANGES", "another")
    logits_of()
    assert len(cached(tmp_path)) == 2


def test_a_cached_network_is_found_by_its_hashes_alone(
    logits_of: Callable[..., np.ndarray], shared_micro_bundle: Path, tmp_path: Path
) -> None:
    """The bundle's network is not read then; without the cache, an altered one is an error."""
    expected = logits_of()
    bundle = tmp_path / "bundle"
    shutil.copytree(shared_micro_bundle, bundle)
    weights = bytearray((bundle / "fp32.bin").read_bytes())
    weights[-1] ^= 1
    (bundle / "fp32.bin").write_bytes(weights)
    ir = open_bundle(bundle).ir("fp32")
    np.testing.assert_array_equal(Engine(ir, 1, 1, tmp_path / "cache").infer(IMAGE).logits, expected)
    for file in cached(tmp_path):
        file.unlink()
    with pytest.raises(BundleError, match=r"fp32\.bin: "):
        Engine(ir, 1, 1, tmp_path / "cache")
    assert cached(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "garbled", "empty", "hash"])
def test_a_damaged_file_is_compiled_anew(
    logits_of: Callable[..., np.ndarray], tmp_path: Path, damage: str
) -> None:
    expected = logits_of()
    (file,) = cached(tmp_path)
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(
        {
            "cut": whole[:middle],
            "garbled": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "hash": bytes(32) + whole[32:],
        }[damage]
    )
    np.testing.assert_array_equal(logits_of(), expected)
    mended = file.read_bytes()
    assert hashlib.sha256(mended[32:]).digest() == mended[:32]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no network",
        struct.pack("<Q", 0),
        struct.pack("<Q", 2**63),
        struct.pack("<QQ", 1, 10) + b"no network",
        struct.pack("<QQQ", 2, 2**64 - 1, 2) + b"no network",
    ],
)
def test_what_openvino_refuses_is_compiled_anew(
    logits_of: Callable[..., np.ndarray], tmp_path: Path, content: bytes
) -> None:
    """The hash is right, and still it is no network: another version's, or put there by somebody."""
    expected = logits_of()
    (file,) = cached(tmp_path)
    file.write_bytes(hashlib.sha256(content).digest() + content)
    np.testing.assert_array_equal(logits_of(), expected)
    assert len(file.read_bytes()) > 1000


def test_every_setting_has_its_own_file(
    logits_of: Callable[..., np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings in ({}, {"threads": 2}, {"views": 8}, {"precision": "int8"}):
        logits_of(**settings)
    assert len(cached(tmp_path)) == 4
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    logits_of()
    assert len(cached(tmp_path)) == 5


def test_the_engine_names_its_files(shared_micro_bundle: Path, tmp_path: Path) -> None:
    """Workers with as many threads share a file; others have their own."""
    ir = open_bundle(shared_micro_bundle).ir("fp32")
    assert Engine(ir, 1).cached_files == set()
    assert len(Engine(ir, 2, 1, tmp_path, workers=2).cached_files) == 1
    engine = Engine(ir, 3, 1, tmp_path, workers=2)
    assert len(engine.cached_files) == 2
    assert engine.cached_files == set(tmp_path.iterdir())


def test_a_read_only_cache_is_not_added_to(shared_micro_bundle: Path, tmp_path: Path) -> None:
    bundle = open_bundle(shared_micro_bundle)
    Engine(bundle.ir("int8"), cache_dir=tmp_path / "none", cache_read_only=True)
    assert not list(tmp_path.iterdir())
    Engine(bundle.ir("int8"), cache_dir=tmp_path)
    files = set(tmp_path.iterdir())
    Engine(bundle.ir("fp32"), cache_dir=tmp_path, cache_read_only=True)
    assert set(tmp_path.iterdir()) == files


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_folder_that_cannot_be_written_is_refused(
    shared_micro_bundle: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=str(tmp_path / name)):
        Engine(open_bundle(shared_micro_bundle).ir("fp32"), cache_dir=tmp_path / name)
    with pytest.raises(SettingError, match=str(tmp_path / name)):
        require_writable(tmp_path / name)


@pytest.mark.hazard("H-17")
def test_nothing_is_cached_unless_asked(
    shared_micro_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Engine(open_bundle(shared_micro_bundle).ir("fp32"))
    assert not list(tmp_path.iterdir())


def test_exports_are_read_as_they_were_written(tmp_path: Path) -> None:
    file, content = tmp_path / "a.blob", bytes(range(256)) * 100
    write_export(file, content)
    assert bytes(read_export(file).data) == content
    assert list(tmp_path.iterdir()) == [file]
    for damaged in (content, b"", content[:31]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.blob"):
            read_export(file)
    with pytest.raises(OSError, match=r"missing\.blob"):
        read_export(tmp_path / "missing.blob")


def test_an_export_without_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.blob").mkdir()
    write_export(tmp_path / "a.blob", b"content")
    write_export(tmp_path / "missing" / "a.blob", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["a.blob"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such modes")
def test_a_folder_is_private_where_nobody_else_may_write(tmp_path: Path, shared_micro_bundle: Path) -> None:
    """A folder that edgeskin makes is, whatever the umask."""
    folder = tmp_path / "deep" / "cache"
    assert not is_private(folder)
    before = os.umask(0)
    try:
        Engine(open_bundle(shared_micro_bundle).ir("fp32"), cache_dir=folder)
    finally:
        os.umask(before)
    assert is_private(folder)
    for mode, private in ((0o755, True), (0o770, False), (0o707, False)):
        folder.chmod(mode)
        assert is_private(folder) is private
    folder.chmod(0o700)
    (file,) = folder.iterdir()
    assert not is_private(file)
    for mode, private in ((0o606, False), (0o620, False), (0o644, True)):
        file.chmod(mode)
        assert is_private(folder) is private
    if os.getuid() == 0:
        for path in (file, folder):
            os.chown(path, 12345, -1)
            assert not is_private(folder)
            os.chown(path, 0, -1)
        assert is_private(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such modes")
@pytest.mark.parametrize(
    ("umask", "folder_mode", "file_mode"),
    [(0, 0o755, 0o644), (0o022, 0o755, 0o644), (0o027, 0o750, 0o640), (0o077, 0o700, 0o600)],
)
def test_others_may_read_a_named_cache_if_the_umask_allows_it(
    tmp_path: Path, shared_micro_bundle: Path, umask: int, folder_mode: int, file_mode: int
) -> None:
    """One user prepares it, all use it, and nobody else may write to it."""
    folder = tmp_path / "cache"
    before = os.umask(umask)
    try:
        Engine(open_bundle(shared_micro_bundle).ir("fp32"), cache_dir=folder)
    finally:
        os.umask(before)
    (file,) = folder.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [folder_mode, file_mode]
    assert is_private(folder)


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="needs a superuser")
def test_a_folder_of_the_superuser_is_private_to_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.blob").touch(mode=0o644)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert is_private(tmp_path)
    (tmp_path / "a.blob").chmod(0o664)
    assert not is_private(tmp_path)


def test_a_file_that_another_process_replaces_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "part").touch()
    with os.scandir(tmp_path) as entries:
        listed = list(entries)
    (tmp_path / "part").unlink()
    monkeypatch.setattr("edgeskin.network.cache.os.scandir", lambda folder: nullcontext(listed))
    assert is_private(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_with_links_is_not_private(tmp_path: Path) -> None:
    """Who may write where a link leads could put another file there."""
    folder, elsewhere = tmp_path / "cache", tmp_path / "a.blob"
    folder.mkdir(mode=0o700)
    elsewhere.touch(mode=0o600)
    assert is_private(folder)
    (folder / "a.blob").symlink_to(elsewhere)
    assert not is_private(folder)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_the_users_cache_is_where_the_xdg_specification_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert user_cache_dir() == Path("/caches/edgeskin")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert user_cache_dir() == Path("/home/someone/.cache/edgeskin")
