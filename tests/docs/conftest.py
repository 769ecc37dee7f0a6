"""A service in a process of its own, for the files and documents that say how to run one."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT


@dataclass(frozen=True)
class Served:
    """A running service: where it is, and a token that it accepts."""

    url: str
    token: str

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port


@pytest.fixture(scope="session")
def served(shared_micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    folder = tmp_path_factory.mktemp("served")
    token = secrets.token_urlsafe(24)
    (folder / "tokens").write_text(f"{token}\n", encoding="utf-8")
    options = ["--port", "0", "--bundle", shared_micro_bundle, "--tokens", folder / "tokens"]
    names = ["--allowed-host", "edgeskin.example.org", "--rate-limit", "1000"]
    command = [sys.executable, "-m", "edgeskin", "serve", *options, *names]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield Served(process.stdout.readline().strip(), token)
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
