"""What does keeping some depthwise convolutions in float32 buy a bf16 training step on a CPU?

    python -m benchmarks.speed.training_step [--repeats 5]

EfficientNet-B3, batch 32, bf16 autocast, channels-last, AdamW: images a second, with and without
train.models.lesion_net.keep_slow_convolutions_in_float32, in turn.
"""

import argparse
import time

import torch

from benchmarks.environment import machine, spread, write
from train.config import ModelConfig
from train.models.lesion_net import LesionNet, keep_slow_convolutions_in_float32

BATCH = 32
SIZES = (128, 192, 224)


def main() -> None:
    """Measure, print and write benchmarks/results/training_step.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    nets = {"all in bf16": _net(), "slow ones in float32": _net()}
    keep_slow_convolutions_in_float32(nets["slow ones in float32"].modules())
    optimizers = {name: torch.optim.AdamW(net.parameters()) for name, net in nets.items()}
    samples: dict[str, dict[str, list[float]]] = {}
    for size in SIZES:
        images = torch.randn(BATCH, 3, size, size).to(memory_format=torch.channels_last)
        targets = torch.randint(0, 8, (BATCH,))
        samples[str(size)] = {name: [] for name in nets}
        for turn in range(repeats + 2):
            for name, net in nets.items():
                started = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16):
                    loss = torch.nn.functional.cross_entropy(net(images).float(), targets)
                optimizers[name].zero_grad()
                loss.backward()
                optimizers[name].step()
                if turn > 1:
                    samples[str(size)][name].append(BATCH / (time.perf_counter() - started))
    result = {
        "command": f"python -m benchmarks.speed.training_step --repeats {repeats}",
        "unit": "images a second",
        "threads": torch.get_num_threads(),
        "machine": machine("torch", "timm"),
        "results": {
            size: {name: spread(values) for name, values in ways.items()} for size, ways in samples.items()
        },
        "samples": samples,
    }
    for size, ways in result["results"].items():
        print(size, {name: round(values["median"], 1) for name, values in ways.items()})
    print(write("training_step", result))


def _net() -> LesionNet:
    return LesionNet(ModelConfig(), 8).to(memory_format=torch.channels_last).train()


if __name__ == "__main__":
    main()
