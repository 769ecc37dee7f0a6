"""Checks and tests; ``nox`` runs them all, each session in an environment of its own.

``runtime`` holds edgeskin without torch, which proves that the runtime needs none of it.
"""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session
def runtime(session: nox.Session) -> None:
    """Test the installed package in an environment without torch."""
    session.install("-q", "-e", ".[test]")
    session.run("pytest", "-q", "tests/edgeskin", *session.posargs)


@nox.session
def development(session: nox.Session) -> None:
    """Check style and types, and test training, quantization, benchmarks and documents."""
    session.install("-q", "-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    for folder in ("train", "quantize", "benchmarks", "docs"):
        session.run("pytest", "-q", f"tests/{folder}", *session.posargs)
