"""Fine-tuning of a micro-network: the error falls, and what stays in FP32 is what PTQ leaves."""

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch

from quantize import ptq, qat
from quantize.export import OUTPUTS
from quantize.inference import Images, predict
from tests.quantize.test_ptq import is_int8, logits, squeeze_excite
from train.config import TrainConfig
from train.data.table import Sample
from train.models.lesion_net import ServedNet


# OpenVINO converts a torch network with torch.jit, which is deprecated and warns of NNCF's constants.
@pytest.mark.filterwarnings("ignore:.torch.jit.*. is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_fine_tuning_reduces_the_error(
    served: ServedNet,
    fp32: openvino.Model,
    train_images: Images,
    train_samples: list[Sample],
    micro_config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # NNCF's quantizers in eager torch; compiling the fast ones would take longer than all tests.
    from nncf.torch.quantization.extensions import QuantizedFunctionsCPU
    from nncf.torch.quantization.reference import ReferenceQuantizedFunctions

    monkeypatch.setattr(QuantizedFunctionsCPU, "_loaded_namespace", ReferenceQuantizedFunctions)
    left = qat.left_in_fp32(served, torch.tensor(train_images[0][None]))
    assert sum("conv2d" in name for name in left) == ptq.FIRST_IN_FP32 + squeeze_excite(served)
    reference, errors = logits(fp32, train_images), []
    before = {name: value.clone() for name, value in served.state_dict().items()}
    for steps in (1, 12):
        options = qat.FineTuning(batch_size=8, learning_rate=1e-3, steps=steps)
        with torch.compiler.set_stance("force_eager"):
            model = qat.fine_tune(served, train_images, train_samples, micro_config, 0, options)
        errors.append(np.mean((logits(model, train_images) - reference) ** 2))
    assert errors[1] < errors[0]
    assert [output.get_any_name() for output in model.outputs] == list(OUTPUTS)
    assert ptq.count_quantized(model).int8_convolutions > 0
    assert "ReduceMean" not in [node.get_type_name() for node in model.get_ops()]
    assert not set(ptq.left_in_fp32(model)) & {
        n.get_friendly_name() for n in ptq.convolutions(model) if is_int8(n)
    }
    # The FP32 network, which is the teacher, stays as it was.
    assert all(torch.equal(before[name], value) for name, value in served.state_dict().items())
    xml = tmp_path / "int8.xml"
    openvino.save_model(ptq.store_weights_as_int8(model, ptq.left_in_fp32(model)), xml)
    np.save(tmp_path / "images.npy", train_images)
    assert predict(xml, tmp_path / "images.npy").logits.shape == (len(train_images), 8)
