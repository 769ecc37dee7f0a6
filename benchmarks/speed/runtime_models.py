"""The default bundle's network in the formats of other runtimes, all with the same weights."""

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

from benchmarks.environment import ROOT
from edgeskin.bench.agreement import read_labels
from edgeskin.bundle.bundle import Bundle
from edgeskin.imaging.dihedral import views_of
from edgeskin.imaging.preprocess import preprocess
from edgeskin.photo.decode import load_photo
from quantize.export import ONNX, export
from train.models.backbones import IMAGENET
from train.models.from_bundle import network_from_bundle
from train.models.lesion_net import LesionNet, ServedNet

CALIBRATION_IMAGES = 100
VIEWS = 8
Views = npt.NDArray[np.uint8]


def prepared_views(bundle: Bundle, data: Path | None, split: str, count: int) -> Views:
    """Prepare photos in their views.

    Args:
        bundle: Whose preprocessing is used.
        data: A labelled folder; without one, synthetic lesions are drawn.
        split: Of the folder, whose photos are taken at even distances.
        count: How many photos.

    Returns:
        uint8 (count, 8, s, s, 3).
    """
    settings, classes = bundle.manifest.preprocessing, bundle.manifest.classes
    if data is None:
        draw = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]
        rng = np.random.default_rng(len(split))
        images = [draw(classes[number % len(classes)], rng, settings.size) for number in range(count)]
    else:
        labelled, _ = read_labels(data, split, classes)
        evenly = labelled[:: max(1, len(labelled) // count)][:count]
        images = [load_photo(path, settings.size).image for path, _ in evenly]
    return np.stack([views_of(preprocess(image, settings), VIEWS) for image in images])


def convert(bundle: Bundle, data: Path | None, folder: Path) -> None:
    """Write the network in every format, and network.json, which describes it.

    Args:
        bundle: Whose network is converted.
        data: A labelled folder for ONNX Runtime's calibration; without one, synthetic lesions.
        folder: Where the files go.
    """
    for name in ("fp32", "int8"):
        for part in ("xml", "bin"):
            (folder / f"{name}.{part}").write_bytes(bundle.read(f"{name}.{part}"))
    known = prepared_views(bundle, data, "train", CALIBRATION_IMAGES)[:, 0]
    net = write_torch(bundle, known, folder)
    size = bundle.manifest.preprocessing.size
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


def write_torch(bundle: Bundle, known: Views, folder: Path) -> LesionNet:
    """Write the network for torch, and network.json, which describes it.

    Args:
        bundle: Whose network is written.
        known: Images for the statistics of its normalization layers, uint8 (n, s, s, 3).
        folder: Where the files go.

    Returns:
        The network, in evaluation mode.
    """
    record = bundle.manifest.training.run
    assert record is not None
    images = torch.from_numpy(known).permute(0, 3, 1, 2)
    net = network_from_bundle(bundle, bundle.manifest.classes, images).eval()
    state = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(state, folder / "network.safetensors")
    facts = {
        "size": bundle.manifest.preprocessing.size,
        "backbone": record.config["model"]["backbone"],
        "classes": len(bundle.manifest.classes),
        "cancer": [bundle.manifest.classes.index(name) for name in bundle.manifest.cancer_classes],
        "mean": IMAGENET.mean,
        "std": IMAGENET.std,
    }
    (folder / "network.json").write_text(json.dumps(facts))
    return net


class Logits(nn.Module):
    """A network's first output alone."""

    def __init__(self, served: ServedNet) -> None:
        """Wrap a network."""
        super().__init__()
        self.served = served

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (n, C) of images, uint8 (n, s, s, 3)."""
        logits: Tensor = self.served(image)[0]
        return logits


def quantize_onnx(folder: Path, known: Views) -> None:
    """Quantize fp32.onnx to int8.onnx by ONNX Runtime's static quantization.

    Settings follow its documentation for CNNs on x86: QDQ, signed, one scale per channel, after its own
    preprocessing.

    Args:
        folder: Of both files.
        known: Calibration images, uint8 (n, s, s, 3).
    """

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
