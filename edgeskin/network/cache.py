"""Compiled networks kept between processes, in a folder that the user names: compiling is most of a start.

Each file is the SHA-256 of what follows: how many parts the network has, their lengths, and OpenVINO's export
of each. One that is cut short or altered is compiled anew; OpenVINO alone would load it and answer wrongly.
The hash guards against damage, not against somebody who may write into the folder.
"""

import contextlib
import hashlib
import os
import stat
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeskin.errors import SettingError

if TYPE_CHECKING:
    import openvino

Part = TypeVar("Part")
Answer = TypeVar("Answer")
_HASH_BYTES = 32


def user_cache() -> Path:
    """The folder for edgeskin in this user's cache, as the system has it; it need not exist.

    ``XDG_CACHE_HOME`` or ``~/.cache`` (XDG Base Directory Specification 0.8), ``~/Library/Caches`` on macOS,
    ``%LOCALAPPDATA%`` on Windows. Raises SettingError for a user without a home folder.
    """
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA")
            return Path(base or Path.home() / "AppData" / "Local") / "edgeskin" / "cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "edgeskin"
        base = os.environ.get("XDG_CACHE_HOME", "")
        # A relative path is to be ignored, says the specification.
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "edgeskin"
    except RuntimeError as error:
        raise SettingError(f"no cache folder, since {error}: name one with --cache") from error


def make_user_cache() -> Path:
    """`user_cache`, made if need be. Raises SettingError where others may write too: they would decide what
    runs."""
    folder = user_cache()
    _require_writable(folder)
    if not is_own(folder):
        raise SettingError(
            f"cache {folder}: others may write it or a file in it, or it has a link in it; remove it, or "
            "name another with --cache"
        )
    return folder


def is_own(folder: Path) -> bool:
    """Whether a folder is there that nobody but this user (and root) may write, nor any file in it, and no
    symbolic links in it. Who may write the folders above it is not looked at.
    """
    try:
        inside = [folder.stat()]
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    return False
                with contextlib.suppress(FileNotFoundError):  # part of what `prepare` is writing just now
                    inside.append(entry.stat())
    except OSError:
        return False
    if sys.platform == "win32":
        # It has neither users' numbers nor such modes; a profile's folder is its user's there.
        return True
    others_write = stat.S_IWGRP | stat.S_IWOTH
    return all(one.st_uid == os.getuid() and not one.st_mode & others_write for one in inside)


def cache_settings(named: Path | None) -> dict[str, Any]:
    """Where the command line's classifier takes its compiled network from, and whether it keeps one there.

    Nothing is written that nobody asked for: without a folder named, the user's own is read where it is
    theirs alone, and only ``prepare`` adds to it. One that is not theirs alone is passed over, as stderr
    tells.
    """
    if named is not None:
        return {"cache": named}
    with contextlib.suppress(SettingError, OSError):  # no home, or one that may not be looked into
        if is_own(folder := user_cache()):
            return {"cache": folder, "keep": False}
        if folder.exists():
            print(
                f"cache {folder}: passed over: no folder, or others may write it or a file in it, or it has "
                "a link in it; remove it, or name another with --cache",
                file=sys.stderr,
            )
    return {}


def load_or_compile(
    folder: Path,
    depends_on: tuple[object, ...],
    core: "openvino.Core",
    settings: Mapping[str, object],
    compile_network: Callable[[], "list[openvino.CompiledModel]"],
    keep: bool,
) -> "tuple[list[openvino.CompiledModel], Path]":
    """The network kept in the folder, else a newly compiled one, by its parts, and its file.

    keep: whether to keep what was compiled, in a folder made if need be.

    depends_on: all that the compiled network depends on beside OpenVINO, this CPU and the settings. When
    the disk is full nothing is kept, nothing raised, and the file not there. Raises SettingError when there
    is nothing to load and the folder cannot be written.
    """
    of_cpu = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA")
    told = repr((core.get_versions("CPU")["CPU"].build_number, of_cpu, isa, dict(settings), depends_on))
    file = folder / f"{hashlib.sha256(told.encode()).hexdigest()}.blob"
    # What cannot be read, or OpenVINO does not take, is compiled anew.
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        return at_once(lambda part: core.import_model(part, "CPU", dict(settings)), _read(file)), file
    if not keep:
        return compile_network(), file
    _require_writable(folder)
    compiled = compile_network()
    exported = [part.export_model().getvalue() for part in compiled]
    content = [struct.pack(f"<{1 + len(exported)}Q", len(exported), *map(len, exported)), *exported]
    sha256 = hashlib.sha256()
    for piece in content:
        sha256.update(piece)
    # Put in place whole: another process may be reading, or writing the same.
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
        try:
            part.writelines([sha256.digest(), *content])
            part.close()
            Path(part.name).replace(file)
        except OSError:
            Path(part.name).unlink()
    return compiled, file


def _read(file: Path) -> "list[openvino.Tensor]":
    """The exports in a file. Raises OSError or ValueError for one that is not as it was written."""
    import openvino  # not before a network is opened

    with file.open("rb") as opened:
        sha256 = opened.read(_HASH_BYTES)
        length = max(0, os.fstat(opened.fileno()).st_size - _HASH_BYTES)
        # OpenVINO's own memory, which its weights then stay in. From a stream it would copy them twice.
        content = openvino.Tensor(openvino.Type.u8, [length])
        opened.readinto(content.data)
    if hashlib.sha256(content.data).digest() != sha256:
        raise ValueError(f"{file}: damaged")
    try:
        (count,) = struct.unpack_from("<Q", content.data)
        lengths = struct.unpack_from(f"<{count}Q", content.data, 8)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{file}: of another form") from error
    ends = list(accumulate(lengths, initial=8 * (1 + count)))
    if ends[-1] != length:
        raise ValueError(f"{file}: of another form")
    return [openvino.Tensor(content, [begin], [end]) for begin, end in pairwise(ends)]


def at_once(work: Callable[[Part], Answer], parts: Sequence[Part]) -> list[Answer]:
    """What work gives of each part, each in a thread of its own."""
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, parts))


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(
            f"cache {folder}: cannot be written ({error.strerror}); name a folder of yours, or none"
        ) from error
