"""Checks and tests; ``nox`` runs them all, each session in an environment of its own.

``runtime`` holds edgeskin without torch, which proves that the runtime needs none of it. ``oldest`` holds the
oldest supported versions, ``kiosk`` those that requirements/kiosk.txt locks.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

TOUCH_EVERY_DEPENDENCY = [
    f"tests/edgeskin/{name}.py"
    for name in (
        *("test_arrays", "test_decode", "test_engine", "test_main", "test_plot", "test_preprocess"),
        *("test_dicom", "test_heic", "test_report_dicom"),
        *("service/test_api", "service/test_limits", "service/test_server", "service/test_uploads"),
    )
]
"""What `oldest` runs unless it is given tests."""
FUZZED = ("headers", "decode", "dicom", "exif", "icc", "manifest", "ir", "tables", "archives")
"""The targets of tests/fuzz."""


@nox.session
def runtime(session: nox.Session) -> None:
    """Test the installed package in an environment without torch."""
    session.install("-q", "-e", ".[test,reference]")
    # By file, so that the tests of one share the server that they start.
    session.run("pytest", "-q", "-n", "2", "--dist", "loadfile", "tests/edgeskin", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Test the oldest supported versions. All tests: ``nox -s oldest -- tests/edgeskin``."""
    session.install("-q", "-c", "requirements/oldest.txt", "-e", ".[test]")
    session.run("pytest", "-q", *(session.posargs or TOUCH_EVERY_DEPENDENCY))


@nox.session
def kiosk(session: nox.Session) -> None:
    """Install what requirements/kiosk.txt locks, assess the example picture, and write sbom.json."""
    session.install("-q", "cyclonedx-bom>=7")
    folder = Path(session.create_tmp()) / "kiosk"
    python = folder / "bin" / "python"
    session.run("python", "-m", "venv", "--clear", folder)
    install = [python, "-m", "pip", "install", "-q", "--no-deps"]
    session.run(*install, "--require-hashes", "-r", "requirements/kiosk.txt", external=True)
    session.run(*install, ".", external=True)
    session.run(python, "-m", "pip", "check", external=True)
    session.run(folder / "bin" / "edgeskin", "predict", "examples/lesion.jpg", external=True)
    session.run(python, "-c", "import edgeskin.service.app, edgeskin.service.server", external=True)
    session.run("python", "requirements/sbom.py", python, "sbom.json")


@nox.session(default=False)
def container(session: nox.Session) -> None:
    """Build and run the image by docker or podman. Without a registry, as root: ``-- --debootstrap``."""
    session.install("-q", "podman-compose")
    session.run("python", "-m", "tests.container", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz each reader of files for a minute. One of them: ``nox -s fuzz -- decode``."""
    session.install("-q", "-e", ".[test]", "atheris>=3")
    for target in session.posargs or FUZZED:
        session.run("python", "-m", "tests.fuzz", target, "--seconds", "60")


@nox.session
def development(session: nox.Session) -> None:
    """Check style and types, and test training, quantization, benchmarks and documents."""
    session.install("-q", "-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    for folder in ("train", "quantize", "benchmarks", "docs"):
        session.run("pytest", "-q", f"tests/{folder}", *session.posargs)
