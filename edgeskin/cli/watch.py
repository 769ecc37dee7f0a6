"""edgeskin watch: assess the pictures that arrive in a folder."""

import time
from pathlib import Path
from typing import Annotated

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
    from edgeskin.batch.runner import PartSettings, assess_part
    from edgeskin.batch.watch import FORMS, Arrivals, GrowingTable
    from edgeskin.cli.batch import Signals

    form = FORMS.get(out.suffix.lower())
    if form is None or is_folder(out) or not out.absolute().parent.is_dir():
        raise SettingError(f"{out}: name a .jsonl or .csv file in a folder that exists")
    if not is_folder(folder):
        raise SettingError(f"{folder}: there is no such folder; make it first")
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
    settings = PartSettings(classifier, form)
    with Signals("ending after the picture in progress") as signals, open_ledger(out, settings.job(1)):
        table = GrowingTable(out, form)
        arrivals = Arrivals(folder, recursive, table)
        notice(f"watching {folder}; {len(table.done):,} pictures are in {out}. {NOTICE}")
        looked = -every
        while signals.received is None:
            if time.monotonic() - looked < every:
                time.sleep(min(_LOOK_S, every))
                continue
            for photo in arrivals.new():
                (row,) = assess_part([photo], settings)
                table.add(row)
                notice(f"{photo.name}: {row['risk'] or row['status']}")
                if signals.received is not None:
                    break
            looked = time.monotonic()
        table.close()
