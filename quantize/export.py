"""torch -> ONNX -> OpenVINO IR, with the normalisation inside the graph; parity of the three."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from openvino import opset13 as ops

from edgeskin.errors import EdgeskinError
from edgeskin.imaging.dihedral import views_of
from quantize.inference import load, predict
from train.models.lesion_net import ServedNet

ONNX = "network.onnx"
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


def export(served: ServedNet, size: int, folder: Path) -> openvino.Model:
    """Write network.onnx, fp32.xml and .bin (weights as FP16), exact.xml and .bin (weights as they are).

    Returns the exact network. Raises ExportError when it is not what the runtime expects.
    """
    # The torch.export-based exporter: its SiLU comes out in the form that NNCF's patterns know, as that of
    # its deprecated predecessor did; `quantize.ptq.count_quantized` shows it. The batch stays open for the
    # engine to set: traced with one image, the pooling would drop the others of a batch.
    image = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with torch.no_grad():
        torch.onnx.export(
            served,
            (image,),
            folder / ONNX,
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("images")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    onnx.checker.check_model(folder / ONNX, full_check=True)
    model = expect_interface(averages_as_pooling(openvino.convert_model(folder / ONNX)))
    openvino.save_model(model, folder / "exact.xml", compress_to_fp16=False)
    openvino.save_model(model, folder / "fp32.xml", compress_to_fp16=True)
    return model


def averages_as_pooling(model: openvino.Model) -> openvino.Model:
    """The model itself, each average over height and width, such as squeeze-excite's, spelt as pooling by one
    window: the same function, whose INT8 network is 4 to 12 % quicker on AVX2 (`benchmarks.evaluation.quantization_ablation`).
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "ReduceMean" or not node.get_attributes()["keep_dims"]:
            continue
        axes = node.input_value(1).get_node()
        shape = node.get_input_partial_shape(0)
        if axes.get_type_name() != "Constant" or shape.rank.is_dynamic or len(shape) != 4:
            continue
        over = sorted(axis % 4 for axis in axes.data.ravel().tolist())
        if over == [2, 3] and shape[2].is_static and shape[3].is_static:
            window = [shape[2].get_length(), shape[3].get_length()]
            pooled = ops.avg_pool(node.input_value(0), window, [0, 0], [0, 0], window, True)
            pooled.set_friendly_name(node.get_friendly_name())
            openvino.utils.replace_node(node, pooled)
    model.validate_nodes_and_infer_types()
    return model


def expect_interface(model: openvino.Model) -> openvino.Model:
    """The model itself, if it takes uint8 images (?, s, s, 3) and gives the three outputs, just n open."""
    names = [output.get_any_name() for output in model.outputs]
    image = model.input(0)
    shapes = [port.get_partial_shape() for port in (image, *model.outputs)]
    open_batch = all(
        [side.is_dynamic for side in shape] == [True] + [False] * (len(shape) - 1) for shape in shapes
    )
    if names != list(OUTPUTS) or not open_batch or image.get_element_type() != openvino.Type.u8:
        raise ExportError(
            f"the converted network takes {image} and gives {model.outputs}, not uint8 (?, s, s, 3) and "
            f"{', '.join(OUTPUTS)}, open in the batch alone; try another backbone, or versions of torch and "
            "openvino"
        )
    return model


def check_parity(served: ServedNet, folder: Path, images: Path, views: int) -> Parity:
    """Run images through torch and the three files that `export` wrote into the folder, as they are served.

    images: .npy of uint8 (n, s, s, 3). views: run together and averaged. Raises ExportError when ONNX or the
    exact IR differ from torch by more than MAX_LOGIT_DIFFERENCE in a logit, or in a class.
    """
    pictures = load(images)
    batches = [np.stack(views_of(picture, views)) for picture in pictures]
    with torch.no_grad():
        reference = np.stack([served(torch.tensor(batch))[0].mean(dim=0).numpy() for batch in batches])
    session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    converted = (
        np.stack([session.run(["logits"], {"image": batch})[0].mean(axis=0) for batch in batches]),
        predict(folder / "exact.xml", images, views=views).logits,
        predict(folder / "fp32.xml", images, views=views).logits,
    )
    differences = [float(np.abs(logits - reference).max()) for logits in converted]
    by_onnx, by_ir, by_fp16 = (logits.argmax(axis=1) != reference.argmax(axis=1) for logits in converted)
    parity = Parity(len(pictures), *differences, int((by_onnx | by_ir).sum()), int(by_fp16.sum()))
    # Asked so that nan does not pass.
    exact = parity.onnx <= MAX_LOGIT_DIFFERENCE and parity.fp32_ir <= MAX_LOGIT_DIFFERENCE
    if not exact or parity.other_class:
        raise ExportError(
            f"conversion changes the network: on {parity.images} images the largest logit difference is "
            f"{parity.onnx:.2g} in ONNX and {parity.fp32_ir:.2g} in the IR (limit {MAX_LOGIT_DIFFERENCE}), "
            f"and {parity.other_class} get another class; try other versions of torch, onnx or openvino"
        )
    return parity
