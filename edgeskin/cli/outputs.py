"""Paths of the files that commands write, checked before any work is done."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeskin.errors import SettingError


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
    if out.is_dir():
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


def refuse_overwriting_inputs(outputs: Iterable[Path], inputs: Sequence[Path]) -> None:
    """Raise SettingError if an output is the same file as an input."""
    for output in outputs:
        if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
            raise SettingError(f"{output}: this is an input picture; name another file")


def delete_stale_outputs(outputs: Iterable[Path]) -> None:
    """Delete outputs of an earlier run, which could be taken for those of this run if it writes none.

    Call it once the settings are known to be valid.
    """
    for output in outputs:
        output.unlink(missing_ok=True)
