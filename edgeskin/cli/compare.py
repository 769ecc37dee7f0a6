"""edgeskin compare: two pictures of one lesion."""

import json
from pathlib import Path
from typing import Annotated

import typer

from edgeskin import NOTICE
from edgeskin.cli import options
from edgeskin.cli.outputs import delete_stale_outputs, files_of_bundle, is_folder, output_paths
from edgeskin.cli.streams import notice
from edgeskin.errors import EdgeskinError, SettingError
from edgeskin.report.output_file import write_whole
from edgeskin.results import Precision


def compare(
    before: Annotated[
        Path, typer.Argument(parser=options.named_path, metavar="BEFORE", help="The earlier picture.")
    ],
    after: Annotated[
        Path,
        typer.Argument(
            parser=options.named_path, metavar="AFTER", help="The later picture of the same lesion."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=options.named_path,
            metavar="PATH",
            help="Write both and their difference to a PNG file.",
        ),
    ] = None,
    as_json: options.JsonOption = False,
    precision: Annotated[Precision, typer.Option(help="Quantized or reference network.")] = "int8",
    bundle: options.BundleOption = None,
    threads: options.ThreadsOption = None,
    quality_gate: options.QualityGateOption = True,
    scope_gate: options.ScopeGateOption = True,
    isolate: options.IsolateOption = False,
    cache_dir: options.CacheDirOption = None,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Compare two pictures of one lesion.

    Pictures that cannot be aligned are refused.
    """
    from edgeskin.imaging.change import compare_photos
    from edgeskin.report import figures, text

    if out is not None and (is_folder(out) or out.suffix.lower() != ".png"):
        raise SettingError(f"{out}: name a PNG file")
    outputs = output_paths(out, [after], before, *files_of_bundle(bundle, require_signature))
    classifier = options.open_classifier(
        bundle,
        precision,
        threads,
        cache_dir,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        isolate=isolate,
        require_signature=require_signature,
    )
    blocked = delete_stale_outputs(outputs)
    for error in blocked.values():
        notice(f"error: {error}")
    first, second = classifier.assess_many([before, after], explain="grad-cam")
    failures = [one.error for one in (first, second) if one.error is not None]
    if failures:
        for failure in failures:
            notice(f"error: {failure.message}")
        raise typer.Exit(1)
    try:
        comparison = compare_photos(first, second)
    except EdgeskinError:
        # What is known of each alone is printed all the same.
        if as_json:
            alone = {"before": first.to_dict(), "after": second.to_dict(), "registration": None}
            print(json.dumps(alone, allow_nan=False))
        else:
            print("\n".join(text.render_text(one, color=options.use_color()) for one in (first, second)))
        raise
    if as_json:
        print(json.dumps(comparison.to_dict(), allow_nan=False))
    else:
        print(text.comparison_text(comparison, color=options.use_color()))
    for path in outputs:
        if path not in blocked:
            write_whole(path, figures.encode_png(figures.compared(comparison)))
    notice(NOTICE)
    if blocked:
        raise typer.Exit(1)
