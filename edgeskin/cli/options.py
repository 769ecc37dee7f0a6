"""Options that several commands share, and what they mean."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeskin.cli.streams import notice
from edgeskin.decision.limitations import SITES
from edgeskin.decision.mc_dropout import require_samples
from edgeskin.errors import SettingError
from edgeskin.network.cache import is_private, require_writable, user_cache_dir
from edgeskin.results import Method, Precision

if TYPE_CHECKING:
    from edgeskin.classifier import Classifier

METHODS = "grad-cam, grad-cam++, layer-cam, eigen-cam or occlusion (slow)"


CACHE_VARIABLE = "EDGESKIN_CACHE"


def named(text: str) -> str:
    """A parser that refuses an empty name, as of an unset variable, which would be the working folder."""
    if not text.strip():
        raise typer.BadParameter("the name is empty; is a variable unset?")
    return text


def named_path(text: str) -> Path:
    """A parser of paths that leaves it to the reader of a file whether this user may read it.

    typer's own one would end the run for a single path that may not be read.
    """
    return Path(named(text))


def cache_path(text: str) -> Path:
    """A parser of a cache folder, in which ``~`` is the home folder."""
    try:
        return named_path(text).expanduser()
    except RuntimeError as error:
        raise typer.BadParameter(f"{text}: {error}") from None


BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        parser=named,
        metavar="BUNDLE",
        help="Bundle folder, 'default', or 'lite': faster, smaller and less accurate.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, metavar="N", help="CPU threads (default: all allowed)."),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Pictures assessed at once, up to the number of threads; each takes memory."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(help="Quantized or reference network (default: int8; fp32 with --mc-dropout)."),
]
McDropoutOption = Annotated[
    int,
    typer.Option(
        max=1000,
        metavar="N",
        show_default=False,
        help="Also sample N networks by dropout (2 to 1000) for the uncertainty. The FP32 network then "
        "decides, unless --precision int8 is given.",
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the sampling.")]
TargetOption = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS", help="Show the evidence for this: cancer, or a class such as MEL (default: cancer)."
    ),
]
MethodOption = Annotated[
    Method | None, typer.Option(metavar="METHOD", help=f"Method of the map: {METHODS} (default: grad-cam).")
]
QualityGateOption = Annotated[
    bool,
    typer.Option("--quality-gate/--no-quality-gate", help="Refuse pictures that are not good enough."),
]
ScopeGateOption = Annotated[
    bool,
    typer.Option(
        "--scope-gate/--no-scope-gate",
        help="Refuse pictures unlike the training pictures. Most phone photos pass.",
    ),
]
IsolateOption = Annotated[
    bool, typer.Option("--isolate", help="Decode in child processes with limits of time and memory.")
]
SensitivityOption = Annotated[
    float | None,
    typer.Option(
        metavar="S", help="Cancer sensitivity to certify, 0.8 to 0.98 (default: the bundle's, 0.95)."
    ),
]
AgeOption = Annotated[
    float | None, typer.Option(metavar="YEARS", help="Age in years; selects the limitations shown.")
]
SiteOption = Annotated[
    str | None,
    typer.Option(
        parser=str.lower,
        metavar="SITE",
        help=f"Body site; selects the limitations shown: {', '.join(SITES)}.",
    ),
]
CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        parser=cache_path,
        metavar="FOLDER",
        help=f"Folder for compiled networks, for faster starts (default: {CACHE_VARIABLE}, or the user's "
        "cache folder, which only `edgeskin prepare` fills).",
    ),
]
REQUIRE_SIGNATURE = "EDGESKIN_REQUIRE_SIGNATURE"


def _required_key(key: Path | None) -> Path | None:
    """The key. Refuses a variable that is set but empty, which would require nothing."""
    if key is None and REQUIRE_SIGNATURE in os.environ:
        raise typer.BadParameter(f"{REQUIRE_SIGNATURE} is empty: name a public key, or unset the variable")
    return key


RequireSignatureOption = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        parser=named_path,
        callback=_required_key,
        metavar="KEY.pub",
        envvar=REQUIRE_SIGNATURE,
        help="Refuse a bundle that this key (PEM, ECDSA P-256) did not sign. No cache is used then.",
    ),
]


def open_classifier(
    bundle: str | None,
    precision: Precision | None,
    threads: int | None,
    cache_dir: Path | None,
    *,
    workers: int = 1,
    mc_dropout: int = 0,
    quality_gate: bool = True,
    scope_gate: bool = True,
    sensitivity: float | None = None,
    isolate: bool = False,
    require_signature: Path | None = None,
) -> "Classifier":
    """The classifier that the options describe.

    A line on stderr says where MC-dropout chooses the network, or a sensitivity changes the threshold.
    """
    from edgeskin.classifier import Classifier

    if mc_dropout:
        require_samples(mc_dropout, seed=0)
    chosen = precision or ("fp32" if mc_dropout else "int8")
    cache = cache_settings(cache_dir, require_signature)
    classifier = Classifier(
        bundle,
        chosen,
        threads,
        workers,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        isolate=isolate,
        require_signature=require_signature,
        **cache,
    )
    missing = [file for file in classifier.engine.cached_files if not os.access(file, os.R_OK)]
    if missing and shared_cache() is not None and cache.get("cache_read_only"):
        notice(f"cache {missing[0].parent}: this user may not write it, so the network was compiled anew")
    if mc_dropout:
        notice(_MC_DROPOUT[chosen])
    if sensitivity is not None:
        own = classifier.manifest.decision_rules[chosen].screening_threshold
        notice(
            f"sensitivity {sensitivity}: refer from {classifier.rules.screening_threshold:.3f}, not from "
            f"{own:.3f}; without the line Confidence"
        )
    return classifier


_MC_DROPOUT: dict[Precision, str] = {
    "fp32": "MC-dropout: the FP32 network decides, by its own thresholds",
    "int8": "MC-dropout: the INT8 network decides; the FP32 head is sampled on its features",
}


def shared_cache() -> Path | None:
    """The folder that the environment names; an empty variable names none."""
    text = os.environ.get(CACHE_VARIABLE, "")
    return cache_path(text) if text.strip() else None


def cache_settings(named_folder: Path | None, require_signature: Path | None = None) -> dict[str, Any]:
    """The Classifier's cache settings.

    A folder that an option names must be writable; one that the environment names is read where this user may
    not write it. Nothing is written that nobody asked for: without either, the user's own cache is read if it
    is private, and only `edgeskin prepare` adds to it. One that is not private is skipped, with a notice.
    Where a signature is required, the Classifier refuses a named folder, and no other is read: what a cache
    holds is not signed.
    """
    shared = shared_cache()
    if named_folder is not None or (shared is not None and require_signature is not None):
        return {"cache_dir": named_folder or shared}
    if require_signature is not None:
        return {}
    if shared is not None:
        try:
            require_writable(shared)
        except SettingError:
            return {"cache_dir": shared, "cache_read_only": True}
        return {"cache_dir": shared}
    try:
        folder = user_cache_dir()
        if is_private(folder):
            return {"cache_dir": folder, "cache_read_only": True}
        if folder.exists():
            notice(
                f"cache {folder}: skipped, as others may write to it or a link is in it; remove it, or name "
                "another with --cache-dir"
            )
    except (SettingError, OSError):  # no home folder, or one that may not be read
        pass
    return {}


def use_color() -> bool:
    """Whether stdout is a terminal and NO_COLOR (no-color.org) is unset."""
    return bool(sys.stdout and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
