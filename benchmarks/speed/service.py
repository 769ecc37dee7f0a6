"""How many requests does `edgeskin serve` answer, how fast, and does it keep memory or files?

    python -m benchmarks.speed.service [--rounds 3] [--seconds 8] [--soak 5000] [--quick]

Sends a 600x450 JPEG over loopback at 1, 8 and 64 clients to the default bundle in INT8 with one and two
workers, and to a plain FastAPI and torch service of the same network (`benchmarks.speed.service_peer`).
Beside them stands the engine's own throughput in a process without HTTP. All alternate in every round.
/healthz is asked every 50 ms meanwhile. Then 5,000 requests of 8 clients, with the resident memory after each
250; and an upload of 10 MB, with a look for new files in the temporary, working and home folders and among
the server's open files, while half of it is sent and after its answer. The client shares the machine's cores
with the server. Linux only. Writes benchmarks/speed/results/service.json; --quick writes nothing.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from benchmarks.environment import (
    EXAMPLE,
    ROOT,
    argument_parser,
    hardware,
    read_result,
    result,
    result_path,
    write_example,
    write_result,
)
from benchmarks.speed.rounds import alternate
from benchmarks.speed.runtime_client import Runtime, running
from benchmarks.speed.runtime_models import prepared_views, write_torch
from benchmarks.speed.service_client import Load, Server, load, serving, upload
from benchmarks.tables import Table
from edgeskin.bundle.bundle import Bundle, open_bundle
from edgeskin.network.cpu import available_threads

RESULT = result_path(__file__)
CLIENTS = (1, 8, 64)
ENGINES = {
    "edgeskin serve, 1 worker": "edgeskin int8",
    "edgeskin serve, 2 workers": "edgeskin int8, two workers",
}
"""The engine alone, a name of `runtime_process.RUNTIMES`, by the service on it."""
PEER = "FastAPI and torch"
WARM_UP = 8
MOST = 100_000
ENGINE_PHOTOS_A_SECOND = 20
SOAK_CLIENTS, SOAK_SAMPLES, SOAK_LIMIT_S = 8, 20, 300.0
STATISTICS_IMAGES = 100


@dataclass
class Row:
    """Measurements of one service at one number of clients; of lists there is one item a round."""

    latencies_ms: list[float] = field(default_factory=list)
    health_ms: list[float] = field(default_factory=list)
    requests_per_second: list[float] = field(default_factory=list)
    client_cpu: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    resident_mb: float = 0.0

    def add(self, measured: Load, resident_mb: float) -> None:
        """Add a round."""
        self.latencies_ms += measured.latencies_ms
        self.health_ms += measured.health_ms
        self.requests_per_second.append(len(measured.latencies_ms) / measured.seconds)
        self.client_cpu.append(measured.client_cpu)
        self.errors += measured.errors
        self.resident_mb = max(self.resident_mb, resident_mb)

    def summary(self) -> dict[str, Any]:
        """Quantiles of all requests, and each round's requests per second."""
        return {
            "requests": len(self.latencies_ms),
            "requests_per_second": self.requests_per_second,
            "latency_ms": quantiles(self.latencies_ms, (0.5, 0.95, 0.99)),
            "errors": dict(self.errors),
            "health_ms": quantiles(self.health_ms, (0.5, 1.0)),
            "resident_mb": self.resident_mb,
            "client_cpu": median(self.client_cpu),
        }


def main() -> None:
    """Measure, print and write the result."""
    options = _options()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        photo = write_example(folder / "photo.jpg", (600, 450))
        servers = {
            name: stack.enter_context(serving_edgeskin(folder / f"serve-{number}", number, options.bundle))
            for number, name in enumerate(ENGINES, 1)
        }
        if not options.no_peer:
            servers[PEER] = stack.enter_context(serving_peer(folder / "peer", open_bundle()))
        engines = {
            name: stack.enter_context(running(runtime, folder, available_threads()))
            for name, runtime in ENGINES.items()
            if options.bundle is None
        }
        loads, own = measure(servers, engines, photo, options.rounds, options.seconds)
        server = servers["edgeskin serve, 2 workers"]
        memory = soak(server, upload(photo.read_bytes()), options.soak)
        left = files_left(server, folder / "serve-2", folder)
    content = result(
        f"python -m benchmarks.speed.service --rounds {options.rounds} --seconds {options.seconds:g} "
        f"--soak {options.soak}",
        *("openvino", "numpy", "opencv-python-headless", "fastapi", "starlette", "uvicorn", "torch", "timm"),
        results={
            "load": {
                name: {str(clients): row.summary() for clients, row in rows.items()}
                for name, rows in loads.items()
            },
            "engine": own,
            "soak": memory,
            "upload": left,
        },
    )
    for one in (table(content), soak_table(content)):
        print(one.grid(), end="\n\n")
    if not options.quick:
        write_result(RESULT, content)


def serving_edgeskin(folder: Path, workers: int, bundle: str | None) -> Any:
    """Start `edgeskin serve` with a working, a temporary and a home folder of its own.

    Args:
        folder: For these.
        workers: As its option.
        bundle: Another than the default one.
    """
    names = ("cwd", "tmp", "home")
    for name in names:
        (folder / name).mkdir(parents=True)
    command = [sys.executable, "-m", "edgeskin", "serve", "--port", "0", "--workers", str(workers)]
    if bundle is not None:
        command += ["--bundle", bundle]
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home"),
        "EDGESKIN_CACHE": "",
    }
    return serving(command, folder / "cwd", environment)


def serving_peer(folder: Path, bundle: Bundle) -> Any:
    """Start the plain service of a bundle's network, on all threads."""
    folder.mkdir()
    write_torch(bundle, prepared_views(bundle, None, "train", STATISTICS_IMAGES)[:, 0], folder)
    command = [sys.executable, "-m", "benchmarks.speed.service_peer", str(folder), str(available_threads())]
    return serving(command, folder, {"PYTHONPATH": str(ROOT)})


def measure(
    servers: Mapping[str, Server],
    engines: Mapping[str, Runtime],
    photo: Path,
    rounds: int,
    seconds: float,
) -> tuple[dict[str, dict[int, Row]], dict[str, list[float]]]:
    """Load every service at every number of clients, and time the engines, in alternating rounds.

    Args:
        servers: The services by name.
        engines: The engine alone by the name of the service on it.
        photo: Which is sent.
        rounds: How many.
        seconds: Of each load.

    Returns:
        Rows by service and clients, and each engine's photos per second of each round.
    """
    request = upload(photo.read_bytes())
    rows = {name: {clients: Row() for clients in CLIENTS} for name in servers}
    own: dict[str, list[float]] = {name: [] for name in engines}
    for server in servers.values():
        load(server, request, 2, seconds=seconds, most=WARM_UP)
    for engine in engines.values():
        engine.ask(do="folder", photo=str(photo), photos=WARM_UP)
    cells = [(name, clients) for name in servers for clients in CLIENTS] + [(name, 0) for name in engines]
    for number, (name, clients) in alternate(cells, rounds):
        print(f"round {number + 1} of {rounds}: {name}, {clients} clients", file=sys.stderr)
        if clients == 0:
            photos = max(1, round(ENGINE_PHOTOS_A_SECOND * seconds))
            own[name].append(engines[name].ask(do="folder", photo=str(photo), photos=photos))
        else:
            measured = load(servers[name], request, clients, seconds=seconds, most=MOST)
            rows[name][clients].add(measured, servers[name].resident_mb)
    return rows, own


def soak(server: Server, request: bytes, requests: int) -> dict[str, Any]:
    """Send many requests, and read the server's resident memory SOAK_SAMPLES times in equal steps."""
    every = max(1, requests // SOAK_SAMPLES)
    memory: dict[str, float] = {"0": server.resident_mb}

    def reached(answered: int) -> None:
        memory[str(answered)] = server.resident_mb

    measured = load(
        server, request, SOAK_CLIENTS, seconds=SOAK_LIMIT_S, most=requests, every=every, reached=reached
    )
    return {
        "requests": len(measured.latencies_ms),
        "errors": dict(measured.errors),
        "seconds": measured.seconds,
        "resident_mb": memory,
    }


def growth_mb(memory: Mapping[str, float]) -> float:
    """How much more memory the last quarter of the samples has than the second one, by their medians."""
    values = list(memory.values())
    quarter = max(1, len(values) // 4)
    return median(values[-quarter:]) - median(values[quarter : 2 * quarter])


def files_left(server: Server, folder: Path, temporary: Path) -> dict[str, Any]:
    """Upload 10 MB and look for new files.

    Args:
        server: Which is asked.
        folder: Of its working, temporary and home folders.
        temporary: For the photo.

    Returns:
        Size and status, and the new files while half is sent and after the answer.
    """
    request = upload(large_photo(temporary / "large.bmp"))
    before = _files(server, folder)

    async def send() -> tuple[set[str], int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        half = len(request) // 2
        writer.write(request[:half])
        await writer.drain()
        await asyncio.sleep(0.5)  # so that the server has read it
        during = _files(server, folder)
        writer.write(request[half:])
        await writer.drain()
        status = int((await reader.readuntil(b"\r\n")).split(b" ", 2)[1])
        writer.close()
        await writer.wait_closed()
        return during, status

    during, status = asyncio.run(send())
    return {
        "megabytes": len(request) / 1e6,
        "status": status,
        "during": sorted(during - before),
        "after": sorted(_files(server, folder) - before),
    }


def large_photo(path: Path) -> bytes:
    """The example photo as an uncompressed file of 10 MB."""
    side = round((10e6 / 3) ** 0.5)
    image = cv2.resize(np.asarray(cv2.imread(str(EXAMPLE))), (side, side), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), image)
    return path.read_bytes()


def quantiles(samples: Sequence[float], shares: Sequence[float]) -> dict[str, float]:
    """Quantiles of samples by name: ``p50``, and ``max`` for 1. Empty without samples."""
    names = ["max" if share == 1 else f"p{round(100 * share)}" for share in shares]
    return dict(zip(names, np.quantile(samples, shares).tolist(), strict=True)) if samples else {}


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the loads of a result, the committed one by default."""
    content = content or read_result(RESULT)
    results = content["results"]
    rows = []
    for name, by_clients in results["load"].items():
        for clients, row in by_clients.items():
            errors = ", ".join(f"{count} x {code}" for code, count in row["errors"].items())
            rows.append(
                (
                    name,
                    clients,
                    f"{median(row['requests_per_second']):.1f}",
                    _share(row["requests_per_second"], results["engine"].get(name)),
                    *(
                        f"{row['latency_ms'][key]:.0f}" if row["latency_ms"] else ""
                        for key in ("p50", "p95", "p99")
                    ),
                    errors or "none",
                    f"{row['health_ms']['p50']:.0f}; {row['health_ms']['max']:.0f}",
                    f"{row['resident_mb']:.0f}",
                )
            )
    for name, rates in results["engine"].items():
        rows.append((name.replace("serve", "engine alone"), "", f"{median(rates):.1f}", *[""] * 7))
    shares = [row["client_cpu"] for by in results["load"].values() for row in by.values()]
    return Table(
        "Service under load",
        "`edgeskin serve` with the default bundle in INT8, and a plain FastAPI and torch service of the same "
        "network without gates, each sent a 600x450 JPEG by so many clients. The client runs on the same "
        f"cores and takes up to {max(shares):.0%} of one. {hardware(content)}.",
        content["command"],
        (
            "service",
            "clients",
            "requests per second",
            "share of the engine's, paired (range)",
            "p50, ms",
            "p95, ms",
            "p99, ms",
            "errors",
            "/healthz, ms: p50; max",
            "resident MB, at most",
        ),
        rows,
    )


def soak_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render what a result says of memory and files, the committed one by default."""
    content = content or read_result(RESULT)
    soaked, left = content["results"]["soak"], content["results"]["upload"]
    memory = list(soaked["resident_mb"].values())
    errors = ", ".join(f"{count} x {code}" for code, count in soaked["errors"].items())
    return Table(
        "Service over time",
        f"The service with two workers and {SOAK_CLIENTS} clients: resident memory before, in between and "
        "after, and the growth from the second to the last quarter of the samples. Then an upload of "
        f"{left['megabytes']:.0f} MB: new files in its temporary, working and home folders and among its "
        f"open files. {hardware(content)}.",
        content["command"],
        (
            "requests",
            "errors",
            "MB before",
            "MB at most",
            "MB after",
            "growth, MB",
            "new files during the upload",
            "new files after it",
        ),
        [
            (
                str(soaked["requests"]),
                errors or "none",
                *(f"{value:.0f}" for value in (memory[0], max(memory), memory[-1])),
                f"{growth_mb(soaked['resident_mb']):+.1f}",
                ", ".join(left["during"]) or "none",
                ", ".join(left["after"]) or "none",
            )
        ],
    )


def _share(rates: Sequence[float], engine: Sequence[float] | None) -> str:
    if not engine:
        return ""
    shares = [rate / own for rate, own in zip(rates, engine, strict=True)]
    return f"{median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"


def _files(server: Server, folder: Path) -> set[str]:
    """The files in a server's folders, and those that it has open."""
    return {str(path) for path in folder.rglob("*") if path.is_file()} | server.open_files()


def _options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--soak", type=int, default=5000, help="requests")
    parser.add_argument("--bundle", help="another bundle, without the engine alone; for tests")
    parser.add_argument("--no-peer", action="store_true", help="leave the plain service out")
    parser.add_argument(
        "--quick", action="store_true", help="a second of each load, 40 requests; write nothing"
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.soak = 1, 1.0, 40
    elif options.bundle or options.no_peer:
        parser.error("--bundle and --no-peer need --quick: a result is of the default bundle and its peer")
    return options


if __name__ == "__main__":
    main()
