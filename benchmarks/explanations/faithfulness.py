"""Can the maps be trusted? Tests that an explanation can fail, on validation images with lesion masks.

    python -m benchmarks.explanations.faithfulness --data DIR [--images 120] [--masks 800]

Maps explain P(cancer) by the default bundle's INT8 network in eight views. Changed images are assessed in one
view; hidden parts are painted in the colour of the skin.

Over referred cancers: how far the log odds of cancer fall when the fifth with the most evidence is hidden,
and when the same shape elsewhere is (mean of three); mean P(cancer) as the image is hidden (deletion) or
shown (insertion) in tenths, from the most evidence to the least (Petsiuk et al., BMVC 2018). Over all images:
the share of the map inside the expert's mask, for right and wrong decisions; where the maximum lies, also
once a ruler is drawn along the lower edge; the rank correlation with the map of the same features under a
head with shuffled weights (Adebayo et al., NeurIPS 2018). Then the whole lesion, its mask widened by a tenth,
is hidden: how many images are still referred? Last, Dice of `edgeskin.imaging.segmentation`. Writes
benchmarks/explanations/results/faithfulness.json.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.stats import spearmanr

from benchmarks.environment import argument_parser, read_result, result, result_path, write_result
from benchmarks.tables import Table
from edgeskin import Classifier
from edgeskin.arrays import Float32s as Floats
from edgeskin.arrays import Image, Mask
from edgeskin.explain.cam import explain
from edgeskin.explain.target import find_target
from edgeskin.imaging.preprocess import center_square, preprocess
from edgeskin.imaging.segmentation import segment, skin_color
from edgeskin.network.head import Head
from edgeskin.photo.decode import load_photo
from edgeskin.results import Explanation, Method
from train.data.table import Sample, read_table, select

RESULT = result_path(__file__)
METHODS: tuple[Method, ...] = ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "occlusion")
"""Occlusion last: it runs the network itself, which a shuffled head in numpy does not change."""
CHANCE = "chance"
"""Cells in random order instead of a map."""
STEPS, CELLS = 10, 7
EDGE, RULER = 0.1, 0.08
"""Width of the border and height of the drawn ruler, as shares of the side."""


@dataclass(frozen=True)
class Network:
    """The default bundle's INT8 network, and the log odds of P(cancer) that it gives."""

    classifier: Classifier

    @property
    def threshold(self) -> float:
        """The screening threshold as log odds."""
        p = self.classifier.rules.screening_threshold
        return float(np.log(p / (1 - p)))

    @property
    def target(self) -> Any:
        """P(cancer), as what is explained."""
        return find_target("cancer", self.classifier.rules)

    def prepared(self, sample: Sample) -> Image:
        """Read and preprocess a sample."""
        settings = self.classifier.manifest.preprocessing
        return preprocess(load_photo(sample.image, settings.size).image, settings)

    def log_odds(self, pictures: Sequence[Image]) -> npt.NDArray[np.float64]:
        """Compute the log odds of prepared images, (n,), in one view each."""
        logits = self.classifier.engine.infer_batch(np.stack(pictures)).logits
        return np.asarray(self.target.score(logits))

    def explained(
        self, picture: Image, head: Head, methods: Sequence[Method] = METHODS
    ) -> tuple[float, dict[str, Explanation]]:
        """Compute log odds in eight views, and maps by method with another head (occlusion ignores it)."""
        engine, model = self.classifier.engine, self.classifier.model
        outputs = engine.infer(picture, fmaps=True)
        maps: dict[str, Explanation] = {
            method: Explanation(
                method, "cancer", explain(picture, outputs, engine, head, self.target, method), model
            )
            for method in methods
        }
        return float(self.target.score(outputs.logits[0])), maps


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=120, help="half of them cancers")
    parser.add_argument("--masks", type=int, default=800, help="images for Dice")
    options = parser.parse_args()
    network, masks = Network(Classifier(quality_gate=False, scope_gate=False)), options.data / "masks"
    classifier, rng = network.classifier, np.random.default_rng(0)
    samples = [s for s in select(read_table(options.data), "val") if (masks / f"{s.image_id}.png").is_file()]
    samples = [samples[place] for place in rng.permutation(len(samples))]
    half, cancer = options.images // 2, classifier.manifest.cancer_classes
    chosen = [s for s in samples if s.label in cancer][:half]
    chosen += [s for s in samples if s.label not in cancer][:half]
    rows = [
        measured(network, sample, read_mask(masks, sample), sample.label in cancer, rng)
        for sample in track(chosen, "explaining")
    ]
    content = result(
        f"python -m benchmarks.explanations.faithfulness --data DIR --images {options.images} "
        f"--masks {options.masks}",
        *("openvino", "numpy", "opencv-python-headless"),
        images={"cancers": half, "others": len(chosen) - half},
        methods={name: summary(name, rows) for name in (*METHODS, CHANCE)},
        lesion_hidden=lesions_hidden(rows),
        dice=dice(samples[: options.masks], masks),
    )
    for render in (table, lesions_hidden_table, dice_table):
        print(render(content).grid(), end="\n\n")
    write_result(RESULT, content)


def measured(
    network: Network, sample: Sample, mask: Mask, is_cancer: bool, rng: np.random.Generator
) -> dict[str, Any]:
    """Measure one image, and its maps by method."""
    picture, head = network.prepared(sample), network.classifier.head
    side = len(picture)
    mask = np.asarray(cv2.resize(mask.astype(np.uint8), (side, side)) > 0)
    odds, maps = network.explained(picture, head)
    _, of_shuffled = network.explained(picture, shuffled(head, rng), METHODS[:-1])
    _, of_ruled = network.explained(with_ruler(picture), head)
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((side // 10, side // 10), np.uint8)) > 0
    before, after = network.log_odds([picture, painted(picture, wide)]).tolist()
    row: dict[str, Any] = {
        "is_cancer": is_cancer,
        "referred": odds >= network.threshold,
        "referred_in_one_view": before >= network.threshold,
        "referred_when_hidden": after >= network.threshold,
        "mask_area": float(mask.mean()),
    }
    for name, one in maps.items():
        heat = one.resized(side)
        row[name] = {
            **perturbed(network, picture, heat),
            **falls(network, picture, one.hottest(side), rng),
            "inside": float(heat[mask].sum() / heat.sum()) if heat.any() else np.nan,
            "peak_inside": peak_in(mask, heat),
            "peak_at_border": peak_in(border(side), heat),
            "peak_at_border_with_ruler": peak_in(border(side), of_ruled[name].resized(side)),
            "peak_there_without": peak_in(ruler(side), heat),
            "peak_on_ruler": peak_in(ruler(side), of_ruled[name].resized(side)),
        }
        if name in of_shuffled:
            row[name]["like_shuffled_head"] = rank_correlation(one.map, of_shuffled[name].map)
    cells = rng.random((CELLS, CELLS), np.float32)
    heat = np.asarray(cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST), np.float32)
    row[CHANCE] = perturbed(network, picture, heat)
    return row


def perturbed(network: Network, picture: Image, heat: Floats) -> dict[str, float]:
    """Compute the areas (0 to 1) under P(cancer) as an image is hidden, or shown, hottest parts first."""
    order = np.argsort(-heat, axis=None, kind="stable")
    place = np.empty(heat.size, dtype=np.int64)
    place[order] = np.arange(heat.size)
    rank = place.reshape(heat.shape)
    limits = [heat.size * step // STEPS for step in range(STEPS + 1)]
    parts = [*(rank < limit for limit in limits), *(rank >= limit for limit in limits)]
    odds = network.log_odds([painted(picture, part) for part in parts]).reshape(2, -1)
    p = 1 / (1 + np.exp(-odds))
    deletion, insertion = ((p[:, 1:] + p[:, :-1]) / 2).mean(axis=1).tolist()
    return {"deletion": deletion, "insertion": insertion}


def falls(network: Network, picture: Image, hottest: Mask, rng: np.random.Generator) -> dict[str, float]:
    """Compute how far the log odds fall when the hottest part is hidden, and when its shape elsewhere is."""
    if not hottest.any():
        return {"hottest_fall": np.nan, "elsewhere_fall": np.nan}
    elsewhere = [
        np.roll(np.rot90(hottest, turn), rng.integers(0, len(hottest), 2), (0, 1)) for turn in range(3)
    ]
    odds = network.log_odds([picture, *(painted(picture, part) for part in (hottest, *elsewhere))])
    return {"hottest_fall": float(odds[0] - odds[1]), "elsewhere_fall": float(odds[0] - odds[2:].mean())}


def summary(method: str, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Average one method: perturbation over the referred cancers, the rest over all images."""
    found = [row[method] for row in rows if row["is_cancer"] and row["referred"]]
    means = {key: mean(one[key] for one in found) for key in ("deletion", "insertion")}
    if method == CHANCE:
        return means
    means |= {key: mean(one[key] for one in found) for key in ("hottest_fall", "elsewhere_fall")}
    means["hottest_falls_more"] = mean(
        one["hottest_fall"] > one["elsewhere_fall"] for one in found if not np.isnan(one["hottest_fall"])
    )
    means["inside"] = mean(row[method]["inside"] for row in rows)
    means["mask_area"] = mean(row["mask_area"] for row in rows)
    for name, right in (("inside_when_right", True), ("inside_when_wrong", False)):
        means[name] = mean(
            row[method]["inside"] for row in rows if (row["is_cancer"] == row["referred"]) == right
        )
    peaks = (
        *("peak_inside", "peak_at_border", "peak_at_border_with_ruler"),
        *("peak_there_without", "peak_on_ruler"),
    )
    keys = [key for key in (*peaks, "like_shuffled_head") if key in rows[0][method]]
    return means | {key: mean(row[method][key] for row in rows) for key in keys}


def lesions_hidden(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count referrals in one view, at the screening threshold, which was fitted to eight."""
    found = [row for row in rows if row["is_cancer"] and row["referred_in_one_view"]]
    return {
        "cancers_referred": len(found),
        "still_referred": sum(row["referred_when_hidden"] for row in found),
        "backgrounds": len(rows),
        "backgrounds_referred": sum(row["referred_when_hidden"] for row in rows),
    }


def dice(samples: Sequence[Sample], masks: Path) -> dict[str, dict[str, float]]:
    """Compute Dice of the masks found by colour against the experts', by archive."""
    values: dict[str, list[float]] = {"all": []}
    for sample in track(samples, "segmenting"):
        found = segment(center_square(load_photo(sample.image, 224).image))
        size = (len(found), len(found))
        stored = read_mask(masks, sample).astype(np.uint8)
        expert = cv2.resize(stored, size, interpolation=cv2.INTER_NEAREST) > 0
        value = 2 * (found & expert).sum() / (found.sum() + expert.sum())
        values["all"].append(float(value))
        values.setdefault(sample.source, []).append(float(value))
    return {
        name: {
            "images": len(of),
            "mean": float(np.mean(of)),
            "median": float(np.median(of)),
            "below_half": float(np.mean(np.array(of) < 0.5)),
        }
        for name, of in values.items()
    }


def read_mask(masks: Path, sample: Sample) -> Mask:
    """Read the expert's mask of a sample's centre square, in the size stored."""
    stored = cv2.imread(str(masks / f"{sample.image_id}.png"), cv2.IMREAD_COLOR)
    return np.asarray(center_square(np.asarray(stored, np.uint8))[..., 0] > 127)


def painted(picture: Image, part: Mask) -> Image:
    """Paint a part of an image in the colour of its skin."""
    return np.where(part[..., None], skin_color(picture), picture)


def shuffled(head: Head, rng: np.random.Generator) -> Head:
    """Shuffle the weights of a head."""
    return replace(
        head,
        weight1=rng.permuted(head.weight1.ravel()).reshape(head.weight1.shape),
        weight2=rng.permuted(head.weight2.ravel()).reshape(head.weight2.shape),
    )


def with_ruler(picture: Image) -> Image:
    """Draw a white ruler along the lower edge: a tick every twentieth of the side, every fifth longer."""
    side = len(picture)
    drawn, top = picture.copy(), side - round(RULER * side)
    drawn[top:] = 235
    for tick in range(1, 20):
        height = (side - top) // (1 if tick % 5 == 0 else 2)
        drawn[top : top + height, tick * side // 20] = 20
    return drawn


def border(side: int) -> Mask:
    """Return the outermost EDGE of a square as a mask."""
    width = round(EDGE * side)
    frame = np.ones((side, side), dtype=bool)
    frame[width:-width, width:-width] = False
    return frame


def ruler(side: int) -> Mask:
    """Return where `with_ruler` draws, as a mask."""
    return np.broadcast_to(np.arange(side)[:, None] >= side - round(RULER * side), (side, side))


def peak_in(part: Mask, heat: Floats) -> float:
    """Return 1 if the maximum is in a part, 0 if not, nan for a map that is 0 everywhere."""
    return float(part.flat[int(heat.argmax())]) if heat.any() else np.nan


def rank_correlation(one: Floats, other: Floats) -> float:
    """Compute Spearman's correlation of two maps; nan if one is flat."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(spearmanr(one, other, axis=None).statistic)


def mean(values: Iterable[float]) -> float:
    """Average the values that are not nan."""
    return float(np.nanmean([float(value) for value in values]))


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the methods of a result, the committed one by default."""
    content = content or read_result(RESULT)
    methods, images = content["methods"], content["images"]
    names = {
        "log odds fall, hottest fifth hidden": "hottest_fall",
        "log odds fall, same shape elsewhere hidden": "elsewhere_fall",
        "share of images where the hottest falls more": "hottest_falls_more",
        "deletion (lower is better)": "deletion",
        "insertion (higher is better)": "insertion",
        "area of the mask": "mask_area",
        "share of the map inside the mask": "inside",
        "the same, right decisions": "inside_when_right",
        "the same, wrong decisions": "inside_when_wrong",
        "maximum inside the mask": "peak_inside",
        "maximum in the border": "peak_at_border",
        "maximum in the border, with ruler": "peak_at_border_with_ruler",
        "maximum on the ruler": "peak_on_ruler",
        "maximum there without the ruler": "peak_there_without",
        "rank correlation with a shuffled head": "like_shuffled_head",
    }
    return Table(
        "Tests of the maps",
        f"Tests that a map can fail, on {images['cancers']} cancers and {images['others']} benign lesions "
        "of validation with expert masks, INT8. The first five rows are of the referred cancers, the "
        "others of all.",
        content["command"],
        ("test", *methods),
        [
            (words, *(f"{of[name]:.2f}" if name in of else "" for of in methods.values()))
            for words, name in names.items()
        ],
    )


def lesions_hidden_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the hidden lesions of a result, the committed one by default."""
    content = content or read_result(RESULT)
    of = content["lesion_hidden"]
    return Table(
        "Lesions painted over",
        "How many images are still referred once the whole lesion is painted in the colour of the skin; "
        "one view.",
        content["command"],
        ("images", "number", "referred once painted over"),
        [
            ("cancers that were referred", str(of["cancers_referred"]), str(of["still_referred"])),
            ("all images", str(of["backgrounds"]), str(of["backgrounds_referred"])),
        ],
    )


def dice_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render Dice of a result, the committed one by default."""
    content = content or read_result(RESULT)
    return Table(
        "Lesion masks",
        "Dice of the masks that `edgeskin` finds by colour against the experts' masks, on validation.",
        content["command"],
        ("archive", "images", "Dice, mean", "median", "below 0.5"),
        [
            (name, str(of["images"]), f"{of['mean']:.3f}", f"{of['median']:.3f}", f"{of['below_half']:.1%}")
            for name, of in content["dice"].items()
        ],
    )


if __name__ == "__main__":
    main()
