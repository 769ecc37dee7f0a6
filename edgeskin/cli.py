"""edgeskin predict | bench | info: the command line, and the only place that knows exit codes.

stdout carries results, stderr everything else. 0: all assessed; 1: some image failed, the others are
done; 2: usage; 3: bundle.
"""

import contextlib
import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from math import floor
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeskin import NOTICE, __version__
from edgeskin.blind_spots import SITES
from edgeskin.bundle import Precision
from edgeskin.errors import BundleError, EdgeskinError, SettingError

# Pictures that cannot be read count too: in a folder they are refused by name, not passed over.
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
    *(".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".dcm", ".dng"),
}
USAGE_ERROR, BUNDLE_ERROR = 2, 3

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=f"Skin-lesion assessment on a CPU, offline. {NOTICE}",
)

BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", help="Bundle folder; the one that ships with edgeskin when left off."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="CPU threads; all that are allowed when left off."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    as_json: JsonOption = False,
    precision: Annotated[
        Precision | None,
        typer.Option(help="The quantized network, or the reference; int8, with --mc-dropout fp32."),
    ] = None,
    mc_dropout: Annotated[
        int, typer.Option(max=1000, help="Sample the head so many times, 2 to 1000, for its uncertainty.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    bundle: BundleOption = None,
    threads: ThreadsOption = None,
    quality_gate: Annotated[
        bool,
        typer.Option("--quality-gate/--no-quality-gate", help="Turn away what is not good enough, or not."),
    ] = True,
    scope_gate: Annotated[
        bool,
        typer.Option("--scope-gate/--no-scope-gate", help="Turn away what is no dermoscopy picture, or not."),
    ] = True,
    sensitivity: Annotated[
        float | None,
        typer.Option(help="To certify instead of the bundle's, such as 0.9; certainty is not told then."),
    ] = None,
    age: Annotated[float | None, typer.Option(help="Years; for the blind spots told, nothing else.")] = None,
    site: Annotated[str | None, typer.Option(help=f"For the blind spots told: {', '.join(SITES)}.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar="EDGESKIN_CACHE", help="Folder for the compiled network: the next start is quicker."
        ),
    ] = None,
) -> None:
    """Assess dermoscopy pictures of skin lesions."""
    from edgeskin.blind_spots import Context
    from edgeskin.classifier import Classifier
    from edgeskin.taxonomy import full_name

    chosen: Precision = precision or ("fp32" if mc_dropout else "int8")
    context = Context(age, site)
    classifier = Classifier(
        bundle,
        chosen,
        threads,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        cache=cache,
    )
    failed = False
    for result in classifier.assess_many(_photos(paths), mc_samples=mc_dropout, seed=seed, context=context):
        failed |= result.status != "assessed"
        if as_json:
            print(json.dumps(result.to_dict(), allow_nan=False), flush=True)
        elif result.error is not None:
            print(f"error: {result.error.message}", file=sys.stderr)
        elif result.status != "assessed":
            print(_not_assessed(result.to_dict()), flush=True)
        else:
            print(_block(result.to_dict(), full_name), flush=True)
    print(NOTICE, file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command()
def info(bundle: BundleOption = None, as_json: JsonOption = False) -> None:
    """Verify a bundle's hashes and tell what it holds."""
    from edgeskin.bundle import open_bundle

    opened = open_bundle(bundle)
    opened.verify()
    manifest, preprocessing = opened.manifest, opened.manifest.preprocessing
    if as_json:
        print(json.dumps(dataclasses.asdict(manifest)))
        return
    lines = [
        f"{manifest.name} {manifest.version}",
        f"  bundle     {opened.folder}",
        f"  SHA-256    {opened.sha256} (every file verified)",
        f"  classes    {', '.join(manifest.classes)} (cancer: {', '.join(manifest.cancer_classes)})",
        f"  input      {preprocessing.size} px, colour constancy {preprocessing.color_constancy}, "
        f"{preprocessing.views} views",
    ]
    for precision, variant in manifest.variants.items():
        lines.append(f"  {precision:<10} calibrated by {variant.calibration.method}")
        lines += [
            f"  {'':<10} {point.name}: P(cancer) >= {point.threshold:.4f}, on validation recall "
            f"{point.recall:.3f} at specificity {point.specificity:.3f}"
            + (f", certified {point.certificate.sensitivity:.3f}" if point.certificate else "")
            for point in variant.operating_points
        ]
        if variant.label_sets is not None:
            held = dict(zip(manifest.classes, variant.label_sets.thresholds, strict=True))
            told = ", ".join(f"{name} {threshold:.4f}" for name, threshold in held.items())
            lines.append(f"  {'':<10} label set, {variant.label_sets.coverage:.0%} of each class: {told}")
        if variant.ood_threshold is not None:
            lines.append(f"  {'':<10} out of scope above {variant.ood_threshold:.3f}")
    lines += [f"  {name:<10} {size / 1e6:8.2f} MB" for name, (_, size) in manifest.files.items()]
    print("\n".join(lines))


@app.command()
def bench(
    bundle: BundleOption = None,
    threads: ThreadsOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images: class folders, or a CSV (index.csv of a folder) with path and label."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the CSV's rows of this split.")] = None,
    repeats: Annotated[int, typer.Option(min=10, help="Timed runs of the network a round.")] = 100,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds, FP32 and INT8 in turn, each in a new process.")
    ] = 3,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON here too.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the figure here (extra: plots).")] = None,
) -> None:
    """Compare FP32 with INT8 on this machine: size, latency, memory and, with --data, recall."""
    from edgeskin import bench as benching

    if png is not None:
        # Before the rounds, not after them.
        benching.require_plots()
    for path in (out, png):
        if path is not None and not path.absolute().parent.is_dir():
            raise SettingError(f"{path}: its folder does not exist; make it first")
    result = benching.run(bundle, threads, repeats, rounds, data, split)
    content = json.dumps(result.to_dict(), indent=None if as_json else 2, allow_nan=False)
    print(content if as_json else benching.table(result))
    if out is not None:
        out.write_text(content + "\n", encoding="utf-8")
    if png is not None:
        benching.draw(result, png)
    if result.agreement is not None and result.agreement.failed:
        raise typer.Exit(1)


def _photos(paths: list[Path]) -> Iterator[Path]:
    """The files named, and the photos directly inside the folders named, in order."""
    for path in paths:
        inside = []
        # What cannot be listed, like a folder without pictures, goes on as itself and is refused by name.
        with contextlib.suppress(OSError):
            if path.is_dir():
                files = [child for child in path.iterdir() if child.is_file()]
                inside = sorted(child for child in files if child.suffix.lower() in SUFFIXES)
                if inside and len(files) > len(inside):
                    others = len(files) - len(inside)
                    print(f"{path}: {others} files passed over, not named as pictures", file=sys.stderr)
        yield from inside or [path]


def _block(result: dict[str, Any], full_name: Callable[[str], str]) -> str:
    ranked = sorted(result["probabilities"].items(), key=lambda item: -item[1])
    # The decided class may be a rare one of little probability: its own is told all the same.
    shown = [item for place, item in enumerate(ranked) if place < 4 or item[0] == result["predicted_class"]]
    point, model = result["operating_point"], result["model"]
    p_cancer, total = result["cancer_probability"], result["timing_ms"]["total"]
    warnings = _turned_away(result)
    lines = [
        result["image"],
        f"  risk      {result['risk']}",
        f"  P(cancer) {p_cancer:.3f}{_where(result['prevalence'])} ({point['name']} threshold "
        f"{point['threshold']:.3f})",
        *([] if warnings else _certified(point["certificate"])),
        f"  action    {result['action']}",
        *warnings,
        *(f"  picture   {advice}" for advice in result["quality"]["advice"]),
        *_certain(result["certainty"]),
        *_sampled(result["uncertainty"]),
        f"  class     {full_name(result['predicted_class'])}"
        + (" (the most probable if all were as frequent: a hint)" if result["class_priors"] else ""),
        *_plausible(result, full_name),
        "  output    "
        + "\n            ".join(f"{full_name(name):<26}{name:<6}{share:.3f}" for name, share in shown),
        "  not known " + "\n            ".join(result["blind_spots"]),
        f"  always    {result['safety_net']}",
        f"  model     {model['name']} {model['version']} ({model['precision']}, {model['sha256'][:12]}), "
        f"{total:.0f} ms",
        "",
    ]
    return "\n".join(lines)


def _not_assessed(result: dict[str, Any]) -> str:
    status, ood = result["status"].replace("_", " "), result["ood"]
    limit = f": {ood['score']:.1f}, where {ood['threshold']:.1f} is the most" if ood is not None else ""
    return (
        f"{result['image']}\n  not assessed ({status}{limit})\n  action    {result['action']}\n"
        f"  always    {result['safety_net']}\n"
    )


def _where(prevalence: float | None) -> str:
    return "" if prevalence is None else f" where {prevalence:.0%} of pictures are cancers"


def _turned_away(result: dict[str, Any]) -> list[str]:
    """What the gates would have said, had they not been told to let the picture through."""
    warnings, ood = [*result["quality"]["retake"]], result["ood"]
    if ood is not None and ood["score"] > ood["threshold"]:
        warnings.append(f"out of scope: {ood['score']:.1f}, where {ood['threshold']:.1f} is the most")
    return [f"  WARNING   {warning}" for warning in warnings]


def _certified(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    return [
        f"            above it are at least {floor(100 * told['sensitivity'])} % of cancers like the "
        f"{told['lesions']} it was chosen on, with a confidence of about {told['confidence']:.0%}"
    ]


def _certain(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    parts = ", ".join(f"{name} {value:.2f}" for name, value in told["parts"].items())
    return [f"  certainty {told['level']} ({told['score']:.2f}: {parts})"]


def _plausible(result: dict[str, Any], full_name: Callable[[str], str]) -> list[str]:
    if result["label_set"] is None:
        return []
    names = ", ".join(map(full_name, result["label_set"]))
    several = len(result["label_set"]) > 1
    return [f"  plausible {names}" + f"; the most serious: {full_name(result['leading_label'])}" * several]


def _sampled(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    low, high = told["cancer_interval"]
    return [
        f"  sampled   P(cancer) {told['cancer_probability']:.3f}, of {told['samples']} networks 95 % between "
        f"{low:.3f} and {high:.3f}",
        f"            entropy {told['entropy']:.3f} nats, {told['epistemic']:.3f} of it their disagreement",
    ]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgeskin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: an error of ours, or of writing, becomes one line on stderr and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal cannot show must not stop the images after it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except EdgeskinError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(
            BUNDLE_ERROR
            if isinstance(error, BundleError)
            else USAGE_ERROR
            if isinstance(error, SettingError)
            else 1
        )
    except OSError as error:
        # A full disk or a closed pipe; what is still buffered would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: the result cannot be written: {error}", file=sys.stderr)
        sys.exit(1)
