"""Rebuild a bundle's network in torch, to train on from it or to quantize it again without a checkpoint.

Export folds each BatchNorm into the convolution before it, and the division by the standard deviation of the
pixels into the first convolution. This undoes both. The statistics of a folded BatchNorm are not in the IR,
so they are measured again on training images. This changes the network's parameters, but not the function
that it computes.
"""

import io
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import torch
import torch.nn.functional as functional
from openvino import Node
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeskin.bundle.bundle import Bundle
from edgeskin.bundle.manifest import HEAD, Normalization, RunRecord
from edgeskin.errors import SettingError
from edgeskin.network.engine import Engine
from train.config import read_config
from train.data.split import assign_splits, split_sha256
from train.data.table import select
from train.fit.run import WEIGHTS, recorded_normalization, source_of_bundle, write_record
from train.input.dataset import LesionData
from train.input.photos import read_tables
from train.models.lesion_net import LesionNet

MAX_DIFFERENCE = 0.1
"""Largest difference of a logit, relative to the spread of the logits over pictures. It is relative because a
network that lacks a layer may answer nearly the same everywhere."""
STATISTICS_IMAGES = 256
"""Training images that BatchNorm statistics are measured on."""
_HEAD_ARRAYS = {
    "1.weight": "linear1_weight",
    "1.bias": "linear1_bias",
    "3.weight": "norm_weight",
    "3.bias": "norm_bias",
    "3.running_mean": "norm_mean",
    "3.running_var": "norm_var",
    "5.weight": "linear2_weight",
    "5.bias": "linear2_bias",
}
"""torch's names of the head's parameters, and their names in head.npz."""


def write_run_from_bundle(bundle: Bundle, data: Path, out: Path) -> None:
    """Write a bundle's network as the run that it came from, so that `quantize` can process it again.

    Args:
        bundle: The bundle. The weights are those of its FP32 network, as they were stored (FP16).
        data: Folder with the images that it was trained with.
        out: Folder for the run, which must not exist.

    Raises:
        SettingError: ``out`` exists, the manifest holds no record of a run, the images or their split differ
            from those of the run, or the network cannot be rebuilt.
        DataError: Images cannot be read.
    """
    if out.exists():
        raise SettingError(f"{out} exists already; name a new folder")
    record = _run_record(bundle)
    config = read_config(record.config, f"{bundle.folder}: training.run.config")
    samples = assign_splits(read_tables([data], config.classes), seed=config.seed)
    if split_sha256(samples) != record.split_sha256:
        raise SettingError(
            f"{data}: not the images and split that {bundle.folder} was trained with; give the same folder"
        )
    training = LesionData(select(samples, "train"), select(samples, "val"), config)
    net = network_from_bundle(bundle, config.classes, training.training_images(STATISTICS_IMAGES))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        staged = Path(folder) / "run"
        staged.mkdir()
        save_file({name: value.contiguous() for name, value in net.state_dict().items()}, staged / WEIGHTS)
        sources = (source_of_bundle(bundle), *record.unpacked_from)
        write_record(replace(record, unpacked_from=sources), staged)
        staged.rename(out)


def network_from_bundle(bundle: Bundle, classes: Sequence[str], images: Tensor) -> LesionNet:
    """A bundle's network in torch, built as its manifest records.

    Args:
        bundle: The bundle.
        classes: The expected classes, in order.
        images: Some hundred prepared training images, uint8 (n, 3, s, s).

    Raises:
        SettingError: The manifest holds no record of a run; or as `load_bundle_weights`.
    """
    record = _run_record(bundle)
    model = read_config(record.config, f"{bundle.folder}: training.run.config").model
    net = LesionNet(model, len(classes), normalization=recorded_normalization(record))
    load_bundle_weights(net, bundle, classes, images)
    return net


def normalization_of_bundle(bundle: Bundle) -> Normalization:
    """The image normalization that a bundle's network was trained with; ImageNet's without a record."""
    return recorded_normalization(bundle.manifest.training.run)


def _run_record(bundle: Bundle) -> RunRecord:
    record = bundle.manifest.training.run
    if record is None:
        raise SettingError(
            f"{bundle.folder}: its manifest has no record of a training run; give a bundle made by "
            "`python -m quantize`"
        )
    return record


def load_bundle_weights(net: LesionNet, bundle: Bundle, classes: Sequence[str], images: Tensor) -> None:
    """Give a network the weights of a bundle's FP32 IR (stored as FP16) and of its head.

    This works for backbones of convolutions that each have a BatchNorm after them or none, such as
    EfficientNet and ResNet.

    Args:
        net: The network, with the normalization that the bundle was trained with.
        bundle: The bundle.
        classes: The classes of the network, in order.
        images: Some hundred prepared training images, uint8 (n, 3, s, s), to measure BatchNorm statistics.

    Raises:
        SettingError: The bundle has other classes, or the network does not compute what the bundle computes,
            because it has another architecture or weights outside convolutions and BatchNorms.
    """
    if tuple(classes) != bundle.manifest.classes:
        raise SettingError(
            f"{bundle.folder}: classes {', '.join(bundle.manifest.classes)}, the run has "
            f"{', '.join(classes)}; set classes to the bundle's, in its order"
        )
    normalized = net.normalize(images)
    model = openvino.Core().read_model(bundle.read("fp32.xml"), bundle.read("fp32.bin"))
    stored = [node for node in model.get_ordered_ops() if node.get_type_name().endswith("Convolution")]
    layers = _convolutions(net.backbone, normalized[:1])
    if len(stored) != len(layers):
        raise SettingError(
            f"{bundle.folder}: {len(stored)} convolutions, this backbone has {len(layers)}; set "
            "model.backbone to the bundle's"
        )
    with torch.no_grad():
        for position, ((convolution, norm), node) in enumerate(zip(layers, stored, strict=True)):
            weight = _constant(node.input_value(1).get_node())
            assert weight is not None
            if weight.numel() != convolution.weight.numel():
                raise SettingError(
                    f"{bundle.folder}: convolution {position} holds {tuple(weight.shape)} weights, this "
                    f"backbone's {tuple(convolution.weight.shape)}; set model.backbone to the bundle's"
                )
            weight = weight.reshape(convolution.weight.shape)
            if position == 0:
                weight = weight * net.std
            convolution.weight.copy_(weight)
            biased: nn.Conv2d | nn.BatchNorm2d = convolution
            if norm is not None:
                _set_statistics(
                    norm, torch.zeros(norm.num_features), torch.ones(norm.num_features) - norm.eps
                )
                norm.weight.fill_(1)
                biased = norm
            assert biased.bias is not None
            biased.bias.copy_(_bias(node))
    _load_head(net, bundle)
    _measure_statistics(net, [norm for _, norm in layers if norm is not None], normalized)
    check_same_logits(net, bundle)


def check_same_logits(net: LesionNet, bundle: Bundle) -> None:
    """Compare a network with a bundle's FP32 on pictures of smooth noise.

    Raises:
        SettingError: A logit differs by more than MAX_DIFFERENCE.
    """
    size = bundle.manifest.preprocessing.size
    engine = Engine(bundle.ir("fp32"))
    coarse = 255 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pictures = functional.interpolate(coarse, size=size, mode="bilinear").round()
    with torch.no_grad():
        logits = net.eval()(net.normalize(pictures))
    net.train()
    served = pictures.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
    expected = torch.from_numpy(np.stack([engine.infer(picture).logits[0] for picture in served]))
    difference = float((logits - expected).abs().max())
    if not difference <= MAX_DIFFERENCE * float(expected.std(dim=0).max()):
        raise SettingError(
            f"{bundle.folder}: the rebuilt network gives other logits (by up to {difference:.3g}), as "
            "happens when a backbone has weights outside convolutions and their BatchNorms; start from a "
            "safetensors file"
        )


def _convolutions(backbone: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """The convolutions in the order in which they run, each with the BatchNorm that follows it, if any."""
    order: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [
        module.register_forward_pre_hook(lambda module, _: order.append(module))
        for module in backbone.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        backbone.eval()(image)
    for hook in hooks:
        hook.remove()
    return [
        (module, follower if isinstance(follower, nn.BatchNorm2d) else None)
        for module, follower in zip(order, [*order[1:], None], strict=True)
        if isinstance(module, nn.Conv2d)
    ]


def _constant(node: Node) -> Tensor | None:
    """The values of a constant, through the conversion that undoes its FP16 storage; None of another node."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    is_constant = node.get_type_name() == "Constant"
    return torch.from_numpy(np.array(node.data, dtype=np.float32)) if is_constant else None


def _bias(convolution: Node) -> Tensor:
    """The constant that is added to each channel (c,) after a convolution; 0 where there is none."""
    follower = next(iter(convolution.output(0).get_target_inputs())).get_node()
    added = _constant(follower.input_value(1).get_node()) if follower.get_type_name() == "Add" else None
    channels = convolution.get_output_partial_shape(0)[1].get_length()
    return torch.zeros(channels) if added is None else added.flatten()


def _load_head(net: LesionNet, bundle: Bundle) -> None:
    with np.load(io.BytesIO(bundle.read(HEAD)), allow_pickle=False) as stored:
        state = {name: torch.from_numpy(stored[array]) for name, array in _HEAD_ARRAYS.items()}
    try:
        net.head.load_state_dict(state | {"3.num_batches_tracked": torch.tensor(0)})
    except RuntimeError as error:
        raise SettingError(
            f"{bundle.folder}: its head does not fit; set classes and model.hidden to the bundle's: {error}"
        ) from error


def _measure_statistics(net: LesionNet, norms: Sequence[nn.BatchNorm2d], images: Tensor) -> None:
    """Give each BatchNorm the mean and variance of its inputs, and compensate in its weight and bias."""
    sums = {norm: torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms}
    count = dict.fromkeys(norms, 0)

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        values = inputs[0].double()
        sums[norm] += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
        count[norm] += values.numel() // values.shape[1]

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    net.eval()
    with torch.no_grad():
        for part in torch.split(images, 32):
            net(part)
        for norm in norms:
            mean, square = sums[norm] / count[norm]
            variance = (square - mean.square()).clamp(min=0).float()
            _set_statistics(norm, mean.float(), variance)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean.float())
    for hook in hooks:
        hook.remove()
    net.train()


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
