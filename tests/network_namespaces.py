"""A Ray cluster of two nodes with a network between them: Linux network namespaces, as root.

    python -m tests.network_namespaces

Assesses generated pictures on this machine alone, on both nodes, and on both nodes while all processes of one
are killed. Fails unless all three tables are the same but for the times.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.conftest import ROOT, write_micro_bundle

NODES = {"edgeskin-a": "10.213.0.1", "edgeskin-b": "10.213.0.2"}
HEAD, OTHER = NODES
PORT = 6399
PICTURES = 3000
KILLED_AT = 3
"""Parts after which a node is killed."""


def main() -> None:
    """Run all three, and compare."""
    os.environ |= {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = write_micro_bundle(folder / "bundle")
        write_pictures(folder / "pictures")
        command = [
            *(sys.executable, "-m", "edgeskin", "predict", str(folder / "pictures")),
            *("--bundle", str(bundle), "--no-quality-gate", "--out"),
        ]
        subprocess.run([*command, str(folder / "local.jsonl")], check=True, cwd=ROOT)
        expected = table(folder / "local.jsonl")
        for kills in (False, True):
            out = folder / f"cluster-{kills}.jsonl"
            with two_nodes(folder / f"ray-{kills}"):
                cluster = ["--engine", "ray", "--address", f"{NODES[HEAD]}:{PORT}"]
                running = subprocess.Popen([*inside(HEAD), *command, str(out), *cluster], cwd=ROOT)
                if kills:
                    kill_a_node(out.with_name(f"{out.name}.parts"), running)
                if running.wait() != 0:
                    raise SystemExit(f"exit code {running.returncode}")
            if table(out) != expected:
                raise SystemExit(f"a node was killed: {kills}; the table differs from that of one machine")
            print(f"a node was killed: {kills}; {len(expected)} rows, the same as on one machine")


def write_pictures(folder: Path) -> None:
    """Write small pictures that were last changed long ago."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        path = folder / f"{number:05}.png"
        cv2.imwrite(str(path), rng.integers(60, 200, (70, 70, 3), dtype=np.uint8))
        os.utime(path, (1_600_000_000, 1_600_000_000))


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[None]:
    """Two namespaces with a link, and a Ray node of one CPU in each."""
    ip = ["ip"]
    try:
        for name in NODES:
            call(*ip, "netns", "add", name)
        call(*ip, "link", "add", "va", "netns", HEAD, "type", "veth", "peer", "name", "vb", "netns", OTHER)
        for name, device in zip(NODES, ("va", "vb"), strict=True):
            call(*inside(name), "ip", "address", "add", f"{NODES[name]}/24", "dev", device)
            for up in (device, "lo"):
                call(*inside(name), "ip", "link", "set", up, "up")
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1"]
        head = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={folder}"]
        call(*inside(HEAD), *ray, *head, f"--node-ip-address={NODES[HEAD]}")
        join = [f"--address={NODES[HEAD]}:{PORT}", f"--node-ip-address={NODES[OTHER]}"]
        call(*inside(OTHER), *ray, *join)
        yield
    finally:
        for name in NODES:
            kill_all(name)
            subprocess.run(["ip", "netns", "delete", name], check=False)


def inside(name: str) -> list[str]:
    """The start of a command that runs in a namespace."""
    return ["ip", "netns", "exec", name]


def call(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def kill_a_node(ledger: Path, running: "subprocess.Popen[bytes]") -> None:
    """Kill all processes of the other node once some parts are done."""
    while len(list(ledger.glob("part-*"))) < KILLED_AT:
        if running.poll() is not None:
            raise SystemExit("the run ended before a node was killed; take more pictures")
        time.sleep(0.02)
    kill_all(OTHER)
    print(f"killed {OTHER} after {len(list(ledger.glob('part-*')))} parts")


def kill_all(name: str) -> None:
    """Kill all processes in a namespace."""
    found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in map(int, found.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


def table(out: Path) -> list[dict[str, Any]]:
    """The rows of a table without their times."""
    lines = out.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) | {"timing_ms": None} for line in lines]


if __name__ == "__main__":
    main()
