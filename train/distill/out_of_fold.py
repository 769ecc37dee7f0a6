"""Out-of-fold teachers: soft labels of the training images from networks that have not been trained on them.

Each of several runs leaves one fold of the training images out (``folds`` in its settings) and predicts that
fold. A network distilled from these soft labels (Hinton et al., "Distilling the knowledge in a neural
network", 2015) learns what the images show, not what the teachers have memorised.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeskin.errors import SettingError
from train.config import read_config
from train.data.split import assign_splits, left_out, split_sha256
from train.data.table import DataError, Sample, read_table, select
from train.distill import soft_labels
from train.evaluate.predict import open_network, predict
from train.fit.run import read_record


def write_soft_labels(runs: Sequence[Path], data: Path, out: Path) -> int:
    """Write, for each training image, the mean logits of the runs that left it out.

    Args:
        runs: Folders of finished runs.
        data: Folder with the images and their table.
        out: The .npz file to write.

    Returns:
        Number of images.

    Raises:
        SettingError: A run may have been trained on what it left out (it left nothing out, was trained on
            other images than its folds of this table, started from a bundle, or was distilled itself), or it
            has other classes or another split than the first.
        DataError: No run left some image out.
    """
    networks = [open_network(run) for run in runs]
    classes, seed = networks[0].classes, networks[0].seed
    table = assign_splits(read_table(data, classes), seed=seed)
    split = split_sha256(table)
    samples = select(table, "train")
    total = np.zeros((len(samples), len(classes)), np.float32)
    count = np.zeros(len(samples), np.int64)
    for run, network in zip(runs, networks, strict=True):
        if network.classes != classes or network.split_sha256 != split:
            raise SettingError(
                f"{run}: trained with other classes or another split than {runs[0]} and {data}"
            )
        positions = np.flatnonzero(_unseen(run, samples))
        total[positions] += predict(network, [samples[position] for position in positions]).logits
        count[positions] += 1
    if not count.all():
        raise DataError(
            f"no run left out {(count == 0).sum()} of {len(samples)} training images; give a run for each "
            "fold"
        )
    mean = total / count[:, None].astype(np.float32)
    soft_labels.write(samples, np.asarray(mean, np.float32), classes, split, out)
    return len(samples)


def _unseen(run: Path, samples: Sequence[Sample]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which training samples a run has not been trained on, (n,). Raises SettingError when this is unsure."""
    record = read_record(run)
    unseen = left_out(samples, read_config(record.config).folds)
    if not unseen.any():
        raise SettingError(f"{run}: trained on every training image; train teachers with folds")
    seen = [samples[position] for position in np.flatnonzero(~unseen).tolist()]
    if record.learned_sha256 != split_sha256(seen):
        raise SettingError(f"{run}: its folds had other images or groups; train it again")
    if record.soft_labels_sha256 or record.teacher or record.initial_weights.kind == "bundle":
        raise SettingError(
            f"{run}: started from a bundle or was distilled, so it may know the fold left out; train "
            "teachers from a backbone's weights"
        )
    return unseen
