"""What becomes of images that have no class of the network: known benign dermoscopy, and everyday pictures?

    python -m benchmarks.evaluation.ood_images --data DIR

External dermoscopy that is known to be benign, its class unknown: how much would be referred? OOD images
(everyday pictures, splits ood_val and ood_test): how many are out of scope, or refused by the quality gate?
Images of a group in train, val or test are left out. Writes benchmarks/evaluation/results/ood_images.npz:
logits, distances from training and the quality gate's verdict, which the tables follow from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.environment import argument_parser, require_bundle
from benchmarks.evaluation.committed import EVALUATIONS, PRECISIONS, Evaluations, find
from benchmarks.evaluation.decided import SPLITS, decided
from benchmarks.tables import Table
from edgeskin.bundle.bundle import DEFAULT_BUNDLE, open_bundle
from edgeskin.decision.decide import decide
from edgeskin.imaging.quality import assess_quality
from edgeskin.photo.decode import load_photo
from train.data.table import SPLITS as LABELLED
from train.data.table import Sample, read_table
from train.evaluate.bootstrap import bootstrap_weights, estimate
from train.evaluate.metrics import auroc, specificity
from train.evaluate.predict import open_network, predict
from train.evaluate.report import text

COMMAND = "python -m benchmarks.evaluation.ood_images --data DIR"
BENIGN, OOD = "BENIGN", "OOD"
RESULT = EVALUATIONS / "ood_images.npz"


@dataclass(frozen=True)
class OodImages:
    """Predictions of n images.

    Attributes:
        label: BENIGN or OOD, (n,).
        split: (n,).
        group: Patients where they are known, (n,).
        retake: Whether the quality gate refuses the image, (n,).
        logits: By precision, (n, C).
        ood: By precision, the two distances from training, (n, 2).
    """

    label: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    retake: npt.NDArray[np.bool_]
    logits: dict[str, npt.NDArray[np.float32]]
    ood: dict[str, npt.NDArray[np.float32]]


def main() -> None:
    """Predict with both precisions of the default bundle and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    samples = unlabelled(read_table(parser.parse_args().data))
    size = open_bundle().manifest.preprocessing.size
    values: dict[str, Any] = {
        **{name: [getattr(s, name) for s in samples] for name in ("image_id", "label", "split", "group")},
        "retake": [bool(assess_quality(load_photo(sample.image, size)).retake) for sample in samples],
    }
    for precision in PRECISIONS:
        network = open_network(DEFAULT_BUNDLE, precision)
        outputs = predict(network, samples)
        values |= {
            "bundle_sha256": network.sha256,
            precision: outputs.logits,
            f"{precision}_ood": outputs.ood,
        }
    np.savez_compressed(RESULT, **values)
    print(f"{len(samples)} images: {RESULT}")


def unlabelled(samples: Sequence[Sample]) -> list[Sample]:
    """Select external benign images and OOD images, of no group that is in train, val or test."""
    inside = {sample.group for sample in samples if sample.split in LABELLED}
    return [s for s in samples if s.label in (BENIGN, OOD) and s.group not in inside]


def read() -> OodImages:
    """Read the committed predictions.

    Raises:
        SettingError: They are not of the default bundle.
    """
    with np.load(RESULT, allow_pickle=False) as stored:
        require_bundle(RESULT, str(stored["bundle_sha256"]))
        return OodImages(
            **{name: stored[name] for name in ("label", "split", "group", "retake")},
            logits={precision: stored[precision] for precision in PRECISIONS},
            ood={precision: stored[f"{precision}_ood"] for precision in PRECISIONS},
        )


def benign_table() -> Table:
    """Render the specificity on external benign dermoscopy, at each precision's thresholds."""
    manifest, images = open_bundle().manifest, read()
    chosen = images.label == BENIGN
    groups = images.group[chosen].tolist()
    weights = bootstrap_weights(groups)
    rows = []
    for precision in PRECISIONS:
        rules = manifest.decision_rules[precision]
        p = decide(images.logits[precision][chosen][:, None], rules).cancer_probability
        is_cancer = np.zeros(len(p), dtype=bool)
        values = (
            text(estimate(specificity, is_cancer, p >= point.threshold, weights=weights))
            for point in rules.operating_points
        )
        rows.append((precision.upper(), str(len(p)), str(len(set(groups))), *values))
    names = (f"specificity at {point.name}" for point in manifest.decision_rules["int8"].operating_points)
    return Table(
        "External benign dermoscopy",
        "Specificity of the default bundle on dermoscopy of the ISIC archive (2020) that is marked benign, "
        "of patients in no other split, with 95% intervals.",
        COMMAND,
        ("precision", "images", "patients", *names),
        rows,
    )


def scores_table() -> Table:
    """Render the comparison of out-of-distribution scores, from the manifest."""
    manifest = open_bundle().manifest
    assert manifest.ood is not None
    rows = []
    for name, one in manifest.ood["compared"].items():
        area = one["auroc"]
        rejected = ", ".join(
            f"{c} {one['rejected'][c]:.0%}" for c in manifest.classes if c in one["rejected"]
        )
        rows.append(
            (
                name,
                f"{area['value']:.4f} ({area['low']:.4f} to {area['high']:.4f})",
                f"{one['false_positive_rate']:.1%}",
                f"{one['found']:.1%}",
                rejected,
                f"{np.mean(list(one['near'].values())):.2f}",
            )
        )
    return Table(
        "Out-of-distribution scores",
        f"Scores that separate validation images from {manifest.ood['others']} OOD images (everyday "
        "pictures), default bundle, INT8. The last column leaves each class out of the training statistics "
        "in turn.",
        "",
        (
            "score",
            "AUROC",
            "validation above the threshold that finds 95% of OOD images",
            "OOD images found where 5% of validation are above",
            "validation above that threshold, by class",
            "left-out class: mean AUROC",
        ),
        rows,
    )


def scope_table(evaluations: Evaluations) -> Table:
    """Render what is out of scope at the shipped thresholds."""
    rows, images = [], read()
    classes = open_bundle().manifest.classes
    for precision in PRECISIONS:
        threshold = open_bundle().manifest.decision_rules[precision].ood_threshold
        assert threshold is not None
        own = {split: decided(evaluations, split, precision) for split in SPLITS}
        for split, one in own.items():
            out = one.ood > threshold
            members = [(name, one.truth == position) for position, name in enumerate(classes)]
            by_class = ", ".join(f"{name} {out[of].sum()} of {of.sum()}" for name, of in members)
            recall = one.referred[~out & one.is_cancer].mean()
            note = f"{by_class}; sensitivity among the cancers in scope {recall:.3f}"
            rows.append((f"{precision.upper()}, {split}", str(len(out)), f"{out.mean():.1%}", note))
        is_ood = images.label == OOD
        scores = images.ood[precision].sum(axis=1)
        for split in np.unique(images.split[is_ood]).tolist():
            among = is_ood & (images.split == split)
            out = scores[among] > threshold
            inside = own["test" if "test" in split else "val"].ood
            both = np.concatenate([inside, scores[among]])
            area = float(auroc(np.arange(len(both)) >= len(inside), both))
            refused = (out | images.retake[among]).mean()
            note = f"with the quality gate {refused:.1%}; AUROC {area:.4f}"
            name = f"{precision.upper()}, OOD images, {split}"
            rows.append((name, str(len(out)), f"{out.mean():.1%}", note))
        external = find(evaluations, f"external-{precision}").predictions.ood
        assert external is not None
        others = {
            "ISIC 2020, known benign": scores[images.label == BENIGN],
            "smartphone (PAD-UFES-20)": external.sum(axis=1),
        }
        for name, distances in others.items():
            share = (distances > threshold).mean()
            rows.append((f"{precision.upper()}, {name}", str(len(distances)), f"{share:.1%}", ""))
    return Table(
        "Out of scope",
        "Share of images that the scope gate of the default bundle refuses, by set.",
        COMMAND,
        ("images of", "number", "out of scope", "by class, or with other gates"),
        rows,
    )


if __name__ == "__main__":
    main()
