"""Out-of-fold teachers: soft labels of the training images from networks that have not been trained on them.

Each of several runs leaves one fold of the training images out (``folds`` in its settings) and predicts that
fold. A network distilled from these soft labels (Hinton et al., "Distilling the knowledge in a neural
network", 2015) learns what the images show, not what the teachers have memorized.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeskin.errors import SettingError
from train.config import TrainConfig, read_config
from train.data.split import assign_splits, left_out, split_sha256
from train.data.table import DataError, Sample, select
from train.distill import soft_labels
from train.evaluate.predict import open_network, predict
from train.fit.run import read_record
from train.input.photos import read_tables


def write_soft_labels(
    sources: Sequence[Path], data: Path, out: Path, partial: bool = False, views: int | None = None
) -> int:
    """Write, for each training image, the mean logits of the sources that left it out.

    Args:
        sources: Folders of finished runs, and files that this function wrote for other runs.
        data: Folder with the images and their table.
        out: The .npz file to write.
        partial: Allow images that no source left out; the file then lacks them.
        views: Dihedral views that each run averages, 1 or 8; None for each run's own number.

    Returns:
        Number of images in the file.

    Raises:
        SettingError: A run may have been trained on what it left out (it left nothing out, was trained on
            other images than its folds of this table, started from a bundle, or was distilled itself); a
            source has other classes or another split than the table; or a file cannot be read or has an
            image that is not a training image.
        DataError: Images cannot be read; or no source left some image out, and not ``partial``.
    """
    files = [source for source in sources if source.is_file()]
    runs = [source for source in sources if not source.is_file()]
    networks = [open_network(run, views=views) for run in runs]
    parts = [soft_labels.load(file) for file in files]
    classes = networks[0].classes if networks else tuple(parts[0].classes)
    table = assign_splits(
        read_tables([data], classes), seed=networks[0].seed if networks else TrainConfig().seed
    )
    split = split_sha256(table)
    samples = select(table, "train")
    total = np.zeros((len(samples), len(classes)), np.float32)
    count = np.zeros(len(samples), np.int64)
    for run, network in zip(runs, networks, strict=True):
        _require_same(run, network.classes, network.split_sha256, classes, split)
        positions = np.flatnonzero(_unseen(run, samples))
        total[positions] += predict(network, [samples[position] for position in positions]).logits
        count[positions] += 1
    position_of = {sample.image_id: position for position, sample in enumerate(samples)}
    for file, part in zip(files, parts, strict=True):
        _require_same(file, part.classes, part.split_sha256, classes, split)
        outside = [image_id for image_id in part.image_ids if image_id not in position_of]
        if outside:
            raise SettingError(
                f"{file}: {len(outside)} images are not in the training split, such as {outside[0]}"
            )
        positions = np.array([position_of[image_id] for image_id in part.image_ids])
        total[positions] += part.logits
        count[positions] += 1
    if not partial and not count.all():
        raise DataError(
            f"no source left out {(count == 0).sum()} of {len(samples)} training images; give a run or file "
            "for each fold, or --partial"
        )
    covered = np.flatnonzero(count)
    mean = np.asarray(total[covered] / count[covered, None], np.float32)
    soft_labels.write([samples[position] for position in covered], mean, classes, split, out)
    return len(covered)


def _require_same(
    source: Path,
    source_classes: Sequence[str],
    source_split: str | None,
    classes: Sequence[str],
    split: str,
) -> None:
    """Raise SettingError where a source has other classes or another split than the table."""
    if list(source_classes) != list(classes) or source_split != split:
        raise SettingError(f"{source}: other classes or another split than the first source or the table")


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
