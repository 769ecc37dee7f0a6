"""What does it buy to split by image, so that photos of one lesion are on both sides?

    python -m benchmarks.evaluation.lesion_leakage --data DIR --weights WEIGHTS --out RUNS [--config CONFIG]

Trains the same recipe twice: on the table's own split, and on a twin in which the images of train and val
are dealt anew without regard to lesions, as many of each class to each side. Each is evaluated on its own
val, with the threshold fitted there. The split test is not read. A run that RUNS holds is resumed where it
was interrupted, and not trained again. Writes benchmarks/results/experiments/CONFIG and CONFIG-leaky, as
`python -m train evaluate` does.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.environment import RESULTS
from edgeskin.errors import SettingError
from train.config import load_config
from train.data.split import assign_splits, split_sha256
from train.data.table import Sample, read_table
from train.evaluate import report
from train.evaluate.evaluation import evaluate_table
from train.evaluate.predict import open_network
from train.fit.run import LATEST, WEIGHTS, load_run
from train.fit.trainer import fit

CONFIG = Path(__file__).parents[2] / "configs" / "experiments" / "c-cross-entropy.yaml"


def main() -> None:
    """Train and evaluate both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    wanted = parser.parse_args()
    settings = load_config(wanted.config)
    table = assign_splits(read_table(wanted.data, settings.classes), seed=settings.seed)
    name = wanted.config.stem
    for run_name, samples in ((name, table), (f"{name}-leaky", dealt_by_image(table, settings.seed))):
        run = wanted.out / run_name
        if not (run / WEIGHTS).is_file():
            fit(samples, run, settings, wanted.weights, resume=(run / LATEST).is_file())
        network = open_network(run)
        if load_run(run)[1] != settings or network.split_sha256 != split_sha256(samples):
            raise SettingError(f"{run}: trained with other settings or another split; name another --out")
        command = f"python -m benchmarks.evaluation.lesion_leakage --data DIR --config {wanted.config.name}"
        evaluation, predictions = evaluate_table(network, samples, "val", command=command)
        report.write(evaluation, predictions, RESULTS / "experiments" / run_name)


def dealt_by_image(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """The samples with train and val dealt anew within each class, lesions torn apart; the rest as it is."""
    rng = np.random.default_rng(seed)
    split_of = {}
    pool = [sample for sample in samples if sample.split in ("train", "val")]
    for label in sorted({sample.label for sample in pool}):
        members = [sample for sample in pool if sample.label == label]
        splits = rng.permutation([str(sample.split) for sample in members]).tolist()
        split_of.update({sample.image_id: split for sample, split in zip(members, splits, strict=True)})
    return [
        replace(sample, split=split_of[sample.image_id]) if sample.split in ("train", "val") else sample
        for sample in samples
    ]


if __name__ == "__main__":
    main()
