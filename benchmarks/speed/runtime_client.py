"""Starts a runtime in a process of its own (`benchmarks.speed.runtime_process`) and sends it commands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from benchmarks.environment import ROOT
from edgeskin.errors import EdgeskinError


class Runtime:
    """A running runtime."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        """Wrap a process.

        Args:
            name: A name of `benchmarks.speed.runtime_process.RUNTIMES`, or ``NAME as ISA``.
            process: That runs it, with pipes for its input and output.
        """
        self.name, self._process = name, process

    def ask(self, **command: Any) -> Any:
        """Send a command and return its answer; without a command, wait until the runtime is ready.

        Raises:
            EdgeskinError: The process has ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        line = ""
        with suppress(BrokenPipeError):
            if command:
                self._process.stdin.write(json.dumps(command) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise EdgeskinError(f"{self.name} has ended; its messages are above")
        return json.loads(line)


def command(name: str, folder: Path, threads: int) -> list[str]:
    """Return the command that starts a runtime."""
    return [sys.executable, "-m", "benchmarks.speed.runtime_process", name, str(folder), str(threads)]


def environment(name: str, folder: Path) -> dict[str, str]:
    """Return a runtime's environment variables.

    Numpy has one thread, as in edgeskin's command line. Compiled networks of earlier runs are not found: with
    torch.compile and OpenVINO's cache the first process fills the cache of the later ones.

    Args:
        name: ``NAME as ISA`` limits oneDNN to an older instruction set.
        folder: For caches.
    """
    isa = name.partition(" as ")[2]
    caches = {
        "XDG_CACHE_HOME": str(folder),
        "EDGESKIN_CACHE": "",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }
    limit = {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
    return os.environ | caches | {"OPENBLAS_NUM_THREADS": "1"} | limit


@contextmanager
def running(name: str, folder: Path, threads: int) -> Iterator[Runtime]:
    """Start a runtime and yield it once it is loaded; end it with the context."""
    process = subprocess.Popen(
        command(name.partition(" as ")[0], folder, threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(name, folder),
    )
    try:
        runtime = Runtime(name, process)
        runtime.ask()
        yield runtime
    finally:
        for pipe in (process.stdin, process.stdout):
            _close(pipe)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()


def _close(pipe: "IO[str] | None") -> None:
    with suppress(BrokenPipeError):
        if pipe is not None:
            pipe.close()
