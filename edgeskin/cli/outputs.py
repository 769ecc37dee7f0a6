"""The files that commands write: their paths, checked before any work is done."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeskin.errors import ResourceError, SettingError


def output_paths(out: Path | None, photos: Sequence[Path], *other_inputs: Path) -> list[Path]:
    """Return the path of each photo's figure.

    Args:
        out: A PNG file for one photo, an existing folder for any number, or None for no figures.
        photos: The photos, each of which gets a figure.
        other_inputs: Further files that must not be overwritten.

    Returns:
        One path a photo, in order; empty if ``out`` is None. In a folder, ``lesion.jpg`` gets
        ``lesion.jpg.png``.

    Raises:
        SettingError: ``out`` does not fit the number of photos, its folder does not exist, two photos would
            get the same path, or a path is that of an input.
    """
    if out is None:
        return []
    if is_folder(out):
        paths = [out / f"{photo.name}.png" for photo in photos]
        repeated = sorted(path.name for path, count in Counter(paths).items() if count > 1)
        if repeated:
            raise SettingError(
                f"{out}: several pictures would be written to {', '.join(repeated)}; assess them one by one"
            )
    else:
        if len(photos) > 1 or out.suffix.lower() != ".png":
            raise SettingError(f"{out}: name a PNG file for one picture, or an existing folder for several")
        if not out.absolute().parent.is_dir():
            raise SettingError(f"{out}: its folder does not exist; create it first")
        paths = [out]
    refuse_overwriting_inputs(paths, [*photos, *other_inputs])
    return paths


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; `Path.is_dir` raises OSError for a name that is too long."""
    return os.path.isdir(path)  # noqa: PTH112


def files_of_bundle(bundle: str | None, key: Path | None) -> list[Path]:
    """What a command reads beside its pictures: every file in the bundle's folder, and the public key.

    Args:
        bundle: As the option ``--bundle``.
        key: As the option ``--require-signature``.
    """
    from edgeskin.bundle.bundle import folder_of

    files = [] if key is None else [key]
    with contextlib.suppress(OSError):  # whoever opens the bundle says what is wrong with it
        files += folder_of(bundle).iterdir()
    return files


def refuse_overwriting_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise SettingError if an output is the same file as an input, by whatever name."""
    files = {_file_id(path) for path in inputs} - {None}
    for output in outputs:
        if _file_id(output) in files:
            raise SettingError(f"{output}: the command reads this file; name another one")


def _file_id(path: Path) -> tuple[int, int] | None:
    """What identifies an existing file on this machine, links followed; None if it cannot be found."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def delete_stale_outputs(outputs: Iterable[Path]) -> dict[Path, ResourceError]:
    """Delete outputs of an earlier run, which could be taken for those of this run if it writes none.

    Call it once the settings are known to be valid.

    Returns:
        The errors of outputs that cannot be deleted, and so are not to be written.
    """
    blocked = {}
    for output in outputs:
        try:
            output.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            blocked[output] = ResourceError(
                f"{output}: cannot be replaced ({reason}); name another place", "not_written"
            )
    return blocked
