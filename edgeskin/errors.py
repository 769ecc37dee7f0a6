"""The exceptions of edgeskin: one family, each with a stable code for programs."""

import contextlib
from collections.abc import Iterator


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
    ``wrong_array``, ``wrong_type``, ``timed_out``, ``decoder_crashed``, ``still_changing``,
    ``unsafe_archive``, ``encrypted``, ``other_file``, ``worker_lost``;
    ``photo`` for anything else.
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
    """This machine or cluster lacks what the work needs: memory, threads, workers or a place to write.

    Codes: ``out_of_memory``, ``too_few_threads``, ``no_workers``, ``not_written``, ``unreadable``;
    ``resource`` for anything else.
    """

    code = "resource"


class RegistrationError(EdgeskinError):
    """Two photos that cannot be aligned."""

    code = "registration"


class RequestError(EdgeskinError):
    """A request that the service does not answer with a result.

    Codes: ``bad_request``, ``not_found``, ``method_not_allowed``, ``unauthorized``, ``unknown_host``,
    ``cross_site``, ``rate_limited``, ``body_too_large``, ``slow_body``, ``queue_full``, ``timed_out``,
    ``draining``, ``client_gone``, ``unsupported_encoding``, ``internal``.

    Attributes:
        retry_after: Seconds after which to try again; None where that is no way out.
    """

    code = "bad_request"

    def __init__(self, message: str, code: str | None = None, retry_after: int | None = None) -> None:
        """Create an error; arguments as the attributes."""
        super().__init__(message, code)
        self.retry_after = retry_after


_OUT_OF_MEMORY = (
    "bad_alloc", "can't alloc", "cannot alloc", "could not alloc", "failed to alloc", "insufficient memory",
    "out of memory", "failed to map segment", "unable to allocate",
)  # fmt: skip
_TOO_FEW_THREADS = ("resource temporarily unavailable", "new thread", "create thread", "pthread_create")


def lack_of_resources(error: BaseException) -> ResourceError | None:
    """What the machine lacks, by the words of a library's error; None if that is not the reason.

    OpenVINO and OpenCV raise one class for all errors, with the words of the C++ library and the system.
    """
    words = str(error).lower()
    if isinstance(error, MemoryError) or any(part in words for part in _OUT_OF_MEMORY):
        detail = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
        message = (
            f"there is too little memory{detail}; give this process more, or take fewer workers or pixels"
        )
        return ResourceError(message, "out_of_memory")
    if any(part in words for part in _TOO_FEW_THREADS):
        message = "no further thread can be started; allow this process more threads or memory"
        return ResourceError(message, "too_few_threads")
    return None


@contextlib.contextmanager
def naming_lacks(name: str) -> Iterator[None]:
    """Raise ResourceError, with the name of a photo, where a library lacks memory or threads."""
    try:
        yield
    except EdgeskinError:
        raise
    except Exception as error:
        lack = lack_of_resources(error)
        if lack is None:
            raise
        raise ResourceError(f"{name}: {lack}", lack.code) from error


def require_kind(name: str, value: object, kinds: type | tuple[type, ...], choices: str) -> None:
    """Raise SettingError unless an argument is of one of these kinds. A bool counts as a bool alone."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise SettingError(f"{name} {value!r}: choose {choices}")
