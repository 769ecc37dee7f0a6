"""The tables of docs/certainty.md: what the default bundle promises, and what it kept on the test split."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.evaluation import ood_images as outsiders
from benchmarks.evaluation.ood_images import BENIGN, EVERYDAY
from edgeskin.bundle.bundle import Precision, open_bundle
from edgeskin.bundle.manifest import Variant
from edgeskin.decision.confidence import PARTS, parts
from edgeskin.decision.decide import cancer_probability, label_set, probabilities
from quantize.fitting.prediction_sets import lowest
from train.evaluate.evaluation import Predictions
from train.evaluate.metrics import (
    Bools,
    Estimate,
    Floats,
    augrc,
    aurc,
    auroc,
    bootstrap_weights,
    estimate,
    estimate_share,
    net_benefit,
    predictive_values,
    risk_coverage,
)
from train.evaluate.report import table, text

PREVALENCES = (0.01, 0.03, 0.10, 0.15)
BENEFIT_THRESHOLDS = np.arange(0.02, 0.301, 0.01)
DEFERRED = (0.10, 0.20)
SPLITS = ("val", "test")
PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")

Stored = Mapping[str, Predictions]
"""Committed predictions by folder, as ``test-int8``."""


@dataclass(frozen=True)
class Judged:
    """What the default bundle says of n images, also of those that the gates turn away. truth: (n,) class
    indices. lesions: (n,).

    p: calibrated (n, C). referred: P(cancer) at or above the screening threshold. values, score:
    certainty's parts (n, 4), and their weighted sum (n,).
    """

    variant: Variant
    truth: npt.NDArray[np.int64]
    is_cancer: Bools
    lesions: npt.NDArray[np.str_]
    groups: list[str]
    p: Floats
    p_cancer: Floats
    referred: Bools
    values: Floats
    score: Floats
    ood: Floats

    @property
    def wrong(self) -> Bools:
        """Cancers that are not referred, and others that are."""
        return self.referred != self.is_cancer

    @property
    def rankings(self) -> dict[str, Floats]:
        """Ways to say which answers are the most certain."""
        alone = {f"{name} alone": self.values[:, PARTS.index(name)] for name in ("clarity", "confidence")}
        return {"certainty": self.score} | alone


def judged(stored: Stored, split: str, precision: Precision) -> Judged:
    """From committed predictions of a split."""
    predictions, manifest = stored[f"{split}-{precision}"], open_bundle().manifest
    variant, classes, cancer = manifest.variants[precision], manifest.classes, manifest.cancer_classes
    assert variant.certainty is not None
    assert predictions.view_logits is not None
    assert predictions.ood is not None
    truth = np.array([classes.index(sample.label) for sample in predictions.samples])
    p = probabilities(predictions.logits, variant.calibration)
    p_cancer = cancer_probability(p, classes, cancer)
    of_views = probabilities(predictions.view_logits.astype(np.float64), variant.calibration)
    threshold, rule = variant.operating_points[0].threshold, variant.certainty
    values = parts(p_cancer, cancer_probability(of_views, classes, cancer), threshold, rule.bounds, rule.gaps)
    return Judged(
        variant,
        truth,
        np.isin(classes, cancer)[truth],
        np.array([sample.lesion_id for sample in predictions.samples]),
        [sample.group for sample in predictions.samples],
        p,
        p_cancer,
        p_cancer >= threshold,
        values,
        values @ rule.weights,
        predictions.ood.sum(axis=1).astype(np.float64),
    )


def operating_points(stored: Stored) -> str:
    """What a threshold certifies, and what it kept on the test split, all photos of a lesion counting."""
    rows = []
    for precision in PRECISIONS:
        on_test = judged(stored, "test", precision)
        cancer = lowest(on_test.p_cancer[on_test.is_cancer], on_test.lesions[on_test.is_cancer])
        others = -lowest(-on_test.p_cancer[~on_test.is_cancer], on_test.lesions[~on_test.is_cancer])
        for point in on_test.variant.operating_points:
            assert point.certificate is not None
            found, left = cancer >= point.threshold, others < point.threshold
            rows.append(
                (
                    f"{precision.upper()} {point.name}",
                    f"{point.threshold:.4f}",
                    f"{point.certificate.sensitivity:.3f}",
                    f"{point.certificate.missed} of {point.certificate.lesions}",
                    text(_share(found)),
                    f"{left.mean():.3f}",
                )
            )
    head = (
        "point",
        "threshold",
        "certified sensitivity",
        "missed on val",
        "test: cancer lesions found in every photo",
        "test: others left alone in every photo",
    )
    return table(head, rows)


def prevalence(stored: Stored) -> str:
    """What an answer is worth where cancer is rarer or more frequent: INT8, by the test split."""
    on_test, rows = judged(stored, "test", "int8"), []
    for point in on_test.variant.operating_points:
        referred = on_test.p_cancer >= point.threshold
        sensitivity, specificity = referred[on_test.is_cancer].mean(), (~referred)[~on_test.is_cancer].mean()
        for share in PREVALENCES:
            ppv, npv = predictive_values(float(sensitivity), float(specificity), share)
            rows.append(
                (
                    point.name,
                    f"{share:.0%}",
                    f"{ppv:.1%}",
                    f"{npv:.2%}",
                    f"{1 / ppv:.1f}",
                    f"{1e3 * (1 - npv):.1f}",
                )
            )
    head = (
        "INT8, by image",
        "of pictures cancer",
        "of the referred cancer (PPV)",
        "of the rest none (NPV)",
        "referred for one cancer",
        "cancers among 1,000 not referred",
    )
    return table(head, rows)


def label_sets(stored: Stored) -> str:
    """How often the label set holds the true class, by class, on the test split; a lesion with its worst
    photo.
    """
    classes, cancer = open_bundle().manifest.classes, open_bundle().manifest.cancer_classes
    columns = []
    for precision in PRECISIONS:
        on_test = judged(stored, "test", precision)
        sets = on_test.variant.label_sets
        assert sets is not None
        members = label_set(on_test.p, sets.thresholds)
        cells = []
        for c, name in enumerate(classes):
            of_class = on_test.truth == c
            covered = lowest(members[of_class, c].astype(np.float64), on_test.lesions[of_class]) > 0
            promise = f"{sets.coverage:.0%} on {sets.lesions[c]}" if sets.thresholds[c] else "always in"
            cells.append((name, promise, f"{len(covered)}: {text(_share(covered))}"))
        serious = members[:, np.isin(classes, cancer)].any(axis=1)
        size = members.sum(axis=1)
        held = lowest(serious[on_test.is_cancer].astype(np.float64), on_test.lesions[on_test.is_cancer]) > 0
        cells.append(("labels in a set, mean; one alone", "", f"{size.mean():.2f}; {(size == 1).mean():.1%}"))
        cells.append(("cancer lesions with a set without cancer", "", f"{(~held).sum()} of {len(held)}"))
        columns.append(cells)
    rows = (
        (name, promise, int8, fp32_promise, fp32)
        for (name, promise, int8), (_, fp32_promise, fp32) in zip(*columns, strict=True)
    )
    head = (
        "class",
        "INT8: promised, on val lesions",
        "test lesions: covered",
        "FP32: promised, on val lesions",
        "test lesions: covered",
    )
    return table(head, rows)


def certainty(stored: Stored) -> str:
    """How well the score and its parts tell errors from the rest: AUROC; and what each level holds."""
    rows = []
    for precision in PRECISIONS:
        for split in SPLITS:
            one = judged(stored, split, precision)
            missed, right = one.is_cancer & ~one.referred, ~one.wrong
            weights = bootstrap_weights(one.groups)
            among = missed | right
            rule = one.variant.certainty
            assert rule is not None
            levels = np.digitize(one.score, (rule.low, rule.high))
            rows.append(
                (
                    f"{precision.upper()}, {split}",
                    text(estimate(auroc, one.wrong, -one.score, weights=weights)),
                    f"{missed.sum()}: "
                    + text(estimate(auroc, missed[among], -one.score[among], weights=weights[:, among])),
                    "; ".join(f"{float(auroc(one.wrong, -one.values[:, k])):.2f}" for k in range(len(PARTS))),
                    "; ".join(
                        f"{(levels == level).mean():.0%}, {one.wrong[levels == level].mean():.1%}, "
                        f"{int(missed[levels == level].sum())}"
                        for level in (0, 1, 2)
                    ),
                )
            )
    head = (
        "by image",
        "AUROC for wrong decisions",
        "missed cancers: AUROC against right decisions",
        f"AUROC for wrong decisions of {', '.join(PARTS)} alone",
        "LOW; MEDIUM; HIGH: share, of it wrong, missed cancers",
    )
    return table(head, rows)


def certainty_weights(stored: Stored) -> str:
    """The weights of certainty's parts."""
    rows = []
    for precision in PRECISIONS:
        rule = open_bundle().manifest.variants[precision].certainty
        assert rule is not None
        told = (*rule.weights, rule.low, rule.high)
        rows.append((precision.upper(), *(f"{value:.3f}" for value in told)))
    return table(("", *PARTS, "LOW below", "HIGH from"), rows)


def selective(stored: Stored) -> str:
    """What is gained where the least certain are referred whatever the decision says."""
    rows = []
    for precision in PRECISIONS:
        for split in SPLITS:
            one = judged(stored, split, precision)
            missed = one.is_cancer & ~one.referred
            for name, score in one.rankings.items():
                order = np.argsort(score, kind="stable")
                caught = [int(missed[order[: round(share * len(order))]].sum()) for share in DEFERRED]
                rows.append(
                    (
                        f"{precision.upper()}, {split}",
                        name,
                        f"{aurc(one.wrong, score):.3f}",
                        f"{augrc(one.wrong, score):.3f}",
                        *(f"{count} of {missed.sum()}" for count in caught),
                    )
                )
    caught_head = (f"missed cancers among the least certain {share:.0%}" for share in DEFERRED)
    return table(("by image", "ranked by", "AURC", "AUGRC", *caught_head), rows)


def scores(stored: Stored) -> str:
    """Out-of-distribution scores compared on validation and everyday pictures, as the manifest has them."""
    told = open_bundle().manifest.ood
    assert told is not None
    classes = open_bundle().manifest.classes
    rows = []
    for name, one in told["compared"].items():
        auroc_ = one["auroc"]
        rejected = ", ".join(f"{c} {one['rejected'][c]:.0%}" for c in classes if c in one["rejected"])
        rows.append(
            (
                name,
                f"{auroc_['value']:.4f} ({auroc_['low']:.4f} to {auroc_['high']:.4f})",
                f"{one['false_positive_rate']:.1%}",
                f"{one['found']:.1%}",
                rejected,
                f"{np.mean(list(one['near'].values())):.2f}",
            )
        )
    head = (
        f"score, INT8: val against {told['others']} everyday pictures",
        "AUROC",
        "val above where 95 % of them are",
        "of them above where 5 % of val are",
        "of val, by class, above there",
        "a class left out: mean AUROC",
    )
    return table(head, rows)


def scope(stored: Stored) -> str:
    """Who is out of scope at the shipped thresholds."""
    rows, outside = [], outsiders.read()
    for precision in PRECISIONS:
        classes = open_bundle().manifest.classes
        threshold = open_bundle().manifest.variants[precision].ood_threshold
        assert threshold is not None
        for split in SPLITS:
            one = judged(stored, split, precision)
            out = one.ood > threshold
            members = [(name, one.truth == c) for c, name in enumerate(classes)]
            by_class = ", ".join(f"{name} {out[of].sum()} of {of.sum()}" for name, of in members)
            kept = ~out & one.is_cancer
            rows.append(
                (
                    f"{precision.upper()}, {split}",
                    str(len(out)),
                    f"{out.mean():.1%}",
                    f"{by_class}; recall among the cancers kept {one.referred[kept].mean():.3f}",
                )
            )
        everyday = outside.label == EVERYDAY
        for split in np.unique(outside.split[everyday]).tolist():
            among = everyday & (outside.split == split)
            out = outside.ood[precision].sum(axis=1) > threshold
            either = out | outside.retake
            inside = judged(stored, "test" if "test" in split else "val", precision).ood
            both = np.concatenate([inside, outside.ood[precision][among].sum(axis=1)])
            area = float(auroc(np.arange(len(both)) >= len(inside), both))
            rows.append(
                (
                    f"{precision.upper()}, everyday pictures, {split}",
                    str(among.sum()),
                    f"{out[among].mean():.1%}",
                    f"with the quality gate {either[among].mean():.1%}; AUROC {area:.4f}",
                )
            )
        external = stored[f"external-{precision}"].ood
        assert external is not None
        others = {
            "ISIC 2020, known benign": outside.ood[precision][outside.label == BENIGN],
            "smartphone (PAD-UFES-20)": external,
        }
        for name, distances in others.items():
            out = distances.sum(axis=1) > threshold
            rows.append((f"{precision.upper()}, {name}", str(len(out)), f"{out.mean():.1%}", ""))
    return table(("", "images", "out of scope", ""), rows)


def draw(stored: Stored, folder: Path) -> None:
    """decision-curve.png and risk-coverage.png: INT8 on the test split."""
    from matplotlib.figure import Figure

    one = judged(stored, "test", "int8")
    share = one.is_cancer.mean()
    drawing = Figure(figsize=(6, 4), layout="constrained")
    axis = drawing.subplots()
    lines = {
        "by P(cancer)": [net_benefit(one.is_cancer, one.p_cancer, t) for t in BENEFIT_THRESHOLDS],
        "refer all": [share - (1 - share) * t / (1 - t) for t in BENEFIT_THRESHOLDS],
        "refer none": np.zeros(len(BENEFIT_THRESHOLDS)),
    }
    for name, line in lines.items():
        axis.plot(BENEFIT_THRESHOLDS, line, label=name)
    axis.set(xlabel="P(cancer) from which one refers", ylabel="net benefit", ylim=(-0.05, None))
    axis.legend()
    drawing.savefig(folder / "decision-curve.png", dpi=120)

    drawing = Figure(figsize=(6, 4), layout="constrained")
    axis = drawing.subplots()
    for name, score in one.rankings.items():
        axis.plot(*risk_coverage(one.wrong, score), label=name)
    axis.set(xlabel="share answered, most certain first", ylabel="share of wrong decisions", xlim=(0.05, 1))
    axis.legend()
    drawing.savefig(folder / "risk-coverage.png", dpi=120)


def _share(found: Bools) -> Estimate:
    """Of independent ones. found: (n,)."""
    return estimate_share(np.ones_like(found), found, bootstrap_weights([str(i) for i in range(len(found))]))


TABLES: dict[str, Callable[[Stored], str]] = {
    "operating-points": operating_points,
    "prevalence": prevalence,
    "label-sets": label_sets,
    "certainty": certainty,
    "certainty-weights": certainty_weights,
    "selective": selective,
    "ood-scores": scores,
    "scope": scope,
}
