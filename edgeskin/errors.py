"""The exceptions of edgeskin: one family, each with a stable code for programs."""


class EdgeskinError(Exception):
    """Base of every error that edgeskin raises on purpose.

    The message is for people: it names the thing, the value and what to do, and its wording may change.
    ``code`` is for programs: codes are added over time and never renamed. The command line alone turns
    errors into exit codes.

    Attributes:
        code: What went wrong, in snake_case. Each class has a default.
    """

    code: str = "error"

    def __init__(self, message: str, code: str | None = None) -> None:
        """Create an error with a message and, where the class default is too coarse, a code."""
        super().__init__(message)
        if code is not None:
            self.code = code


class PhotoError(EdgeskinError):
    """A photo that cannot be read, or that is refused before it is decoded.

    Codes: ``not_found``, ``not_a_file``, ``is_folder``, ``unreadable``, ``empty_file``, ``file_too_large``,
    ``unsupported_format``, ``damaged``, ``cut_off``, ``too_small``, ``too_many_pixels``, ``side_too_long``,
    ``wrong_array``, ``wrong_type``; ``photo`` for anything else.
    """

    code = "photo"


class BundleError(EdgeskinError):
    """A model bundle that is missing, altered, of an unknown schema or otherwise unusable.

    Codes: ``bundle_missing``, ``bundle_altered``, ``bundle_schema``, ``unsigned``, ``bad_signature``;
    ``bundle`` for anything else.
    """

    code = "bundle"


class SettingError(EdgeskinError):
    """A setting or argument outside its range."""

    code = "setting"


class ResourceError(EdgeskinError):
    """This machine lacks what the work needs: memory, threads, disk space or a place to write.

    Codes: ``out_of_memory``, ``too_few_threads``, ``not_written``; ``resource`` for anything else.
    """

    code = "resource"


class RegistrationError(EdgeskinError):
    """Two photos that cannot be aligned."""

    code = "registration"
