"""edgeskin bundle: sign bundles, verify their signatures, and write them for other servers."""

import os
from pathlib import Path
from typing import Annotated

import typer

from edgeskin.cli import options
from edgeskin.errors import ResourceError, SettingError
from edgeskin.results import Precision

app = typer.Typer(
    name="bundle",
    no_args_is_help=True,
    help="Sign bundles and verify their signatures (extra: sign), and write them for other servers.",
)

FolderArgument = Annotated[str, typer.Argument(metavar="FOLDER", help="The bundle's folder.")]


@app.command()
def keygen(
    key: Annotated[
        Path, typer.Argument(metavar="KEY", help="File for the private key; the public key goes to KEY.pub.")
    ],
) -> None:
    """Make a key pair (ECDSA P-256) to sign bundles with."""
    from edgeskin.bundle.signature import new_keys

    private, public = new_keys()
    # Created for this user alone; a key that is there already is never overwritten.
    for path, content, mode in ((key, private, 0o600), (Path(f"{key}.pub"), public, 0o644)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
        except OSError as error:
            raise ResourceError(
                f"{path}: cannot be written ({error.strerror}); name another file", "not_written"
            ) from error
        print(path)


@app.command()
def sign(
    folder: FolderArgument,
    key: Annotated[
        Path, typer.Option(metavar="PEM", help="The private key: ECDSA P-256, without a password.")
    ],
) -> None:
    """Verify a bundle's hashes and sign all its files.

    Writes signature.json into the folder, in place of an older one.
    """
    from edgeskin.bundle.bundle import SHIPPED, open_bundle

    if folder in SHIPPED:
        raise SettingError(
            f"{folder}: this bundle is part of the package; copy its folder, and sign the copy"
        )
    print(open_bundle(folder).sign(key))


@app.command()
def verify(
    folder: FolderArgument,
    key: Annotated[Path, typer.Option(metavar="PEM", help="The public key.")],
) -> None:
    """Verify a bundle's signature, and the hash of every file."""
    from edgeskin.bundle.bundle import open_bundle

    bundle = open_bundle(folder, require_signature=key)
    bundle.verify()
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    print(f"{folder}: {name}, signed with this key; every file verified")


@app.command()
def ovms(
    folder: Annotated[
        Path,
        typer.Argument(parser=options.named_path, metavar="FOLDER", help="A new or empty folder."),
    ],
    bundle: options.BundleOption = None,
    precision: Annotated[Precision, typer.Option(help="Quantized or reference network.")] = "int8",
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Write a model repository for OpenVINO Model Server.

    It gives calibrated probabilities of one view of a picture, without the gates, thresholds and other parts
    of an assessment; README.md in the folder says what is missing.
    """
    from edgeskin.bundle.bundle import open_bundle
    from edgeskin.service.ovms import write_repository

    print(write_repository(folder, open_bundle(bundle, require_signature=require_signature), precision))
