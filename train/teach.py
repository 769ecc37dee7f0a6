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
from train.config import TrainConfig
from train.data import DataError, Sample, read_table, select
from train.predict import open_network, predict
from train.run import RECORD, load_run
from train.soft_labels import load, write
from train.split import assign_splits, left_out, split_sha256


def teach(sources: Sequence[Path], data: Path, out: Path, partial: bool = False) -> int:
    """Write the mean logits, for each training image, of the runs that left it out; return how many images.

    sources: runs, and files of soft labels that this wrote for other runs. partial: write the images that
    some source left out, though there are others.

    Raises SettingError when a run may have learned what it left out (it left nothing out, learned other
    images than its folds of this table tell, started from a bundle or was taught itself), or when a source
    has other classes or another split than the table. Raises DataError when an image was left out by no
    source, unless ``partial``.
    """
    runs = [source for source in sources if not source.is_file()]
    configs = [load_run(run)[1] for run in runs]
    networks = [open_network(run) for run in runs]
    files = {source: load(source) for source in sources if source.is_file()}
    classes = networks[0].classes if networks else tuple(next(iter(files.values())).classes)
    seed = networks[0].seed if networks else TrainConfig().seed
    table = assign_splits(read_table(data, classes), seed=seed)
    split, samples = split_sha256(table), select(table, "train")
    total = np.zeros((len(samples), len(classes)), np.float32)
    count = np.zeros(len(samples), int)
    for run, config, network in zip(runs, configs, networks, strict=True):
        _refuse_others(run, network.classes, network.split_sha256, classes, split)
        unseen = left_out(samples, config.folds)
        if not unseen.any():
            raise SettingError(f"{run}: has learned every training image; train teachers with folds")
        _refuse_what_it_may_have_learned(run, [samples[position] for position in np.flatnonzero(~unseen)])
        positions = np.flatnonzero(unseen)
        total[positions] += predict(network, [samples[position] for position in positions]).logits
        count[positions] += 1
    position_of = {sample.image_id: position for position, sample in enumerate(samples)}
    for file, labels in files.items():
        _refuse_others(file, labels.classes, labels.split_sha256, classes, split)
        positions = np.array([position_of[image_id] for image_id in labels.image_ids])
        total[positions] += labels.logits
        count[positions] += 1
    if not partial and not count.all():
        raise DataError(
            f"{(count == 0).sum()} of {len(samples)} training images were left out by no run; give a run for "
            "each fold"
        )
    told = np.flatnonzero(count)
    mean = np.asarray(total[told] / count[told][:, None], dtype=np.float32)
    write([samples[position] for position in told], mean, classes, split, out)
    return len(told)


def _refuse_others(
    source: Path, its_classes: Sequence[str], its_split: str | None, classes: Sequence[str], split: str
) -> None:
    if list(its_classes) != list(classes) or its_split != split:
        raise SettingError(f"{source}: of other classes or another split than the first source or the table")


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
