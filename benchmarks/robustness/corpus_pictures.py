"""The pictures of `benchmarks.robustness.corpus`, and the forms of files in which they are written whole."""

import csv
import functools
import os
import random
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.environment import ROOT
from edgeskin.arrays import Image as Pixels
from edgeskin.taxonomy import ISIC_2019
from tests.edgeskin import pictures as made

FORMATS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "JPEG, baseline": ("JPEG", {"quality": 90}),
    "JPEG, optimised": ("JPEG", {"quality": 75, "optimize": True}),
    "JPEG, 4:4:4": ("JPEG", {"quality": 95, "subsampling": 0}),
    "JPEG, progressive": ("JPEG", {"quality": 88, "progressive": True}),
    "JPEG, a restart a row": ("JPEG", {"quality": 90, "restart_marker_rows": 1}),
    "JPEG, a restart every 4 units": ("JPEG", {"quality": 90, "restart_marker_blocks": 4}),
    "PNG": ("PNG", {"compress_level": 1}),
    "WebP, lossy": ("WEBP", {"quality": 85}),
    "WebP, lossless": ("WEBP", {"lossless": True, "method": 0}),
    "BMP": ("BMP", {}),
    "TIFF, uncompressed": ("TIFF", {}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, Deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF, PackBits": ("TIFF", {"compression": "packbits"}),
}
"""Pillow's format and options of each form in which whole pictures are written."""
MODES: Mapping[str, tuple[str, str]] = {
    "JPEG, grey": ("JPEG", "L"),
    "JPEG, CMYK": ("JPEG", "CMYK"),
    "PNG, alpha": ("PNG", "RGBA"),
    "PNG, palette": ("PNG", "P"),
    "PNG, 1 bit": ("PNG", "1"),
    "PNG, grey": ("PNG", "L"),
    "WebP, alpha": ("WEBP", "RGBA"),
    "BMP, grey": ("BMP", "L"),
}
"""Pillow's format and mode of other forms that are read."""
DRAWN_SIDE = 400
WHOLE = "whole"
"""The kind of inputs that are not damaged."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        kind: Of input, as the table names it.
        form: The format that the file has or claims.
        source: Its bytes, or its path.
        whole: The file that it was before it was damaged; None where there is none to compare with.
    """

    kind: str
    form: str
    source: bytes | Path
    whole: bytes | None = None


def drawn_lesions(count: int) -> list[Pixels]:
    """Draw lesions of the classes in turn: uint8 RGB (DRAWN_SIDE, DRAWN_SIDE, 3)."""
    draw = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]
    labels = [ISIC_2019[number % len(ISIC_2019)] for number in range(count)]
    return [draw(label, np.random.default_rng(number), DRAWN_SIDE) for number, label in enumerate(labels)]


def overlaid(pixels: Pixels) -> Pixels:
    """A picture with a white label in its lower right corner, as software of dermatoscopes draws one."""
    image = Image.fromarray(pixels)
    width, height = image.size
    drawing = ImageDraw.Draw(image)
    drawing.rectangle((0.6 * width, 0.85 * height, width, height), fill="white")
    drawing.text((0.65 * width, 0.9 * height), "2026-11-27", fill="black")
    return np.asarray(image)


def validation_pictures(count: int) -> list[Pixels]:
    """Read so many pictures of the validation split, chosen at random; none without EDGESKIN_DATA."""
    folder = Path(os.environ.get("EDGESKIN_DATA", ""))
    if not (folder / "index.csv").is_file():
        return []
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file) if row["split"] == "val"]
    return [read_pixels(folder / path) for path in random.Random(1).sample(paths, min(count, len(paths)))]


def written(pixels: Pixels, form: str, **options: Any) -> bytes:
    """Encode a picture in one of FORMATS."""
    fmt, own = FORMATS[form]
    return made.encode(pixels, fmt, **own, **options)


def false_colours(pixels: Pixels) -> Iterator[Case]:
    """Take a picture's colour away, or exchange its channels."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    tint = (grey[..., None] * np.array([1, 0.8, 0.6])).astype(np.uint8)
    yield Case("grey", "JPEG, grey", made.encode(grey, "JPEG", quality=90))
    yield Case("grey", "JPEG", made.encode(np.dstack([grey] * 3), "JPEG", quality=90))
    yield Case("grey, of one tint", "JPEG", made.encode(tint, "JPEG", quality=90))
    for order in ((2, 1, 0), (1, 2, 0)):
        turned = np.ascontiguousarray(pixels[..., order])
        yield Case("colours exchanged", "PNG", made.encode(turned, "PNG", compress_level=1))


def deep_png(pixels: Pixels) -> bytes:
    """Encode a picture as a PNG of 16 bits."""
    height, width = pixels.shape[:2]
    rows = made.png_rows(pixels.astype(np.uint16) * 257)
    return made.png(made.ihdr(width, height, 16), (b"IDAT", rows), made.IEND)


@functools.cache
def read_pixels(path: Path) -> Pixels:
    """Read a picture: uint8 RGB (h, w, 3)."""
    return np.asarray(Image.open(path).convert("RGB"))
