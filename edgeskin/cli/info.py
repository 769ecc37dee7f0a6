"""edgeskin info: verify a bundle and show what it holds."""

import json

from edgeskin.cli import options


def info(
    bundle: options.BundleOption = None,
    as_json: options.JsonOption = False,
    require_signature: options.RequireSignatureOption = None,
) -> None:
    """Verify a bundle's hashes and show what it holds."""
    from edgeskin.bundle.bundle import open_bundle
    from edgeskin.report.text import bundle_text
    from edgeskin.results import to_plain

    opened = open_bundle(bundle, require_signature=require_signature)
    opened.verify()
    print(json.dumps(to_plain(opened.manifest)) if as_json else bundle_text(opened))
