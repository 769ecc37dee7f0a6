"""Quantization-aware fine-tuning with NNCF, distilled from the FP32 network: the last recipe."""

import copy
import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nncf
import openvino
import torch
from nncf.torch.function_hook.nncf_graph.nncf_graph_builder import build_nncf_graph
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from quantize.export import OUTPUTS, averages_as_pooling, expect_interface
from quantize.inference import CONSOLE, Images
from quantize.ptq import FIRST_IN_FP32, settings
from train.config import TrainConfig
from train.data.table import Sample, targets
from train.input.dataset import LesionImages, batches
from train.input.sampler import EpochSampler
from train.models.lesion_net import ServedNet


@dataclass(frozen=True)
class FineTuning:
    """Settings of Adam, whose learning rate falls to 0 along a cosine.

    Attributes:
        epochs: Number of epochs.
        batch_size: Images a step.
        learning_rate: At the first step.
        steps: Number of steps instead of whole epochs.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 5e-5
    steps: int | None = None


def fine_tune(
    served: ServedNet,
    calibration: Images,
    train: Sequence[Sample],
    config: TrainConfig,
    seed: int,
    options: FineTuning = FineTuning(),
) -> openvino.Model:
    """Quantize a network in torch, then train the INT8 network to reproduce the logits of FP32.

    The loss is KL(FP32 || INT8) of the class probabilities plus the mean squared difference of the logits.
    Labels are not used. BatchNorm keeps its statistics and dropout stays off, so that training compensates
    the rounding alone.

    Args:
        served: The FP32 network, which stays as it is.
        calibration: Calibration images, uint8 RGB (n, s, s, 3).
        train: Training images.
        config: Settings of the run.
        seed: Seed of torch and of the sampler.
        options: Settings of the fine-tuning.
    """
    torch.manual_seed(seed)
    # NNCF compiles its CUDA quantizers, and fails without the compiler.
    device = "cuda" if torch.cuda.is_available() and shutil.which("nvcc") else "cpu"
    teacher = copy.deepcopy(served).to(device).eval()

    def batch_of_one(image: Images) -> Tensor:
        return torch.tensor(image[None], device=device)

    with tempfile.TemporaryDirectory() as folder:
        # NNCF compiles its quantizers at first use: not into the home folder, and without a time limit.
        os.environ["TORCH_EXTENSIONS_DIR"] = folder
        os.environ["NNCF_EXTENSION_LOAD_TIMEOUT"] = "0"
        student = nncf.quantize(
            teacher,
            nncf.Dataset(calibration, batch_of_one),
            ignored_scope=nncf.IgnoredScope(names=left_in_fp32(teacher, batch_of_one(calibration[0]))),
            **settings(len(calibration)),
        ).eval()
        _distill(teacher, student, _loader(train, config, seed, options), options)
        return _to_ir(student.cpu(), config.preprocessing.size)


def left_in_fp32(served: nn.Module, image: Tensor) -> list[str]:
    """Name, as NNCF does in torch, the operations that `quantize.ptq.left_in_fp32` leaves in FP32.

    Args:
        served: The network.
        image: An image to trace it with, uint8 (1, s, s, 3).
    """
    with torch.no_grad():
        graph = build_nncf_graph(served, image)
    nodes = graph.topological_sort()
    height = {
        node: graph.get_output_edges(node)[0].tensor_shape[2] for node in nodes if node.node_type == "conv2d"
    }
    spatial = [node for node in height if height[node] > 1]
    squeezed = [node for node in height if height[node] == 1]
    scalings = [node for node in nodes if node.node_type in ("mul", "mean", "adaptive_avg_pool2d")]
    return [node.node_name for node in (*spatial[:FIRST_IN_FP32], *squeezed, *scalings)]


def _distill(teacher: nn.Module, student: nn.Module, loader: DataLoader[Any], options: FineTuning) -> None:
    device = next(student.parameters()).device
    steps = options.steps or options.epochs * len(loader)
    optimizer = torch.optim.Adam(student.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))
    progress = track(
        itertools.islice(epochs, steps), "fine-tuning INT8", steps, console=CONSOLE, transient=True
    )
    for images, _ in progress:
        image = images.to(device).permute(0, 2, 3, 1)
        with torch.no_grad():
            expected = teacher(image)[0]
        logits = student(image)[0]
        log_p, log_q = expected.log_softmax(dim=1), logits.log_softmax(dim=1)
        loss = functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        loss = loss + functional.mse_loss(logits, expected)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()


def _loader(train: Sequence[Sample], config: TrainConfig, seed: int, options: FineTuning) -> DataLoader[Any]:
    flips = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
    images = LesionImages(train, config.classes, config.preprocessing, flips)
    is_cancer = [name in config.cancer for name in config.classes]
    sampler = EpochSampler(targets(train, config.classes).tolist(), is_cancer, config.sampler, seed)
    return batches(images, min(options.batch_size, len(sampler)), config.workers, sampler)


def _to_ir(student: nn.Module, size: int) -> openvino.Model:
    with torch.no_grad():
        image = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        model = openvino.convert_model(student, example_input=image, input=[-1, size, size, 3])
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    model.input(0).get_tensor().set_names({"image"})
    return expect_interface(averages_as_pooling(model))
