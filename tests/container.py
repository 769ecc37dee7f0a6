"""Build the image of the Dockerfile, run it as compose.yaml says, and hold it to what both promise.

    python -m tests.container                    # with a registry
    python -m tests.container --debootstrap      # without a registry, as root
    python -m tests.container -- --network host  # options of the engine's `build` after --

Docker and `docker compose` are used, or else podman and `podman-compose`.
"""

import argparse
import json
import os
import secrets
import shutil
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "lesion.jpg"
BASE = "localhost/edgeskin-base"
IMAGE = "localhost/edgeskin"
UID = 10001
PORT = 8017
START_S = 60
"""Time that the service has to become ready."""
WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--debootstrap", action="store_true", help="make the base with debootstrap")
    parser.add_argument("build", nargs="*", help="options of the engine's build")
    options = parser.parse_args()
    engine = next((name for name in ("docker", "podman") if _answers(name)), None)
    if engine is None:
        raise SystemExit("neither docker nor podman answers: start one of them")
    base = ["--build-arg", f"PYTHON_IMAGE={debootstrapped(engine)}"] if options.debootstrap else []
    # Podman's own format has no health check.
    docker_format = ["--format", "docker"] if engine == "podman" else []
    _run(engine, "build", *docker_format, *base, *options.build, "-t", IMAGE, ROOT)
    check(engine)
    print("the container keeps its promises")


def debootstrapped(engine: str) -> str:
    """Import a Debian with Python where the official image has it, and return its name."""
    packages = "--include=python3,python3-venv,ca-certificates"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        _run("debootstrap", "--variant=minbase", packages, "bookworm", root)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        _run("tar", "-C", root, "-cf", f"{folder}/root.tar", ".")
        _run(engine, "import", f"{folder}/root.tar", BASE)
    return BASE


def check(engine: str) -> None:
    """Start the service by compose.yaml, ask it, look at it from inside, and end it."""
    compose = ["docker", "compose"] if engine == "docker" else ["podman-compose"]
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder, "tokens")
        tokens.write_text(token, encoding="utf-8")
        tokens.chmod(0o444)
        Path(folder).chmod(0o755)
        os.environ |= {
            "EDGESKIN_IMAGE": IMAGE, "EDGESKIN_PORT": str(PORT), "EDGESKIN_TOKENS": str(tokens),
        }  # fmt: skip
        up = [*compose, "-p", "edgeskin-check", "-f", str(ROOT / "compose.yaml")]
        try:
            _run(*up, "up", "--no-build", "--detach")
            container = _run(engine, "ps", "-q", "--filter", f"ancestor={IMAGE}").split()[0]
            require_answers(token)
            require_confinement(engine, container)
            _run(engine, "stop", "-t", "70", container)
            state = json.loads(_run(engine, "inspect", container))[0]["State"]
            assert state["ExitCode"] == 0, state
        finally:
            subprocess.run([*up, "down"], check=False)


def require_answers(token: str) -> None:
    """Raise AssertionError unless health, an assessment and uploads of 10 MB are answered."""
    deadline = time.monotonic() + START_S
    while ask("/readyz")[0] != 200:
        assert time.monotonic() < deadline, "not ready"
        time.sleep(0.2)
    assert ask("/v1/assess", EXAMPLE.read_bytes())[0] == 401
    status, body = ask("/v1/assess?method=grad-cam&mc_dropout=10", EXAMPLE.read_bytes(), token)
    assessment = json.loads(body)
    assert (status, assessment["status"], assessment["risk"]) == (200, "assessed", "HIGH")
    photo = bitmap(1826)
    assert len(photo) > 10_000_000
    part = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p.bmp"\r\n\r\n%b\r\n--b--\r\n'
    for sent, kind in ((photo, "image/bmp"), (part % photo, "multipart/form-data; boundary=b")):
        status, body = ask("/v1/assess", sent, token, kind)
        assert (status, json.loads(body)["error"]) == (200, None), body


def require_confinement(engine: str, container: str) -> None:
    """Raise AssertionError unless the process has no rights, the root is read-only and no file is left."""
    inside = [engine, "exec", container]
    status = dict(line.split(":\t") for line in _run(*inside, "cat", "/proc/1/status").splitlines())
    assert status["Uid"].split() == [str(UID)] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for folder in ("/", "/opt/edgeskin", "/etc"):
        assert subprocess.run([*inside, "touch", f"{folder}/file"], capture_output=True).returncode != 0
    assert _run(*inside, "find", *WRITABLE, "-type", "f") == ""
    command = json.loads(_run(engine, "inspect", container))[0]["Config"]["Healthcheck"]["Test"]
    assert command[0] == "CMD"
    _run(*inside, *command[1:])
    host = json.loads(_run(engine, "inspect", container))[0]["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] == 2 << 30
    assert host["PidsLimit"] == 256


def ask(path: str, body: bytes | None = None, token: str = "", kind: str = "image/jpeg") -> tuple[int, bytes]:
    """The status and body of an answer; status 0 while nothing listens."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}", data=body, headers={**headers, "Content-Type": kind}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def bitmap(side: int) -> bytes:
    """A BMP file of noise, 24 bits a pixel."""
    row = 3 * side + -3 * side % 4
    header = struct.pack("<2sIHHI", b"BM", 54 + row * side, 0, 0, 54)
    return (
        header
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, row * side, 0, 0, 0, 0)
        + (secrets.token_bytes(row * side))
    )


def _answers(engine: str) -> bool:
    if shutil.which(engine) is None:
        return False
    return subprocess.run([engine, "info"], capture_output=True).returncode == 0


def _run(*command: str | Path) -> str:
    words: Sequence[str] = [str(word) for word in command]
    print("$", *words, flush=True)
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
