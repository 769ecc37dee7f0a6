"""The README's picture: a photo beside what edgeskin says of it (extra: plots).

python examples/draw_assessment.py [PHOTO] [--out docs/assessment.png]
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from edgeskin import Assessment, Classifier
from edgeskin.photo import load_photo
from edgeskin.taxonomy import full_name

COLORS = {"HIGH": "#b3261e", "MEDIUM": "#c77700", "LOW": "#3d6b4f"}


def draw(photo: Path, result: Assessment, cancer_classes: tuple[str, ...], out: Path) -> None:
    """Draw the photo, the class probabilities (cancer classes in red) and the decision."""
    assert result.probabilities is not None
    assert result.risk is not None
    assert result.operating_point is not None
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    left.imshow(load_photo(photo, 512).image)
    left.axis("off")
    ranked = sorted(result.probabilities.items(), key=lambda item: item[1])
    right.barh(
        [full_name(name) for name, _ in ranked],
        [share for _, share in ranked],
        color=["#b3261e" if name in cancer_classes else "#8a8a8a" for name, _ in ranked],
    )
    right.set(xlim=(0, 1), xlabel=f"probability, calibrated ({result.model.precision.upper()})")
    right.spines[["top", "right"]].set_visible(False)
    right.set_title(
        f"risk {result.risk}: P(cancer) {result.cancer_probability:.2f}, "
        f"{result.operating_point.name} threshold {result.operating_point.threshold:.2f}",
        color=COLORS[result.risk],
        fontsize=11,
    )
    out.parent.mkdir(exist_ok=True)
    figure.savefig(out, dpi=120)


def main() -> None:
    """Assess the photo with the default bundle and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", type=Path, nargs="?", default=Path(__file__).with_name("lesion.jpg"))
    parser.add_argument("--out", type=Path, default=Path("docs/assessment.png"))
    arguments = parser.parse_args()
    classifier = Classifier()
    result = classifier.assess(arguments.photo)
    draw(arguments.photo, result, classifier.manifest.cancer_classes, arguments.out)


if __name__ == "__main__":
    main()
