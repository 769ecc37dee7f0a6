"""Out-of-fold teachers: soft labels of the training images from networks that have not learned them.

Each of several runs leaves one fold of the training images out (``folds`` in its settings) and predicts just
that one. A network distilled from these soft labels (Hinton et al., "Distilling the knowledge in a neural
network", 2015) learns what the images show and not what the teachers know by heart.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeskin.errors import SettingError
from train.data.split import assign_splits, left_out, split_sha256
from train.data.table import DataError, Sample, read_table, select
from train.distill.soft_labels import write
from train.evaluate.predict import open_network, predict
from train.fit.run import RECORD, load_run


def teach(runs: Sequence[Path], data: Path, out: Path) -> int:
    """Write the mean logits, for each training image, of the runs that left it out; return how many images.

    Raises SettingError when a run may have learned what it left out (it left nothing out, learned other
    images than its folds of this table tell, started from a bundle or was taught itself), or when it has
    other classes or another split than the first. Raises DataError when an image was left out by no run.
    """
    configs = [load_run(run)[1] for run in runs]
    networks = [open_network(run) for run in runs]
    classes, seed = networks[0].classes, networks[0].seed
    table = assign_splits(read_table(data, classes), seed=seed)
    samples = select(table, "train")
    total = np.zeros((len(samples), len(classes)), np.float32)
    count = np.zeros(len(samples), int)
    for run, config, network in zip(runs, configs, networks, strict=True):
        if network.classes != classes or network.split_sha256 != split_sha256(table):
            raise SettingError(
                f"{run}: trained with other classes or another split than {runs[0]} and {data}"
            )
        unseen = left_out(samples, config.folds)
        if not unseen.any():
            raise SettingError(f"{run}: has learned every training image; train teachers with folds")
        _refuse_what_it_may_have_learned(run, [samples[position] for position in np.flatnonzero(~unseen)])
        positions = np.flatnonzero(unseen)
        total[positions] += predict(network, [samples[position] for position in positions]).logits
        count[positions] += 1
    if not count.all():
        raise DataError(
            f"{(count == 0).sum()} of {len(samples)} training images were left out by no run; give a run for "
            "each fold"
        )
    mean = total / count[:, None].astype(np.float32)
    write(samples, mean, classes, split_sha256(table), out)
    return len(samples)


def _refuse_what_it_may_have_learned(run: Path, learned: Sequence[Sample]) -> None:
    record = json.loads((run / RECORD).read_text(encoding="utf-8"))
    if record["learned_sha256"] != split_sha256(learned):
        raise SettingError(f"{run}: its folds were others, of other images or groups; train it anew")
    taught = record["soft_labels_sha256"] or record.get("teacher")
    if taught or record["initial_weights"].get("kind") == "bundle":
        raise SettingError(
            f"{run}: started from a bundle or was taught, and may know the fold left out; train "
            "teachers from a backbone's weights"
        )
