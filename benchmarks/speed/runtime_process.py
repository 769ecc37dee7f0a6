"""One way to run the network, in a process of its own, told by `benchmarks.speed.runtimes` what to measure.

    python -m benchmarks.speed.runtime_process NAME FOLDER THREADS

Reads one JSON command a line and prints one JSON answer a line. FOLDER holds what `benchmarks.speed.runtime_models`
converted. Every way takes the same prepared pictures, uint8 (8, s, s, 3), and gives logits (8, C).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

VIEWS, BY = 8, 4
"""Every way but those of one picture at a time runs by four, which is the quickest for each, or within its
noise: on 2 threads of an AVX2 EPYC by 1, 2, 4, 8 ONNX Runtime took 265, 203, 206 and 203 ms for eight views,
torch 507, 389, 326 and 350, compiled 412, 348, 282 and 287; OpenVINO's are in results/batches.json."""
Network = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
Answers = Callable[[Sequence[Path]], list[float]]
"""P(cancer) of photos, from their files."""
Load = Callable[[Path, int], tuple[Network, Answers]]


def edgeskin(_: Path, threads: int, precision: str, bundle: str | None = None, streams: int = 1) -> Any:
    """The runtime itself: its engine, and its whole assessment with the gates and all that is told."""
    from edgeskin import Classifier

    classifier = Classifier(bundle, precision, threads, streams=streams)  # type: ignore[arg-type]

    def answers(photos: Sequence[Path]) -> list[float]:
        return [answered(result) for result in classifier.assess_many(photos)]

    return lambda batch: classifier.engine.infer_each(batch).view_logits, answers


def answered(result: Any) -> float:
    """P(cancer) of an Assessment; what a gate turned away would be timed without the network."""
    if result.status != "assessed":
        raise RuntimeError(f"{result.image}: {result.status}, not assessed; measure with another picture")
    return float(result.cancer_probability)


def small_square(photo: Path, size: int) -> npt.NDArray[np.uint8]:
    """All of a file decoded, turned to RGB, its centre square cut and resized by area: (size, size, 3)."""
    import cv2

    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    side = min(image.shape[:2])
    top, left = ((whole - side) // 2 for whole in image.shape[:2])
    square = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def naive(folder: Path, threads: int, load: Callable[[Path, int], Network]) -> Any:
    """What somebody writes around a network: `small_square`, eight views, softmax; no gates."""
    network = load(folder, threads)
    told = json.loads((folder / "peers.json").read_text())

    def answer(photo: Path) -> float:
        resized = small_square(photo, told["size"])
        views = [np.rot90(one, turn) for one in (resized, resized[:, ::-1]) for turn in range(4)]
        logits = network(np.stack(views)).mean(axis=0)
        odds = np.exp(logits - logits.max())
        return float(odds[told["cancer"]].sum() / odds.sum())

    return network, lambda photos: [answer(photo) for photo in photos]


def by_four(run: Network) -> Network:
    """A network of batches of four on any multiple of it."""
    return lambda batch: np.concatenate([run(part) for part in np.split(batch, len(batch) // BY)])


def openvino(name: str, cached: bool = False) -> Callable[[Path, int], Network]:
    """As `benchmark_app -hint latency -infer_precision f32 -nireq 1 -api sync`; or with its own cache."""

    def load(folder: Path, threads: int) -> Network:
        # Before its import, so that it neither writes into the home folder nor posts.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino as ov

        core = ov.Core()
        model = core.read_model(folder / f"{name}.xml")
        shape = model.input(0).partial_shape
        shape[0] = BY
        model.reshape(shape)
        options = latency(threads) | ({"CACHE_DIR": str(folder / "openvino")} if cached else {})
        request = core.compile_model(model, "CPU", options).create_infer_request()
        return by_four(lambda part: request.infer([part], share_inputs=True)["logits"].copy())

    return load


def latency(threads: int) -> dict[str, Any]:
    """OpenVINO's options for one picture soonest, in float32 where the graph is."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }


def onnxruntime(name: str) -> Callable[[Path, int], Network]:
    """CPUExecutionProvider, sequential, all graph optimizations: its defaults."""

    def load(folder: Path, threads: int) -> Network:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(folder / f"{name}.onnx", options, ["CPUExecutionProvider"])
        return by_four(lambda part: session.run(["logits"], {"image": part})[0])

    return load


def torch(compiled: bool) -> Callable[[Path, int], Network]:
    """timm's network in channels-last, as it is or through torch.compile with its weights frozen in."""

    def load(folder: Path, threads: int) -> Network:
        import torch as pt
        from safetensors.torch import load_file

        from train.config import ModelConfig
        from train.models.lesion_net import LesionNet, ServedNet

        pt.set_num_threads(threads)
        told = json.loads((folder / "peers.json").read_text())
        net = LesionNet(ModelConfig(told["backbone"]), told["classes"])
        net.load_state_dict(load_file(folder / "network.safetensors"))
        served: Any = ServedNet(net).eval().to(memory_format=pt.channels_last)
        if compiled:
            served = pt.compile(served, options={"freezing": True})

        def run(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            with pt.no_grad():  # inference mode cannot be frozen
                logits: npt.NDArray[np.float32] = served(pt.from_numpy(batch))[0].numpy()
            return logits

        return by_four(run)

    return load


def model_api(name: str) -> Callable[[Path, int], Network]:
    """OpenVINO model_api's adapter; its classifier takes one picture of one view at a time."""

    def load(folder: Path, threads: int) -> Network:
        # Its other adapter imports these where they are there, as they are beside its peers.
        for other in ("openvino_telemetry", "onnx", "onnxruntime"):
            sys.modules[other] = None  # type: ignore[assignment]
        import openvino as ov
        from model_api.adapters import OpenvinoAdapter

        adapter = OpenvinoAdapter(
            ov.Core(),
            str(folder / f"{name}.xml"),
            # A fresh one: the default is shared, and changed.
            model_parameters={"input_layouts": "image:NHWC"},
            plugin_config=latency(threads),
            max_num_requests=1,
        )
        size = json.loads((folder / "peers.json").read_text())["size"]
        adapter.reshape_model({"image": [BY, size, size, 3]})
        adapter.load_model()
        return by_four(lambda part: adapter.infer_sync({"image": part})["logits"].copy())

    return load


def ncnn(folder: Path, threads: int) -> Network:
    """Float32 throughout, a view at a time: its Mat has no batch."""
    import ncnn as nc

    net = nc.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(folder / "net.ncnn.param")) or net.load_model(str(folder / "net.ncnn.bin")):
        raise RuntimeError("ncnn cannot read the network")
    told = json.loads((folder / "peers.json").read_text())

    def one(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        sides = (told["size"], told["size"])
        mat = nc.Mat.from_pixels(np.ascontiguousarray(image), nc.Mat.PixelType.PIXEL_RGB, *sides)
        mat.substract_mean_normalize(
            [255 * mean for mean in told["mean"]], [1 / 255 / s for s in told["std"]]
        )
        with net.create_extractor() as extractor:
            extractor.input("in0", mat)
            code, out = extractor.extract("out0")
            if code:
                raise RuntimeError(f"ncnn: extract gave {code}")
            return np.array(out, dtype=np.float32)

    return lambda batch: np.stack([one(image) for image in batch])


def litert(folder: Path, threads: int) -> Network:
    """XNNPACK, which is its default, a view at a time."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "net.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    (entry,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()

    def one(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        interpreter.set_tensor(entry["index"], image)
        interpreter.invoke()
        logits: npt.NDArray[np.float32] = interpreter.get_tensor(out["index"])  # a copy
        return logits

    return lambda batch: np.concatenate([one(image) for image in np.split(batch, len(batch))])


WAYS: dict[str, Load] = {
    "edgeskin int8": partial(edgeskin, precision="int8"),
    "edgeskin fp32": partial(edgeskin, precision="fp32"),
    "edgeskin int8, two streams": partial(edgeskin, precision="int8", streams=2),
    "edgeskin lite int8": partial(edgeskin, precision="int8", bundle="lite"),
    "openvino int8": partial(naive, load=openvino("int8")),
    "openvino fp32": partial(naive, load=openvino("fp32")),
    "openvino int8, cached": partial(naive, load=openvino("int8", cached=True)),
    "onnxruntime fp32": partial(naive, load=onnxruntime("fp32")),
    "onnxruntime int8": partial(naive, load=onnxruntime("int8")),
    "torch eager": partial(naive, load=torch(compiled=False)),
    "torch compile": partial(naive, load=torch(compiled=True)),
    "model_api int8": partial(naive, load=model_api("int8")),
    "ncnn fp32": partial(naive, load=ncnn),
    "litert fp32": partial(naive, load=litert),
}
"""All of the default bundle's network, but for the lite row."""


def peak_mb() -> float:
    """The highest resident memory of this process, MB (10^6 bytes); Linux."""
    status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    return int(status.split()[0]) * 1024 / 1e6


def laps(run: Callable[[], Any], repeats: int) -> list[float]:
    """Milliseconds of each run."""
    times = [time.perf_counter()]
    for _ in range(repeats):
        run()
        times.append(time.perf_counter())
    return [1e3 * lap for lap in np.diff(times).tolist()]


def obey(command: dict[str, Any], network: Network, answers: Answers) -> Any:
    """One measurement."""
    match command["do"]:
        case "infer":
            batch = np.load(command["pictures"])[0]
            return laps(lambda: network(batch), command["repeats"])
        case "answer":
            return laps(lambda: answers([Path(command["photo"])]), command["repeats"])
        case "folder":
            (milliseconds,) = laps(lambda: answers([Path(command["photo"])] * command["photos"]), 1)
            return 1e3 * command["photos"] / milliseconds
        case "logits":
            return [network(batch).mean(axis=0).tolist() for batch in np.load(command["pictures"])]
        case "peak":
            return peak_mb()
    raise ValueError(command)


def main() -> None:
    """Load, say so, and obey until the input ends."""
    name, folder, threads = sys.argv[1:]
    # Libraries print what they like; answers have a way of their own.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    network, answers = WAYS[name](Path(folder), int(threads))
    print(json.dumps("ready"), file=channel, flush=True)
    for line in sys.stdin:
        print(json.dumps(obey(json.loads(line), network, answers)), file=channel, flush=True)
    os._exit(0)  # as edgeskin's command line ends, without taking libraries down


if __name__ == "__main__":
    main()
