"""The command line, and the only place that knows exit codes.

stdout carries results, stderr everything else. Exit codes: 0, all assessed; 1, some picture failed and the
others are done; 2, usage; 3, bundle.
"""

import os
import sys
from typing import Annotated, Any

import typer

# numpy's own threads spin after a matrix product and take the cores from the network, which made a picture a
# third slower. OpenBLAS reads this when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from edgeskin import NOTICE, __version__
from edgeskin.cli.bench import bench
from edgeskin.cli.bundle import app as bundle
from edgeskin.cli.compare import compare
from edgeskin.cli.info import info
from edgeskin.cli.monitor import monitor
from edgeskin.cli.predict import predict
from edgeskin.cli.prepare import prepare
from edgeskin.cli.report import report
from edgeskin.cli.serve import serve
from edgeskin.cli.streams import notice, standard_streams
from edgeskin.cli.watch import watch
from edgeskin.errors import BundleError, EdgeskinError, SettingError, lack_of_resources
from edgeskin.report.text import printable

USAGE_ERROR, BUNDLE_ERROR = 2, 3
# typer 0.19 has it from click, later ones from a copy of click inside.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=f"Skin-lesion assessment on a CPU, offline. {NOTICE}",
)
for command in (predict, watch, report, compare, monitor, serve, prepare, info, bench):
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
    is_caller = sys.stdout is not sys.__stdout__
    with standard_streams():
        code = _run()
    if is_caller:  # the caller replaced stdout and will read it
        sys.exit(code)
    # All results are written; OpenVINO's orderly shutdown would take 0.1 s.
    os._exit(code)


def _run() -> int:
    """The exit code. An error of ours, or of the system, becomes one line on stderr."""
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except _UsageError as error:
        if sys.argv[1:]:  # without arguments, the message is the help page
            error.message = printable(error.message)
        error.show(sys.stderr)
        return USAGE_ERROR
    except EdgeskinError as error:
        notice(f"error: {error}")
        codes = ((BundleError, BUNDLE_ERROR), (SettingError, USAGE_ERROR))
        return next((code for kind, code in codes if isinstance(error, kind)), 1)
    except OSError as error:
        notice(f"error: {error}")
        return 1
    except (MemoryError, ImportError, RuntimeError) as error:
        lack = lack_of_resources(error)
        if lack is None:
            raise
        notice(f"error: {lack}")
        return 1
