"""Render the pictures of docs/gallery.md and of the README, from synthetic lesions and the default bundle.

    python examples/draw_gallery.py [--out docs/gallery]

The picture of the report needs Chromium (extra `dev`, and `apt install chromium` or `playwright install
chromium`); the others need the runtime only.
"""

import argparse
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
from draw_lesion import STYLES, draw_lesion

from edgeskin import Classifier
from edgeskin.arrays import Image
from edgeskin.imaging.change import compare_photos
from edgeskin.report.figures import compared, encode_jpeg, overlay, side_by_side
from edgeskin.report.html import write

PHOTO = Path(__file__).with_name("lesion.jpg")
SIDE = 300
METHODS = ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "occlusion")


def main() -> None:
    """Render all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--report", type=Path, default=Path("docs/report.png"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    classifier = Classifier(quality_gate=False, scope_gate=False)
    pictures = {
        "classes": classes(classifier),
        "methods": methods(classifier),
        "targets": targets(classifier),
        "explain": side_by_side(classifier.examine(PHOTO)),
        "compare": changed(classifier),
    }
    for name, picture in pictures.items():
        (options.out / f"{name}.jpg").write_bytes(encode_jpeg(picture))
    photograph_report(classifier, options.report)


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
    return np.hstack(
        [small(mapped(classifier, PHOTO, target=name)) for name in ("cancer", "MEL", "BKL", "NV")]
    )


def changed(classifier: Classifier) -> Image:
    """Compare a synthetic nevus with itself rotated, in other light and with a new dark spot."""
    photo = draw_lesion("NV", np.random.default_rng(4), 512)
    spotted = photo.copy()
    cv2.circle(spotted, (320, 300), 22, (48, 26, 22), cv2.FILLED, cv2.LINE_AA)
    rotation = cv2.getRotationMatrix2D((256, 256), 12, 1.05)
    rotated = cv2.warpAffine(spotted, rotation, (512, 512), borderMode=cv2.BORDER_REFLECT)
    later = np.clip(rotated * np.array([0.95, 1, 1.04]), 0, 255).astype(np.uint8)
    return compared(
        compare_photos(
            classifier.assess(photo, explain="grad-cam"), classifier.assess(later, explain="grad-cam")
        )
    )


def mapped(
    classifier: Classifier, photo: Image | Path, target: str = "cancer", method: str = "grad-cam"
) -> Image:
    """Render a photo under its map."""
    found = classifier.examine(photo, target=target, method=method)
    assert found.square is not None
    assert found.explanation is not None
    return overlay(found.square, found.explanation)


def column(*pictures: Image) -> Image:
    """Stack small pictures."""
    return np.vstack([small(picture, SIDE // 2) for picture in pictures])


def small(picture: Image, side: int = SIDE) -> Image:
    """Resize a picture to a square of side pixels."""
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def photograph_report(classifier: Classifier, out: Path) -> None:
    """Take a picture of the example's report in a browser."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "report.html"
        write(classifier.examine(PHOTO.relative_to(Path.cwd()), mc_samples=30), page_file, datetime.now())
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 832, "height": 1000})
        page.goto(page_file.as_uri())
        page.screenshot(path=out, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
