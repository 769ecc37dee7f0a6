"""How the server ends, where it listens, and TLS; in a process of its own."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from edgeskin.errors import SettingError
from edgeskin.service.server import listen, url_of
from edgeskin.service.settings import ServiceSettings
from tests.conftest import ROOT, run_cli
from tests.edgeskin.service.conftest import PATIENCE_S, Command, command, wait_until


def request_in_progress(served: Command, lesion: bytes) -> socket.socket:
    """A connection on which all of a request but its last byte was sent."""
    url = httpx.URL(served.url)
    head = f"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(lesion)}\r\n"
    connection = socket.create_connection((url.host, url.port or 0), timeout=PATIENCE_S)
    connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # the service reads the body
    connection.sendall(lesion[:-1])
    return connection


def accepts(served: Command) -> bool:
    url = httpx.URL(served.url)
    try:
        socket.create_connection((url.host, url.port or 0), timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def test_sigterm_drains(shared_micro_bundle: Path, lesion: bytes) -> None:
    """Not ready at once, no connection after the delay; the running request is answered; exit code 0."""
    with command(shared_micro_bundle, "--drain-delay", 2) as served:
        running = request_in_progress(served, lesion)
        assert served.client.get("/readyz").status_code == 200
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: served.client.get("/readyz").status_code == 503)
        # Within the delay, requests that still come are answered.
        assert served.client.post("/v1/assess", content=lesion).status_code == 200
        assert httpx.get(f"{served.url}healthz").status_code == 200
        wait_until(lambda: not accepts(served))
        assert served.process.poll() is None
        running.sendall(lesion[-1:])
        answer = b""
        while chunk := running.recv(65536):
            answer += chunk
        running.close()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"status":"assessed"' in answer
        assert served.process.wait(PATIENCE_S) == 0
        assert served.process.stdout is not None
        assert served.process.stdout.read() == ""


def test_a_page_that_no_browser_opens_is_logged(shared_micro_bundle: Path) -> None:
    """There is no browser on an empty path."""
    nothing = {"PATH": "", "DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": ""}
    with command(shared_micro_bundle, "--open", **nothing) as served:
        assert served.event("page_not_opened")["url"] == served.url
        assert served.client.get("/").status_code == 200


def test_a_second_signal_ends_at_once(shared_micro_bundle: Path, lesion: bytes) -> None:
    with command(shared_micro_bundle, "--drain-delay", 3600) as served:
        running = request_in_progress(served, lesion)
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: served.client.get("/readyz").status_code == 503)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_S) == 128 + signal.SIGTERM
        running.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_service_ends_with_0(number: signal.Signals, shared_micro_bundle: Path) -> None:
    """Ctrl-C does not wait for the drain delay; SIGTERM without one neither."""
    delay = ("--drain-delay", 3600) if number == signal.SIGINT else ()
    with command(shared_micro_bundle, *delay) as served:
        assert served.client.get("/healthz").status_code == 200  # and the connection stays open
        assert served.end(number) == 0
        assert served.lines[-1]["event"] == "stopped"


def test_a_port_that_is_taken_is_named(shared_micro_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_cli("serve", "--bundle", shared_micro_bundle, "--port", port)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert f"127.0.0.1 port {port}" in done.stderr


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(SettingError, match=r"none\.invalid"):
        listen(ServiceSettings(host="none.invalid", open_access=True, port=0))


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:{}/"), ("localhost", "http://localhost:{}/"), ("::1", "http://[::1]:{}/"),
     ("0.0.0.0", "http://127.0.0.1:{}/")],
)  # fmt: skip
def test_the_address_is_one_for_a_browser_here(host: str, url: str) -> None:
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    settings = ServiceSettings(host=host, port=0, open_access=True)
    with listen(settings) as listener:
        assert url_of(settings, listener) == url.format(listener.getsockname()[1])


def test_tls(shared_micro_bundle: Path, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    arguments = ("--host", "localhost", "--tls-cert", certificate[0], "--tls-key", certificate[1])
    with command(shared_micro_bundle, *arguments, verify=context) as served:
        assert served.url.startswith("https://localhost:")
        assert served.client.get("/healthz").status_code == 200
        assert served.end() == 0


def test_tls_files_that_do_not_fit_are_named(
    shared_micro_bundle: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_text("no key", encoding="utf-8")
    for key in (tmp_path / "other.pem", tmp_path / "missing.pem", certificate[0]):
        done = run_cli(
            "serve",
            "--bundle",
            shared_micro_bundle,
            "--port",
            0,
            "--tls-cert",
            certificate[0],
            "--tls-key",
            key,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert str(key) in done.stderr


def test_a_connection_that_says_nothing_does_not_stop_the_end(shared_micro_bundle: Path) -> None:
    with command(shared_micro_bundle) as served:
        url = httpx.URL(served.url)
        with socket.create_connection((url.host, url.port or 0), timeout=PATIENCE_S) as silent:
            silent.sendall(b"GET /hea")
            assert served.end() == 0


def test_health_answers_while_photos_are_assessed(shared_micro_bundle: Path, lesion: bytes) -> None:
    """The loop stays free while workers work and the queue is full.

    64 clients at once are more than there is room for. Every health check and every request is answered, the
    requests with 200 or 503; none is lost, and at least as many as have a place succeed.
    """
    with command(shared_micro_bundle, "--queue", 16, "--threads", 1) as served:
        statuses: list[int] = []

        def ask() -> None:
            with httpx.Client(base_url=served.url, timeout=PATIENCE_S) as client:
                statuses.extend(client.post("/v1/assess", content=lesion).status_code for _ in range(2))

        threads = [threading.Thread(target=ask) for _ in range(64)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert served.client.get("/healthz").status_code == 200
        for thread in threads:
            thread.join()
        assert len(statuses) == 128
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) >= 17


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="without /dev/full")
def test_a_stdout_that_takes_nothing_does_not_end_the_service(shared_micro_bundle: Path) -> None:
    """The log names the address as well, and has no other line."""
    words = [sys.executable, "-m", "edgeskin", "serve", "--port", "0", "--bundle", str(shared_micro_bundle)]
    with Path("/dev/full").open("w") as full, subprocess.Popen(
        words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:  # fmt: skip
        assert process.stderr is not None
        try:
            ready = json.loads(process.stderr.readline())
            assert httpx.get(f"{ready['url']}healthz", timeout=PATIENCE_S).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
            events = [json.loads(line)["event"] for line in process.stderr]
            assert events == ["request", "stopped"]
        finally:
            process.kill()
