"""python -m train fit | evaluate"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeskin.errors import EdgeskinError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train and evaluate lesion networks.")


@app.callback()
def _commands() -> None:
    """Train and evaluate lesion networks."""


@app.command()
def fit(
    data: Annotated[Path, typer.Option(help="Folder with the images and their table.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML with settings that differ from the defaults.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Backbone weights: a safetensors file, 'hub' or 'none'.")
    ] = "hub",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    devices: Annotated[
        str, typer.Option(help="How many GPUs (or CPU processes); 'auto' takes all.")
    ] = "auto",
) -> None:
    """Train a network: select it on the validation split, write it into OUT."""
    from train import fit as fitting
    from train.config import load_config
    from train.data import read_table
    from train.split import assign_splits

    settings = load_config(config)
    samples = assign_splits(read_table(data, settings.classes), seed=settings.seed)
    fitting.fit(samples, out, settings, weights, resume, devices)


def main() -> None:
    """Run the command; an error of ours is one line on stderr and exit code 1."""
    try:
        app()
    except EdgeskinError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
