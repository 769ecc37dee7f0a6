"""The example picture of the repository in other sizes, for timing alone."""

from pathlib import Path

import cv2

EXAMPLE = Path(__file__).parents[1] / "examples" / "lesion.jpg"


def write_example(path: Path, size: tuple[int, int]) -> Path:
    """Write it as a JPEG of quality 90 and of a size (width, height); returns the path."""
    resized = cv2.resize(cv2.imread(str(EXAMPLE)), size, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), resized, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return path
