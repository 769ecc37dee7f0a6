"""edgeskin serve: each option has its effect on the running service."""

import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from edgeskin import Classifier
from edgeskin.cli.serve import PACKAGES
from tests.conftest import ROOT, run_cli
from tests.edgeskin.service.conftest import command, plain, wait_until

TOKEN = "0123456789abcdef"


def test_the_command_serves_the_answers_of_the_library(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    """stdout has the address alone; the defaults are those of the library."""
    photo = lesion_jpg.read_bytes()
    with command(shared_micro_bundle) as served, Classifier(shared_micro_bundle) as classifier:
        assert served.url.startswith("http://127.0.0.1:")
        assert served.event("ready")["url"] == served.url
        for path, expected in (
            ("/v1/assess", classifier.assess(photo, name="photo")),
            ("/v1/explain", classifier.assess(photo, name="photo", explain="grad-cam")),
        ):
            answer = served.client.post(path, content=photo)
            assert plain(answer.json()) == plain(expected.to_dict())
        assert served.client.get("/").headers["Content-Type"].startswith("text/html")
        assert served.client.get("/static/texts.json").status_code == 200
        assert served.end() == 0
        assert served.process.stdout is not None
        assert served.process.stdout.read() == ""


def test_each_option_of_the_network_has_its_effect(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """Against the library with the same settings; a dark picture passes without the gate."""
    dark = cv2.imencode(".png", np.full((300, 300, 3), 10, np.uint8))[1].tobytes()
    arguments = (
        "--precision", "fp32", "--threads", 2, "--workers", 2, "--no-quality-gate", "--no-scope-gate",
        "--sensitivity", 0.93, "--isolate", "--cache-dir", tmp_path / "cache",
    )  # fmt: skip
    with command(shared_micro_bundle, *arguments) as served:
        model = served.client.get("/v1/model").json()
        assert model["precision"] == "fp32"
        assert model["gates"] == {"quality": False, "scope": False}
        with Classifier(shared_micro_bundle, "fp32", sensitivity=0.93) as classifier:
            threshold = classifier.rules.screening_threshold
        assert model["operating_points"][0]["threshold"] == threshold != 0.3
        assert served.client.post("/v1/assess", content=dark).json()["status"] == "assessed"
        assert "edgeskin_workers 2.0" in served.client.get("/metrics").text
        assert list((tmp_path / "cache").iterdir())
        if Path("/proc/self/task").exists():
            task = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
            assert len(task.read_text().split()) == 2  # a decoder for each worker
        answer = served.client.post("/v1/assess", content=lesion_jpg.read_bytes())
        assert answer.json()["status"] == "assessed"
    done = run_cli("serve", "--bundle", shared_micro_bundle, "--port", 0, "--threads", 1, "--workers", 2)
    assert done.returncode == 2
    assert "workers 2" in done.stderr


def test_each_limit_has_its_effect(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# kiosk\n{TOKEN}\n", encoding="utf-8")
    records = tmp_path / "records"
    records.mkdir()
    arguments = (
        "--queue", 3, "--time-limit", 0.8, "--max-megabytes", 0.5, "--max-megapixels", 0.2,
        "--tokens", tokens, "--rate-limit", 12, "--allowed-host", "one.example",
        "--allowed-host", "two.example", "--records", records, "--host", "localhost",
    )  # fmt: skip
    small = cv2.imencode(".png", np.full((300, 300, 3), 90, np.uint8))[1].tobytes()
    with command(shared_micro_bundle, *arguments) as served:
        assert served.url.startswith("http://localhost:")
        assert served.client.get("/v1/model").status_code == 401
        served.client.headers["Authorization"] = f"Bearer {TOKEN}"
        limits = served.client.get("/v1/model").json()["limits"]
        assert limits == {
            "max_megabytes": 0.5, "max_megapixels": 0.2, "batch": 3, "time_limit_s": 0.8,
            "requests_per_minute": 12,
        }  # fmt: skip
        for host, status in (("one.example", 200), ("two.example", 200), ("three.example", 421)):
            assert served.client.get("/healthz", headers={"Host": host}).status_code == status
        large = served.client.post("/v1/assess", content=lesion_jpg.read_bytes())
        assert large.json()["error"]["code"] == "too_many_pixels"
        assert served.client.post("/v1/assess", content=bytes(500_001)).status_code == 413
        batch = [("photo", ("a.png", small))] * 4
        assert served.client.post("/v1/assess/batch", files=batch).status_code == 422
        assert served.client.post("/v1/assess", content=small).status_code == 200
        assert len(list(records.iterdir())) == 4  # of the photo that was refused too
        statuses = {served.client.get("/v1/model").status_code for _ in range(12)}
        assert statuses == {200, 429}


def test_the_time_limit_ends_a_slow_body(shared_micro_bundle: Path) -> None:
    head = b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nConnection: close\r\n\r\nx"
    with command(shared_micro_bundle, "--time-limit", 0.3) as served:
        url = httpx.URL(served.url)
        with socket.create_connection((url.host, url.port or 0), timeout=30) as connection:
            connection.sendall(head)
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "kiosk.example"])
def test_a_host_for_others_needs_tokens_or_consent(host: str, tmp_path: Path) -> None:
    """With either, the bundle that is not there is what ends it: nothing listens in this test."""
    done = run_cli("serve", "--host", host, "--bundle", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--tokens" in done.stderr
    if host == "0.0.0.0":
        tokens = tmp_path / "tokens"
        tokens.write_text(TOKEN, encoding="utf-8")
        for consent in (("--open-access",), ("--tokens", tokens)):
            done = run_cli("serve", "--host", host, "--port", 0, "--bundle", tmp_path / "none", *consent)
            assert done.returncode == 3, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a script as the browser")
def test_the_page_is_opened_once_the_service_is_ready(shared_micro_bundle: Path, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(
        f'#!/bin/sh\nprintf %s "$1" > {opened}.part\nmv {opened}.part {opened}\n', encoding="utf-8"
    )
    browser.chmod(0o755)
    with command(shared_micro_bundle, "--open", BROWSER=f"{browser} %s") as served:
        wait_until(opened.exists)
        assert opened.read_text(encoding="utf-8") == served.url
        assert httpx.get(served.url).status_code == 200


def test_a_bundle_must_be_signed_if_required(
    shared_micro_bundle: Path, signed_bundle: Path, signing_keys: tuple[Path, Path]
) -> None:
    done = run_cli(
        "serve", "--port", 0, "--bundle", shared_micro_bundle, "--require-signature", signing_keys[1]
    )
    assert (done.returncode, done.stdout) == (3, "")
    with command(signed_bundle, "--require-signature", signing_keys[1]) as served:
        assert served.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("--queue", 0),
        ("--time-limit", "nan"),
        ("--max-megabytes", -1),
        ("--max-megapixels", 0),
        ("--rate-limit", 0),
        ("--drain-delay", -1),
        ("--port", 70_000),
        ("--host", ""),
        ("--tls-cert", "x.pem"),
        ("--tokens", "/none"),
        ("--records", "/none"),
        ("--wording-url", "http://127.0.0.1:9"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: tuple[str, float], shared_micro_bundle: Path) -> None:
    done = run_cli("serve", "--bundle", shared_micro_bundle, "--port", 0, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert arguments[0].removeprefix("--").replace("-", "_").partition("_")[0] in done.stderr


def test_without_the_extra_the_error_names_it(shared_micro_bundle: Path) -> None:
    code = (
        "import sys, edgeskin.cli.serve as serve\n"
        "serve.PACKAGES = ('none_such',)\n"
        f"sys.argv = ['edgeskin', 'serve', '--bundle', {str(shared_micro_bundle)!r}]\n"
        "from edgeskin.cli.main import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install ".[serve]"' in done.stderr
    assert "none_such" in done.stderr


def test_the_packages_of_the_extra_are_all_asked_for() -> None:
    """Those that pyproject.toml lists, by their import names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {
        requirement.partition(">=")[0].replace("-", "_")
        for requirement in project["optional-dependencies"]["serve"]
    }
    assert set(PACKAGES) == listed
