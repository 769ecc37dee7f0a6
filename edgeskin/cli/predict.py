"""edgeskin predict: assess pictures."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeskin import NOTICE
from edgeskin.cli import options
from edgeskin.cli.outputs import (
    delete_stale_outputs,
    files_of_bundle,
    output_paths,
    refuse_overwriting_inputs,
)
from edgeskin.cli.streams import notice
from edgeskin.decision.limitations import PatientContext
from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo.listing import is_of_table
from edgeskin.photo.remote import Url, is_url
from edgeskin.photo.sources import photos_in
from edgeskin.report.output_file import write_whole
from edgeskin.results import Assessment


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            parser=options.named,
            metavar="PICTURE...",
            help="Pictures, or folders of pictures. With --out also patterns, CSV or Parquet lists, zip "
            "archives, s3:// addresses, and - for names on standard input.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            parser=options.named,
            metavar="FILE",
            help="Write a table (.jsonl, .csv or .parquet) in place of results on stdout. The same command "
            "goes on where an unfinished run ended.",
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="With --out: read the sub-folders of folders too.")
    ] = False,
    retry_errors: Annotated[
        bool,
        typer.Option("--retry-errors", help="With --out: assess pictures again that failed in the last run."),
    ] = False,
    as_json: options.JsonOption = False,
    precision: options.PrecisionOption = None,
    mc_dropout: options.McDropoutOption = 0,
    seed: options.SeedOption = 0,
    explain: Annotated[
        Path | None,
        typer.Option(
            parser=options.named_path,
            metavar="PNG|FOLDER",
            help="Write the evidence map: a PNG file, or an existing folder for several pictures.",
        ),
    ] = None,
    target: options.TargetOption = None,
    method: options.MethodOption = None,
    bundle: options.BundleOption = None,
    threads: options.ThreadsOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=False,
            help="Pictures assessed at once, up to the number of threads; each takes memory (default: 1). "
            "With --engine ray: processes, each of --threads threads (default: all CPUs, 1 thread each).",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="With --out: this process, or a Ray cluster (extra cluster)."),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            parser=options.named,
            metavar="HOST:PORT",
            help="With --engine ray: the cluster (default: RAY_ADDRESS, or a Ray of this machine alone).",
        ),
    ] = None,
    quality_gate: options.QualityGateOption = True,
    scope_gate: options.ScopeGateOption = True,
    sensitivity: options.SensitivityOption = None,
    isolate: options.IsolateOption = False,
    age: options.AgeOption = None,
    site: options.SiteOption = None,
    cache_dir: options.CacheDirOption = None,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Assess dermoscopy pictures of skin lesions."""
    from edgeskin.report.text import render_text

    if explain is None and (target or method):
        raise SettingError("--target and --method choose a map: add --explain FILE to write it")
    if out is None and (recursive or retry_errors):
        raise SettingError("--recursive and --retry-errors are for a table: add --out FILE")
    if out is None and (engine == "ray" or any(map(is_url, sources))):
        raise SettingError("--engine ray and addresses are for a table: add --out FILE")
    if out is None and all(map(is_of_table, sources)):
        raise SettingError(
            f"{sources[0]}: patterns, lists, zip archives and names on standard input are for a table: "
            "add --out FILE"
        )
    if address is not None and engine != "ray":
        raise SettingError("--address is of a Ray cluster: add --engine ray")
    if engine == "ray":
        threads = threads or 1
    context = PatientContext(age, site)
    open_classifier = partial(
        options.open_classifier,
        bundle,
        precision,
        threads,
        cache_dir,
        workers=1 if engine == "ray" else workers or 1,
        mc_dropout=mc_dropout,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        isolate=isolate,
        require_signature=require_signature,
    )
    if out is not None:
        if explain is not None or as_json:
            raise SettingError("--out writes a table alone: leave --explain and --json out")
        table = Url(out) if is_url(out) else Path(out)
        if isinstance(table, Path):
            refuse_overwriting_inputs([table], files_of_bundle(bundle, require_signature))
        from edgeskin.cli.batch import cluster, predict_into

        sampling = {"mc_samples": mc_dropout, "seed": seed, "context": context}
        engines = partial(cluster, address, workers, threads) if engine == "ray" else None
        raise typer.Exit(
            predict_into(table, sources, recursive, open_classifier, sampling, retry_errors, engines)
        )
    photos = list(photos_in(map(Path, sources)))
    figures = output_paths(explain, photos, *files_of_bundle(bundle, require_signature))
    classifier = open_classifier()
    blocked = delete_stale_outputs(figures)
    results = classifier.assess_many(
        photos,
        explain=(method or "grad-cam") if figures else None,
        target=target or "cancer",
        mc_samples=mc_dropout,
        seed=seed,
        context=context,
    )
    color = options.use_color()
    has_failed = False
    for place, result in enumerate(results):
        has_failed |= result.status != "assessed"
        if as_json:
            print(json.dumps(result.to_dict(), allow_nan=False))
        elif result.error is not None:
            notice(f"error: {result.error.message}")
        else:
            print(render_text(result, color=color))
        if figures:
            try:
                if figures[place] in blocked:
                    raise blocked[figures[place]]
                _write_figure(result, figures[place])
            except ResourceError as error:  # the pictures after it are assessed all the same
                notice(f"error: {error}")
                has_failed = True
    notice(NOTICE)
    if has_failed:
        raise typer.Exit(1)


def _write_figure(result: Assessment, path: Path) -> None:
    """Write the map of a result. Raises ResourceError if it cannot be written."""
    from edgeskin.report import figures

    if result.explanation is None:
        notice(f"{result.image}: not assessed, so there is no map")
    else:
        write_whole(path, figures.encode_png(figures.side_by_side(result)))
        notice(f"map: {path}")
