"""edgeskin prepare: compile a bundle's networks once, for faster starts."""

from typing import get_args

from edgeskin.cli import options
from edgeskin.errors import ResourceError, SettingError
from edgeskin.network.cache import is_private, require_writable, user_cache_dir
from edgeskin.report.text import printable
from edgeskin.results import Precision


def prepare(
    bundle: options.BundleOption = None,
    threads: options.ThreadsOption = None,
    workers: options.WorkersOption = 1,
    cache_dir: options.CacheDirOption = None,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Compile a bundle's networks once, for faster starts.

    They are kept in the user's cache folder, where the other commands find them.
    """
    from edgeskin.classifier import Classifier

    if require_signature is not None:
        raise SettingError(
            "compiled networks are not signed, so there is no cache where a signature is required; leave "
            "--require-signature off, or do without prepare"
        )
    named = cache_dir or options.shared_cache()
    folder = named or user_cache_dir()
    if named is None:
        require_writable(folder, mode=0o700)
        if not is_private(folder):
            raise SettingError(
                f"cache {folder}: others may write to it, and so replace the network that runs, or a link is "
                "in it; remove it, or name another with --cache-dir"
            )
    for precision in get_args(Precision):
        with Classifier(bundle, precision, threads, workers, folder) as classifier:
            missing = [file for file in classifier.engine.cached_files if not file.is_file()]
        if missing:
            raise ResourceError(
                f"{missing[0]}: could not be written; make room on the disk, or remove what is in its place",
                "not_written",
            )
    print(printable(str(folder)))
