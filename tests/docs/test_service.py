"""The documents of the service: every option, route, code and metric is there, and the commands work."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import typer.main
import yaml

from edgeskin.cli.main import app
from tests.conftest import run_cli
from tests.docs.conftest import Served
from tests.docs.documents import ROOT, fenced

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from edgeskin.service import error_bodies
from edgeskin.service.settings import read_tokens

RUN, HTTP, OPTIONS = (
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("service.md", "service-http.md", "cli.md")
)
SHELL = [line for text in (RUN, HTTP) for block in fenced(text, "sh") for line in block.splitlines()]
ADDRESS = "http://127.0.0.1:8000"
BUNDLES, KEY = "/var/opt/edgeskin", "/etc/edgeskin/fleet-key.pub"


def section(heading: str, text: str = RUN) -> str:
    found = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert found, heading
    return found


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def options(text: str) -> set[str]:
    return set(re.findall(r"`[^`]*?(--[a-z][a-z-]+)", text))


def serve_options() -> set[str]:
    """The options of the command, as one gives them."""
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    names = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return names - {"--quality-gate", "--scope-gate", "--help"}


def run(line: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of the document. ``edgeskin`` and ``python3`` are those of this environment."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, command in (("edgeskin", f"{sys.executable} -m edgeskin"), ("python3", sys.executable)):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    settings = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        line, shell=True, cwd=folder, env=os.environ | settings, capture_output=True, text=True, timeout=60
    )


def test_every_option_is_described_and_exists() -> None:
    assert options(section("serve", OPTIONS)) == serve_options()


def test_options_in_commands_exist() -> None:
    unit = [line.partition("edgeskin serve ")[2] for line in fenced(RUN, "ini")[0].splitlines()]
    override = yaml.safe_load(fenced(RUN, "yaml")[0])["services"]["edgeskin"]["command"]
    for words in (" ".join(unit).split(), override):
        named = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert named
        assert named <= serve_options()


def test_every_route_is_described_and_exists(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    paths = httpx.get(f"{served.url}openapi.json", headers=headers).json()["paths"]
    known = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    described = set(re.findall(r"^\| `((?:GET|POST) /[^`]*)`", HTTP, re.MULTILINE))
    assert described - {"GET /"} == {route for route in known if " /v2" not in route}


def test_every_code_has_its_status() -> None:
    described = {}
    for statuses, codes, _ in (row for row in rows(section("Errors", HTTP)) if re.match(r"\d", row[0])):
        numbers = [int(number) for number in re.findall(r"\d{3}", statuses)]
        names = re.findall(r"`([a-z_]+)`", codes)
        described |= dict(zip(names, numbers if len(numbers) > 1 else numbers * len(names), strict=True))
    known = {code: status for (_, code), status in error_bodies._BY_CODE.items()}  # noqa: SLF001
    for unsaid in ("client_gone", "unsupported_encoding"):  # nobody reads it; of /v2, which has no codes
        known.pop(unsaid)
    assert {code: described.get(code) for code in known} == known


def test_every_metric_is_described_and_exists(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    text = httpx.get(f"{served.url}metrics", headers=headers).text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    known = {name for name in kinds if not name.endswith("_created")}
    assert set(re.findall(r"`(edgeskin_\w+)`", section("What is kept", HTTP))) == known
    assert set(re.findall(r"`(edgeskin_\w+)`", section("Metrics"))) < known


CURLS = [line for line in SHELL if line.startswith("curl ")]


def test_there_are_requests() -> None:
    assert len(CURLS) > 4


@pytest.mark.parametrize("line", CURLS)
def test_requests_are_answered(line: str, served: Served, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    # A service with tokens; the document's has none.
    asked = f"{line} --fail --header 'Authorization: Bearer {served.token}'".replace(ADDRESS, served.url[:-1])
    done = run(asked, tmp_path)
    assert done.returncode == 0, done.stderr
    words = shlex.split(line)
    if "-o" in words:
        assert (tmp_path / words[words.index("-o") + 1]).stat().st_size > 100
    elif "/v1/" in line:
        assert isinstance(json.loads(done.stdout), dict)


def test_tokens_are_made_as_they_have_to_be(tmp_path: Path) -> None:
    first, second, *_ = fenced(section("Tokens"), "sh")[0].splitlines()
    assert run(first, tmp_path).returncode == run(second, tmp_path).returncode == 0
    (token,) = read_tokens(tmp_path / "edgeskin-tokens")
    assert len(token) >= 32


@pytest.mark.parametrize("heading", ["Start it with systemd", "Kiosk browser"])
def test_installed_files_are_in_the_repository(heading: str) -> None:
    named = re.findall(r"(?:deploy|requirements)/[\w.-]+", "\n".join(fenced(section(heading), "sh")))
    assert named
    assert all((ROOT / name).is_file() for name in named)


def test_systemd_accepts_the_override(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (ROOT / "deploy" / "edgeskin.service").read_text(encoding="utf-8")
    override = fenced(section("Start it with systemd"), "ini")[0]
    folder = tmp_path / "edgeskin.service.d"
    folder.mkdir()
    for path, text in ((tmp_path / "edgeskin.service", unit), (folder / "override.conf", override)):
        path.write_text(text.replace("/opt/edgeskin/bin/edgeskin", "/bin/true"), encoding="utf-8")
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", tmp_path / "edgeskin.service"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_signed_bundle_is_exchanged_as_described(
    micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="the extra sign is not installed")
    bundles, key = tmp_path / "bundles", tmp_path / "fleet-key.pub"
    for name in ("fleet-1", "fleet-2"):
        shutil.copytree(micro_bundle, bundles / name)
    (bundles / "fleet").symlink_to("fleet-1")
    assert run_cli("bundle", "keygen", tmp_path / "fleet-key").returncode == 0
    sign, steps = fenced(section("Update it"), "sh")
    shutil.move(bundles / "fleet-2", tmp_path / "fleet-2")
    assert run(sign, tmp_path).returncode == 0
    shutil.move(tmp_path / "fleet-2", bundles / "fleet-2")
    for line in steps.splitlines():
        if line.startswith(("edgeskin", "ln", "mv")):
            done = run(line.replace(BUNDLES, str(bundles)).replace(KEY, str(key)), tmp_path)
            assert done.returncode == 0, (line, done.stderr)
    assert (bundles / "fleet").readlink() == Path("fleet-2")
    assert not (bundles / "next").exists()
    trusted = ["--bundle", bundles / "fleet", "--require-signature", key]
    assert run_cli("predict", lesion_jpg, *trusted).returncode in (
        0,
        1,
    )  # the micro-bundle may refuse a photo
    (bundles / "fleet-2" / "signature.json").unlink()
    assert run_cli("predict", lesion_jpg, *trusted).returncode == 3


def test_variables_of_compose_are_named() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\{(\w+)", compose))
    assert variables == set(re.findall(r"`(EDGESKIN_\w+)`", section("Run it in a container")))
