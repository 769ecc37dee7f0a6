import hashlib
import os
import shutil
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.ir import IR
from edgeskin.errors import BundleError, SettingError
from edgeskin.network.cache import at_once, cache_settings, is_own, user_cache
from edgeskin.network.engine import Engine
from tests.conftest import MICRO_SIZE

IMAGE = np.random.default_rng(2).integers(0, 256, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)


@pytest.fixture
def cached(shared_micro_bundle: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Logits of an engine with a cache, of either precision's network."""

    def logits(name: str = "fp32", threads: int = 1, views: int = 1) -> np.ndarray:
        ir = open_bundle(shared_micro_bundle).ir(name)
        return Engine(ir, threads, views, tmp_path / "cache").infer(IMAGE).logits

    return logits


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").iterdir())


def test_parts_are_worked_on_at_once() -> None:
    meeting = threading.Barrier(2, timeout=30)

    def met(part: int) -> int:
        meeting.wait()
        return part

    assert at_once(met, [1, 2]) == [1, 2]


def test_what_was_kept_is_what_runs(cached: Callable[..., np.ndarray], tmp_path: Path) -> None:
    expected = cached()
    (file,) = kept(tmp_path)
    written = file.stat().st_mtime_ns
    np.testing.assert_array_equal(cached(), expected)
    assert kept(tmp_path) == [file]
    assert file.stat().st_mtime_ns == written
    # Another network in its place shows that it was not compiled.
    other = cached("int8")
    (another,) = set(kept(tmp_path)) - {file}
    file.write_bytes(another.read_bytes())
    np.testing.assert_array_equal(cached(), other)
    assert not np.array_equal(other, expected)


def test_a_kept_network_of_two_parts_says_the_same(tmp_path: Path) -> None:
    ir = open_bundle("lite").ir("int8")
    image = np.random.default_rng(3).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    compiled = Engine(ir, views=8, cache=tmp_path).infer(image, fmaps=True)

    def never() -> tuple[bytes, bytes]:
        raise AssertionError("read again")

    engine = Engine(IR(ir.sha256, never), views=8, cache=tmp_path)
    chain = engine._free.get()
    engine._free.put(chain)
    assert len(chain) == 2
    loaded = engine.infer(image, fmaps=True)
    np.testing.assert_array_equal(loaded.view_logits, compiled.view_logits)
    np.testing.assert_array_equal(loaded.features, compiled.features)
    np.testing.assert_array_equal(loaded.fmaps, compiled.fmaps)


def test_another_way_to_change_the_graph_has_its_own(
    cached: Callable[..., np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached()
    monkeypatch.setattr("edgeskin.network.engine.CHANGES", "another")
    cached()
    assert len(kept(tmp_path)) == 2


def test_what_was_kept_is_known_by_the_hashes_alone(
    cached: Callable[..., np.ndarray], shared_micro_bundle: Path, tmp_path: Path
) -> None:
    """Nothing of the bundle's network is read then; with nothing kept, an altered one is an error."""
    expected = cached()
    bundle = tmp_path / "bundle"
    shutil.copytree(shared_micro_bundle, bundle)
    weights = bytearray((bundle / "fp32.bin").read_bytes())
    weights[-1] ^= 1
    (bundle / "fp32.bin").write_bytes(weights)
    ir = open_bundle(bundle).ir("fp32")
    np.testing.assert_array_equal(Engine(ir, 1, 1, tmp_path / "cache").infer(IMAGE).logits, expected)
    for file in kept(tmp_path):
        file.unlink()
    with pytest.raises(BundleError, match=r"fp32\.bin: not the file that the manifest describes"):
        Engine(ir, 1, 1, tmp_path / "cache")
    assert kept(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "garbled", "empty", "hash"])
def test_damage_is_compiled_away(cached: Callable[..., np.ndarray], tmp_path: Path, damage: str) -> None:
    expected = cached()
    (file,) = kept(tmp_path)
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
    np.testing.assert_array_equal(cached(), expected)
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
        struct.pack("<QQ", 1, 99) + b"no network",
        struct.pack("<QQQ", 2, 2**64 - 1, 2) + b"no network",
    ],
)
def test_what_openvino_does_not_take_is_compiled_anew(
    cached: Callable[..., np.ndarray], tmp_path: Path, content: bytes
) -> None:
    """Rightly hashed, and still no network: of another version, or somebody's joke."""
    expected = cached()
    (file,) = kept(tmp_path)
    file.write_bytes(hashlib.sha256(content).digest() + content)
    np.testing.assert_array_equal(cached(), expected)
    assert len(file.read_bytes()) > 1000


def test_every_setting_has_its_own(
    cached: Callable[..., np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings in ({}, {"threads": 2}, {"views": 8}, {"name": "int8"}):
        cached(**settings)
    assert len(kept(tmp_path)) == 4
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    cached()
    assert len(kept(tmp_path)) == 5


def test_what_is_only_read_is_not_added_to(shared_micro_bundle: Path, tmp_path: Path) -> None:
    Classifier(shared_micro_bundle, cache=tmp_path / "none", keep=False)
    assert not list(tmp_path.iterdir())
    Classifier(shared_micro_bundle, cache=tmp_path)
    files = set(tmp_path.iterdir())
    Classifier(shared_micro_bundle, "fp32", cache=tmp_path, keep=False)
    assert set(tmp_path.iterdir()) == files


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_folder_that_cannot_be_written_is_refused(
    shared_micro_bundle: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"cache .*file.*: cannot be written"):
        Classifier(shared_micro_bundle, cache=tmp_path / name)


def test_nothing_is_kept_unless_asked(
    shared_micro_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Classifier(shared_micro_bundle)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="has no such modes")
def test_a_folder_is_ones_own_where_nobody_else_may_write(tmp_path: Path, shared_micro_bundle: Path) -> None:
    """The mode that it is made with is such, whatever the umask."""
    folder = tmp_path / "deep" / "cache"
    assert not is_own(folder)
    before = os.umask(0)
    try:
        Classifier(shared_micro_bundle, cache=folder)
    finally:
        os.umask(before)
    assert is_own(folder)
    for mode, own in ((0o755, True), (0o770, False), (0o707, False)):
        folder.chmod(mode)
        assert is_own(folder) is own
    folder.chmod(0o700)
    (file,) = folder.iterdir()
    assert not is_own(file)
    for mode, own in ((0o606, False), (0o620, False), (0o644, True)):
        file.chmod(mode)
        assert is_own(folder) is own
    if os.getuid() == 0:
        for path in (file, folder):
            os.chown(path, 12345, -1)
            assert not is_own(folder)
            os.chown(path, 0, -1)
        assert is_own(folder)


def test_a_folder_that_prepare_writes_to_meanwhile_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "part").touch()
    with os.scandir(tmp_path) as entries:
        listed = list(entries)
    (tmp_path / "part").unlink()
    monkeypatch.setattr("edgeskin.network.cache.os.scandir", lambda folder: nullcontext(listed))
    assert is_own(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_with_links_is_not_ones_own(tmp_path: Path) -> None:
    """Whatever they lead to: who may write where that lies could put another file there."""
    folder, elsewhere = tmp_path / "cache", tmp_path / "a.blob"
    folder.mkdir(mode=0o700)
    elsewhere.touch(mode=0o600)
    assert is_own(folder)
    (folder / "a.blob").symlink_to(elsewhere)
    assert not is_own(folder)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_a_cache_that_may_not_be_looked_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a user whose home is another's, in a container."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert cache_settings(None) == {}
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another folder there")
def test_the_users_cache_is_where_the_xdg_specification_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert user_cache() == Path("/caches/edgeskin")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert user_cache() == Path("/home/someone/.cache/edgeskin")
