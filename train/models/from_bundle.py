"""A bundle's network back in torch, to train on from or to quantize anew: where no checkpoint is kept, its IR
has all.

Export folds each BatchNorm into the convolution before it, and the normalisation of the image into the
first one; this undoes both. What a folded BatchNorm's statistics were is not in the IR, so they are measured
anew on training images, which changes the network's parameters but not the function that it computes.
"""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
import torch
import torch.nn.functional as functional
from openvino import Node
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeskin.bundle.bundle import HEAD, Bundle
from edgeskin.errors import SettingError
from edgeskin.network.engine import Engine
from train.config import ModelConfig, TrainConfig, from_dict
from train.data.split import assign_splits, split_sha256
from train.data.table import read_table, select
from train.fit.run import WEIGHTS, told_of_bundle, write_record
from train.input.dataset import LesionData
from train.models.lesion_net import IMAGENET_MEAN, IMAGENET_STD, LesionNet

MAX_DIFFERENCE = 0.1
"""Of a logit, in parts of how far the logits of different pictures spread: a network without one of its
layers may answer nearly the same everywhere."""
STATISTICS_IMAGES = 256
"""Training images that BatchNorm statistics are measured on."""


def unpack(bundle: Bundle, data: Path, out: Path) -> None:
    """Write a bundle's network as the run it came from, for `quantize` to make it anew.

    data: folder with the images that it was trained with. Its weights are those of the bundle's FP32 network,
    as they were stored. Raises SettingError when there is something in ``out``, when the manifest tells of no
    run, when the images or their split are others, and as `unpacked`.
    """
    if out.exists():
        raise SettingError(f"{out}: there is something there; name a new folder")
    try:
        record = dict(bundle.manifest.training["run"])
        split, config = record["split_sha256"], from_dict(TrainConfig, record["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise SettingError(
            f"{bundle.folder}: its manifest does not tell of the run that it came from; give one that does, "
            "as `python -m quantize` makes it"
        ) from error
    samples = assign_splits(read_table(data, config.classes), seed=config.seed)
    if split_sha256(samples) != split:
        raise SettingError(
            f"{data}: not the images and split that {bundle.folder} was trained with; give the same folder"
        )
    learned = LesionData(select(samples, "train"), select(samples, "val"), config)
    net = unpacked(bundle, config.classes, learned.normalized_training_images(STATISTICS_IMAGES))
    came_from = [told_of_bundle(bundle), *record.get("unpacked_from", [])]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        staged = Path(folder) / "run"
        staged.mkdir()
        save_file({name: value.contiguous() for name, value in net.state_dict().items()}, staged / WEIGHTS)
        write_record(record | {"unpacked_from": came_from}, staged)
        staged.rename(out)


def unpacked(bundle: Bundle, classes: Sequence[str], images: Tensor) -> LesionNet:
    """A bundle's network in torch, as its manifest tells how to build it; else as `load_bundle`.

    Raises SettingError when the manifest does not tell.
    """
    try:
        told = bundle.manifest.training["run"]["config"]["model"]
    except (KeyError, TypeError) as error:
        raise SettingError(
            f"{bundle.folder}: its manifest does not tell how its network is built; give a bundle made by "
            "`python -m quantize`"
        ) from error
    net = LesionNet(from_dict(ModelConfig, told), len(classes))
    load_bundle(net, bundle, classes, images)
    return net


def load_bundle(net: LesionNet, bundle: Bundle, classes: Sequence[str], images: Tensor) -> None:
    """Give a network the weights of a bundle's FP32 IR (stored as FP16) and of its head.

    Backbones of convolutions, each with the BatchNorm after it or none, such as EfficientNet and ResNet.
    classes: of the network, in order. images: (n, 3, s, s), ImageNet-normalised training images, some
    hundreds, to measure BatchNorm statistics. Raises SettingError when the bundle has other classes, or when
    the network does not come to compute what the bundle computes, as with another architecture.
    """
    if tuple(classes) != bundle.manifest.classes:
        raise SettingError(
            f"{bundle.folder}: classes {', '.join(bundle.manifest.classes)}, the run has "
            f"{', '.join(classes)}; set classes to the bundle's, in its order"
        )
    model = openvino.Core().read_model(bundle.read("fp32.xml"), bundle.read("fp32.bin"))
    stored = [node for node in model.get_ordered_ops() if node.get_type_name().endswith("Convolution")]
    layers = _convolutions(net.backbone, images[:1])
    if len(stored) != len(layers):
        raise SettingError(
            f"{bundle.folder}: {len(stored)} convolutions, this backbone has {len(layers)}; set "
            "model.backbone to what the bundle was trained with"
        )
    with torch.no_grad():
        for position, ((convolution, norm), node) in enumerate(zip(layers, stored, strict=True)):
            weight = _constant(node.input_value(1).get_node())
            assert weight is not None
            if weight.numel() != convolution.weight.numel():
                raise SettingError(
                    f"{bundle.folder}: convolution {position} holds {tuple(weight.shape)} weights, "
                    f"this backbone {tuple(convolution.weight.shape)}; set model.backbone to what the bundle "
                    "was trained with"
                )
            weight = weight.reshape(convolution.weight.shape)
            if position == 0:
                weight *= 255 * torch.tensor(IMAGENET_STD)[:, None, None]
            convolution.weight.copy_(weight)
            if norm is not None:
                norm.running_mean.zero_()
                norm.running_var.fill_(1 - norm.eps)
                norm.weight.fill_(1)
            (convolution if norm is None else norm).bias.copy_(_bias(node))
    _load_head(net, bundle)
    _measure_statistics(net, [norm for _, norm in layers if norm is not None], images)
    _check(net, bundle)


def _check(net: LesionNet, bundle: Bundle) -> None:
    """Run both on pictures of smooth noise."""
    size = bundle.manifest.preprocessing.size
    engine = Engine(bundle.ir("fp32"))
    coarse = 255 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pictures = functional.interpolate(coarse, size=size, mode="bilinear").round()
    mean, std = (255 * torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        logits = net.eval()((pictures - mean) / std)
    net.train()
    served = pictures.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
    expected = torch.from_numpy(np.stack([engine.infer(picture).logits for picture in served]))
    difference = float((logits - expected).abs().max())
    if not difference <= MAX_DIFFERENCE * float(expected.std(dim=0).max()):
        raise SettingError(
            f"{bundle.folder}: unfolded, its network gives other logits (by up to {difference:.3g}): a "
            "backbone with weights outside convolutions and their BatchNorms; start from a safetensors file"
        )


def _convolutions(backbone: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """The convolutions as they run, each with the BatchNorm that reads it, if one does."""
    ran: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [
        module.register_forward_pre_hook(lambda module, _: ran.append(module))
        for module in backbone.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        backbone.eval()(image)
    for hook in hooks:
        hook.remove()
    return [
        (module, follower if isinstance(follower, nn.BatchNorm2d) else None)
        for module, follower in zip(ran, [*ran[1:], None], strict=True)
        if isinstance(module, nn.Conv2d)
    ]


def _constant(node: Node) -> Tensor | None:
    """The values of a constant, through the conversion that undoes its FP16 storage; None of another node."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    is_constant = node.get_type_name() == "Constant"
    return torch.from_numpy(np.array(node.data, dtype=np.float32)) if is_constant else None


def _bias(convolution: Node) -> Tensor:
    """What is added to each channel (c,): the constant in the addition after it; zero where there is none."""
    follower = next(iter(convolution.output(0).get_target_inputs())).get_node()
    added = _constant(follower.input_value(1).get_node()) if follower.get_type_name() == "Add" else None
    channels = convolution.get_output_partial_shape(0)[1].get_length()
    return torch.zeros(channels) if added is None else added.flatten()


def _load_head(net: LesionNet, bundle: Bundle) -> None:
    with np.load(io.BytesIO(bundle.read(HEAD)), allow_pickle=False) as stored:
        values = {name: torch.from_numpy(stored[name]) for name in stored.files}
    names = {
        "1.weight": "linear1_weight",
        "1.bias": "linear1_bias",
        "3.weight": "norm_weight",
        "3.bias": "norm_bias",
        "3.running_mean": "norm_mean",
        "3.running_var": "norm_var",
        "5.weight": "linear2_weight",
        "5.bias": "linear2_bias",
    }
    state = {ours: values[theirs] for ours, theirs in names.items()}
    try:
        net.head.load_state_dict(state | {"3.num_batches_tracked": torch.tensor(0)})
    except RuntimeError as error:
        raise SettingError(
            f"{bundle.folder}: its head does not fit; set classes and model.hidden to the bundle's: {error}"
        ) from error


def _measure_statistics(net: LesionNet, norms: list[nn.BatchNorm2d], images: Tensor) -> None:
    """Give each BatchNorm the mean and variance of what it reads, its affine part making up for them."""
    sums = {norm: torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms}
    count = dict.fromkeys(norms, 0)

    def measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        sums[norm] += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
        count[norm] += values.numel() // values.shape[1]

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    net.eval()
    with torch.no_grad():
        for part in images.split(32):
            net(part)
        for norm in norms:
            mean, square = sums[norm] / count[norm]
            norm.running_mean.copy_(mean)
            norm.running_var.copy_((square - mean.square()).clamp(min=0))
            norm.weight.copy_((norm.running_var + norm.eps).sqrt())
            norm.bias.add_(norm.running_mean)
    for hook in hooks:
        hook.remove()
    net.train()
