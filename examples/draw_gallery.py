"""Render the pictures of docs/explanations.md and of the README, from synthetic lesions.

    python examples/draw_gallery.py [--out docs/gallery] [--report docs/report.png]

The picture of the report needs Chromium (extra `dev`, and `apt install chromium` or `playwright install
chromium`); the others need the runtime only.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
from draw_lesion import STYLES, draw_lesion

from edgeskin import Classifier
from edgeskin.arrays import Image
from edgeskin.imaging.change import compare_photos
from edgeskin.report.figures import compared, encode_jpeg, overlay, side_by_side
from edgeskin.report.html import encode
from edgeskin.results import Method

PHOTO = Path(__file__).with_name("lesion.jpg")
SIDE = 300
METHODS: tuple[Method, ...] = ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "occlusion")
TARGETS = ("cancer", "MEL", "BKL", "NV")


def main(arguments: Sequence[str] | None = None) -> None:
    """Render all pictures.

    Args:
        arguments: Of the command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--report", type=Path, default=Path("docs/report.png"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with Classifier(options.bundle, quality_gate=False, scope_gate=False) as classifier:
        pictures = {
            "classes": classes(classifier),
            "methods": methods(classifier),
            "targets": targets(classifier),
            "explain": side_by_side(classifier.assess(PHOTO, explain="grad-cam")),
            "compare": changed(classifier),
        }
        for name, picture in pictures.items():
            (options.out / f"{name}.jpg").write_bytes(encode_jpeg(picture))
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "report.html"
            assessment = classifier.assess(PHOTO, explain="grad-cam", mc_samples=30, name=PHOTO.name)
            page.write_bytes(encode(assessment, page, datetime.now()))
            photograph(page, options.report)


def classes(classifier: Classifier) -> Image:
    """Render a synthetic lesion of every class over its evidence for cancer."""
    columns = []
    for label in STYLES:
        photo = draw_lesion(label, np.random.default_rng(1), 512)
        columns.append(column(photo, mapped(classifier, photo)))
    return np.hstack(columns)


def methods(classifier: Classifier) -> Image:
    """Render every method on the example picture."""
    return np.hstack([small(mapped(classifier, PHOTO, method=method)) for method in METHODS])


def targets(classifier: Classifier) -> Image:
    """Render the example picture's evidence for cancer, melanoma, keratosis and nevus."""
    return np.hstack([small(mapped(classifier, PHOTO, target=target)) for target in TARGETS])


def changed(classifier: Classifier) -> Image:
    """Compare a synthetic nevus with itself rotated, in other light and with a new dark spot."""
    photo = draw_lesion("NV", np.random.default_rng(4), 512)
    spotted = photo.copy()
    cv2.circle(spotted, (320, 300), 22, (48, 26, 22), cv2.FILLED, cv2.LINE_AA)
    rotation = cv2.getRotationMatrix2D((256, 256), 12, 1.05)
    rotated = cv2.warpAffine(spotted, rotation, (512, 512), borderMode=cv2.BORDER_REFLECT)
    later = np.clip(rotated * np.array([0.95, 1, 1.04]), 0, 255).astype(np.uint8)
    before, after = (classifier.assess(image, explain="grad-cam") for image in (photo, later))
    return compared(compare_photos(before, after))


def mapped(
    classifier: Classifier, photo: Image | Path, target: str = "cancer", method: Method = "grad-cam"
) -> Image:
    """Render a photo under its map."""
    assessment = classifier.assess(photo, explain=method, target=target)
    assert assessment.pixels is not None
    assert assessment.explanation is not None
    return overlay(assessment.pixels.square, assessment.explanation)


def column(*pictures: Image) -> Image:
    """Stack small pictures."""
    return np.vstack([small(picture, SIDE // 2) for picture in pictures])


def small(picture: Image, side: int = SIDE) -> Image:
    """Resize a picture to a square of side pixels."""
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def photograph(page: Path, out: Path) -> None:
    """Write a picture of an HTML page, as Chromium shows it, to a PNG file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        shown = browser.new_page(viewport={"width": 832, "height": 1000})
        shown.goto(page.as_uri())
        shown.screenshot(path=out, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
