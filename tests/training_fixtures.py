"""Fixtures of the training side, for conftest.py to import: a micro-network, a run of it, saved figures."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.network.head import Head, read_head
from quantize.pack import write_head
from tests.conftest import MICRO_SIZE
from train.config import ModelConfig, OptimizerConfig, Stage, TrainConfig
from train.data.table import Sample, read_table
from train.fit.trainer import fit
from train.models.lesion_net import LesionNet

_RUNS: dict[Path, Path] = {}
"""The micro run by the folder of its images. It is trained once a process, even if several conftest.py import
it."""


@pytest.fixture(scope="session")
def micro_config() -> TrainConfig:
    """Two stages of one epoch, a network of 60,000 weights."""
    return TrainConfig(
        preprocessing=Preprocessing(size=MICRO_SIZE, views=8),
        model=ModelConfig(backbone="test_efficientnet", hidden=16),
        optimizer=OptimizerConfig(ema_every=1, ema_decay=0.5),
        stages=(Stage(1, 48, unfrozen=0), Stage(1, MICRO_SIZE)),
        batch_size=8,
        workers=0,
    )


@pytest.fixture(scope="session")
def micro_run(
    lesion_folder: Path, micro_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished training run, to read only."""
    if lesion_folder not in _RUNS:
        samples = read_table(lesion_folder)
        _RUNS[lesion_folder] = fit(samples, tmp_path_factory.mktemp("run"), micro_config, "none")
    return _RUNS[lesion_folder]


@pytest.fixture(scope="session")
def net() -> LesionNet:
    """A network in torch whose head has statistics and weights of some size, to read only."""
    torch.manual_seed(0)
    net = LesionNet(ModelConfig(backbone="test_efficientnet", hidden=64), 8)
    norm = net.head[3]
    with torch.no_grad():
        for value in (norm.weight, norm.bias, norm.running_mean):
            value.normal_()
        norm.running_var.uniform_(0.2, 2)
        net.head[5].weight.mul_(4)
    return net.eval()


@pytest.fixture(scope="session")
def head(net: LesionNet, tmp_path_factory: pytest.TempPathFactory) -> Head:
    """That network's head as the runtime reads it."""
    path = tmp_path_factory.mktemp("head") / "head.npz"
    write_head(net, path)
    return read_head(path.read_bytes())


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that the test saves, in place of their files."""
    saved: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
    return saved


def write_index(folder: Path, samples: Sequence[Sample], rows: Sequence[Sequence[object]] = ()) -> Path:
    """Write ``index.csv`` over samples, which stay where they are, and rows of path, id, label and split."""
    columns = "path image_id dataset label split group_id lesion_id patient_id age sex site dx_type"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns.split())
        known = [(s.image, s.image_id, s.label, s.split) for s in samples]
        for path, image_id, label, split in [*known, *rows]:
            writer.writerow([path, image_id, "drawn", label, split, image_id, image_id, "", "", "", "", ""])
    return folder
