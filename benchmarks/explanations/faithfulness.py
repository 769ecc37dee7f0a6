"""Can the maps be trusted? Tests that an explanation can fail, on validation images with lesion masks.

    python -m benchmarks.explanations.faithfulness --data DIR [--images 120] [--masks 800]

The maps are of P(cancer), from the bundle's eight views of INT8; changed pictures are answered in one view,
what is hidden is painted in the colour of the skin. Of referred cancers: how far the log odds of cancer fall
when the fifth with most evidence is hidden, and when the same shape somewhere else is (mean of three); mean
P(cancer) as the picture is hidden (deletion) or shown (insertion) in tenths, from the most evidence to the
least (Petsiuk et al., BMVC 2018). Of all: share of the map inside the expert's mask, by right and wrong
decisions; where its maximum is, also once a ruler is drawn along the lower edge; rank correlation with the
map of the same features under a head of shuffled weights (Adebayo et al., NeurIPS 2018). Then the whole
lesion, its mask widened by a tenth, is hidden: what is still referred? And Dice of `edgeskin.imaging.segmentation`.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.stats import spearmanr

from benchmarks.environment import machine, write
from edgeskin import Classifier
from edgeskin.arrays import Float32s as Floats
from edgeskin.arrays import Image, Mask
from edgeskin.explain.cam import Explanation, Method, explain, find_target
from edgeskin.imaging.preprocess import center_square, preprocess
from edgeskin.imaging.segmentation import segment, skin_color
from edgeskin.network.head import Head
from edgeskin.photo.decode import load_photo
from train.data.table import Sample, read_table, select

METHODS: tuple[Method, ...] = ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "occlusion")
"""Occlusion last: it asks the network itself, so a shuffled head in numpy is none to it."""
CHANCE = "chance"
"""Cells in random order, in the place of a map."""
STEPS, CELLS = 10, 7
EDGE, RULER = 0.1, 0.08
"""Width of the border and height of the drawn ruler, in sides."""


@dataclass(frozen=True)
class Network:
    """The default bundle's INT8 network, and P(cancer)'s log odds by it."""

    classifier: Classifier

    @property
    def threshold(self) -> float:
        """Of the screening point, as log odds."""
        p = self.classifier.operating_points[0].threshold
        return float(np.log(p / (1 - p)))

    @property
    def target(self) -> Any:
        manifest = self.classifier.manifest
        calibration = manifest.variants["int8"].calibration
        return find_target("cancer", manifest.classes, manifest.cancer_classes, calibration)

    def prepared(self, sample: Sample) -> Image:
        """What the network sees of a sample."""
        settings = self.classifier.manifest.preprocessing
        return preprocess(load_photo(sample.image, settings.size).image, settings)

    def log_odds(self, pictures: Sequence[Image]) -> npt.NDArray[np.float64]:
        """Of pictures as they lie, in one view each."""
        logits = self.classifier.engine.infer_each(np.stack(pictures)).view_logits
        return np.asarray(self.target.score(logits))

    def explained(
        self, picture: Image, head: Head, methods: Sequence[Method] = METHODS
    ) -> tuple[float, dict[str, Explanation]]:
        """Log odds in eight views, and maps by method, with a head of one's own (but for occlusion's)."""
        engine, model = self.classifier.engine, self.classifier.model
        outputs = engine.infer(picture, fmaps=True)
        maps = {
            method: Explanation(
                method, "cancer", explain(picture, outputs, engine, head, self.target, method), model
            )
            for method in methods
        }
        return float(self.target.score(outputs.logits)), maps


def main() -> None:
    """Measure, print and write benchmarks/results/explanations.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=120, help="Half of them cancers.")
    parser.add_argument("--masks", type=int, default=800, help="Images for Dice.")
    wanted = parser.parse_args()
    network, masks = Network(Classifier(quality_gate=False, scope_gate=False)), wanted.data / "masks"
    classifier, rng = network.classifier, np.random.default_rng(0)
    samples = [s for s in select(read_table(wanted.data), "val") if (masks / f"{s.image_id}.png").is_file()]
    samples = [samples[place] for place in rng.permutation(len(samples))]
    half, cancer = wanted.images // 2, classifier.manifest.cancer_classes
    chosen = [s for s in samples if s.label in cancer][:half]
    chosen += [s for s in samples if s.label not in cancer][:half]
    rows = [
        measured(network, sample, read_mask(masks, sample), sample.label in cancer, rng)
        for sample in track(chosen, "explaining")
    ]
    result = {
        "command": f"python -m benchmarks.explanations.faithfulness --data DIR --images {wanted.images} "
        f"--masks {wanted.masks}",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "bundle_sha256": classifier.model.sha256,
        "images": {"cancers": half, "others": len(chosen) - half},
        "methods": {name: summary(name, rows) for name in (*METHODS, CHANCE)},
        "lesion_hidden": lesions_hidden(rows),
        "dice": dice(samples[: wanted.masks], masks),
    }
    for part in ("methods", "lesion_hidden", "dice"):
        for name, values in result[part].items():
            print(part, name, values)
    print(write("explanations", result))


def measured(
    network: Network, sample: Sample, mask: Mask, is_cancer: bool, rng: np.random.Generator
) -> dict[str, Any]:
    """All of one image: what holds of it, and by method what holds of its maps."""
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
    """Areas under P(cancer) as the picture is hidden, or shown, by falling heat; each 0 to 1."""
    order = np.argsort(-heat, axis=None, kind="stable")
    rank = np.empty(heat.size, dtype=np.int64)
    rank[order] = np.arange(heat.size)
    rank = rank.reshape(heat.shape)
    limits = [heat.size * step // STEPS for step in range(STEPS + 1)]
    parts = [*(rank < limit for limit in limits), *(rank >= limit for limit in limits)]
    odds = network.log_odds([painted(picture, part) for part in parts]).reshape(2, -1)
    p = 1 / (1 + np.exp(-odds))
    deletion, insertion = ((p[:, 1:] + p[:, :-1]) / 2).mean(axis=1).tolist()
    return {"deletion": deletion, "insertion": insertion}


def falls(network: Network, picture: Image, hottest: Mask, rng: np.random.Generator) -> dict[str, float]:
    """How far the log odds fall when the hottest part is hidden, and when its shape is elsewhere."""
    if not hottest.any():
        return {"hottest_fall": np.nan, "elsewhere_fall": np.nan}
    elsewhere = [
        np.roll(np.rot90(hottest, turn), rng.integers(0, len(hottest), 2), (0, 1)) for turn in range(3)
    ]
    odds = network.log_odds([picture, *(painted(picture, part) for part in (hottest, *elsewhere))])
    return {"hottest_fall": float(odds[0] - odds[1]), "elsewhere_fall": float(odds[0] - odds[2:].mean())}


def summary(method: str, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means of one method: of perturbation over the cancers that are referred, of the rest over all."""
    found = [row[method] for row in rows if row["is_cancer"] and row["referred"]]
    told = {key: mean(one[key] for one in found) for key in ("deletion", "insertion")}
    if method == CHANCE:
        return told
    told |= {key: mean(one[key] for one in found) for key in ("hottest_fall", "elsewhere_fall")}
    told["hottest_falls_more"] = mean(
        one["hottest_fall"] > one["elsewhere_fall"] for one in found if not np.isnan(one["hottest_fall"])
    )
    told["inside"] = mean(row[method]["inside"] for row in rows)
    told["mask_area"] = mean(row["mask_area"] for row in rows)
    for name, right in (("inside_when_right", True), ("inside_when_wrong", False)):
        told[name] = mean(
            row[method]["inside"] for row in rows if (row["is_cancer"] == row["referred"]) == right
        )
    peaks = (
        *("peak_inside", "peak_at_border", "peak_at_border_with_ruler"),
        *("peak_there_without", "peak_on_ruler"),
    )
    keys = [key for key in (*peaks, "like_shuffled_head") if key in rows[0][method]]
    return told | {key: mean(row[method][key] for row in rows) for key in keys}


def lesions_hidden(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Answers in one view, at the screening threshold, which is fitted to eight."""
    found = [row for row in rows if row["is_cancer"] and row["referred_in_one_view"]]
    return {
        "cancers_referred": len(found),
        "still_referred": sum(row["referred_when_hidden"] for row in found),
        "backgrounds": len(rows),
        "backgrounds_referred": sum(row["referred_when_hidden"] for row in rows),
    }


def dice(samples: Sequence[Sample], masks: Path) -> dict[str, dict[str, float]]:
    """Of the masks found by colour against the experts', by archive."""
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
    """The expert's mask of a sample's centre square, as stored."""
    stored = cv2.imread(str(masks / f"{sample.image_id}.png"), cv2.IMREAD_COLOR)
    return np.asarray(center_square(np.asarray(stored, np.uint8))[..., 0] > 127)


def painted(picture: Image, part: Mask) -> Image:
    """A picture, a part of which has the colour of its skin."""
    return np.where(part[..., None], skin_color(picture), picture)


def shuffled(head: Head, rng: np.random.Generator) -> Head:
    """A head with the same weights at other places."""
    return replace(
        head,
        weight1=rng.permuted(head.weight1.ravel()).reshape(head.weight1.shape),
        weight2=rng.permuted(head.weight2.ravel()).reshape(head.weight2.shape),
    )


def with_ruler(picture: Image) -> Image:
    """A picture with a white ruler along the lower edge, a black tick every twentieth, every fifth longer."""
    side = len(picture)
    drawn, top = picture.copy(), side - round(RULER * side)
    drawn[top:] = 235
    for tick in range(1, 20):
        height = (side - top) // (1 if tick % 5 == 0 else 2)
        drawn[top : top + height, tick * side // 20] = 20
    return drawn


def border(side: int) -> Mask:
    """The outermost EDGE of a square."""
    width = round(EDGE * side)
    frame = np.ones((side, side), dtype=bool)
    frame[width:-width, width:-width] = False
    return frame


def ruler(side: int) -> Mask:
    """Where `with_ruler` draws."""
    return np.broadcast_to(np.arange(side)[:, None] >= side - round(RULER * side), (side, side))


def peak_in(part: Mask, heat: Floats) -> float:
    """1 where the maximum is in a part, 0 where not, nan for a map that is 0 everywhere."""
    return float(part.flat[int(heat.argmax())]) if heat.any() else np.nan


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's, of two maps; nan where one is flat."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(spearmanr(one, other, axis=None).statistic)


def mean(values: Iterable[float]) -> float:
    """But for nan."""
    return float(np.nanmean([float(value) for value in values]))


if __name__ == "__main__":
    main()
