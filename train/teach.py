"""Out-of-fold teachers: soft labels of the training images from networks that have not learned them.

Each of several runs leaves one fold of the training images out (``folds`` in its settings) and predicts just
that one. A network distilled from these soft labels (Hinton et al., "Distilling the knowledge in a neural
network", 2015) learns what the images show and not what the teachers know by heart.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeskin.errors import SettingError
from train.data import DataError, Sample, read_table, select
from train.fit import load_run
from train.predict import open_network, predict
from train.soft_labels import Logits
from train.split import assign_splits, left_out, split_sha256


def teach(runs: Sequence[Path], data: Path) -> tuple[list[Sample], Logits]:
    """The training images, and for each the mean logits (n, C) of the runs that left it out.

    Raises SettingError when a run left nothing out, or has other classes or another split than the first, and
    DataError when an image was learned by every run.
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
        positions = np.flatnonzero(left_out(samples, config.folds))
        if not positions.size:
            raise SettingError(f"{run}: has learned every training image; train teachers with folds")
        total[positions] += predict(network, [samples[position] for position in positions])
        count[positions] += 1
    if not count.all():
        raise DataError(
            f"{(count == 0).sum()} of {len(samples)} training images were left out by no run; give a run for "
            "each fold"
        )
    return samples, total / count[:, None].astype(np.float32)
