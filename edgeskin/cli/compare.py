"""edgeskin compare: two pictures of one lesion."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeskin import NOTICE
from edgeskin.cli import options
from edgeskin.cli.outputs import delete_stale_outputs, output_paths
from edgeskin.errors import EdgeskinError, SettingError
from edgeskin.results import Precision


def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="The earlier picture.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The later picture of the same lesion.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write both and their difference to a PNG file.")
    ] = None,
    as_json: options.JsonOption = False,
    precision: Annotated[Precision, typer.Option(help="Quantized or reference network.")] = "int8",
    bundle: options.BundleOption = None,
    threads: options.ThreadsOption = None,
    quality_gate: options.QualityGateOption = True,
    scope_gate: options.ScopeGateOption = True,
    cache_dir: options.CacheDirOption = None,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Compare two pictures of one lesion.

    Pictures that cannot be aligned are refused.
    """
    from edgeskin.imaging.change import compare_photos
    from edgeskin.report import figures, text

    if out is not None and (out.is_dir() or out.suffix.lower() != ".png"):
        raise SettingError(f"{out}: name a PNG file")
    outputs = output_paths(out, [after], before)
    classifier = options.open_classifier(
        bundle,
        precision,
        threads,
        cache_dir,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        require_signature=require_signature,
    )
    delete_stale_outputs(outputs)
    first, second = (classifier.assess(photo, explain="grad-cam") for photo in (before, after))
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
        path.write_bytes(figures.encode_png(figures.compared(comparison)))
    print(NOTICE, file=sys.stderr)
