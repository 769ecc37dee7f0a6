"""The micro run's network, exported, and its prepared images, for all tests of `quantize`."""

from pathlib import Path

import openvino
import pytest

from quantize.export import export
from quantize.inference import Images, load, prepare
from quantize.ptq import stratified
from tests.conftest import MICRO_SIZE
from tests.training_fixtures import head, micro_config, micro_run, net
from train.config import TrainConfig
from train.data.table import Sample, read_table, select
from train.fit.run import load_run
from train.models.lesion_net import ServedNet

__all__ = ["head", "micro_config", "micro_run", "net"]


@pytest.fixture(scope="session")
def served(micro_run: Path) -> ServedNet:
    """The network in torch, to read only."""
    return ServedNet(load_run(micro_run)[0]).eval()


@pytest.fixture(scope="session")
def export_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the exported files."""
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="session")
def fp32(served: ServedNet, export_folder: Path) -> openvino.Model:
    """The exported network, to read only."""
    return export(served, MICRO_SIZE, export_folder)


@pytest.fixture(scope="session")
def train_samples(lesion_folder: Path) -> list[Sample]:
    """The 32 training images, evenly over the classes."""
    return stratified(select(read_table(lesion_folder), "train"), 0)


@pytest.fixture(scope="session")
def train_images(
    train_samples: list[Sample], micro_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Images:
    """The training images, prepared."""
    out = tmp_path_factory.mktemp("images") / "train.npy"
    return load(prepare([sample.image for sample in train_samples], micro_config.preprocessing, out))


@pytest.fixture(scope="session")
def val_images(
    lesion_folder: Path, micro_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The file of the 16 validation images, prepared."""
    files = [sample.image for sample in select(read_table(lesion_folder), "val")]
    return prepare(files, micro_config.preprocessing, tmp_path_factory.mktemp("images") / "val.npy")
