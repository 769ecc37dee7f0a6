"""Options that several commands share, and what they mean."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeskin.decision.limitations import SITES
from edgeskin.decision.mc_dropout import require_samples
from edgeskin.errors import SettingError
from edgeskin.network.cache import is_private, user_cache_dir
from edgeskin.results import Method, Precision

if TYPE_CHECKING:
    from edgeskin.classifier import Classifier

METHODS = "grad-cam, grad-cam++, layer-cam, eigen-cam or occlusion (slow)"


def _named(kind: str) -> Callable[[str], Path]:
    """A parser that refuses an empty name, as of an unset variable, which would be the working folder."""

    def parse(name: str) -> Path:
        if not name:
            raise typer.BadParameter(f"name a {kind}")
        return Path(name)

    return parse


BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
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
    typer.Option(metavar="SITE", help=f"Body site; selects the limitations shown: {', '.join(SITES)}."),
]
CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        parser=_named("folder"),
        metavar="FOLDER",
        envvar="EDGESKIN_CACHE",
        help="Folder for compiled networks, for faster starts (default: the user's cache folder, which "
        "only `edgeskin prepare` fills).",
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
        parser=_named("public key"),
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
    require_signature: Path | None = None,
) -> "Classifier":
    """The classifier that the options describe.

    A line on stderr says where MC-dropout chooses the network, or a sensitivity changes the threshold.
    """
    from edgeskin.classifier import Classifier

    if mc_dropout:
        require_samples(mc_dropout, seed=0)
    chosen = precision or ("fp32" if mc_dropout else "int8")
    classifier = Classifier(
        bundle,
        chosen,
        threads,
        workers,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        require_signature=require_signature,
        **cache_settings(cache_dir, require_signature),
    )
    if mc_dropout:
        print(_MC_DROPOUT[chosen], file=sys.stderr)
    if sensitivity is not None:
        own = classifier.manifest.decision_rules[chosen].screening_threshold
        print(
            f"sensitivity {sensitivity}: refer from {classifier.rules.screening_threshold:.3f}, not from "
            f"{own:.3f}; without the line Confidence",
            file=sys.stderr,
        )
    return classifier


_MC_DROPOUT: dict[Precision, str] = {
    "fp32": "MC-dropout: the FP32 network decides, by its own thresholds",
    "int8": "MC-dropout: the INT8 network decides; the FP32 head is sampled on its features",
}


def cache_settings(named: Path | None, require_signature: Path | None = None) -> dict[str, Any]:
    """The Classifier's cache settings.

    Nothing is written that nobody asked for: without a folder named, the user's own cache is read if it is
    private, and only `edgeskin prepare` adds to it. One that is not private is skipped, with a line on
    stderr. Where a signature is required, none is read: what a cache holds is not signed.
    """
    if named is not None:
        return {"cache_dir": named}
    if require_signature is not None:
        return {}
    try:
        folder = user_cache_dir()
        if is_private(folder):
            return {"cache_dir": folder, "cache_read_only": True}
        if folder.exists():
            print(
                f"cache {folder}: skipped, as others may write to it or a link is in it; remove it, or name "
                "another with --cache-dir",
                file=sys.stderr,
            )
    except (SettingError, OSError):  # no home folder, or one that may not be read
        pass
    return {}


def use_color() -> bool:
    """Whether stdout is a terminal and NO_COLOR (no-color.org) is unset."""
    return bool(sys.stdout and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
