"""The promises of the Dockerfile and compose.yaml. ``nox -s container`` builds and runs the image."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import openvino
import pytest
import typer.main
import yaml

from edgeskin.cli.main import app
from tests.conftest import run_cli
from tests.docs.conftest import Served
from tests.docs.documents import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICE = COMPOSE["services"]["edgeskin"]
LOCKED = ("build.txt", "kiosk.txt")


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its arguments, in order."""
    lines = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    parts = (line.partition(" ") for line in lines if line.strip())
    return [(name, re.sub(r" +", " ", arguments.strip())) for name, _, arguments in parts]


def last(name: str) -> str:
    """The arguments of an instruction in the stage that is shipped."""
    stage = max(index for index, one in enumerate(instructions()) if one[0] == "FROM")
    return next(arguments for found, arguments in instructions()[stage:] if found == name)


def served_options() -> list[str]:
    command: list[str] = json.loads(last("CMD"))
    assert command[:2] == ["edgeskin", "serve"]
    return command[2:]


def health_check() -> list[str]:
    command: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return command


def test_it_runs_as_a_user_without_rights_and_a_name() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 999
    assert int(group) > 999


def test_every_copied_file_exists_and_reaches_the_build() -> None:
    assert IGNORED[1] == "*"
    let_through = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    copied = set()
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from"):
            copied |= set(arguments.split()[:-1])
    assert all((ROOT / source).exists() for source in copied)
    assert copied == let_through


def test_every_package_is_installed_by_hash() -> None:
    installed = [words for words in _commands() if "install" in words]
    assert len(installed) == 3
    for words in installed:
        assert "--no-deps" in words
        if not words[-1].startswith("/wheels/edgeskin-"):
            assert "--require-hashes" in words
            assert words[words.index("-r") + 1] in [f"requirements/{name}" for name in LOCKED]
    assert all("--no-build-isolation" in words for words in _commands() if "wheel" in words)


def _commands() -> list[list[str]]:
    lines = [arguments for name, arguments in instructions() if name == "RUN"]
    return [shlex.split(command) for line in lines for command in line.split("&&")]


def test_the_lock_of_the_build_has_one_version_with_hashes() -> None:
    lock = (ROOT / "requirements" / "build.txt").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["build-system"]["requires"] == ["setuptools>=77"]
    (version,) = re.findall(r"^setuptools==(\d+)\S* \\$", lock, re.MULTILINE)
    assert int(version) >= 77
    assert re.findall(r"^    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    assert "://" not in lock


def test_nothing_but_python_is_added_to_the_base() -> None:
    words = {word for command in _commands() for word in command} | set(health_check())
    assert words & {"curl", "wget", "apt-get", "apt", "apk", "sudo"} == set()
    assert {arguments.split()[0] for name, arguments in instructions() if name == "FROM"} == {
        "${PYTHON_IMAGE}"
    }


def test_the_licence_of_the_weights_is_on_the_image() -> None:
    labels = dict(word.split("=", 1) for word in shlex.split(last("LABEL")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert "LICENSE-WEIGHTS.md" in labels["edgeskin.weights.licence"]


def test_it_serves_with_options_that_exist() -> None:
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in served_options() if word.startswith("--")} <= known
    assert last("STOPSIGNAL") == "SIGTERM"


def test_ports_agree() -> None:
    exposed = last("EXPOSE")
    assert "--port" not in served_options()
    assert f"127.0.0.1:{exposed}/healthz" in " ".join(health_check())  # /readyz ends with draining
    (published,) = SERVICE["ports"]
    assert published == f"127.0.0.1:${{EDGESKIN_PORT:-{exposed}}}:{exposed}"


def test_the_health_check_tells_a_service_from_none(served: Served) -> None:
    python, *arguments = health_check()
    assert python == "python"

    def status(port: int) -> int:
        asked = [argument.replace(":8000/", f":{port}/") for argument in arguments]
        return subprocess.run([sys.executable, *asked], capture_output=True, timeout=30).returncode

    assert status(served.port) == 0
    assert status(1) != 0


def test_the_container_has_no_rights_and_writes_nowhere() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    (mount,) = SERVICE["tmpfs"]
    path, _, options = mount.partition(":")
    assert path == "/tmp"
    assert {"noexec", "nosuid", "nodev"} < set(options.split(","))
    granted = {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "user", "volumes"}
    assert granted & set(SERVICE) == set()


def test_the_container_has_limits() -> None:
    assert SERVICE["mem_limit"] == SERVICE["memswap_limit"]
    assert 0 < SERVICE["pids_limit"] <= 512


def test_running_requests_are_answered_before_it_is_killed() -> None:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from edgeskin.service.settings import ServiceSettings

    settings = ServiceSettings()
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > (
        settings.drain_delay_s + 2 * settings.time_limit_s
    )


def test_the_tokens_are_a_secret() -> None:
    (secret,) = SERVICE["secrets"]
    options = served_options()
    assert options[options.index("--tokens") + 1] == f"/run/secrets/{secret['target']}"
    name = re.fullmatch(r"\$\{EDGESKIN_TOKENS:-\./(.*)\}", COMPOSE["secrets"][secret["source"]]["file"])
    assert name is not None
    assert f"/{name[1]}" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of OpenVINO's package, without what the Dockerfile removes."""
    folder = tmp_path_factory.mktemp("reduced")
    installed = Path(openvino.__file__).parent
    copy = shutil.copytree(installed, folder / "openvino", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["sh", ROOT / "deploy" / "remove-unused.sh", copy], check=True)
    return folder


def test_openvino_runs_the_network_without_what_is_removed(
    reduced: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    explained = tmp_path / "map.png"
    answers: list[dict[str, Any]] = []
    for packages in (str(ROOT), f"{reduced}:{ROOT}"):
        options = ["--json", "--mc-dropout", "5", "--explain", explained]
        done = run_cli("predict", lesion_jpg, *options, PYTHONPATH=packages)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
        answers[-1].pop("timing_ms")
    assert explained.is_file()
    assert answers[0] == answers[1]
    code = "import openvino; print(openvino.__file__, *openvino.Core().available_devices)"
    run = [sys.executable, "-c", code]
    printed = subprocess.run(run, env={"PYTHONPATH": str(reduced)}, capture_output=True, text=True)
    assert printed.stdout.split() == [str(reduced / "openvino" / "__init__.py"), "CPU"]


def test_what_is_removed_is_half_of_openvino(reduced: Path) -> None:
    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*.*") if "__pycache__" not in path.parts)

    assert size(reduced / "openvino") < 0.6 * size(Path(openvino.__file__).parent)


def test_only_openvino_is_reduced(tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    script = ROOT / "deploy" / "remove-unused.sh"
    assert subprocess.run(["sh", script, tmp_path], capture_output=True).returncode != 0
    assert (tmp_path / "include").is_dir()
