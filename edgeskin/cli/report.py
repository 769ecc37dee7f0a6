"""edgeskin report: write a report of one picture."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from edgeskin import NOTICE
from edgeskin.cli import options
from edgeskin.cli.outputs import delete_stale_outputs, files_of_bundle, refuse_overwriting_inputs
from edgeskin.cli.streams import notice
from edgeskin.decision.limitations import PatientContext
from edgeskin.errors import PhotoError, ResourceError
from edgeskin.report.output_file import write_whole


def report(
    photo: Annotated[Path, typer.Argument(parser=options.named_path, metavar="PICTURE", help="The picture.")],
    out: Annotated[
        list[Path],
        typer.Option(
            "--out",
            "-o",
            parser=options.named_path,
            metavar="FILE",
            help="File to write: .html, .json or .png; of a DICOM picture also .sr.dcm (structured report) "
            "or .sc.dcm (evidence map). May be given several times.",
        ),
    ],
    precision: options.PrecisionOption = None,
    mc_dropout: options.McDropoutOption = 0,
    seed: options.SeedOption = 0,
    target: options.TargetOption = None,
    method: options.MethodOption = None,
    bundle: options.BundleOption = None,
    threads: options.ThreadsOption = None,
    quality_gate: options.QualityGateOption = True,
    scope_gate: options.ScopeGateOption = True,
    sensitivity: options.SensitivityOption = None,
    isolate: options.IsolateOption = False,
    age: options.AgeOption = None,
    site: options.SiteOption = None,
    cache_dir: options.CacheDirOption = None,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Write a report of one picture, with its evidence map, to a file."""
    from edgeskin.report import dicom, html
    from edgeskin.report.text import printable

    for path in out:
        html.require_writable(path)
    refuse_overwriting_inputs(out, [photo, *files_of_bundle(bundle, require_signature)])
    source = dicom.read_source(photo) if any(map(dicom.is_dicom_report, out)) else None
    context = PatientContext(age, site)
    classifier = options.open_classifier(
        bundle,
        precision,
        threads,
        cache_dir,
        mc_dropout=mc_dropout,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        isolate=isolate,
        require_signature=require_signature,
    )
    blocked = delete_stale_outputs(out)
    for error in blocked.values():  # the other files are written all the same
        notice(f"error: {error}")
    try:
        result = classifier.assess(
            photo if source is None else source.content,
            name=str(photo),
            explain=method or "grad-cam",
            target=target or "cancer",
            mc_samples=mc_dropout,
            seed=seed,
            context=context,
        )
    except PhotoError as error:
        raise PhotoError(str(error).replace("<bytes>", str(photo), 1), error.code) from error
    now = datetime.now().astimezone()
    written = []
    for path in out:
        if path in blocked:
            continue
        try:
            write_whole(path, html.encode(result, path, now, source))
        except (PhotoError, ResourceError) as error:
            notice(f"error: {error}")
        else:
            written.append(path)
    for path in written:
        print(printable(str(path)))
    notice(NOTICE)
    if result.status != "assessed":
        notice(f"not assessed ({result.status}): {result.action}")
    if result.status != "assessed" or len(written) < len(out):
        raise typer.Exit(1)
