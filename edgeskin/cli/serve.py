"""edgeskin serve: the HTTP service and its page."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from edgeskin.cli import options
from edgeskin.errors import SettingError
from edgeskin.results import Precision

PACKAGES = ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client", "limits", "h11")


def serve(
    host: Annotated[
        str,
        typer.Option(
            parser=options.named,
            metavar="HOST",
            help="Address to listen on; others than loopback need --tokens.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 for any free one.")
    ] = 8000,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    bundle: options.BundleOption = None,
    precision: Annotated[Precision, typer.Option(help="Quantized or reference network.")] = "int8",
    threads: options.ThreadsOption = None,
    workers: options.WorkersOption = 1,
    quality_gate: options.QualityGateOption = True,
    scope_gate: options.ScopeGateOption = True,
    sensitivity: options.SensitivityOption = None,
    isolate: options.IsolateOption = False,
    cache_dir: options.CacheDirOption = None,
    require_signature: options.RequireSignatureOption = None,
    queue: Annotated[int, typer.Option(metavar="N", help="Pictures that may wait; then: 503.")] = 64,
    time_limit: Annotated[
        float, typer.Option(metavar="S", help="Seconds for a request's body, and for its answer.")
    ] = 30.0,
    max_megabytes: Annotated[
        float, typer.Option(metavar="N", help="Largest body of a request, megabytes.")
    ] = 20.0,
    max_megapixels: Annotated[float, typer.Option(metavar="N", help="Largest picture, megapixels.")] = 100.0,
    tokens: Annotated[
        Path | None,
        typer.Option(
            parser=options.named_path, metavar="FILE", help="Ask for a bearer token of this file, one a line."
        ),
    ] = None,
    open_access: Annotated[
        bool, typer.Option("--open-access", help="Let other machines in without a token.")
    ] = False,
    rate_limit: Annotated[
        int | None, typer.Option(metavar="N", help="Requests a minute of one client (default: no limit).")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name of this service. May be given several times."),
    ] = None,
    drain_delay: Annotated[
        float, typer.Option(metavar="S", help="Seconds from SIGTERM until no connection is accepted.")
    ] = 0.0,
    tls_cert: Annotated[
        Path | None, typer.Option(parser=options.named_path, metavar="FILE", help="Certificate chain (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(parser=options.named_path, metavar="FILE", help="Its private key (PEM).")
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            parser=options.named_path,
            metavar="FOLDER",
            help="Keep the picture and answer of each /v1/assess in this folder.",
        ),
    ] = None,
    wording_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="OpenAI-compatible endpoint that rewords messages (default: none)."),
    ] = None,
    wording_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its model. A key goes into EDGESKIN_WORDING_KEY."),
    ] = None,
) -> None:
    """Serve a page and an HTTP API (extra: serve)."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise SettingError(
            f'the service needs {", ".join(missing)}: run pip install ".[serve]" in a checkout of edgeskin'
        )
    from edgeskin.service import server
    from edgeskin.service.app import create_app
    from edgeskin.service.settings import ServiceSettings, read_tokens
    from edgeskin.service.wording import wording_settings

    settings = ServiceSettings(
        host=host,
        port=port,
        tokens=read_tokens(tokens) if tokens else (),
        open_access=open_access,
        queue_size=queue,
        time_limit_s=time_limit,
        max_megabytes=max_megabytes,
        max_megapixels=max_megapixels,
        rate_limit=rate_limit,
        allowed_hosts=tuple(allowed_host or ()),
        drain_delay_s=drain_delay,
        tls_cert=tls_cert,
        tls_key=tls_key,
        records=records,
        wording=wording_settings(wording_url, wording_model, os.environ),
    )
    listener = server.listen(settings)
    classifier = options.open_classifier(
        bundle,
        precision,
        threads,
        cache_dir,
        workers=workers,
        quality_gate=quality_gate,
        scope_gate=scope_gate,
        sensitivity=sensitivity,
        isolate=isolate,
        require_signature=require_signature,
    )
    with classifier:
        server.serve(create_app(classifier, settings), settings, listener, open_page)
