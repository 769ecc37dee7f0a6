"""The command line, and the only place that knows exit codes.

stdout carries results, stderr everything else. 0: all assessed; 1: some image failed, the others are
done; 2: usage; 3: bundle.
"""

import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

# numpy's own threads go on spinning after a matrix product and take the cores from the network, which then
# took 125 ms and more instead of 90. They read this when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from edgeskin import NOTICE, __version__
from edgeskin.bundle.bundle import Precision
from edgeskin.cli.outputs import delete_stale_outputs, output_paths, refuse_overwriting_inputs
from edgeskin.decision.limitations import SITES
from edgeskin.errors import BundleError, EdgeskinError, SettingError
from edgeskin.network.cache import cache_settings, make_user_cache
from edgeskin.photo.sources import photos_in

USAGE_ERROR, BUNDLE_ERROR = 2, 3

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=f"Skin-lesion assessment on a CPU, offline. {NOTICE}",
)

BundleOption = Annotated[
    str | None,
    typer.Option("--bundle", help="Bundle folder, or 'lite', which ships with edgeskin as the default does."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="CPU threads; all that are allowed when left off."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the sampling.")]
SampleOption = Annotated[
    int, typer.Option(max=1000, help="Sample the head so many times, 2 to 1000, for its uncertainty.")
]
QualityGateOption = Annotated[
    bool,
    typer.Option("--quality-gate/--no-quality-gate", help="Turn away what is not good enough, or not."),
]
ScopeGateOption = Annotated[
    bool,
    typer.Option("--scope-gate/--no-scope-gate", help="Turn away what is no dermoscopy picture, or not."),
]
SensitivityOption = Annotated[
    float | None,
    typer.Option(help="To certify instead of the bundle's, such as 0.9; certainty is not told then."),
]
AgeOption = Annotated[float | None, typer.Option(help="Years; for the blind spots told, nothing else.")]
SiteOption = Annotated[str | None, typer.Option(help=f"For the blind spots told: {', '.join(SITES)}.")]


def _folder(name: str) -> Path:
    if not name:  # as of a variable that is not set; to Path, this is the working folder
        raise typer.BadParameter("name a folder")
    return Path(name)


CacheOption = Annotated[
    Path | None,
    typer.Option(
        parser=_folder,
        metavar="FOLDER",
        envvar="EDGESKIN_CACHE",
        help="Folder to keep the compiled network in, for quicker starts; without it the one that `prepare` "
        "made is read, if there is one.",
    ),
]
StreamsOption = Annotated[
    int,
    typer.Option(min=1, help="Pictures worked on at once, up to the number of threads; or one, by all."),
]
METHODS = "grad-cam, grad-cam++, layer-cam, eigen-cam or occlusion (slow)"


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    as_json: JsonOption = False,
    precision: Annotated[
        Precision | None,
        typer.Option(help="The quantized network, or the reference; int8, with --mc-dropout fp32."),
    ] = None,
    mc_dropout: SampleOption = 0,
    seed: SeedOption = 0,
    explain: Annotated[
        Path | None,
        typer.Option(help="Draw where the evidence lies: a PNG file, or a folder for several pictures."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="With --explain: cancer (the default), or a class such as MEL or BKL.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help=f"With --explain: {METHODS}; grad-cam when left off.")
    ] = None,
    bundle: BundleOption = None,
    threads: ThreadsOption = None,
    quality_gate: QualityGateOption = True,
    scope_gate: ScopeGateOption = True,
    sensitivity: SensitivityOption = None,
    age: AgeOption = None,
    site: SiteOption = None,
    cache: CacheOption = None,
    streams: StreamsOption = 1,
) -> None:
    """Assess dermoscopy pictures of skin lesions."""
    from edgeskin.classifier import Classifier
    from edgeskin.decision.limitations import Context
    from edgeskin.examination import Examination
    from edgeskin.report.text import block

    if explain is None and (target or method):
        raise SettingError("--target and --method choose a map: say with --explain where to draw it")
    photos = list(photos_in(paths))
    drawings = output_paths(explain, photos)
    context = Context(age, site)
    classifier = Classifier(
        bundle,
        precision or ("fp32" if mc_dropout else "int8"),
        threads,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        streams=streams,
        **cache_settings(cache),
    )
    delete_stale_outputs(drawings)
    settings: dict[str, Any] = {"mc_samples": mc_dropout, "seed": seed, "context": context}
    results: Iterator[Examination] = (
        classifier.examine_many(photos, target=target or "cancer", method=method or "grad-cam", **settings)
        if drawings
        else map(Examination, classifier.assess_many(photos, **settings))
    )
    failed = False
    for place, found in enumerate(results):
        result = found.assessment
        failed |= result.status != "assessed"
        if as_json:
            print(json.dumps(found.to_dict() if drawings else result.to_dict(), allow_nan=False), flush=True)
        elif result.error is not None:
            print(f"error: {result.error.message}", file=sys.stderr)
        else:
            print(block(result.to_dict()), flush=True)
        if drawings and found.explanation is not None:
            from edgeskin.report import figures as draw

            drawings[place].write_bytes(draw.encode_png(draw.side_by_side(found)))
        elif drawings:
            print(f"{result.image}: not assessed, so no map is drawn", file=sys.stderr)
    print(NOTICE, file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command()
def report(
    photo: Annotated[Path, typer.Argument(help="The picture.")],
    out: Annotated[
        list[Path],
        typer.Option("--out", "-o", help="File to write: .html, .json or .png. May be given several times."),
    ],
    precision: Annotated[Precision, typer.Option(help="The quantized network, or the reference.")] = "int8",
    mc_dropout: SampleOption = 30,
    seed: SeedOption = 0,
    target: Annotated[
        str, typer.Option(help="Show the evidence for it: cancer, or a class such as MEL or BKL.")
    ] = "cancer",
    method: Annotated[str, typer.Option(help=f"Of the map: {METHODS}.")] = "grad-cam",
    bundle: BundleOption = None,
    threads: ThreadsOption = None,
    quality_gate: QualityGateOption = True,
    scope_gate: ScopeGateOption = True,
    sensitivity: SensitivityOption = None,
    age: AgeOption = None,
    site: SiteOption = None,
    cache: CacheOption = None,
) -> None:
    """Write all that is known of one picture into a file to keep."""
    from datetime import datetime

    from edgeskin.classifier import Classifier
    from edgeskin.decision.limitations import Context
    from edgeskin.report import html as reporting

    for path in out:
        reporting.require_writable(path)
    refuse_overwriting_inputs(out, [photo])
    context = Context(age, site)
    classifier = Classifier(
        bundle,
        precision,
        threads,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        **cache_settings(cache),
    )
    delete_stale_outputs(out)
    found = classifier.examine(
        photo, target=target, method=method, mc_samples=mc_dropout, seed=seed, context=context
    )
    now = datetime.now().astimezone()
    for path in out:
        reporting.write(found, path, now)
        print(path)
    print(NOTICE, file=sys.stderr)
    if found.assessment.status != "assessed":
        print(f"not assessed ({found.assessment.status}): {found.assessment.action}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="The earlier picture.")],
    after: Annotated[Path, typer.Argument(help="The later picture of the same lesion.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Draw both and their difference: a PNG file.")
    ] = None,
    as_json: JsonOption = False,
    precision: Annotated[Precision, typer.Option(help="The quantized network, or the reference.")] = "int8",
    bundle: BundleOption = None,
    threads: ThreadsOption = None,
    quality_gate: QualityGateOption = True,
    scope_gate: ScopeGateOption = True,
    cache: CacheOption = None,
) -> None:
    """Compare two pictures of one lesion; refused where they cannot be laid on each other."""
    from edgeskin.classifier import Classifier
    from edgeskin.imaging.change import compare as compare_examinations
    from edgeskin.report import figures as draw
    from edgeskin.report import text

    if out is not None and (out.is_dir() or out.suffix.lower() != ".png"):
        raise SettingError(f"{out}: name a PNG file to draw into")
    drawings = output_paths(out, [after], before)
    classifier = Classifier(
        bundle, precision, threads, quality_gate=quality_gate, scope_gate=scope_gate, **cache_settings(cache)
    )
    delete_stale_outputs(drawings)
    one, other = classifier.examine(before), classifier.examine(after)
    try:
        found = compare_examinations(one, other)
    except EdgeskinError:
        # What each says alone is known all the same.
        alone = {"before": one.to_dict(), "after": other.to_dict(), "registration": None}
        blocks = (text.block(each.assessment.to_dict()) for each in (one, other))
        print(json.dumps(alone, allow_nan=False) if as_json else "\n".join(blocks))
        raise
    told = found.to_dict()
    print(json.dumps(told, allow_nan=False) if as_json else text.comparison(told))
    for path in drawings:
        path.write_bytes(draw.encode_png(draw.compared(found)))
    print(NOTICE, file=sys.stderr)


@app.command()
def prepare(
    bundle: BundleOption = None,
    threads: ThreadsOption = None,
    cache: CacheOption = None,
    streams: StreamsOption = 1,
) -> None:
    """Keep a bundle's compiled networks in the user's cache folder: later starts with these settings, on this
    machine, are quicker."""
    from edgeskin.classifier import Classifier

    folder = cache or make_user_cache()
    for precision in get_args(Precision):
        classifier = Classifier(bundle, precision, threads, cache=folder, streams=streams)
        absent = [file for file in classifier.engine.kept if not file.is_file()]
        if absent:
            raise EdgeskinError(
                f"{absent[0]}: could not be written; make room on the disk, or remove what is in its place"
            )
    print(folder)


@app.command()
def info(bundle: BundleOption = None, as_json: JsonOption = False) -> None:
    """Verify a bundle's hashes and tell what it holds."""
    from edgeskin.bundle.bundle import open_bundle
    from edgeskin.report.text import bundle_lines

    opened = open_bundle(bundle)
    opened.verify()
    if as_json:
        print(json.dumps(dataclasses.asdict(opened.manifest)))
        return
    print(bundle_lines(opened))


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
    from edgeskin.bench import measure as benching

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
    """Entry point: runs a command and ends the process with its exit code."""
    code = _run()
    # All is written. Taking OpenVINO down in order takes 0.1 s, and what it holds goes with the process.
    os._exit(code)


def _run() -> int:
    """The exit code; an error of ours, or of writing, becomes one line on stderr."""
    # OpenVINO imports its converter of other frameworks' models along: 30 ms that no command needs.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal cannot show must not stop the images after it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = 0
    try:
        try:
            app()
        except SystemExit as end:  # which is how the app ends
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.stdout.flush()
    except EdgeskinError as error:
        print(f"error: {error}", file=sys.stderr)
        codes = ((BundleError, BUNDLE_ERROR), (SettingError, USAGE_ERROR))
        code = next((code for kind, code in codes if isinstance(error, kind)), 1)
    except OSError as error:
        # A full disk or a closed pipe; what is still buffered would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: the result cannot be written: {error}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    return code
