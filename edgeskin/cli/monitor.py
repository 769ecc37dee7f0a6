"""edgeskin monitor: compare tables of results with a reference."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from edgeskin import NOTICE
from edgeskin.cli import options
from edgeskin.cli.outputs import files_of_bundle, is_folder, refuse_overwriting_inputs
from edgeskin.cli.streams import notice
from edgeskin.errors import SettingError
from edgeskin.report.output_file import write_whole


def monitor(
    tables: Annotated[
        list[Path],
        typer.Argument(
            parser=options.named_path,
            metavar="RESULTS...",
            help="Tables of results (.jsonl, .csv, .parquet) of one series of pictures, the earliest first.",
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            parser=options.named_path,
            metavar="FILE",
            help="Table of results on pictures as they should be (default: the bundle's validation).",
        ),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            parser=options.named_path,
            metavar="FILE",
            help="Also write a report: .html or .json. May be given several times.",
        ),
    ] = None,
    as_json: options.JsonOption = False,
    bundle: options.BundleOption = None,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Compare the pictures of a series with a reference, and report drift."""
    from edgeskin.bundle.bundle import open_bundle
    from edgeskin.monitoring import report
    from edgeskin.monitoring.drift import find_drift

    outputs = out or []
    for path in outputs:
        report.encoder(path)
        if is_folder(path):
            raise SettingError(f"{path}: this is a folder; name a file")
        if not path.absolute().parent.is_dir():
            raise SettingError(f"{path}: its folder does not exist; make it first")
    inputs = [*tables, *([] if reference is None else [reference])]
    refuse_overwriting_inputs(outputs, [*inputs, *files_of_bundle(bundle, require_signature)])
    found = find_drift(tables, open_bundle(bundle, require_signature=require_signature), reference)
    created = datetime.now().astimezone()
    try:
        for path in outputs:
            write_whole(path, report.encode(found, path, created))
    finally:
        print(report.report_json(found, created) if as_json else report.report_text(found))
    notice(NOTICE)
