"""The command ``python -m quantize RUN --data DIR --out BUNDLE``."""

from pathlib import Path
from typing import Annotated

import typer

from train.cli import run as run_app

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def quantize(
    run: Annotated[Path, typer.Argument(help="Folder of a run by `python -m train fit`.")],
    data: Annotated[Path, typer.Option(help="Folder of the images and table that the run was trained with.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the bundle (default: the name of its folder).")
    ] = None,
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1",
    calibration_images: Annotated[
        int, typer.Option(help="Number of training images that fix the INT8 ranges.")
    ] = 300,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the choice of images (default: the run's).")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the bundle in the folder.")] = False,
) -> None:
    """Export a run, quantize it to INT8 and pack a bundle, if INT8 finds the cancers that FP32 finds.

    A network that fails this gate is not packed. The exit code is then 1, and OUT.gate.md and OUT.gate.json
    hold the report.
    """
    from quantize.build import build

    bundle = build(run, data, out, name or out.resolve().name, version, calibration_images, seed, replace)
    print(bundle.folder)


def main() -> None:
    """Run the command line; an error becomes one line on stderr and exit code 1."""
    run_app(app)
