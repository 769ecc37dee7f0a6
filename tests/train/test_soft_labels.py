"""The file of soft labels: written, read, and refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgeskin.errors import SettingError
from edgeskin.taxonomy import ISIC_2019
from train.config import DistillationConfig, TrainConfig
from train.data.table import Sample, read_table
from train.distill import soft_labels
from train.fit.trainer import fit


@pytest.fixture(scope="module")
def samples(lesion_folder: Path) -> list[Sample]:
    return read_table(lesion_folder)


def test_soft_labels_read_in_the_order_of_the_samples(samples: list[Sample], tmp_path: Path) -> None:
    logits = np.arange(len(samples) * 8, dtype=np.float32).reshape(-1, 8)
    soft_labels.write(samples, logits, ISIC_2019, "split", tmp_path / "soft.npz")
    read = soft_labels.read(tmp_path / "soft.npz", samples[::-1], ISIC_2019, "split")
    np.testing.assert_array_equal(read, logits[::-1])
    loaded = soft_labels.load(tmp_path / "soft.npz")
    assert loaded.image_ids == [sample.image_id for sample in samples]
    assert (loaded.classes, loaded.split_sha256) == (list(ISIC_2019), "split")
    np.testing.assert_array_equal(loaded.logits, logits)


def test_soft_labels_are_stored_in_half_precision(samples: list[Sample], tmp_path: Path) -> None:
    logits = np.random.default_rng(0).uniform(-16, 16, (len(samples), 8)).astype(np.float32)
    path = tmp_path / "soft.npz"
    soft_labels.write(samples, logits, ISIC_2019, "split", path)
    with np.load(path) as stored:
        assert stored["logits"].dtype == np.float16
    loaded = soft_labels.load(path).logits
    assert loaded.dtype == np.float32
    assert 0 < np.abs(loaded - logits).max() < 0.004


def test_soft_labels_of_0_11_in_single_precision_are_read(samples: list[Sample], tmp_path: Path) -> None:
    logits = np.random.default_rng(0).uniform(-16, 16, (len(samples), 8)).astype(np.float32)
    path, ids = tmp_path / "soft.npz", [sample.image_id for sample in samples]
    np.savez_compressed(path, image_id=ids, logits=logits, classes=list(ISIC_2019), split_sha256="split")
    np.testing.assert_array_equal(soft_labels.read(path, samples, ISIC_2019, "split"), logits)


def test_soft_labels_that_do_not_fit(
    samples: list[Sample], micro_config: TrainConfig, tmp_path: Path
) -> None:
    path = tmp_path / "soft.npz"
    logits = np.zeros((len(samples) - 1, 8), np.float32)
    soft_labels.write(samples[1:], logits, ISIC_2019, "split", path)
    with pytest.raises(SettingError, match="1 training images are missing"):
        soft_labels.read(path, samples, ISIC_2019, "split")
    for classes, split in ((ISIC_2019[::-1], "split"), (ISIC_2019, "other")):
        with pytest.raises(SettingError, match="make it again"):
            soft_labels.read(path, samples[1:], classes, split)
    whole = path.read_bytes()
    np.save(tmp_path / "bare.npy", logits)
    for content in (b"no archive", b"", whole[: len(whole) // 2], (tmp_path / "bare.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(SettingError, match="cannot be read"):
            soft_labels.read(path, samples, ISIC_2019, "split")
    with pytest.raises(SettingError, match="distillation weight"):
        fit(samples, tmp_path / "run", micro_config, "none", soft_labels=path)
    with_weight = dataclasses.replace(micro_config, distillation=DistillationConfig(0.5))
    with pytest.raises(SettingError, match="distillation weight"):
        fit(samples, tmp_path / "run", with_weight, "none")
