"""How much better do results look when photos of one lesion are on both sides of the split?

    python -m benchmarks.evaluation.lesion_leakage --data DIR --weights WEIGHTS --out RUNS [--config CONFIG]

Trains one recipe twice: on the table's own split by lesion, and on a leaky one in which the images of train
and val are dealt again without regard to lesions, as many of each class to each side. Each run is evaluated
on its own val, with a threshold fitted there; the test split is not read. A run in RUNS is resumed if it was
interrupted, and not trained again. Writes benchmarks/evaluation/results/experiments/CONFIG and CONFIG-leaky,
as `python -m train evaluate` does.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.environment import ROOT, argument_parser
from benchmarks.evaluation.committed import EVALUATIONS, Evaluations, find
from benchmarks.tables import Table
from edgeskin.errors import SettingError
from train.config import load_config
from train.data.split import assign_splits, split_sha256
from train.data.table import Sample, read_table
from train.evaluate import report
from train.evaluate.evaluation import evaluate_table
from train.evaluate.predict import open_network
from train.fit.run import LATEST, WEIGHTS, load_run
from train.fit.trainer import fit

CONFIG = ROOT / "configs" / "experiments" / "c-cross-entropy.yaml"
COMMAND = "python -m benchmarks.evaluation.lesion_leakage --data DIR --config"


def main() -> None:
    """Train and evaluate both runs."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args()
    config = load_config(options.config)
    by_lesion = assign_splits(read_table(options.data, config.classes), seed=config.seed)
    name = options.config.stem
    for run_name, samples in ((name, by_lesion), (f"{name}-leaky", split_by_image(by_lesion, config.seed))):
        run = options.out / run_name
        if not (run / WEIGHTS).is_file():
            fit(samples, run, config, options.weights, resume=(run / LATEST).is_file())
        network = open_network(run)
        if load_run(run)[1] != config or network.split_sha256 != split_sha256(samples):
            raise SettingError(f"{run}: trained with another config or split; choose another --out")
        command = f"{COMMAND} {options.config.name}"
        evaluation, predictions = evaluate_table(network, samples, "val", command=command)
        report.write(evaluation, predictions, EVALUATIONS / "experiments" / run_name)


def split_by_image(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Deal train and val again within each class without regard to lesions; keep other splits."""
    rng = np.random.default_rng(seed)
    split_of = {}
    dealt = [sample for sample in samples if sample.split in ("train", "val")]
    for label in sorted({sample.label for sample in dealt}):
        members = [sample for sample in dealt if sample.label == label]
        splits = rng.permutation([str(sample.split) for sample in members]).tolist()
        split_of.update({sample.image_id: split for sample, split in zip(members, splits, strict=True)})
    return [
        replace(sample, split=split_of[sample.image_id]) if sample.split in ("train", "val") else sample
        for sample in samples
    ]


def table(evaluations: Evaluations) -> Table:
    """Render both runs of the committed config."""
    rows = []
    for name, words in ((CONFIG.stem, "by lesion"), (f"{CONFIG.stem}-leaky", "by image (leaky)")):
        measures = find(evaluations, f"experiments/{name}").evaluation.images
        rows.append(
            (
                words,
                str(measures.images),
                report.text(measures.cancer_auroc),
                report.text(measures.specificity_at_95),
                report.text(measures.balanced_accuracy),
                report.text(measures.classes["MEL"].recall),
            )
        )
    return Table(
        "Lesion leakage",
        "One short recipe, trained and evaluated on a split by lesion, and on a leaky split in which "
        "photos of one lesion may be on both sides. Each run has its own validation images, so the 95% "
        "intervals are of each row, not of the difference.",
        f"{COMMAND} {CONFIG.name} --weights WEIGHTS --out RUNS",
        (
            "split",
            "validation images",
            "cancer AUROC",
            "specificity at 95% sensitivity",
            "balanced accuracy",
            "melanoma recall",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
