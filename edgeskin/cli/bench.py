"""edgeskin bench: FP32 against INT8 on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from edgeskin.cli import options
from edgeskin.cli.outputs import files_of_bundle, is_folder, refuse_overwriting_inputs
from edgeskin.errors import SettingError
from edgeskin.report.output_file import write_whole


def bench(
    bundle: options.BundleOption = None,
    threads: options.ThreadsOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            parser=options.named_path,
            metavar="PATH",
            help="Labelled images: a folder of class folders, a CSV with columns path and label, or a folder "
            "with that CSV as index.csv.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Use only the CSV's rows of this split.")] = None,
    repeats: Annotated[int, typer.Option(min=10, help="Timed runs of the network per round.")] = 100,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds, alternating FP32 and INT8, each in a new process.")
    ] = 3,
    as_json: options.JsonOption = False,
    require_signature: options.RequireSignatureOption = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=options.named_path, metavar="PATH", help="Also write the JSON to this file."),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            parser=options.named_path, metavar="PATH", help="Write the figure to this file (extra: plots)."
        ),
    ] = None,
) -> None:
    """Compare FP32 with INT8 on this machine.

    Measures size, latency and memory and, with --data, recall.
    """
    from edgeskin.bench import agreement, measure, table

    if png is not None:
        measure.require_plots()  # before the rounds, which take minutes
        if png.suffix.lower() != ".png":
            raise SettingError(f"{png}: name a PNG file")
    outputs = [path for path in (out, png) if path is not None]
    for path in outputs:
        if is_folder(path):
            raise SettingError(f"{path}: this is a folder; name a file")
        if not path.absolute().parent.is_dir():
            raise SettingError(f"{path}: its folder does not exist; make it first")
    if outputs:
        labelled = agreement.files_of(data) if data else []
        refuse_overwriting_inputs(outputs, [*files_of_bundle(bundle, require_signature), *labelled])
    result = measure.run(bundle, threads, repeats, rounds, data, split, require_signature)
    content = json.dumps(result.to_dict(), indent=None if as_json else 2, allow_nan=False)
    try:
        if out is not None:
            write_whole(out, f"{content}\n".encode())
        if png is not None:
            from edgeskin.bench.plot import plot_bench

            write_whole(png, plot_bench(result))
    finally:  # the rounds took minutes
        print(content if as_json else table.bench_text(result))
    if result.agreement is not None and result.agreement.failed:
        raise typer.Exit(1)
