"""python -m quantize RUN --data DIR --out BUNDLE"""

from pathlib import Path
from typing import Annotated

import typer

from train.cli import run

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def quantize(
    run: Annotated[Path, typer.Argument(help="A run that `python -m train fit` wrote.")],
    data: Annotated[Path, typer.Option(help="The folder of images and table that the run was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")],
    name: Annotated[str | None, typer.Option(help="Name of the bundle; OUT's own without.")] = None,
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1",
    calibration_images: Annotated[int, typer.Option(help="Training images that fix the INT8 ranges.")] = 300,
    seed: Annotated[int | None, typer.Option(help="Of the choice of images; the run's without.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the bundle at OUT.")] = False,
) -> None:
    """Export a run, quantize it to INT8 and pack a bundle, if INT8 finds the cancers that FP32 finds.

    A network that fails the gate is not packed: exit code 1, and OUT.gate.md and OUT.gate.json say why.
    """
    from quantize.build import build

    bundle = build(run, data, out, name or out.resolve().name, version, calibration_images, seed, replace)
    print(bundle.folder)


def main() -> None:
    """Entry point."""
    run(app)
