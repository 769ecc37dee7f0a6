"""Where does the network's time go, and would another way to quantize be faster and still pass the gate?

    python -m benchmarks.evaluation.quantization_ablation --data DIR [--rounds 3] [--every 1]

First OpenVINO's own profile of the shipped networks by kind of node, the fastest of five tries. Then recipes
of quantization and other expressions of the graph, each made from the bundle's FP32 network: latency (one
photo in eight views, paired rounds, all networks compiled again in every repetition), its ratio to the
shipped INT8 network, and the verdict of `quantize.gate` on the split val in one view, with 150 calibration
images; the shipped gate has all of it in eight views. --every takes every n-th image of val. Writes
benchmarks/evaluation/results/quantization_ablation.json.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import nncf
import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as ops

from benchmarks.environment import (
    argument_parser,
    hardware,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import paired_rounds, spread
from benchmarks.tables import Table
from edgeskin.bundle.bundle import IR, open_bundle
from edgeskin.network.cpu import available_threads, instruction_set
from edgeskin.network.engine import Engine
from quantize import ptq
from quantize.export import averages_as_pooling
from quantize.fitting.decision_rules import fit_decision_rules
from quantize.fitting.labels import Labels, labels_of
from quantize.gate import compare
from quantize.inference import CONSOLE, Images, load, prepare
from train.data.split import assign_splits
from train.data.table import read_table, select
from train.evaluate.outputs import Outputs

RESULT = result_path(__file__)
CALIBRATION_IMAGES = 150
METHOD = "bias-corrected temperature"
WARM_UP, ROUNDS = 3, 20
SHIPPED = "shipped"
Model: TypeAlias = Any
"""An `openvino.Model`, which has no types."""
Network = tuple[bytes, bytes]
"""An IR: its .xml and its .bin."""
Make = Callable[[Model, Images], Model]


def quantized(
    model: Model,
    images: Images,
    ignored: Callable[[Model], Sequence[str]] = ptq.left_in_fp32,
    preset: nncf.QuantizationPreset = nncf.QuantizationPreset.MIXED,
    overflow_fix: nncf.OverflowFix = nncf.OverflowFix.ENABLE,
) -> Model:
    """Quantize as `quantize.ptq.quantize` does, but for what is passed."""
    chosen = ptq.settings(len(images)) | {"preset": preset}
    chosen["advanced_parameters"].overflow_fix = overflow_fix
    names = list(ignored(model))
    scope = nncf.IgnoredScope(names=names)
    dataset = nncf.Dataset(images, lambda image: image[None])
    int8 = nncf.quantize(model, dataset, ignored_scope=scope, fast_bias_correction=True, **chosen)
    return ptq.store_weights_as_int8(int8, names)


def depthwise_too(model: Model) -> list[str]:
    """Name what stays in FP32, and every depthwise convolution."""
    depthwise = [node for node in ptq.convolutions(model) if node.get_type_name() == "GroupConvolution"]
    return list({*ptq.left_in_fp32(model), *(node.get_friendly_name() for node in depthwise)})


def convolutions_only(model: Model) -> list[str]:
    """Name the convolutions among what stays in FP32; not squeeze-excite's averages and products."""
    convolutions = {node.get_friendly_name() for node in ptq.convolutions(model)}
    return [name for name in ptq.left_in_fp32(model) if name in convolutions]


def first_convolutions_only(model: Model) -> list[str]:
    """Name the first convolutions; NNCF still leaves those of squeeze-excite where it knows their average."""
    return ptq.left_in_fp32(model)[: ptq.FIRST_IN_FP32]


def without_excite_convolutions(model: Model) -> list[str]:
    """Name what stays in FP32, except squeeze-excite's convolutions."""
    excite = set(convolutions_only(model)) - set(first_convolutions_only(model))
    return [name for name in ptq.left_in_fp32(model) if name not in excite]


def with_pooling(model: Model) -> Model:
    """Express averages as AvgPool, as `quantize.export` does."""
    return averages_as_pooling(model.clone())


def with_swish_as_product(model: Model) -> Model:
    """Express each Swish as x * sigmoid(x), as some exporters do."""
    changed = model.clone()
    for node in changed.get_ordered_ops():
        if node.get_type_name() == "Swish":
            x = node.input_value(0)
            openvino.utils.replace_node(node, ops.multiply(x, ops.sigmoid(x)))
    changed.validate_nodes_and_infer_types()
    return changed


def changed_then_quantized(
    change: Callable[[Model], Model],
    model: Model,
    images: Images,
    ignored: Callable[[Model], Sequence[str]] = ptq.left_in_fp32,
) -> Model:
    """Change the graph, then quantize it. What stays in FP32 is named before, so that it is the same."""
    names = ignored(model)
    return quantized(change(model), images, lambda _: names)


RECIPES: dict[str, Make] = {
    "shipped recipe, repeated": quantized,
    "performance preset": partial(quantized, preset=nncf.QuantizationPreset.PERFORMANCE),
    "full weight range": partial(quantized, overflow_fix=nncf.OverflowFix.DISABLE),
    "first convolutions in INT8": partial(quantized, ignored=partial(ptq.left_in_fp32, first=0)),
    "depthwise convolutions in FP32": partial(quantized, ignored=depthwise_too),
    "squeeze-excite averages and products in INT8": partial(quantized, ignored=convolutions_only),
    "averages as AvgPool": partial(changed_then_quantized, with_pooling),
    "averages as AvgPool, depthwise convolutions in FP32": partial(
        changed_then_quantized, with_pooling, ignored=depthwise_too
    ),
    "averages as AvgPool, squeeze-excite convolutions in INT8": partial(
        changed_then_quantized, with_pooling, ignored=without_excite_convolutions
    ),
    "averages as AvgPool, all of squeeze-excite in INT8": partial(
        changed_then_quantized, with_pooling, ignored=first_convolutions_only
    ),
    "SiLU as x * sigmoid(x)": partial(changed_then_quantized, with_swish_as_product),
}


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3, help=f"repetitions of {ROUNDS} paired rounds")
    parser.add_argument("--every", type=int, default=1, help="evaluate every n-th image of val")
    options = parser.parse_args()
    bundle = open_bundle()
    manifest, seed = bundle.manifest, bundle.manifest.training.seed or 0
    samples = assign_splits(read_table(options.data, manifest.classes), seed=seed)
    val = select(samples, "val")[:: options.every]
    known = ptq.stratified(select(samples, "train"), seed)[:CALIBRATION_IMAGES]
    shipped = {name: (bundle.read(f"{name}.xml"), bundle.read(f"{name}.bin")) for name in ("fp32", "int8")}
    networks = {"fp32": shipped["fp32"], SHIPPED: shipped["int8"]}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        calibration, images = (
            load(prepare([sample.image for sample in some], manifest.preprocessing, folder / f"{name}.npy"))
            for name, some in (("calibration", known), ("val", val))
        )
        profiles = {name: fastest_profile(network, images[0]) for name, network in shipped.items()}
        fp32 = openvino.Core().read_model(*shipped["fp32"])
        for name, make in RECIPES.items():
            CONSOLE.print(name)
            with redirect_stdout(sys.stderr):
                networks[name] = saved(make(fp32, calibration), folder)
        times = latencies(networks, images[0], options.rounds)
        outputs = {name: run(network, images) for name, network in networks.items()}
    labels = labels_of(val, manifest.classes, manifest.cancer_classes)
    evaluated = evaluate(outputs, labels)
    content = result(
        f"python -m benchmarks.evaluation.quantization_ablation --data DIR --rounds {options.rounds} "
        f"--every {options.every}",
        *("openvino", "nncf", "numpy"),
        unit="milliseconds, one photo in eight views; profiles: a batch of four views; times_shipped: median "
        "ratio of paired rounds, one for each repetition",
        images=len(val),
        profiles=profiles,
        results={
            name: {
                "ms": spread(times[name].ravel().tolist()),
                "times_shipped": np.median(times[name] / times[SHIPPED], axis=1).tolist(),
                "bytes": sum(map(len, network)),
                **evaluated[name],
            }
            for name, network in networks.items()
        },
    )
    print(table(content).grid(), profile_table(content).grid(), sep="\n\n")
    write_result(RESULT, content)


def saved(model: Model, folder: Path) -> Network:
    """Return the bytes of a model, which pass through a file in a folder."""
    openvino.save_model(model, folder / "recipe.xml")
    return (folder / "recipe.xml").read_bytes(), (folder / "recipe.bin").read_bytes()


def profile(network: Network, image: Images, runs: int = 20) -> dict[str, dict[str, float]]:
    """Profile a network on a batch of four views, by kind of node and its kernel's precision.

    Args:
        network: The IR.
        image: uint8 (s, s, 3).
        runs: That are averaged.

    Returns:
        Milliseconds and share of the whole, of kinds that take 0.5% or more.
    """
    core = openvino.Core()
    model = core.read_model(*network)
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
    seconds: Counter[str] = Counter()
    for number in range(WARM_UP + runs):
        request.infer([batch])
        if number >= WARM_UP:
            for node in request.get_profiling_info():
                kernel = "INT8" if node.exec_type.lower().endswith(("_i8", "_u8")) else "FP32"
                seconds[f"{node.node_type}, {kernel}"] += node.real_time.total_seconds()
    whole = sum(seconds.values())
    return {
        kind: {"ms": 1e3 * value / runs, "share": value / whole}
        for kind, value in seconds.most_common()
        if value / whole >= 0.005
    }


def fastest_profile(network: Network, image: Images, tries: int = 5) -> dict[str, dict[str, float]]:
    """Return the fastest of several profiles, which other processes disturbed the least."""
    profiles = [profile(network, image) for _ in range(tries)]
    return min(profiles, key=lambda kinds: sum(kind["ms"] for kind in kinds.values()))


def latencies(
    networks: Mapping[str, Network], image: Images, repetitions: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Time networks in paired rounds: milliseconds, (repetitions, ROUNDS)."""
    times: dict[str, list[list[float]]] = {name: [] for name in networks}
    for _ in range(repetitions):
        runs = {
            name: partial(Engine(IR.from_bytes(*network), views=8).infer, image)
            for name, network in networks.items()
        }
        for name, values in paired_rounds(runs, ROUNDS, warm_up=WARM_UP, prime=True).items():
            times[name].append(values)
    return {name: np.array(values) for name, values in times.items()}


def run(network: Network, images: Images) -> Outputs:
    """Run a network on images in one view: logits (n, 1, C)."""
    engine = Engine(IR.from_bytes(*network), views=8)
    logits = [engine.infer_batch(images[at : at + 32]).view_logits for at in range(0, len(images), 32)]
    return Outputs(np.concatenate(logits))


def evaluate(outputs: Mapping[str, Outputs], labels: Labels) -> dict[str, dict[str, Any]]:
    """Compare every network with FP32 by the gate, each with rules fitted to it."""
    rules = {name: fit_decision_rules(of, labels, METHOD) for name, of in outputs.items()}
    evaluated = {}
    for name, of in outputs.items():
        reference = (outputs["fp32"].view_logits, rules["fp32"])
        gate = compare(instruction_set(), labels, reference, (of.view_logits, rules[name]))
        evaluated[name] = {
            "cancer_auroc": gate.int8.auroc,
            "lost": len(gate.lost),
            "gained": len(gate.gained),
            "p_cancer_99": gate.shift.p99,
            "logit_rmse": gate.logit_rmse,
            "failed": [check.name for check in gate.checks if not check.passed],
        }
    return evaluated


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the recipes of a result, the committed one by default."""
    content = content or read_result(RESULT)
    rows = [
        (
            name,
            f"{row['ms']['median']:.1f}",
            f"{median(row['times_shipped']):.3f} ({min(row['times_shipped']):.3f} to "
            f"{max(row['times_shipped']):.3f})",
            f"{row['bytes'] / 1e6:.1f}",
            f"{row['cancer_auroc']:.4f}",
            f"{row['lost']}; {row['gained']}",
            f"{row['p_cancer_99']:.3f}",
            f"{row['logit_rmse']:.2f}",
            ", ".join(row["failed"]) or ("passed" if name != "fp32" else ""),
        )
        for name, row in content["results"].items()
    ]
    return Table(
        "Quantization recipes",
        "Recipes of quantization and expressions of the graph, each compared with FP32 by the gate on "
        f"{content['images']} validation images in one view, so that even the shipped network can fail by "
        f"chance. {hardware(content)}.",
        content["command"],
        (
            "recipe",
            "8 views, ms",
            "over the shipped INT8, paired (range)",
            "MB",
            "cancer AUROC",
            "cancers lost; gained",
            "change of P(cancer), 99%",
            "logit RMSE",
            "failed checks",
        ),
        rows,
    )


def profile_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the profiles of a result, the committed one by default."""
    content = content or read_result(RESULT)
    int8, fp32 = (content["profiles"][precision] for precision in ("int8", "fp32"))
    rows = []
    for kind in {**int8, **fp32}:
        cells = (
            f"{of[kind]['ms']:.1f} ({of[kind]['share']:.0%})" if kind in of else "" for of in (int8, fp32)
        )
        rows.append((kind, *cells))
    return Table(
        "Time by kind of node",
        "OpenVINO's own profile of the shipped networks on a batch of four views: milliseconds and share "
        f"by kind of node and its kernel. {hardware(content)}.",
        content["command"],
        ("kind of node, kernel", "INT8, ms", "FP32, ms"),
        rows,
    )


if __name__ == "__main__":
    main()
