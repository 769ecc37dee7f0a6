"""The default bundle's network in the forms that its peers take, all of the same weights."""

import importlib.util
import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime.quantization as ort_quantization
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from edgeskin.bench.measure import read_labels
from edgeskin.bundle.bundle import Bundle
from edgeskin.imaging.dihedral import views_of
from edgeskin.imaging.preprocess import preprocess
from edgeskin.photo.decode import load_photo
from quantize.export import ONNX, export
from train.models.from_bundle import unpacked
from train.models.lesion_net import IMAGENET_MEAN, IMAGENET_STD, ServedNet

CALIBRATION_IMAGES = 100
Views = npt.NDArray[np.uint8]


def pictures(bundle: Bundle, data: Path | None, split: str, count: int) -> Views:
    """Prepared pictures in their views, (count, 8, s, s, 3): evenly from a split, or drawn without data."""
    settings, classes = bundle.manifest.preprocessing, bundle.manifest.classes
    if data is None:
        draw = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "draw_lesion.py"))["draw_lesion"]
        rng = np.random.default_rng(len(split))
        images = [draw(classes[number % len(classes)], rng, settings.size) for number in range(count)]
    else:
        labelled, _ = read_labels(data, split, classes)
        evenly = labelled[:: max(1, len(labelled) // count)][:count]
        images = [load_photo(path, settings.size).image for path, _ in evenly]
    prepared = [preprocess(image, settings) for image in images]
    return np.stack([views_of(image, 8) for image in prepared])


def convert(bundle: Bundle, data: Path | None, folder: Path) -> None:
    """Write every form into the folder, and peers.json, which tells what torch has to build."""
    for name in ("fp32", "int8"):
        for part in ("xml", "bin"):
            (folder / f"{name}.{part}").write_bytes(bundle.read(f"{name}.{part}"))
    known = pictures(bundle, data, "train", CALIBRATION_IMAGES)[:, 0]
    scaled = torch.from_numpy(known).permute(0, 3, 1, 2) / 255
    normalized = functional.normalize(scaled, IMAGENET_MEAN, IMAGENET_STD)
    net = unpacked(bundle, bundle.manifest.classes, normalized).eval()
    state = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(state, folder / "network.safetensors")
    size = bundle.manifest.preprocessing.size
    told = bundle.manifest.training["run"]["config"]["model"]
    facts = {
        "size": size,
        "backbone": told["backbone"],
        "classes": len(bundle.manifest.classes),
        "cancer": [bundle.manifest.classes.index(name) for name in bundle.manifest.cancer_classes],
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
    }
    (folder / "peers.json").write_text(json.dumps(facts))
    exported = folder / "export"
    exported.mkdir()
    served = ServedNet(net).eval()
    export(served, size, exported)
    shutil.copyfile(exported / ONNX, folder / "fp32.onnx")
    quantize_onnx(folder, known)
    if importlib.util.find_spec("pnnx"):
        import pnnx

        example = torch.zeros(1, 3, size, size)
        pnnx.export(net, str(folder / "net.pt"), inputs=example, check_trace=False, fp16=False)
    if importlib.util.find_spec("litert_torch"):
        import litert_torch

        image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
        litert_torch.convert(Logits(served), (image,)).export(str(folder / "net.tflite"))


class Logits(nn.Module):
    """The first output alone."""

    def __init__(self, served: ServedNet) -> None:
        super().__init__()
        self.served = served

    def forward(self, image: Tensor) -> Tensor:
        """image: uint8 (n, s, s, 3). Returns logits (n, C)."""
        logits: Tensor = self.served(image)[0]
        return logits


def quantize_onnx(folder: Path, known: Views) -> None:
    """ONNX Runtime's static quantization as its documentation advises for CNNs on x86: QDQ, signed, a scale a
    channel, after its own preprocessing."""

    class Reader(ort_quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = iter(known)

        def get_next(self) -> dict[str, Views] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image[None]}

    quant_pre_process(folder / "fp32.onnx", folder / "prepared.onnx")
    ort_quantization.quantize_static(
        folder / "prepared.onnx",
        folder / "int8.onnx",
        Reader(),
        quant_format=ort_quantization.QuantFormat.QDQ,
        per_channel=True,
        # Without VNNI, sums of full-range products saturate, as in the project's own quantization.
        reduce_range=True,
    )
