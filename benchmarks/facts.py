"""What is printed of the bundle, its runs and its measurements, from the manifest and benchmarks/results."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.environment import RESULTS
from benchmarks.evaluation import ood_images as outsiders
from edgeskin.bundle.bundle import open_bundle
from edgeskin.decision.decide import cancer_probability, probabilities
from edgeskin.errors import SettingError
from edgeskin.taxonomy import full_name
from train.evaluate.metrics import bootstrap_weights, estimate, specificity
from train.evaluate.report import table, text


def bundle() -> str:
    """What the default bundle is."""
    opened = open_bundle()
    manifest = opened.manifest
    run, seen = manifest.training["run"], manifest.preprocessing
    size = {precision: manifest.files[f"{precision}.bin"][1] for precision in ("int8", "fp32")}
    # The class priors are the mean probabilities on validation.
    expected = {
        precision: sum(
            prior
            for prior, name in zip(variant.class_priors, manifest.classes, strict=True)
            if name in manifest.cancer_classes
        )
        for precision, variant in manifest.variants.items()
    }
    on_val = {name: sum(of.values()) for name, of in manifest.training["images"]["val"].items()}
    share = sum(on_val[name] for name in manifest.cancer_classes) / sum(on_val.values())
    points = "; ".join(
        f"{precision.upper()} {point.name} {point.threshold:.4f}"
        for precision in ("int8", "fp32")
        for point in manifest.variants[precision].operating_points
    )
    rows = [
        ("bundle", f"{manifest.name} {manifest.version}, manifest SHA-256 `{opened.sha256}`"),
        ("network", f"{run['config']['model']['backbone']} of timm, and a head of two linear layers"),
        ("weights", ", ".join(f"{name.upper()} {bytes_ / 1e6:.1f} MB" for name, bytes_ in size.items())),
        ("started from", f"{run['initial_weights']['source']}"),
        (
            "picture",
            f"centre square, {seen.size} px, {seen.views} views averaged, colour constancy: "
            f"{seen.color_constancy.replace('_', ' ')}",
        ),
        ("classes", ", ".join(f"{name} ({full_name(name)})" for name in manifest.classes)),
        ("counted as cancer", ", ".join(manifest.cancer_classes)),
        ("calibrated by", manifest.variants["int8"].calibration.method),
        ("thresholds on P(cancer)", points),
        (
            "mean P(cancer) on val",
            f"INT8 {expected['int8']:.2f}, FP32 {expected['fp32']:.2f}; share of cancers {share:.2f}",
        ),
        ("split", f"SHA-256 `{manifest.training['split_sha256']}`"),
        ("trained on", f"{run['images']['train']} images, selected on {run['images']['val']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
    ]
    return table(("", "default bundle"), rows)


def calibrations() -> str:
    """The ways to calibrate on validation, cross-fitted, as the manifest has them; INT8 and FP32."""
    told = {name: open_bundle().manifest.validation[name]["calibrations"] for name in ("int8", "fp32")}
    measures = (
        "negative_log_likelihood",
        "cancer_negative_log_likelihood",
        "brier",
        "calibration_error",
    )
    rows = []
    for method in told["int8"]:
        cells = []
        for measure in measures:
            values = [told[name][method][measure] for name in told]
            cells.append("; ".join("" if value is None else f"{value:.4f}" for value in values).strip("; "))
        rows.append((method, *cells))
    return table(
        (
            "val, by image: INT8; FP32",
            "NLL of the class",
            "NLL of cancer",
            "Brier of cancer",
            "ECE of cancer",
        ),
        rows,
    )


def mc_dropout() -> str:
    """What dropout samples cost beside the pass that they share, from mc_dropout.json."""
    content = measured("mc_dropout")
    of_the_default_bundle("mc_dropout.json", content["bundle_sha256"])
    rows = []
    for precision, steps in content["results"].items():
        network = steps["network"]["median"]
        for name, step in steps.items():
            if name != "network":
                ratio = 1 + step["median"] / network
                rows.append(
                    (precision.upper(), name, f"{network:.1f} ms", f"{step['median']:.1f} ms", f"{ratio:.3f}")
                )
    machine = content["machine"]
    head = (
        f"{machine['processor']}, {machine['threads']} threads",
        "",
        "network",
        "sampling",
        "both over network",
    )
    return table(head, rows)


def steps() -> str:
    """What each step of an assessment costs, from steps.json."""
    content = measured("steps")
    of_the_default_bundle("steps.json", content["bundle_sha256"])
    machine, results = content["machine"], content["results"]
    names = list(results["int8"])
    rows = (
        (precision.upper(), *(f"{of[name]['median']:.2f}" for name in names))
        for precision, of in results.items()
    )
    return table((f"{machine['processor']}, {machine['threads']} threads: ms", *names), rows)


def explanations() -> str:
    """How the maps of each method do in tests that they can fail, from explanations.json."""
    content = measured("explanations")
    of_the_default_bundle("explanations.json", content["bundle_sha256"])
    columns = {
        "hottest fifth hidden: log odds fall": "hottest_fall",
        "same shape elsewhere": "elsewhere_fall",
        "hottest more, share": "hottest_falls_more",
        "deletion": "deletion",
        "insertion": "insertion",
        "inside mask": "inside",
        "when right": "inside_when_right",
        "when wrong": "inside_when_wrong",
        "maximum inside": "peak_inside",
        "in the border": "peak_at_border",
        "in the border, with ruler": "peak_at_border_with_ruler",
        "on the ruler": "peak_on_ruler",
        "there without it": "peak_there_without",
        "correlation with shuffled head": "like_shuffled_head",
    }
    rows = [
        (words, *(f"{of[name]:.2f}" if name in of else "" for of in content["methods"].values()))
        for words, name in columns.items()
    ]
    area = content["methods"]["grad-cam"]["mask_area"]
    rows.insert(5, ("area of the mask", *(f"{area:.2f}" for _ in content["methods"])))
    return table(("", *content["methods"]), rows)


def lesions_hidden() -> str:
    """What is still referred once the lesion is painted over, from explanations.json."""
    of = measured("explanations")["lesion_hidden"]
    rows = [
        ("cancers referred before", str(of["cancers_referred"]), str(of["still_referred"])),
        ("all pictures", str(of["backgrounds"]), str(of["backgrounds_referred"])),
    ]
    return table(("one view, lesion painted over", "pictures", "referred"), rows)


def dice() -> str:
    """Of the masks found by colour, from explanations.json."""
    rows = (
        (name, str(of["images"]), f"{of['mean']:.3f}", f"{of['median']:.3f}", f"{of['below_half']:.1%}")
        for name, of in measured("explanations")["dice"].items()
    )
    return table(("archive", "images", "Dice, mean", "median", "below 0.5"), rows)


def repeatability() -> str:
    """How far photos of one lesion differ, from repeatability.json."""
    content = measured("repeatability")
    of_the_default_bundle("repeatability.json", content["bundle_sha256"])
    rows = (
        (name.replace("_", " "), str(of["pairs"]), f"{of['median']:.3g}", f"{of['limit']:.3g}")
        for name, of in content["limits"].items()
    )
    return table(("difference of two photos of a lesion", "pairs", "median", "95 %: the limit"), rows)


def registration() -> str:
    """How often photos are laid on each other, from repeatability.json."""
    content = measured("repeatability")
    pairs, of = content["pairs"], content["registration"]
    counts = {
        "one lesion, both assessed": of["assessed"],
        "one lesion, laid on each other": of["same_lesion_accepted"],
        "two of a class, laid on each other": of["other_lesion_accepted"],
    }
    rows = ((name, str(pairs), f"{count} ({count / pairs:.1%})") for name, count in counts.items())
    return table(("two photos of", "pairs", "of them"), rows)


def painted_changes() -> str:
    """What a comparison finds of changes painted in, from repeatability.json."""
    rows = (
        (name, str(of["pairs"]), str(of["refused"]), str(of["flagged"]), str(of["by_color"]))
        for name, of in measured("repeatability")["changes"].items()
    )
    return table(("painted into the second photo", "pairs", "refused", "flagged", "by colour"), rows)


def faint_maps() -> str:
    """Where Grad-CAM's maximum is by risk, and how many maps are too faint to draw, from faint_maps.json."""
    content = measured("faint_maps")
    of_the_default_bundle("faint_maps.json", content["bundle_sha256"])
    rows = []
    for risk, of in content["results"].items():
        drawn = of["images"] - of["faint"]
        rows.append(
            (
                risk,
                str(of["images"]),
                f"{of['median_largest']:.3f}",
                f"{of['inside'] / of['images']:.0%}",
                f"{of['in_corner'] / of['images']:.0%}",
                f"{of['faint'] / of['images']:.0%}",
                f"{of['drawn_inside'] / max(1, drawn):.0%}",
                f"{of['drawn_in_corner'] / max(1, drawn):.0%}",
            )
        )
    head = ("risk", "images", "median maximum", "in the lesion", "in a corner", "not drawn")
    return table((*head, "drawn: in the lesion", "drawn: in a corner"), rows)


def data() -> str:
    """Images by split, class and archive, as the manifest has them."""
    images = open_bundle().manifest.training["images"]
    archives = sorted({archive for split in images.values() for of in split.values() for archive in of})
    rows = []
    for split in ("train", "val", "test"):
        for name in open_bundle().manifest.classes:
            of = images[split][name]
            cells = [str(of.get(archive, "")) for archive in archives]
            rows.append((split, name, *cells, str(sum(of.values()))))
        total = Counter(
            {archive: sum(of.get(archive, 0) for of in images[split].values()) for archive in archives}
        )
        rows.append((split, "all", *(str(total[archive]) for archive in archives), str(total.total())))
    return table(("split", "class", *archives, "all"), rows)


def runs() -> str:
    """The selected epoch of each run, from its log."""
    rows = []
    for path in sorted((RESULTS / "experiments").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            epochs = [row for row in csv.DictReader(file) if row["val_cancer_auroc"]]
        best = max(epochs, key=lambda row: float(row["val_cancer_auroc"]))
        told = [
            f"{float(best[f'val_{name}']):.4f}"
            for name in ("cancer_auroc", "specificity_at_95", "balanced_accuracy")
        ]
        rows.append((path.stem, str(len(epochs)), str(int(best["epoch"]) + 1), *told))
    head = ("run", "epochs", "selected", "cancer AUROC", "specificity at 95 % recall", "balanced accuracy")
    return table(head, rows)


def invariance() -> str:
    """How far the answer moves when the picture changes and the lesion does not."""
    content = measured("invariance")
    of_the_default_bundle("invariance.json", content["bundle_sha256"])
    rows = (
        (
            name,
            str(one["pairs"]),
            f"{one['median_change']:.3f}, {one['p95_change']:.3f}, {one['largest_change']:.3f}",
            str(one["decisions_changed"]),
            f"{one['cancers_found_before']} and {one['cancers_found_after']} of {one['cancers']}",
            f"{one['benign_referred_before']} and {one['benign_referred_after']} of "
            f"{one['pairs'] - one['cancers']}",
        )
        for name, one in content["results"].items()
    )
    head = (
        "change (INT8)",
        "pairs",
        "moves P(cancer) by: median, 95 %, max",
        "decisions changed",
        "cancers found before and after",
        "benign referred before and after",
    )
    return table(head, rows)


def known_benign() -> str:
    """Specificity on external dermoscopy of benign lesions, at each precision's thresholds."""
    manifest, outside = open_bundle().manifest, outsiders.read()
    chosen = outside.label == outsiders.BENIGN
    groups = outside.group[chosen].tolist()
    weights = bootstrap_weights(groups)
    rows = []
    for precision, of in outside.logits.items():
        variant = manifest.variants[precision]
        calibrated = probabilities(of[chosen], variant.calibration)
        p = cancer_probability(calibrated, manifest.classes, manifest.cancer_classes)
        benign = np.zeros(len(p), dtype=bool)
        told = (
            text(estimate(specificity, benign, p >= point.threshold, weights=weights))
            for point in variant.operating_points
        )
        rows.append((precision.upper(), str(len(p)), str(len(set(groups))), *told))
    names = (f"specificity at {point.name}" for point in manifest.variants["int8"].operating_points)
    return table(("external dermoscopy, known benign", "images", "patients", *names), rows)


FACTS: dict[str, Callable[[], str]] = {
    "bundle": bundle,
    "calibrations": calibrations,
    "mc-dropout": mc_dropout,
    "steps": steps,
    "data": data,
    "runs": runs,
    "invariance": invariance,
    "known-benign": known_benign,
    "explanations": explanations,
    "lesions-hidden": lesions_hidden,
    "dice": dice,
    "repeatability": repeatability,
    "registration": registration,
    "painted-changes": painted_changes,
    "faint-maps": faint_maps,
}


def of_the_default_bundle(name: str, sha256: str) -> None:
    if sha256 != open_bundle().sha256:
        raise SettingError(f"{name} is of another bundle than the default one; measure it again")


def measured(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content
