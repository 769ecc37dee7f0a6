"""The load client counts what servers answer, and the script still fits the service."""

import email
import email.policy
import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.testclient import TestClient

from benchmarks.speed import service
from benchmarks.speed.service_client import LOST, Server, load, serving, upload
from benchmarks.speed.service_peer import create_app
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import EdgeskinError
from train.config import ModelConfig
from train.models.lesion_net import LesionNet

Answer = Callable[[int], bytes]


@pytest.fixture
def stub() -> Iterator[Callable[[Answer], Server]]:
    """Starts a server of bare sockets, which answers a connection's requests by their number from 0 on."""
    listener = socket.create_server(("127.0.0.1", 0))
    numbers = iter(range(10**6))
    lock = threading.Lock()

    def start(answer: Answer) -> Server:
        def talk(connection: socket.socket) -> None:
            with connection, connection.makefile("rb") as file:
                while line := file.readline():
                    length = 0
                    while (field := file.readline().lower()) not in (b"\r\n", b""):
                        if field.startswith(b"content-length:"):
                            length = int(field.partition(b":")[2])
                    file.read(length)
                    is_health = b"/healthz" in line
                    with lock:
                        reply = ok() if is_health else answer(next(numbers))
                    if not reply:
                        return
                    connection.sendall(reply)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return Server(listener.getsockname()[1], 0)

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ok(status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n{more}\r\n{{}}".encode()


def test_answers_errors_and_lost_requests_are_counted(stub: Callable[[Answer], Server]) -> None:
    """Of ten answers, every fifth is a 503 and every tenth is none."""

    def answer(number: int) -> bytes:
        return b"" if number % 10 == 9 else ok("503 Busy") if number % 5 == 2 else ok()

    reached: list[int] = []
    server = stub(answer)
    measured = load(server, upload(b"x"), 3, seconds=30, most=40, every=10, reached=reached.append)
    assert measured.errors == Counter({LOST: 4, "503": 8})
    assert len(measured.latencies_ms) == 40 - 4 - 8
    assert reached == [10, 20, 30]
    assert measured.health_ms
    assert measured.seconds > 0


def test_a_connection_that_the_server_closes_is_opened_again(stub: Callable[[Answer], Server]) -> None:
    server = stub(lambda _: ok(more="Connection: close\r\n"))
    measured = load(server, upload(b"x"), 2, seconds=30, most=6)
    assert (len(measured.latencies_ms), measured.errors) == (6, Counter())


def test_a_load_ends_in_time(stub: Callable[[Answer], Server]) -> None:
    measured = load(stub(lambda _: ok()), upload(b"x"), 1, seconds=0.05, most=10**9)
    assert 0 < len(measured.latencies_ms) < 10**6


def test_an_upload_is_a_multipart_request_with_the_photo() -> None:
    """As Python's own parser of messages reads it."""
    content = bytes(range(256))
    head, _, body = upload(content, "/v1/report").partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    assert line == b"POST /v1/report HTTP/1.1"
    message = email.message_from_bytes(fields + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    assert int(message["Content-Length"]) == len(body)
    (part,) = message.iter_parts()  # type: ignore[attr-defined]
    assert part.get_filename() == "photo.jpg"
    assert part.get_param("name", header="content-disposition") == "photo"
    assert part.get_payload(decode=True) == content


def test_a_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    with pytest.raises(EdgeskinError, match="no such thing"), serving(command, tmp_path, {}):
        pass


def test_growth_leaves_the_warm_up_out() -> None:
    """Of eight samples: the median of the last two less that of the third and fourth, by hand."""
    memory = dict(zip("abcdefgh", [10.0, 90.0, 100.0, 102.0, 103.0, 102.0, 104.0, 106.0], strict=True))
    assert service.growth_mb(memory) == 105.0 - 101.0


def test_quantiles_of_a_hundred_and_one_samples() -> None:
    assert service.quantiles(range(101), (0.5, 0.95, 1.0)) == {"p50": 50, "p95": 95, "max": 100}
    assert service.quantiles([], (0.5,)) == {}


def test_the_plain_service_answers(tmp_path: Path, lesion_jpg: Path) -> None:
    net = LesionNet(ModelConfig("test_efficientnet"), 8)
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()},
        tmp_path / "network.safetensors",
    )
    facts = {"backbone": "test_efficientnet", "classes": 8, "size": 64, "cancer": [0, 2, 3, 7]}
    (tmp_path / "network.json").write_text(json.dumps(facts))
    client = TestClient(create_app(tmp_path, 1))
    answer = client.post("/v1/assess", files={"photo": lesion_jpg.read_bytes()})
    assert answer.status_code == 200
    assert 0 < answer.json()["cancer_probability"] < 1
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_file_that_an_upload_is_spooled_to_is_found(tmp_path: Path) -> None:
    """Starlette's own form writes parts above 1 MB to a temporary file without a name."""
    app = (
        "import socket, uvicorn\n"
        "from fastapi import FastAPI, UploadFile\n"
        "app = FastAPI()\n"
        "@app.post('/v1/assess')\n"
        "async def assess(photo: UploadFile) -> int: return 1\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(f'http://127.0.0.1:{listener.getsockname()[1]}/', flush=True)\n"
        "uvicorn.Server(uvicorn.Config(app, log_level='warning')).run([listener])\n"
    )
    (tmp_path / "cwd").mkdir()
    with serving([sys.executable, "-c", app], tmp_path / "cwd", {"TMPDIR": str(tmp_path)}) as server:
        left = service.files_left(server, tmp_path / "cwd", tmp_path)
    assert left["status"] == 200
    assert len(left["during"]) == 1
    assert left["during"][0].startswith(str(tmp_path))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_script_fits_the_service(
    shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quick run on the micro bundle: no request fails, and no file is left."""
    measured: list[Any] = []
    table = service.soak_table
    monkeypatch.setattr(service, "soak_table", lambda content: measured.append(content) or table(content))
    arguments = ["service", "--quick", "--no-peer", "--bundle", str(shared_micro_bundle)]
    monkeypatch.setattr(sys, "argv", arguments)
    service.main()
    results = measured[0]["results"]
    assert measured[0]["bundle_sha256"] == open_bundle().sha256
    assert set(results["load"]) == set(service.ENGINES)
    for rows in results["load"].values():
        assert set(rows) == {"1", "8", "64"}
        for row in rows.values():
            assert row["errors"] == {}
            assert row["requests"] > 0
    assert (results["soak"]["requests"], results["soak"]["errors"]) == (40, {})
    assert len(results["soak"]["resident_mb"]) == service.SOAK_SAMPLES + 1
    assert 10 < results["upload"]["megabytes"] < 10.1
    assert results["upload"]["status"] == 200
    assert results["upload"]["during"] == results["upload"]["after"] == []
    assert service.table(measured[0]).rows
    assert "| requests |" in capsys.readouterr().out


def test_a_result_of_another_bundle_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["service", "--bundle", "lite"])
    with pytest.raises(SystemExit):
        service.main()
