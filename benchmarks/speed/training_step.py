"""What does keeping some depthwise convolutions in float32 change for a bf16 training step on a CPU?

    python -m benchmarks.speed.training_step [--repeats 5]

Times training steps of EfficientNet-B3 (batch 32, bf16 autocast, channels-last, AdamW) with and without
`train.models.lesion_net.keep_slow_convolutions_in_float32`, in alternating rounds. Writes
benchmarks/speed/results/training_step.json.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.environment import (
    argument_parser,
    hardware,
    machine,
    read_result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import paired_rounds, spread
from benchmarks.tables import Table
from train.config import ModelConfig
from train.models.backbones import keep_slow_convolutions_in_float32
from train.models.lesion_net import LesionNet

RESULT = result_path(__file__)
BATCH = 32
SIZES = (128, 192, 224)
BF16, MIXED = "all in bf16", "slow ones in float32"


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    nets = {name: LesionNet(ModelConfig(), 8).to(memory_format=torch.channels_last) for name in (BF16, MIXED)}
    keep_slow_convolutions_in_float32(nets[MIXED].modules())
    optimizers = {name: torch.optim.AdamW(net.train().parameters()) for name, net in nets.items()}
    samples: dict[str, dict[str, list[float]]] = {}
    for size in SIZES:
        images = torch.randn(BATCH, 3, size, size).to(memory_format=torch.channels_last)
        targets = torch.randint(0, 8, (BATCH,))
        runs = {name: partial(step, net, optimizers[name], images, targets) for name, net in nets.items()}
        times = paired_rounds(runs, repeats, warm_up=2)
        samples[str(size)] = {name: [1e3 * BATCH / one for one in values] for name, values in times.items()}
    content: dict[str, Any] = {
        "command": f"python -m benchmarks.speed.training_step --repeats {repeats}",
        "unit": "images per second",
        "threads": torch.get_num_threads(),
        "machine": machine("torch", "timm"),
        "results": {
            size: {name: spread(values) for name, values in by_net.items()}
            for size, by_net in samples.items()
        },
        "samples": samples,
    }
    for size, by_net in content["results"].items():
        print(size, {name: round(values["median"], 1) for name, values in by_net.items()})
    write_result(RESULT, content)


def step(net: LesionNet, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor) -> None:
    """Take one training step on images (n, 3, s, s) of classes (n,)."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(net(images).float(), targets)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    rows = []
    for size, of in content["results"].items():
        bf16, mixed = (of[name]["median"] for name in (BF16, MIXED))
        rows.append((size, f"{bf16:.1f}", f"{mixed:.1f}", f"{mixed / bf16:.2f}"))
    return Table(
        "Training step",
        f"Images per second of a training step of EfficientNet-B3, batch {BATCH}, with all convolutions in "
        f"bf16 and with the slow depthwise ones in float32; medians. {hardware(content)}.",
        content["command"],
        ("image size, pixels", BF16, MIXED, "ratio"),
        rows,
    )


if __name__ == "__main__":
    main()
