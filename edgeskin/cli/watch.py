"""edgeskin watch: assess the pictures that arrive in a folder."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeskin import NOTICE
from edgeskin.cli import options
from edgeskin.cli.outputs import is_folder
from edgeskin.cli.streams import notice
from edgeskin.errors import SettingError

_LOOK_S = 0.2
"""Seconds after which a signal is seen at the latest."""


def watch(
    folder: Annotated[
        Path, typer.Argument(parser=options.named_path, metavar="FOLDER", help="Folder to watch.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=options.named_path,
            metavar="FILE",
            help="Table that gets a line for each picture: .jsonl or .csv.",
        ),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", help="Watch sub-folders too.")] = False,
    every: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="Seconds between two looks.")
    ] = 5,
    precision: options.PrecisionOption = None,
    bundle: options.BundleOption = None,
    threads: options.ThreadsOption = None,
    quality_gate: options.QualityGateOption = True,
    scope_gate: options.ScopeGateOption = True,
    sensitivity: options.SensitivityOption = None,
    isolate: options.IsolateOption = False,
    cache_dir: options.CacheDirOption = None,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Assess the pictures that arrive in a folder until Ctrl-C, one line of a table each."""
    from edgeskin.batch.ledger import open_ledger
    from edgeskin.batch.messages import summary_text
    from edgeskin.batch.runner import PartSettings, Summary, assess_part
    from edgeskin.batch.watch import (
        GROWING,
        Arrivals,
        GrowingTable,
        job_of,
        require_new_or_own,
        warnings_once,
    )
    from edgeskin.cli.batch import Signals

    form = GROWING.get(out.suffix.lower())
    if form is None or is_folder(out) or not out.absolute().parent.is_dir():
        raise SettingError(f"{out}: name a .jsonl or .csv file in a folder that exists")
    if not is_folder(folder):
        raise SettingError(f"{folder}: there is no such folder; make it first")
    require_new_or_own(out)
    classifier = options.open_classifier(
        bundle,
        precision,
        threads,
        cache_dir,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        isolate=isolate,
        require_signature=require_signature,
    )
    settings, summary = PartSettings(classifier, form), Summary()
    with (
        Signals("ending after the picture in progress") as signals,
        warnings_once(),
        open_ledger(out, job_of(settings, folder)),
        GrowingTable(out, form, folder) as table,
    ):
        arrivals = Arrivals(folder, recursive, table)
        notice(f"watching {folder}; pictures in {out}: {len(table.done):,}. {NOTICE}")
        looked = -every
        while signals.received is None:
            if time.monotonic() - looked < every:
                time.sleep(min(_LOOK_S, every))
                continue
            for photo, version in arrivals.new():
                started = time.monotonic()
                (row,) = assess_part([photo], settings)
                table.add(row, version)
                summary.add(row)
                summary.computed += 1
                summary.seconds += time.monotonic() - started
                notice(f"{photo.name}: {_result(row)}")
                if signals.received is not None:
                    break
            looked = time.monotonic()
        if summary.computed:
            for line in summary_text(summary).splitlines():
                notice(line)
        notice(f"pictures in {out}: {len(table.done):,}")


def _result(row: Mapping[str, Any]) -> str:
    """What came of a picture, in a line: its risk, or why it has none."""
    if row["status"] != "error":
        return str(row["risk"] or row["status"])
    error = row["error"]
    code, text = (row["error_code"], error) if isinstance(error, str) else (error["code"], error["message"])
    return f"error ({code}): {text.removeprefix(row['image'] + ': ')}"
