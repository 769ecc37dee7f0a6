"""The files of deploy/, each read by the program that it is for. Tests of a program that is not here skip."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from playwright.sync_api import Browser, Error, sync_playwright

from tests.docs.conftest import Served
from tests.docs.documents import ROOT

DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "edgeskin.service").read_text(encoding="utf-8")
POLICY = json.loads((DEPLOY / "chromium-policy.json").read_text(encoding="utf-8"))
PATIENCE_S = 30.0
CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), None)
NAME = "edgeskin.example.org"


def tool(name: str) -> str:
    """The path of a program; skips where it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that exists in place of the installed one."""
    path = tmp_path / "edgeskin.service"
    command = "ExecStart=/opt/edgeskin/bin/edgeskin serve\n"
    assert command in UNIT
    path.write_text(
        UNIT.replace(command, f"ExecStart={sys.executable} -m edgeskin serve\n"), encoding="utf-8"
    )
    return path


def test_systemd_accepts_the_unit(unit: Path) -> None:
    command = [tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_the_unit_hardly_exposed(unit: Path) -> None:
    command = [tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", unit]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_the_unit_lets_the_network_be_compiled_and_requests_be_answered() -> None:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from edgeskin.service.settings import ServiceSettings

    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
    assert "MemoryDenyWriteExecute" not in settings
    assert int(settings["TimeoutStopSec"]) > 2 * ServiceSettings().time_limit_s
    assert settings["RestartPreventExitStatus"] == "2 3"


class Answering(BaseHTTPRequestHandler):
    """Answers every path with a page, and remembers what asked."""

    asked: ClassVar[list[tuple[str, str]]] = []
    is_ready: ClassVar[bool] = True

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("User-Agent", "")))
        self.send_response(200 if self.is_ready else 503)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>page</title>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site() -> Iterator[str]:
    """The address of a site on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def kiosk_browser(folder: Path, policy: dict[str, object]) -> Iterator[Browser]:
    """A Chromium with this policy, whose folder only this process sees."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    (folder / "policies" / "managed").mkdir(parents=True)
    (folder / "policies" / "managed" / "edgeskin.json").write_text(json.dumps(policy), encoding="utf-8")
    started = folder / "chromium"
    mount = f'mount --bind "{folder}" /etc/chromium && exec "{CHROMIUM}" "$@"'
    unshare = f"{tool('unshare')} --map-root-user --mount"
    started.write_text(f"#!/bin/sh\nexec {unshare} sh -c '{mount}' sh \"$@\"\n", encoding="utf-8")
    started.chmod(0o755)
    allowed = subprocess.run(
        [*unshare.split(), "mount", "--bind", folder, "/etc/chromium"], capture_output=True
    )
    if allowed.returncode != 0:
        pytest.skip("no mount of its own can be given to a process here")
    arguments = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=started, args=arguments)
        yield browser
        browser.close()


CAMERA = """kind => Promise.race([
    navigator.mediaDevices.getUserMedia({[kind]: true}).then(() => 'given', error => error.name),
    new Promise(done => setTimeout(() => done('asks a person'), 10000)),
])"""


def test_chromium_keeps_to_the_page_and_gives_it_the_camera(tmp_path: Path) -> None:
    with site() as allowed, site() as other:
        text = json.dumps(POLICY).replace("http://127.0.0.1:8000", allowed)
        # Playwright drives pages by the developer tools, which the policy turns off.
        policy = json.loads(text) | {"DeveloperToolsAvailability": 1}
        with kiosk_browser(tmp_path, policy) as browser:
            page = browser.new_page()
            page.goto(allowed)
            assert page.title() == "page"
            assert page.evaluate(CAMERA, "video") == "given"
            assert page.evaluate(CAMERA, "audio") == "NotAllowedError"
            for address in (other, "file:///etc/passwd", "https://example.org/"):
                with pytest.raises(Error, match="ERR_BLOCKED_BY_ADMINISTRATOR"):
                    browser.new_page().goto(address)


def test_the_policy_closes_what_a_visitor_could_leave_by() -> None:
    assert POLICY["URLBlocklist"] == ["*"]
    assert POLICY["VideoCaptureAllowedUrls"] == POLICY["URLAllowlist"][:1] == ["http://127.0.0.1:8000"]
    assert POLICY["DeveloperToolsAvailability"] == 2
    assert POLICY["DownloadRestrictions"] == 3
    assert POLICY["AllowFileSelectionDialogs"] is False
    assert POLICY["PrintingEnabled"] is True


@pytest.mark.parametrize(("given", "opened"), [("", "#kiosk"), ("#token=abc", "#token=abc&kiosk")])
def test_the_kiosk_opens_the_page_once_the_service_is_ready_and_leaves_no_profile(
    given: str, opened: str, tmp_path: Path
) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    wrapper = tmp_path / "bin" / "chromium"
    wrapper.parent.mkdir()
    options = f'printf "%s\\n" "$@" > "{tmp_path}/options"'
    started = f'exec "{CHROMIUM}" --headless --no-sandbox --disable-gpu "$@"'
    wrapper.write_text(f"#!/bin/sh\n{options}\n{started}\n", "utf-8")
    wrapper.chmod(0o755)
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    environment = os.environ | {
        "PATH": f"{wrapper.parent}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(runtime),
    }  # fmt: skip
    Answering.asked.clear()
    Answering.is_ready = False
    with site() as address, (tmp_path / "log").open("wb") as log:
        command = ["sh", DEPLOY / "kiosk.sh", f"{address}/{given}"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: len(Answering.asked) > 1)
            assert {path for path, _ in Answering.asked} == {"/readyz"}
            assert not list(runtime.iterdir())
            Answering.is_ready = True
            wait_until(lambda: any(path == "/" and "Chrome" in agent for path, agent in Answering.asked))
            assert (tmp_path / "options").read_text().splitlines()[-1] == f"{address}/{opened}"
            process.terminate()
            assert process.wait(timeout=PATIENCE_S) == 128 + signal.SIGTERM
            assert not list(runtime.glob("edgeskin-kiosk.*"))
        finally:
            Answering.is_ready = True
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for NAME, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    make = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"]
    subprocess.run([*make, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def ask(port: int, cert: Path, path: str, body: bytes | None, token: str) -> httpx.Response:
    """Ask a proxy on loopback under NAME, checking its certificate."""
    with httpx.Client(verify=ssl.create_default_context(cafile=cert), timeout=PATIENCE_S) as client:
        return client.request(
            "GET" if body is None else "POST",
            f"https://127.0.0.1:{port}{path}",
            content=body,
            headers={"Host": NAME, "Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"},
            extensions={"sni_hostname": NAME},
        )


def require_proxied(port: int, cert: Path, served: Served, photo: bytes) -> None:
    """Raise AssertionError unless a proxy passes on what it should."""
    assert ask(port, cert, "/readyz", None, "wrong").status_code == 200
    assert ask(port, cert, "/v1/assess", photo, "wrong").status_code == 401
    answer = ask(port, cert, "/v1/assess", photo, served.token)
    assert (answer.status_code, answer.json()["image"]) == (200, "photo")
    answer = ask(port, cert, "/v1/assess", bytes(21_000_000), served.token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert ask(port, cert, "/metrics", None, served.token).status_code == 404


@contextmanager
def proxy(port: int, command: list[str | Path], log: Path, **environment: str) -> Iterator[None]:
    """Run a proxy until the block ends, which begins once it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment)

    def listens() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens)
        yield
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_nginx_passes_photos_on_and_keeps_none(
    served: Served, certificate: tuple[Path, Path], lesion_jpg: Path, tmp_path: Path
) -> None:
    nginx, port = tool("nginx"), free_port()
    cert, key = certificate
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/edgeskin/cert.pem", str(cert)),
        ("/etc/ssl/edgeskin/key.pem", str(key)),
        ("http://127.0.0.1:8000", served.url.rstrip("/")),
    ):
        assert old in text
        text = text.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/temporary/{kind};" for kind in kinds)
    (tmp_path / "temporary").mkdir()
    tmp_path.chmod(0o755)
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr info; events {{}}\nhttp {{ {folders}\n{text} }}\n",
        encoding="utf-8",
    )
    command = [nginx, "-p", tmp_path, "-e", "stderr", "-c", configuration]
    with proxy(port, command, tmp_path / "log"):
        require_proxied(port, cert, served, lesion_jpg.read_bytes())
    # nginx logs each body that it buffers in a file.
    assert "buffered to a temporary file" not in (tmp_path / "log").read_text(encoding="utf-8")
    assert not [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]


def test_caddy_passes_photos_on(
    served: Served, certificate: tuple[Path, Path], lesion_jpg: Path, tmp_path: Path
) -> None:
    caddy, port = tool("caddy"), free_port()
    cert, key = certificate
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    assert "reverse_proxy 127.0.0.1:8000" in text
    text = text.replace(f"{NAME} {{", f"{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {cert} {key}")
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}")
    configuration = tmp_path / "Caddyfile"
    configuration.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{text}", encoding="utf-8")
    command = [caddy, "run", "--adapter", "caddyfile", "--config", configuration]
    folders = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with proxy(port, command, tmp_path / "log", **folders):
        require_proxied(port, cert, served, lesion_jpg.read_bytes())
