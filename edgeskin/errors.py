"""The one exception family. Every message names the thing, the value and the way out."""


class EdgeskinError(Exception):
    """Anything edgeskin refuses to do; only the command line turns it into an exit code."""


class PhotoError(EdgeskinError):
    """A picture that cannot be read, or that is refused before it is decoded."""


class BundleError(EdgeskinError):
    """A model bundle that is missing, altered, of an unknown schema or otherwise unusable."""


class SettingError(EdgeskinError):
    """A setting or argument outside what it may be."""
