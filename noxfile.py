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


def install(session: nox.Session, *arguments: str) -> None:
    """Install without compiling: most modules of the big packages are never imported."""
    session.install("-q", "--no-compile", *arguments)


def run_tests(session: nox.Session, *arguments: str) -> None:
    """Test by two workers, a file each, in the order of the files: the last ones are short."""
    options = ("-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    # Libraries that took all cores in each worker would fight for them.
    session.run("pytest", *options, *arguments, env={"OPENBLAS_NUM_THREADS": "1"})


@nox.session
def runtime(session: nox.Session) -> None:
    """Test the installed package in an environment without torch."""
    install(session, "-e", ".[test,reference]")
    run_tests(session, "tests/edgeskin", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Test the oldest supported versions. All tests: ``nox -s oldest -- tests/edgeskin``."""
    install(session, "-c", "requirements/oldest.txt", "-e", ".[test]")
    run_tests(session, *(session.posargs or TOUCH_EVERY_DEPENDENCY))


@nox.session
def kiosk(session: nox.Session) -> None:
    """Install what requirements/kiosk.txt locks, assess the example picture, and write sbom.json."""
    install(session, "cyclonedx-bom>=7")
    folder = Path(session.create_tmp()) / "kiosk"
    python = folder / "bin" / "python"
    session.run("python", "-m", "venv", "--clear", folder)
    pip = [python, "-m", "pip", "install", "-q", "--no-compile", "--no-deps"]
    session.run(*pip, "--require-hashes", "-r", "requirements/kiosk.txt", external=True)
    session.run(*pip, ".", external=True)
    session.run(python, "-m", "pip", "check", external=True)
    session.run(folder / "bin" / "edgeskin", "predict", "examples/lesion.jpg", external=True)
    session.run(python, "-c", "import edgeskin.service.app, edgeskin.service.server", external=True)
    session.run("python", "requirements/sbom.py", python, "sbom.json")


@nox.session(default=False)
def container(session: nox.Session) -> None:
    """Build and run the image by docker or podman. Without a registry, as root: ``-- --debootstrap``."""
    install(session, "podman-compose")
    session.run("python", "-m", "tests.container", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz each reader of files for a minute. One of them: ``nox -s fuzz -- decode``."""
    install(session, "-e", ".[test]", "atheris>=3")
    for target in session.posargs or FUZZED:
        session.run("python", "-m", "tests.fuzz", target, "--seconds", "60")


@nox.session
def development(session: nox.Session) -> None:
    """Check style and types, and test training, quantization, benchmarks and documents."""
    install(session, "-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "-n", "2")
    for folder in ("train", "quantize", "benchmarks", "docs"):  # apart, as CONTRIBUTING.md says why
        run_tests(session, f"tests/{folder}", *session.posargs)
