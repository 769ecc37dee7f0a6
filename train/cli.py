"""The commands of ``python -m train``, one function each."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeskin.errors import EdgeskinError
from edgeskin.taxonomy import ISIC_2019
from train.data.readers import DataError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train and evaluate lesion networks.")

UNUSABLE_DATA = 2
"""The exit code when a table or its images cannot be used, as after a wrong option."""

DataOption = Annotated[Path, typer.Option(help="Folder with the images and their table.")]


@app.command()
def check(
    folders: Annotated[list[Path], typer.Argument(help="Folders with images and their tables.")],
    classes: Annotated[str, typer.Option(help="Codes of the classes, separated by commas.")] = ",".join(
        ISIC_2019
    ),
) -> None:
    """Decode every image, and print those that cannot be read, a line each.

    Every other command that reads a table does this first, and names at most 20.
    """
    from train.data.table import read_table
    from train.input.photos import unreadable

    samples = [
        sample for folder in folders for sample in read_table(folder, classes.split(","), require_files=False)
    ]
    problems = unreadable(samples)
    for problem in problems:
        print(problem)
    print(f"{len(samples)} images, {len(problems)} of which cannot be read", file=sys.stderr)
    if problems:
        raise typer.Exit(UNUSABLE_DATA)


@app.command()
def merge(
    archives: Annotated[list[Path], typer.Argument(help="Folders with images and their tables.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged table.")],
    bundle: Annotated[
        Path | None,
        typer.Option(help="Bundle whose features are compared (default: the shipped one)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, for tables without one.")] = 0,
    first_label_counts: Annotated[
        bool,
        typer.Option("--first-label-counts", help="If archives disagree on a label, use the first one's."),
    ] = False,
    trust_groups: Annotated[
        bool,
        typer.Option(
            "--trust-groups",
            help="Keep the tables' groups without a search for near-duplicates; leave out all images but "
            "those of train, val, test or no split.",
        ),
    ] = False,
) -> None:
    """Merge archives into one table, group near-duplicates, and split it by group.

    Writes OUT/index.csv, which `fit --data OUT` reads, and OUT/near_duplicates.csv, which lists the pairs.
    With --trust-groups it writes no list of pairs.
    """
    from edgeskin.bundle.bundle import open_bundle
    from train.data import deduplicate
    from train.data.split import assign_splits, split_sha256
    from train.data.table import check_disjoint
    from train.input.photos import read_tables

    samples = read_tables(archives)
    out.mkdir(parents=True, exist_ok=True)
    if trust_groups:
        samples = deduplicate.concatenate_archives(samples)
    else:
        merged = deduplicate.merge_archives(samples, open_bundle(bundle), first_label_counts)
        deduplicate.write_pairs(merged, out)
        print(
            f"{merged.copies} copies dropped\n"
            f"{len(merged.pairs)} pairs of near-duplicates: {out / 'near_duplicates.csv'}\n"
            f"{len(merged.left_out)} external images left out as near-duplicates of others",
            file=sys.stderr,
        )
        samples = merged.samples
    split = assign_splits(samples, seed=seed)
    check_disjoint(split)
    deduplicate.write_index(split, out)
    print(f"{len(split)} images, split {split_sha256(split)}: {out / 'index.csv'}", file=sys.stderr)


@app.command()
def fit(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file of settings; settings that it omits are those of train.config.TrainConfig, "
            "whose loss is MaxRecall. Without --config: the recipe of the shipped bundle, "
            "configs/default_bundle.yaml, which uses cross-entropy."
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="Weights to start from: a safetensors file for the backbone, a bundle, 'hub' (downloaded by "
            "timm) or 'none' (random)."
        ),
    ] = "hub",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in OUT from its last checkpoint.")
    ] = False,
    devices: Annotated[
        str, typer.Option(help="Number of GPUs, or of processes on a CPU; 'auto' uses all GPUs.")
    ] = "auto",
    soft_labels: Annotated[
        Path | None, typer.Option(help="File of `soft-labels`, if the settings give distillation a weight.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Bundle to distil from, instead of --soft-labels.")
    ] = None,
) -> None:
    """Train a network, select an epoch on the validation split, and write the run into OUT."""
    from train.config import load_config
    from train.data.split import assign_splits
    from train.fit import trainer
    from train.input.photos import read_tables

    settings = load_config(config)
    samples = assign_splits(read_tables([data], settings.classes), seed=settings.seed)
    trainer.fit(samples, out, settings, weights, resume, devices, soft_labels, teacher)


@app.command()
def convert_weights(
    weights: Annotated[Path, typer.Argument(help="A PyTorch state dict (.pth) of the same network.")],
    backbone: Annotated[str, typer.Option(help="timm's name of the network.")],
    out: Annotated[Path, typer.Option(help="File to write (.safetensors), for `fit --weights`.")],
) -> None:
    """Convert published weights, such as EfficientNet-Lite's, to timm's parameter names."""
    from train.models import backbones

    backbones.convert_weights(weights, backbone, out)
    print(out, file=sys.stderr)


@app.command()
def from_bundle(
    bundle: Annotated[str, typer.Argument(help="A bundle: its folder, or 'default' or 'lite'.")],
    data: Annotated[Path, typer.Option(help="Folder with the images that it was trained with.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
) -> None:
    """Turn a bundle back into the run that it came from, so that it can be quantized again."""
    from edgeskin.bundle.bundle import open_bundle
    from train.models.from_bundle import write_run_from_bundle

    opened = open_bundle(bundle)
    print(f"rebuilding the network of {opened.folder}; this takes a minute or two", file=sys.stderr)
    write_run_from_bundle(opened, data, out)
    print(f"run: {out}", file=sys.stderr)


@app.command()
def soft_labels(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Runs of `fit`, each with a fold left out, or files of this command to join."),
    ],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="File to write (.npz), for `fit --soft-labels`.")],
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Allow training images that no source left out; the file lacks them."),
    ] = False,
    views: Annotated[
        int | None,
        typer.Option(help="Dihedral views that each run averages, 1 or 8 (default: the run's own)."),
    ] = None,
) -> None:
    """Predict each training image with the runs that left it out, as soft labels for distillation."""
    from train.distill.out_of_fold import write_soft_labels

    count = write_soft_labels(sources, data, out, partial, views)
    print(f"soft labels of {count} images: {out}", file=sys.stderr)


@app.command()
def evaluate(
    network: Annotated[Path, typer.Argument(help="A run of `fit`, or a bundle.")],
    data: DataOption,
    split: Annotated[str, typer.Option(help="Split to evaluate, such as val, test or external.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report (default: RUN/evaluation-SPLIT, or evaluation-SPLIT-PRECISION for a "
            "bundle)."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Precision of a bundle: int8 or fp32 (default: int8).")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Threshold on P(cancer) (default: the bundle's, or for a run fitted on val)."),
    ] = None,
    isic_csv: Annotated[
        bool,
        typer.Option("--isic-csv", help="Also write submission and truth for the ISIC challenge's scorer."),
    ] = False,
) -> None:
    """Measure a run or a bundle on a split, with 95% intervals; write and print the report."""
    from rich.console import Console

    from train.evaluate import evaluation as evaluations
    from train.evaluate import report
    from train.fit.run import RECORD

    # Reports are published, so the command in them names no folder of this machine.
    options = {"data": "DIR", "split": split, "precision": precision, "threshold": threshold}
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    command = shlex.join(["python", "-m", "train", "evaluate", network.resolve().name, *given])
    evaluation, predictions = evaluations.evaluate(network, data, split, precision, threshold, command)
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
    """Run the command line of this process."""
    run(app)


def run(commands: typer.Typer) -> None:
    """Run a command line. An error of this project becomes a message on stderr.

    The exit code is then UNUSABLE_DATA if the labelled images are at fault, else 1.
    """
    try:
        commands()
    except EdgeskinError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(UNUSABLE_DATA if isinstance(error, DataError) else 1)
