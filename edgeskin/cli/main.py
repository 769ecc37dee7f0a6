"""The command line, and the only place that knows exit codes.

stdout carries results, stderr everything else. Exit codes: 0, all assessed; 1, some picture failed and the
others are done; 2, usage; 3, bundle.
"""

import io
import os
import sys
from typing import Annotated

import typer

# numpy's own threads spin after a matrix product and take the cores from the network, which made a picture a
# third slower. OpenBLAS reads this when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from edgeskin import NOTICE, __version__
from edgeskin.cli.bench import bench
from edgeskin.cli.bundle import app as bundle
from edgeskin.cli.compare import compare
from edgeskin.cli.info import info
from edgeskin.cli.predict import predict
from edgeskin.cli.prepare import prepare
from edgeskin.cli.report import report
from edgeskin.errors import BundleError, EdgeskinError, SettingError

USAGE_ERROR, BUNDLE_ERROR = 2, 3

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=f"Skin-lesion assessment on a CPU, offline. {NOTICE}",
)
for command in (predict, report, compare, prepare, info, bench):
    app.command()(command)
app.add_typer(bundle)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"edgeskin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: runs a command and ends the process with its exit code."""
    code = _run()
    # All results are written; OpenVINO's orderly shutdown would take 0.1 s.
    os._exit(code)


def _run() -> int:
    """The exit code. An error of ours, or of writing, becomes one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal cannot show must not stop the pictures after it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = 0
    try:
        try:
            app()
        except SystemExit as end:  # as the app ends
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.stdout.flush()
    except EdgeskinError as error:
        print(f"error: {error}", file=sys.stderr)
        codes = ((BundleError, BUNDLE_ERROR), (SettingError, USAGE_ERROR))
        code = next((code for kind, code in codes if isinstance(error, kind)), 1)
    except OSError as error:
        # A full disk or a closed pipe; what is still buffered would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: the result cannot be written: {error}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    return code
