"""Where does the time of the INT8 network go, and what would make it quicker without losing the gate?

    python -m benchmarks.evaluation.quantization_ablation --data DIR [--rounds 3]

First OpenVINO's own clock of every node of the shipped networks, added up by kind, the quickest of five
tries. Then the shipped networks and variants of the quantization and of the graph, each made anew from the
bundle's FP32 network: its latency (one picture in eight views, one picture each in turn, all compiled anew
in every round), its ratio to the shipped INT8 network beside it, and what `quantize.gate` says of it on the
split val, in one view, evenly drawn, so that the figures differ from those of the shipped gate, which has
all of it in eight.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import nncf
import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as ops

from benchmarks.environment import machine, spread, write
from benchmarks.speed.hand_over import hand_over_ns
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.ir import ir_of
from edgeskin.network.engine import Engine, available_threads, instruction_set
from quantize import ptq
from quantize.export import averages_as_pooling
from quantize.fitting.rules import fit_variant, labels_of
from quantize.gate import compare
from quantize.inference import CONSOLE, Images, load, prepare
from train.data.split import assign_splits
from train.data.table import read_table, select
from train.evaluate.outputs import Outputs

CALIBRATION_IMAGES = 150
METHOD = "bias-corrected temperature"
WARM_UP, REPEATS = 3, 20
SHIPPED = "shipped"
Model = openvino.Model
Make = Callable[[Model, Images], Model]


def quantized(
    model: Model,
    images: Images,
    ignored: Callable[[Model], Sequence[str]] = ptq.left_in_fp32,
    preset: nncf.QuantizationPreset = nncf.QuantizationPreset.MIXED,
    overflow_fix: nncf.OverflowFix = nncf.OverflowFix.ENABLE,
) -> Model:
    """As `quantize.ptq.quantize` and its storing of weights, but for what is told."""
    chosen = ptq.settings(len(images)) | {"preset": preset}
    chosen["advanced_parameters"].overflow_fix = overflow_fix
    left = list(ignored(model))
    scope = nncf.IgnoredScope(names=left)
    dataset = nncf.Dataset(images, lambda image: image[None])
    int8 = nncf.quantize(model, dataset, ignored_scope=scope, fast_bias_correction=True, **chosen)
    return ptq.store_weights_as_int8(int8, left)


def depthwise_too(model: Model) -> list[str]:
    """What is left in FP32, and every depthwise convolution."""
    depthwise = [node for node in ptq.convolutions(model) if node.get_type_name() == "GroupConvolution"]
    return list({*ptq.left_in_fp32(model), *(node.get_friendly_name() for node in depthwise)})


def scalings_too(model: Model) -> list[str]:
    """The convolutions alone: squeeze-excite's averages and scalings are quantized as NNCF likes."""
    convolutions = {node.get_friendly_name() for node in ptq.convolutions(model)}
    return [name for name in ptq.left_in_fp32(model) if name in convolutions]


def excite_too(model: Model) -> list[str]:
    """The first convolutions alone; NNCF still leaves those of squeeze-excite if it knows their average."""
    return ptq.left_in_fp32(model)[: ptq.FIRST_IN_FP32]


def excite_convolutions_too(model: Model) -> list[str]:
    """All but squeeze-excite's convolutions, as `quantize` of 0.8.0 would have left it."""
    squeezed = set(scalings_too(model)) - set(excite_too(model))
    return [name for name in ptq.left_in_fp32(model) if name not in squeezed]


def pooling(model: Model) -> Model:
    """As `quantize.export` spells averages since the bundle was made."""
    return averages_as_pooling(model.clone())


def swish_apart(model: Model) -> Model:
    """Each Swish spelt as x * sigmoid(x), as some exporters do."""
    spelt = model.clone()
    for node in spelt.get_ordered_ops():
        if node.get_type_name() == "Swish":
            x = node.input_value(0)
            openvino.utils.replace_node(node, ops.multiply(x, ops.sigmoid(x)))
    spelt.validate_nodes_and_infer_types()
    return spelt


def spelt_otherwise(
    spell: Callable[[Model], Model],
    model: Model,
    images: Images,
    left: Callable[[Model], Sequence[str]] = ptq.left_in_fp32,
) -> Model:
    """Quantized after the spelling, what stays in FP32 chosen before it: no more and no less than without."""
    names = left(model)
    return quantized(spell(model), images, lambda _: names)


VARIANTS: dict[str, Make] = {
    "its recipe anew": quantized,
    "performance preset": partial(quantized, preset=nncf.QuantizationPreset.PERFORMANCE),
    "weights in full range": partial(quantized, overflow_fix=nncf.OverflowFix.DISABLE),
    "the first convolutions in INT8 too": partial(quantized, ignored=partial(ptq.left_in_fp32, first=0)),
    "depthwise in FP32": partial(quantized, ignored=depthwise_too),
    "squeeze-excite's averages and scalings in INT8": partial(quantized, ignored=scalings_too),
    "averages as pooling": partial(spelt_otherwise, pooling),
    "averages as pooling, depthwise in FP32": partial(spelt_otherwise, pooling, left=depthwise_too),
    "averages as pooling, squeeze-excite's convolutions in INT8": partial(
        spelt_otherwise, pooling, left=excite_convolutions_too
    ),
    "averages as pooling, all of squeeze-excite in INT8": partial(spelt_otherwise, pooling, left=excite_too),
    "SiLU as x * sigmoid(x)": partial(spelt_otherwise, swish_apart),
}


def engine_of(model: Model, folder: Path) -> tuple[bytes, bytes]:
    """The bytes that an engine takes."""
    openvino.save_model(model, folder / "variant.xml")
    return (folder / "variant.xml").read_bytes(), (folder / "variant.bin").read_bytes()


def profile(xml: bytes, weights: bytes, image: Images, runs: int = 20) -> dict[str, dict[str, float]]:
    """Milliseconds a batch of four views, by kind of node and its kernel's precision."""
    core = openvino.Core()
    model = core.read_model(xml, weights)
    shape = model.input(0).partial_shape
    shape[0] = 4
    model.reshape(shape)
    options = {
        "PERF_COUNT": True,
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": available_threads(),
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    batch = np.repeat(image[None], 4, axis=0)
    total: Counter[str] = Counter()
    for turn in range(WARM_UP + runs):
        request.infer([batch])
        if turn >= WARM_UP:
            for node in request.get_profiling_info():
                kernel = "INT8" if node.exec_type.lower().endswith(("_i8", "_u8")) else "FP32"
                total[f"{node.node_type}, {kernel}"] += node.real_time.total_seconds()
    whole = sum(total.values())
    return {
        kind: {"ms": 1e3 * seconds / runs, "share": seconds / whole}
        for kind, seconds in total.most_common()
        if seconds / whole >= 0.005
    }


def quickest_profile(
    xml: bytes, weights: bytes, image: Images, tries: int = 5
) -> dict[str, dict[str, float]]:
    """Of several: cores may come to lie on two caches meanwhile (`benchmarks.speed.hand_over`)."""
    profiles = [profile(xml, weights, image) for _ in range(tries)]
    return min(profiles, key=lambda kinds: sum(kind["ms"] for kind in kinds.values()))


def main() -> None:
    """Measure, print and write benchmarks/results/variants.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="judge on every so many image of val")
    wanted = parser.parse_args()
    bundle = open_bundle()
    manifest = bundle.manifest
    seed = manifest.training["seed"]
    samples = assign_splits(read_table(wanted.data, manifest.classes), seed=seed)
    val = select(samples, "val")[:: wanted.every]
    known = ptq.stratified(select(samples, "train"), seed)[:CALIBRATION_IMAGES]
    labels = labels_of(val, manifest.classes, manifest.cancer_classes)
    parts = {name: (bundle.read(f"{name}.xml"), bundle.read(f"{name}.bin")) for name in ("fp32", "int8")}
    fp32 = openvino.Core().read_model(*parts["fp32"])
    networks = {"fp32": parts["fp32"], SHIPPED: parts["int8"]}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        calibration, judged = (
            load(prepare([sample.image for sample in some], manifest.preprocessing, folder / f"{name}.npy"))
            for name, some in (("calibration", known), ("val", val))
        )
        profiles = {name: quickest_profile(*of, judged[0]) for name, of in parts.items()}
        for name, make in VARIANTS.items():
            CONSOLE.print(name)
            with redirect_stdout(sys.stderr):
                networks[name] = engine_of(make(fp32, calibration), folder)
        times, hand_over = in_turn(networks, judged[0], wanted.rounds)
        said = {name: outputs_of(of, judged) for name, of in networks.items()}
    fitted = {name: fit_variant(outputs, labels, METHOD) for name, outputs in said.items()}
    rows = {}
    for name, outputs in said.items():
        reference = (said["fp32"].logits, fitted["fp32"])
        gate = compare(instruction_set(), labels, reference, (outputs.logits, fitted[name]))
        rows[name] = {
            "ms": spread(times[name].ravel().tolist()),
            "times_shipped": np.median(times[name] / times[SHIPPED], axis=1).tolist(),
            "bytes": sum(map(len, networks[name])),
            "cancer_auroc": gate.int8.auroc,
            "lost": len(gate.lost),
            "gained": len(gate.gained),
            "p_cancer_99": gate.shift.p99,
            "logit_rmse": gate.logit_rmse,
            "failed": [check.name for check in gate.checks if not check.passed],
        }
        print(name, rows[name])
    result = {
        "command": f"python -m benchmarks.evaluation.quantization_ablation --data DIR --rounds {wanted.rounds} "
        f"--every {wanted.every}",
        "unit": "milliseconds, one picture in eight views; the profile's are of a batch of four; "
        "times_shipped: medians of the ratios of pictures in turn, one a round",
        "machine": machine("openvino", "nncf", "numpy"),
        "isa": instruction_set(),
        "bundle_sha256": bundle.sha256,
        "images": len(val),
        "hand_over_ns": hand_over,
        "profiles": profiles,
        "results": rows,
    }
    print(write("variants", result))


def in_turn(
    networks: dict[str, tuple[bytes, bytes]], image: Images, rounds: int
) -> tuple[dict[str, npt.NDArray[np.float64]], list[float | None]]:
    """Milliseconds of each, (rounds, REPEATS), and nanoseconds from core to core through it all."""
    times = {name: np.empty((rounds, REPEATS)) for name in networks}
    hand_over = []
    for turn in range(rounds):
        engines = {name: Engine(ir_of(*parts), views=8) for name, parts in networks.items()}
        for repeat in range(-WARM_UP, REPEATS):
            hand_over.append(hand_over_ns())
            for name in list(engines)[:: -1 if repeat % 2 else 1]:
                engines[name].infer(image)  # what the caches hold is then its own
                started = time.perf_counter()
                engines[name].infer(image)
                if repeat >= 0:
                    times[name][turn, repeat] = 1e3 * (time.perf_counter() - started)
        del engines
    return times, hand_over


def outputs_of(network: tuple[bytes, bytes], images: Images) -> Outputs:
    """Logits in one view, (n, 1, C)."""
    engine = Engine(ir_of(*network), views=8)
    parts = [engine.infer_each(images[at : at + 32]).view_logits for at in range(0, len(images), 32)]
    return Outputs(np.concatenate(parts)[:, None])


if __name__ == "__main__":
    main()
