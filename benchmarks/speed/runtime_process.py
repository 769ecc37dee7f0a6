"""One runtime of the network in a process of its own, which `benchmarks.speed.runtimes` commands.

    python -m benchmarks.speed.runtime_process NAME FOLDER THREADS

Reads one JSON command per line and prints one JSON answer per line. FOLDER holds the files that
`benchmarks.speed.runtime_models` converts. Every runtime takes the same prepared photos, uint8 (8, s, s, 3),
and returns logits (8, C).
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.speed.rounds import laps

BATCH = 4
"""Views at once, for runtimes that take batches: the fastest number for each, or within its noise.

With two AVX2 threads, eight views by 1, 2, 4 and 8 took ONNX Runtime 265, 203, 206 and 203 ms, torch 507,
389, 326 and 350, and compiled torch 412, 348, 282 and 287; `benchmarks.speed.batches` measures OpenVINO."""
Network = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""From views (n, s, s, 3) to logits (n, C)."""
Assess = Callable[[Sequence[Path]], list[float]]
"""From photo files to P(cancer)."""
LoadNetwork = Callable[[Path, int], Network]
"""From the folder of converted files and a number of threads."""
LoadRuntime = Callable[[Path, int], tuple[Network, Assess]]


def edgeskin(
    folder: Path, threads: int, precision: str, bundle: str | None = None, workers: int = 1
) -> tuple[Network, Assess]:
    """Load edgeskin itself: its engine, and its whole assessment with the gates."""
    from edgeskin import Classifier

    classifier = Classifier(bundle, precision, threads, workers)  # type: ignore[arg-type]

    def assess(photos: Sequence[Path]) -> list[float]:
        return [cancer_probability(assessment) for assessment in classifier.assess_many(photos)]

    return lambda views: classifier.engine.infer_batch(views).logits, assess


def cancer_probability(assessment: Any) -> float:
    """Return P(cancer) of an `Assessment`.

    Raises:
        RuntimeError: A gate refused the photo, so that its time would not include the network.
    """
    if assessment.status != "assessed":
        raise RuntimeError(
            f"{assessment.image}: {assessment.status}, not assessed; measure with another photo"
        )
    return float(assessment.cancer_probability)


def assess_one(classifier: Any, image: Any) -> float:
    """Assess one image with a `Classifier`, which its gates must let through, and return P(cancer)."""
    return cancer_probability(classifier.assess(image))


def decode_whole(photo: Path, size: int) -> npt.NDArray[np.uint8]:
    """Decode a whole file to RGB, cut the centre square and resize it by area: (size, size, 3)."""
    return decode_bytes(photo.read_bytes(), size)


def decode_bytes(content: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Do as `decode_whole` with a file's bytes."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    image = cv2.cvtColor(np.asarray(decoded), cv2.COLOR_BGR2RGB)
    side = min(image.shape[:2])
    top, left = ((whole - side) // 2 for whole in image.shape[:2])
    square = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def minimal(folder: Path, threads: int, load: LoadNetwork) -> tuple[Network, Assess]:
    """Surround a network with the least that gives P(cancer) of files, by `assess_bytes`."""
    network = load(folder, threads)
    assess = assess_bytes(network, folder)
    return network, lambda photos: [assess(photo.read_bytes()) for photo in photos]


def assess_bytes(network: Network, folder: Path) -> Callable[[bytes], float]:
    """Surround a network with decoding, eight views and softmax, without gates: from a file to P(cancer)."""
    facts = json.loads((folder / "network.json").read_text())

    def assess(content: bytes) -> float:
        square = decode_bytes(content, facts["size"])
        views = [np.rot90(one, turns) for one in (square, square[:, ::-1]) for turns in range(4)]
        # By hand, as for all of a runtime's own code: importing edgeskin would count in its time and memory.
        logits = network(np.stack(views)).mean(axis=0)
        odds = np.exp(logits - logits.max())
        return float(odds[facts["cancer"]].sum() / odds.sum())

    return assess


def batched(run: Network) -> Network:
    """Run a network of batches of BATCH on any multiple of it."""
    return lambda views: np.concatenate([run(part) for part in np.split(views, len(views) // BATCH)])


def openvino(name: str, cached: bool = False, **options: Any) -> LoadNetwork:
    """OpenVINO as `benchmark_app -hint latency -infer_precision f32 -nireq 1 -api sync`.

    Args:
        name: Of the .xml and .bin file.
        cached: Whether OpenVINO's own cache is used.
        options: Further settings of OpenVINO.
    """

    def load(folder: Path, threads: int) -> Network:
        # Set before the import, so that it neither writes into the home folder nor posts.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino as ov

        core = ov.Core()
        model = core.read_model(folder / f"{name}.xml")
        shape = model.input(0).partial_shape
        shape[0] = BATCH
        model.reshape(shape)
        cache = {"CACHE_DIR": str(folder / "openvino")} if cached else {}
        compiled = core.compile_model(model, "CPU", latency(threads) | cache | options)
        request = compiled.create_infer_request()
        return batched(lambda part: request.infer([part], share_inputs=True)["logits"].copy())

    return load


def latency(threads: int) -> dict[str, Any]:
    """OpenVINO's options for the lowest latency, in float32 where the graph is."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }


def onnxruntime(name: str) -> LoadNetwork:
    """ONNX Runtime's CPUExecutionProvider with its defaults: sequential, all graph optimizations."""

    def load(folder: Path, threads: int) -> Network:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(folder / f"{name}.onnx", options, ["CPUExecutionProvider"])
        return batched(lambda part: session.run(["logits"], {"image": part})[0])

    return load


def torch(compiled: bool) -> LoadNetwork:
    """Torch with timm's network in channels-last, eager or through torch.compile with frozen weights."""

    def load(folder: Path, threads: int) -> Network:
        import torch as pt
        from safetensors.torch import load_file

        from train.config import ModelConfig
        from train.models.lesion_net import LesionNet, ServedNet

        pt.set_num_threads(threads)
        facts = json.loads((folder / "network.json").read_text())
        net = LesionNet(ModelConfig(facts["backbone"]), facts["classes"])
        net.load_state_dict(load_file(folder / "network.safetensors"))
        served: Any = ServedNet(net).eval().to(memory_format=pt.channels_last)
        if compiled:
            served = pt.compile(served, options={"freezing": True})

        def run(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            with pt.no_grad():  # inference mode cannot be frozen
                logits: npt.NDArray[np.float32] = served(pt.from_numpy(batch))[0].numpy()
            return logits

        return batched(run)

    return load


def model_api(name: str) -> LoadNetwork:
    """OpenVINO model_api's adapter. Its classifier takes one view of one photo at a time."""

    def load(folder: Path, threads: int) -> Network:
        # Its other adapters import these where they are installed, as they are in this environment.
        for other in ("openvino_telemetry", "onnx", "onnxruntime"):
            sys.modules[other] = None  # type: ignore[assignment]
        import openvino as ov
        from model_api.adapters import OpenvinoAdapter

        adapter = OpenvinoAdapter(
            ov.Core(),
            str(folder / f"{name}.xml"),
            # A new dictionary: the default one is shared and changed.
            model_parameters={"input_layouts": "image:NHWC"},
            plugin_config=latency(threads),
            max_num_requests=1,
        )
        size = json.loads((folder / "network.json").read_text())["size"]
        adapter.reshape_model({"image": [BATCH, size, size, 3]})
        adapter.load_model()
        return batched(lambda part: adapter.infer_sync({"image": part})["logits"].copy())

    return load


def ncnn(folder: Path, threads: int) -> Network:
    """Ncnn in float32, a view at a time: its Mat has no batch."""
    import ncnn as nc

    net = nc.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(folder / "net.ncnn.param")) or net.load_model(str(folder / "net.ncnn.bin")):
        raise RuntimeError("ncnn cannot read the network")
    facts = json.loads((folder / "network.json").read_text())

    def one(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        sides = (facts["size"], facts["size"])
        mat = nc.Mat.from_pixels(np.ascontiguousarray(image), nc.Mat.PixelType.PIXEL_RGB, *sides)
        mat.substract_mean_normalize(
            [255 * mean for mean in facts["mean"]], [1 / 255 / s for s in facts["std"]]
        )
        with net.create_extractor() as extractor:
            extractor.input("in0", mat)
            code, out = extractor.extract("out0")
            if code:
                raise RuntimeError(f"ncnn: extract returned {code}")
            return np.array(out, dtype=np.float32)

    return lambda views: np.stack([one(image) for image in views])


def litert(folder: Path, threads: int) -> Network:
    """LiteRT with XNNPACK, its default, a view at a time."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "net.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    (entry,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()

    def one(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        interpreter.set_tensor(entry["index"], image)
        interpreter.invoke()
        logits: npt.NDArray[np.float32] = interpreter.get_tensor(out["index"])  # a copy
        return logits

    return lambda views: np.concatenate([one(image) for image in np.split(views, len(views))])


RUNTIMES: dict[str, LoadRuntime] = {
    "edgeskin int8": partial(edgeskin, precision="int8"),
    "edgeskin fp32": partial(edgeskin, precision="fp32"),
    "edgeskin int8, two workers": partial(edgeskin, precision="int8", workers=2),
    "edgeskin lite int8": partial(edgeskin, precision="int8", bundle="lite"),
    "openvino int8": partial(minimal, load=openvino("int8")),
    "openvino fp32": partial(minimal, load=openvino("fp32")),
    "openvino int8, cached": partial(minimal, load=openvino("int8", cached=True)),
    "onnxruntime fp32": partial(minimal, load=onnxruntime("fp32")),
    "onnxruntime int8": partial(minimal, load=onnxruntime("int8")),
    "torch eager": partial(minimal, load=torch(compiled=False)),
    "torch compile": partial(minimal, load=torch(compiled=True)),
    "model_api int8": partial(minimal, load=model_api("int8")),
    "ncnn fp32": partial(minimal, load=ncnn),
    "litert fp32": partial(minimal, load=litert),
}
"""All run the default bundle's network, except the lite row."""


def peak_mb() -> float:
    """Return the highest resident memory of this process in MB (10^6 bytes), on Linux."""
    status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    return int(status.split()[0]) * 1024 / 1e6


def measure(command: dict[str, Any], network: Network, assess: Assess) -> Any:
    """Carry out one command and return what it measured.

    Raises:
        ValueError: The command is unknown.
    """
    match command["do"]:
        case "infer":
            views = np.load(command["views"])[0]
            return laps(lambda: network(views), command["repeats"])
        case "assess":
            return laps(lambda: assess([Path(command["photo"])]), command["repeats"])
        case "folder":
            (milliseconds,) = laps(lambda: assess([Path(command["photo"])] * command["photos"]), 1)
            return 1e3 * command["photos"] / milliseconds
        case "logits":
            return [network(views).mean(axis=0).tolist() for views in np.load(command["views"])]
        case "peak":
            return peak_mb()
    raise ValueError(command)


def main() -> None:
    """Load the runtime, report that it is ready, and carry out commands until the input ends."""
    name, folder, threads = sys.argv[1:]
    # Libraries print to stdout, so answers go through a channel of their own.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    network, assess = RUNTIMES[name](Path(folder), int(threads))
    print(json.dumps("ready"), file=channel, flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line), network, assess)), file=channel, flush=True)
    os._exit(0)  # as edgeskin's command line ends, without unloading libraries


if __name__ == "__main__":
    main()
