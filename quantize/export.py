"""Exports a network from torch to ONNX and OpenVINO IR, normalization included, and checks their parity."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from openvino import opset13 as ops

from edgeskin.errors import EdgeskinError
from edgeskin.imaging.dihedral import average_views, views_of
from quantize.inference import load, predict
from train.models.lesion_net import ServedNet

ONNX = "network.onnx"
EXACT, FP32 = "exact.xml", "fp32.xml"
OUTPUTS = ("logits", "features", "fmap")
MAX_LOGIT_DIFFERENCE = 1e-3


class ExportError(EdgeskinError):
    """A conversion that changes the network."""


@dataclass(frozen=True)
class Parity:
    """Largest |logit difference| of each conversion from torch, on validation images.

    Attributes:
        images: Number of images.
        onnx: Of ONNX; at most MAX_LOGIT_DIFFERENCE.
        fp32_ir: Of the IR with float32 weights; at most MAX_LOGIT_DIFFERENCE.
        fp16_storage: Of the IR with FP16 weights, which the bundle holds. It has no limit, since rounding the
            weights is no conversion error.
        other_class: Images that ONNX or the float32 IR give another class; always 0.
        other_class_fp16_storage: Images that the IR with FP16 weights gives another class.
    """

    images: int
    onnx: float
    fp32_ir: float
    fp16_storage: float
    other_class: int
    other_class_fp16_storage: int


def export(served: ServedNet, size: int, folder: Path) -> openvino.Model:
    """Export a network to ``network.onnx``, ``exact.xml`` (float32 weights) and ``fp32.xml`` (FP16 weights).

    Args:
        served: The network, in evaluation mode.
        size: Side s of its images, in pixels.
        folder: Where the files are written.

    Returns:
        The network with float32 weights.

    Raises:
        ExportError: The converted network lacks the interface that the runtime expects.
    """
    # The exporter of torch.export writes SiLU in a form that NNCF's patterns match, as its deprecated
    # predecessor did; `quantize.ptq.count_quantized` shows it. The batch size stays open for the engine to
    # set. It is traced with two images: with one, the pooling would drop the others of a batch.
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
    openvino.save_model(model, folder / EXACT, compress_to_fp16=False)
    openvino.save_model(model, folder / FP32, compress_to_fp16=True)
    return model


def averages_as_pooling(model: openvino.Model) -> openvino.Model:
    """Replace every mean over height and width by average pooling with one window, in place.

    The function is the same, and its INT8 network is 4 to 12% faster on AVX2
    (`benchmarks.evaluation.quantization_ablation`). Squeeze-excite has such a mean in each block.

    Returns:
        The model itself.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "ReduceMean" or not node.get_attributes()["keep_dims"]:
            continue
        axes = node.input_value(1).get_node()
        shape = node.get_input_partial_shape(0)
        if axes.get_type_name() != "Constant" or shape.rank.is_dynamic or len(shape) != 4:
            continue
        spatial = sorted(axis % 4 for axis in axes.data.ravel().tolist()) == [2, 3]
        if spatial and shape[2].is_static and shape[3].is_static:
            window = [shape[2].get_length(), shape[3].get_length()]
            pooled = ops.avg_pool(node.input_value(0), window, [0, 0], [0, 0], window, True)
            pooled.set_friendly_name(node.get_friendly_name())
            openvino.utils.replace_node(node, pooled)
    model.validate_nodes_and_infer_types()
    return model


def expect_interface(model: openvino.Model) -> openvino.Model:
    """Check that a model maps uint8 images (?, s, s, 3) to OUTPUTS, with a dynamic batch size only.

    Returns:
        The model itself.

    Raises:
        ExportError: It has another interface.
    """
    names = [output.get_any_name() for output in model.outputs]
    image = model.input(0)
    shapes = [port.get_partial_shape() for port in (image, *model.outputs)]
    is_batch_dynamic = all(
        [side.is_dynamic for side in shape] == [True] + [False] * (len(shape) - 1) for shape in shapes
    )
    if names != list(OUTPUTS) or not is_batch_dynamic or image.get_element_type() != openvino.Type.u8:
        raise ExportError(
            f"the converted network has the input {image} and the outputs {model.outputs}; expected uint8 "
            f"(?, s, s, 3) and {', '.join(OUTPUTS)}, where only the batch size is dynamic; try another "
            "backbone, or other versions of torch and openvino"
        )
    return model


def check_parity(served: ServedNet, folder: Path, images: Path, views: int) -> Parity:
    """Compare the files that `export` wrote with the network in torch.

    Args:
        served: The network, in evaluation mode.
        folder: Folder of the files.
        images: An .npy file of uint8 RGB (n, s, s, 3).
        views: Number of dihedral views whose logits are averaged.

    Raises:
        ExportError: In ONNX or the float32 IR a logit differs by more than MAX_LOGIT_DIFFERENCE, or an image
            has another class.
    """
    prepared = load(images)
    batches = [np.stack(views_of(image, views)) for image in prepared]
    with torch.no_grad():
        by_torch = [served(torch.tensor(batch))[0].numpy() for batch in batches]
    session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    by_session = [session.run(["logits"], {"image": batch})[0] for batch in batches]
    reference, by_onnx = (average_views(np.stack(logits), axis=1) for logits in (by_torch, by_session))
    by_exact, by_fp16 = (predict(folder / xml, images, views=views).logits for xml in (EXACT, FP32))
    classes, onnx_classes, exact_classes, fp16_classes = (
        logits.argmax(axis=1) for logits in (reference, by_onnx, by_exact, by_fp16)
    )
    parity = Parity(
        images=len(prepared),
        onnx=float(np.abs(by_onnx - reference).max()),
        fp32_ir=float(np.abs(by_exact - reference).max()),
        fp16_storage=float(np.abs(by_fp16 - reference).max()),
        other_class=int(((onnx_classes != classes) | (exact_classes != classes)).sum()),
        other_class_fp16_storage=int((fp16_classes != classes).sum()),
    )
    # Written so that nan does not pass.
    is_exact = parity.onnx <= MAX_LOGIT_DIFFERENCE and parity.fp32_ir <= MAX_LOGIT_DIFFERENCE
    if not is_exact or parity.other_class:
        raise ExportError(
            f"conversion changes the network: on {parity.images} images the largest logit difference is "
            f"{parity.onnx:.2g} in ONNX and {parity.fp32_ir:.2g} in the IR (limit {MAX_LOGIT_DIFFERENCE}), "
            f"and {parity.other_class} get another class; try other versions of torch, onnx or openvino"
        )
    return parity
