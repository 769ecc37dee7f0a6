"""Decoding in a child process, which may crash, hang or run out of memory without harm to this one.

The child gets the bytes of a file and gives pixels back. It is started as a program of its own, never forked,
and lives for many photos. The answers are plain numbers and text, so that a child under an attacker's control
has nothing to run here.
"""

import contextlib
import json
import math
import os
import queue
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import IO, Any, get_args

import cv2
import numpy as np

from edgeskin.errors import PhotoError, ResourceError, SettingError, lack_of_resources
from edgeskin.photo.decode import MAX_SIDE, Photo, decode
from edgeskin.photo.formats import FileFormat

SECONDS = 30.0
"""Longest time for one photo, of the clock and of the CPU."""
MEMORY = 2**30
"""Bytes that a child may take beside its libraries."""
LIBRARIES = 2**30
"""Address space of the libraries, bytes, where the system does not say."""

MAX_ANSWER = 1 << 16
"""Bytes of an answer without its pixels."""
START_SECONDS = 60.0
_MEMORY_IS_SHORT = 70
"""Exit code of a child that cannot hold a file."""

_REQUEST = struct.Struct(">IQ")  # side of the network's input, bytes of the file
_LENGTH = struct.Struct(">I")
_READY = b"edgeskin decodes"
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from edgeskin.photo.isolation import serve; serve(float(sys.argv[2]), int(sys.argv[3]))"
)


class IsolatedDecoder:
    """Children that decode photos. Threads may share it: a caller waits until a child is free."""

    def __init__(self, workers: int = 1, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        """Start the children.

        Args:
            workers: Children, for as many photos at once.
            seconds: Longest time for one photo.
            memory: Bytes that a child may take beside its libraries.

        Raises:
            ResourceError: No child can be started.
        """
        children = [_Child(seconds, memory) for _ in range(workers)]
        self._free: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        for child in children:
            self._free.put(child)
        # Also when this is collected, and when the interpreter ends.
        self.close = weakref.finalize(self, _close_all, children)

    def decode(self, data: bytes, input_size: int) -> Photo:
        """Decode a file as `edgeskin.photo.decode.decode` does.

        Raises:
            PhotoError: As there; or the child took too long (code ``timed_out``) or crashed (code
                ``decoder_crashed``). The next photo gets a new child.
            MemoryError: The child lacked memory.
            ResourceError: A new child cannot be started.
            SettingError: This is closed.
        """
        child = self._free.get()
        try:
            return child.decode(data, input_size)
        finally:
            self._free.put(child)


def _close_all(children: "list[_Child]") -> None:
    for child in children:
        child.close()


class _Child:
    """One child process, started again after it was ended."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds, self._memory = seconds, memory
        self._is_closed = False
        self._is_ready = False
        self._process: subprocess.Popen[bytes] | None = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        if self._is_closed:
            raise SettingError("the decoder is closed; make another classifier")
        # Isolated from the environment and the working folder, but with the packages of this process.
        limits = str(self._seconds), str(self._memory)
        command = [sys.executable, "-I", "-B", "-c", _PROGRAM, json.dumps(sys.path), *limits]
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._is_ready = False
        try:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, **one_thread},
            )  # fmt: skip
        except OSError as error:
            raise ResourceError(f"no process can be started to decode photos ({error})") from error

    def decode(self, data: bytes, input_size: int) -> Photo:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        self._await_start(process, process.stdout)
        watchdog = _Watchdog(process, self._seconds)
        try:
            with watchdog:
                process.stdin.write(_REQUEST.pack(input_size, len(data)))
                process.stdin.write(data)
                process.stdin.flush()
                answer = _read_answer(process.stdout)
        except MemoryError:  # of this process
            self._end()
            raise
        except Exception as error:  # whatever: a child under an attacker's control chose the answer
            raise self._cause(watchdog) from error
        except BaseException:  # an interrupt: what is left of the answer must not be taken for the next
            self._end()
            raise
        if watchdog.has_expired:
            self._end()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _await_start(self, process: "subprocess.Popen[bytes]", answers: IO[bytes]) -> None:
        if self._is_ready:
            return
        with _Watchdog(process, START_SECONDS):
            self._is_ready = answers.read(len(_READY)) == _READY
        if not self._is_ready:
            raise ResourceError(f"the process that decodes photos did not start (exit code {self._end()})")

    def _cause(self, watchdog: "_Watchdog") -> Exception:
        """End the process, and return the error that says why it gave no answer."""
        code = self._end()
        if self._is_closed:
            return SettingError("the decoder was closed meanwhile; make another classifier")
        if watchdog.has_expired or code == -getattr(signal, "SIGXCPU", 0):
            seconds = f"{self._seconds:g} s"
            return PhotoError(f"decoding took longer than {seconds}; export it again as JPEG", "timed_out")
        # Nobody else sends this signal than the system, where memory is short.
        if code == -getattr(signal, "SIGKILL", 0):
            return MemoryError("the system ended the process that decoded it")
        if code == _MEMORY_IS_SHORT:
            return MemoryError("the process that decodes photos cannot hold the file")
        return PhotoError("the picture made the decoder crash; export it again as JPEG", "decoder_crashed")

    def _end(self) -> int | None:
        """End the process, and return its exit code, or None where it did not end by itself."""
        process, self._process = self._process, None
        if process is None:
            return None
        code = process.poll()
        if code is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=0.2)  # it may be on its way out, by a signal that tells why
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        process.wait()
        return code

    def close(self) -> None:
        self._is_closed = True
        if self._process is not None:
            self._process.kill()
        self._end()


class _Watchdog:
    """Kills a process that takes too long."""

    def __init__(self, process: "subprocess.Popen[bytes]", seconds: float) -> None:
        self._process = process
        self.has_expired = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def _expire(self) -> None:
        self.has_expired = True
        self._process.kill()

    def __enter__(self) -> "_Watchdog":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _read_answer(answers: IO[bytes]) -> Photo | PhotoError | MemoryError:
    """Read a photo or its error. Nothing of the answer is trusted.

    Raises:
        Exception: There is no such answer; of any class, since the bytes may be anything.
    """
    (length,) = _LENGTH.unpack(_read(answers, _LENGTH.size))
    if length > MAX_ANSWER:
        raise ValueError(length)
    answer: dict[str, Any] = json.loads(bytes(_read(answers, length)))
    if "memory" in answer:
        return MemoryError(str(answer["memory"]))
    if "error" in answer:
        code = str(answer["code"])
        if not re.fullmatch("[a-z0-9_]{1,40}", code):
            raise ValueError(code)
        return PhotoError(str(answer["error"]), code)
    rows, columns, width, height = (int(answer[name]) for name in ("rows", "columns", "width", "height"))
    if not all(1 <= side <= MAX_SIDE for side in (rows, columns, width, height)):
        raise ValueError(answer)
    if answer["format"] not in get_args(FileFormat):
        raise ValueError(answer)
    pixels = np.frombuffer(_read(answers, rows * columns * 3), np.uint8)
    return Photo(
        pixels.reshape(rows, columns, 3),
        width,
        height,
        answer["format"],
        float(answer["transparent"]),
        bool(answer["may_be_damaged"]),
    )


def _read(stream: IO[bytes], size: int) -> bytearray:
    """Read exactly so many bytes, or raise EOFError."""
    content = bytearray()
    while len(content) < size:
        part = stream.read(min(size - len(content), 2**20))
        if not part:
            raise EOFError
        content += part
    return content


def serve(seconds: float, memory: int) -> None:
    """Be the child: decode what comes on stdin until it ends.

    Args:
        seconds: CPU time for one photo.
        memory: Bytes that this may take beside its libraries.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # of a terminal or a service manager, to the whole group
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    cv2.setNumThreads(1)
    _limit("RLIMIT_AS", _address_space() + memory)
    _limit("RLIMIT_FSIZE", 0)
    _limit("RLIMIT_CORE", 0)
    answers.write(_READY)
    answers.flush()
    while request := requests.read(_REQUEST.size):
        input_size, length = _REQUEST.unpack(request)
        _limit("RLIMIT_CPU", math.ceil(time.process_time() + seconds))
        try:
            data = requests.read(length)
        except MemoryError:  # the rest of the file would be taken for the next requests
            os._exit(_MEMORY_IS_SHORT)
        answer, pixels = _answer(data, input_size)
        del data
        text = json.dumps(answer).encode()
        answers.write(_LENGTH.pack(len(text)) + text)
        answers.write(pixels)
        answers.flush()


def _answer(data: bytes, input_size: int) -> tuple[dict[str, Any], bytes | memoryview]:
    """Decode one photo, and return the answer and the pixels."""
    try:
        photo = decode(data, input_size)
    except PhotoError as error:
        return {"error": str(error), "code": error.code}, b""
    except (MemoryError, cv2.error) as error:
        if lack_of_resources(error) is None:
            raise
        return {"memory": str(getattr(error, "err", error))}, b""
    rows, columns = photo.image.shape[:2]
    answer = {"rows": rows, "columns": columns, "width": photo.width, "height": photo.height}
    answer |= {"transparent": photo.transparent, "may_be_damaged": photo.may_be_damaged}
    return answer | {"format": photo.format}, photo.image.data


def _address_space() -> int:
    """Bytes of this process's address space."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return LIBRARIES


def _limit(name: str, value: int) -> None:
    """Lower the soft limit of a resource of this process, where the system has such limits."""
    if sys.platform == "win32":
        return
    import resource

    kind = getattr(resource, name)
    _, hard = resource.getrlimit(kind)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(kind, (soft, hard))
