"""torch -> ONNX -> OpenVINO IR, with the normalisation inside the graph; parity of the three."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino
import torch
from torch import Tensor, nn

from edgeskin.errors import EdgeskinError
from quantize.inference import Images, predict
from train.model import IMAGENET_MEAN, IMAGENET_STD, LesionNet

OUTPUTS = ("logits", "features", "fmap")
MAX_LOGIT_DIFFERENCE = 1e-3


class ExportError(EdgeskinError):
    """A network that does not come out of the conversion as it went in."""


@dataclass(frozen=True)
class Parity:
    """Largest |logit difference| from torch over real images. Storing weights as FP16 is no conversion
    error and has no limit; ``fp16_storage`` is what it costs. other_class: images of another class by
    ONNX or FP32 IR (must be none), and by the FP16-stored IR."""

    images: int
    onnx: float
    fp32_ir: float
    fp16_storage: float
    other_class: int
    other_class_fp16_storage: int


class ServedNet(nn.Module):
    """The network as it is served: uint8 NHWC RGB in, normalised inside, three outputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: LesionNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image: uint8 (n, s, s, 3). Returns logits (n, C), features (n, F), fmap (n, F, h, w)."""
        return self.net.outputs((image.permute(0, 3, 1, 2).float() - self.mean) / self.std)


def to_onnx(served: ServedNet, size: int, path: Path) -> None:
    """Write the network as ONNX for one image of size x size, and check the file."""
    # The torch.export-based exporter: its SiLU and squeeze-excite come out in the form whose pattern NNCF
    # knows and leaves alone, as those of the deprecated TorchScript-based one did.
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    with torch.no_grad():
        torch.onnx.export(
            served,
            (image,),
            path,
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    onnx.checker.check_model(path, full_check=True)


def to_ir(path: Path) -> openvino.Model:
    """The ONNX file as an OpenVINO model. Raises ExportError when it is not what the runtime expects."""
    return expect_interface(openvino.convert_model(path))


def expect_interface(model: openvino.Model) -> openvino.Model:
    """The model itself, if it takes one uint8 image (1, s, s, 3) and gives the three outputs, all static."""
    names = [output.get_any_name() for output in model.outputs]
    image = model.input(0)
    if names != list(OUTPUTS) or model.is_dynamic() or image.get_element_type() != openvino.Type.u8:
        raise ExportError(
            f"the converted network takes {image} and gives {model.outputs}, not uint8 (1, s, s, 3) and the "
            f"static outputs {', '.join(OUTPUTS)}; choose another backbone or other versions of torch and openvino"
        )
    return model


def check_parity(
    served: ServedNet, onnx_file: Path, fp32: openvino.Model, stored: Path, images: Path
) -> Parity:
    """Run the same images through torch, ONNX Runtime, the FP32 IR, and the IR ``stored`` with FP16 weights.

    images: .npy of uint8 (n, s, s, 3). Raises ExportError when ONNX or the FP32 IR differs from torch by more than
    MAX_LOGIT_DIFFERENCE in a logit, or in a class.
    """
    pictures = np.load(images, mmap_mode="r", allow_pickle=False)
    exact = stored.with_name("exact.xml")
    openvino.save_model(fp32, exact, compress_to_fp16=False)
    reference = _torch_logits(served, pictures)
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    others = (
        np.concatenate([session.run(["logits"], {"image": picture[None]})[0] for picture in pictures]),
        predict(exact, images),
        predict(stored, images),
    )
    differences = [float(np.abs(logits - reference).max()) for logits in others]
    changed = [logits.argmax(axis=1) != reference.argmax(axis=1) for logits in others]
    parity = Parity(len(pictures), *differences, int((changed[0] | changed[1]).sum()), int(changed[2].sum()))
    if not max(parity.onnx, parity.fp32_ir) <= MAX_LOGIT_DIFFERENCE or parity.other_class:
        raise ExportError(
            f"conversion changes the network: on {parity.images} images the largest logit difference is "
            f"{parity.onnx:.2g} in ONNX and {parity.fp32_ir:.2g} in the IR (limit {MAX_LOGIT_DIFFERENCE}), "
            f"{parity.other_class} get another class; try other versions of torch, onnx or openvino"
        )
    return parity


def _torch_logits(served: ServedNet, pictures: Images) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        return np.concatenate([served(torch.tensor(picture[None]))[0].numpy() for picture in pictures])
