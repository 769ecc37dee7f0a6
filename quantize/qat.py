"""The ladder's last rung: quantization-aware fine-tuning with NNCF, distilled from FP32."""

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
    """Adam under a cosine to zero. steps: stop after so many, None for whole epochs."""

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
    """Quantize in torch, then teach the INT8 network to say what the FP32 network says of training images.

    The loss is KL(FP32 || INT8) of the class probabilities plus the mean squared difference of the logits;
    labels are not used. BatchNorm keeps its statistics and dropout stays off, so that only the rounding is
    learnt around. calibration: uint8 (n, s, s, 3).
    """
    torch.manual_seed(seed)
    # NNCF compiles its CUDA quantizers; without the compiler it would stop.
    device = "cuda" if torch.cuda.is_available() and shutil.which("nvcc") else "cpu"
    teacher = served.to(device).eval()

    def image(picture: Images) -> Tensor:
        return torch.tensor(picture[None], device=device)

    with tempfile.TemporaryDirectory() as folder:
        # NNCF compiles its quantizers at first use: not into the home folder, and however long it takes.
        os.environ["TORCH_EXTENSIONS_DIR"] = folder
        os.environ["NNCF_EXTENSION_LOAD_TIMEOUT"] = "0"
        student = nncf.quantize(
            teacher,
            nncf.Dataset(calibration, image),
            ignored_scope=nncf.IgnoredScope(names=_left_in_fp32(teacher, image(calibration[0]))),
            **settings(len(calibration)),
        ).eval()
        _distil(teacher, student, _loader(train, config, seed, options), options)
        return _to_ir(student.cpu(), config.preprocessing.size)


def _distil(teacher: nn.Module, student: nn.Module, loader: DataLoader[Any], options: FineTuning) -> None:
    device = next(student.parameters()).device
    steps = options.steps or options.epochs * len(loader)
    optimizer = torch.optim.Adam(student.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))
    batches = itertools.islice(epochs, steps)
    for images, _ in track(batches, "fine-tuning INT8", steps, console=CONSOLE, transient=True):
        image = images.to(device).permute(0, 2, 3, 1)
        with torch.no_grad():
            wanted = teacher(image)[0]
        said = student(image)[0]
        log_p, log_q = wanted.log_softmax(dim=1), said.log_softmax(dim=1)
        loss = functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        loss = loss + functional.mse_loss(said, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _loader(train: Sequence[Sample], config: TrainConfig, seed: int, options: FineTuning) -> DataLoader[Any]:
    flips = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
    images = LesionImages(train, config.classes, config.preprocessing, flips)
    is_cancer = [name in config.cancer for name in config.classes]
    sampler = EpochSampler(targets(train, config.classes), is_cancer, config.sampler, seed)
    return batches(images, min(options.batch_size, len(sampler)), config.workers, sampler)


def _left_in_fp32(served: nn.Module, image: Tensor) -> list[str]:
    """NNCF's names of the operations that stay in FP32: the same as `quantize.ptq.left_in_fp32`."""
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


def _to_ir(student: nn.Module, size: int) -> openvino.Model:
    with torch.no_grad():
        image = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        model = openvino.convert_model(student, example_input=image, input=[-1, size, size, 3])
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    model.input(0).get_tensor().set_names({"image"})
    return expect_interface(averages_as_pooling(model))
