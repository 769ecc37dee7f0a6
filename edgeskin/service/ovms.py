"""A model repository for OpenVINO Model Server: one view of the network, with calibrated probabilities.

Model Server decodes pictures with OpenCV, to BGR, and runs a graph; nothing else of a `Classifier` happens
there. The graph that is written here takes BGR and calibrates. The README beside it says what is missing.
"""

import json
import re
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

import edgeskin.network.engine  # noqa: F401  (keeps OpenVINO's telemetry out)
from edgeskin import NOTICE, __version__
from edgeskin.bundle.bundle import Bundle
from edgeskin.bundle.manifest import DecisionRules
from edgeskin.errors import BundleError, ResourceError, SettingError, lack_of_resources
from edgeskin.results import Precision

VERSION = "1"
"""Model Server numbers the versions of a model. The README names the bundle's."""
CONFIG, README = "config.json", "README.md"


def write_repository(folder: Path, bundle: Bundle, precision: Precision) -> Path:
    """Write ``models/NAME/1/model.xml`` and ``.bin``, ``config.json`` and ``README.md``.

    Args:
        folder: Of the repository; made if need be.
        bundle: Whose network to write; the model has its name.
        precision: Of the network.

    Returns:
        The path of ``config.json``.

    Raises:
        SettingError: The folder is not empty, or is not a folder. Or the bundle's preprocessing has steps
            that the graph does not have.
        BundleError: A file is altered, the network does not run, or the bundle's name cannot name a folder.
        ResourceError: The folder cannot be written, or there is too little memory.
    """
    import openvino

    name = bundle.manifest.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BundleError(
            f"{bundle.folder}: the bundle's name {name!r} cannot be that of a folder and an address; pack it "
            "anew with a name of letters, digits, '.', '_' and '-'"
        )
    _require_plain_preprocessing(bundle)
    _require_empty(folder)
    model = served_graph(bundle, precision)
    version = folder / "models" / name / VERSION
    try:
        version.mkdir(parents=True)
        openvino.save_model(model, version / "model.xml", compress_to_fp16=False)
        (folder / README).write_text(_readme(bundle, precision), encoding="utf-8")
        config = folder / CONFIG
        config.write_text(json.dumps(_config(name), indent=2) + "\n", encoding="utf-8")
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise ResourceError(
            f"{folder}: cannot be written ({reason}); make room, or name another folder", "not_written"
        ) from error
    return config


def served_graph(bundle: Bundle, precision: Precision) -> Any:
    """The graph that Model Server runs, an `openvino.Model`.

    Input: ``image``, uint8 BGR (n, s, s, 3). Outputs: ``logits`` (n, C), ``probabilities`` (n, C) after
    calibration, ``cancer_probability`` (n,).

    Raises:
        BundleError: A file is altered, or the network has another form.
        ResourceError: There is too little memory.
    """
    import openvino
    from openvino import opset13 as ops

    manifest = bundle.manifest
    try:
        network = openvino.Core().read_model(*bundle.ir(precision).read())
        (image,) = network.get_parameters()
        # A Gather of its own: the colour conversion of OpenVINO's PrePostProcessor was lost from the INT8
        # network when its shape was fixed (openvino 2026.4.1).
        readers = list(image.output(0).get_target_inputs())
        rgb = ops.gather(image, ops.constant(np.array([2, 1, 0])), ops.constant(3))
        for reader in readers:
            reader.replace_source_output(rgb.output(0))
        image.set_layout(openvino.Layout("NHWC"))
        logits = network.output("logits").get_node().input_value(0)
        probabilities = _calibrated(logits, manifest.decision_rules[precision])
        cancers = ops.constant(np.flatnonzero(manifest.decision_rules[precision].is_cancer))
        cancer = ops.reduce_sum(ops.gather(probabilities, cancers, ops.constant(1)), ops.constant(1))
        outputs = {"logits": logits, "probabilities": probabilities.output(0)}
        outputs["cancer_probability"] = cancer.output(0)
        for name, output in outputs.items():
            output.get_tensor().set_names({name})
        # Without the features and feature maps, of which a picture has 75,000 numbers.
        return openvino.Model([ops.result(output) for output in outputs.values()], [image], manifest.name)
    except (RuntimeError, ValueError, MemoryError) as error:
        bundle_error = BundleError(f"{bundle.folder}: OpenVINO cannot read this network: {error}")
        raise lack_of_resources(error) or bundle_error from error


def _calibrated(logits: Any, rules: DecisionRules) -> Any:
    """The node of `edgeskin.decision.calibration.probabilities`: (n, C) -> (n, C)."""
    from openvino import opset13 as ops

    weights = ops.constant(np.array(rules.calibration.weights, np.float32))
    bias = ops.constant(np.array(rules.calibration.bias, np.float32))
    scores = ops.matmul(ops.log_softmax(logits, 1), weights, False, True)
    return ops.softmax(ops.add(scores, bias), 1)


def _require_plain_preprocessing(bundle: Bundle) -> None:
    settings = bundle.manifest.preprocessing
    if settings.color_constancy != "none" or settings.hair_removal:
        raise SettingError(
            f"{bundle.folder}: this network was trained with color_constancy {settings.color_constancy!r} "
            f"and hair_removal {settings.hair_removal}, which Model Server does not do; use `edgeskin serve`"
        )


def _require_empty(folder: Path) -> None:
    try:
        is_free = not folder.exists() or not any(folder.iterdir())
    except OSError as error:
        raise SettingError(f"{folder}: not a folder that can be read ({error.strerror})") from error
    if not is_free:
        raise SettingError(f"{folder}: not empty; name a new folder")


def _config(name: str) -> dict[str, Any]:
    """What Model Server starts with; ``base_path`` is relative to the file."""
    model = {
        "name": name,
        "base_path": f"models/{name}",
        # Left alone, Model Server may take a GPU, and a CPU with bf16 would run the float32 network in bf16.
        "target_device": "CPU",
        "plugin_config": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
        "model_version_policy": {"latest": {"num_versions": 1}},
    }
    return {"model_config_list": [{"config": model}], "monitoring": {"metrics": {"enable": True}}}


def _readme(bundle: Bundle, precision: Precision) -> str:
    manifest = bundle.manifest
    return _README.substitute(
        name=manifest.name,
        version=manifest.version,
        sha256=bundle.sha256,
        precision=precision,
        size=manifest.preprocessing.size,
        classes=", ".join(manifest.classes),
        cancers=", ".join(manifest.cancer_classes),
        count=len(manifest.classes),
        edgeskin=__version__,
        notice=NOTICE,
    )


_README = Template("""\
# $name for OpenVINO Model Server

$notice

Bundle $name $version (SHA-256 of its manifest: `$sha256`), network `$precision`, written by edgeskin
$edgeskin.

## What it does not do

This is one view of the network, with calibrated probabilities. Compared with `edgeskin serve` there is:

- no centre crop: cut the square yourself, as below
- no averaging over the bundle's views of a picture, so its answers are less accurate
- no quality gate: a blurred or dark picture gets probabilities like any other
- no scope gate: so does a picture of something else
- no threshold, risk or action: the bundle's thresholds belong to its own averaged answers, and do not hold
  for these
- no prior correction, prediction set, confidence, uncertainty, explanation or list of known limitations

A probability from here is not an assessment. Use `edgeskin serve` where a person acts on the answer.

## Run it

Model Server has neither passwords nor encryption, and listens on all addresses by default: keep
it on this machine, or behind a proxy that has both.

```
docker run --rm --read-only --tmpfs /tmp -v "$$PWD":/edgeskin:ro -p 127.0.0.1:8000:8000 \\
  openvino/model_server:latest --config_path /edgeskin/config.json --rest_port 8000
```

Its metrics are at `/metrics` of the same port.

## Input and outputs

| Name | Type | Shape | |
|---|---|---|---|
| `image` | UINT8 | [-1, $size, $size, 3] | BGR, 0 to 255 |
| `image` | BYTES | [-1] | In place of it: PNG or JPEG files of $size by $size pixels |
| `logits` | FP32 | [-1, $count] | $classes |
| `probabilities` | FP32 | [-1, $count] | Calibrated, summing to 1; in the same order |
| `cancer_probability` | FP32 | [-1] | The sum over $cancers |

The colours are BGR, as OpenCV and Model Server decode pictures. A tensor in RGB gets wrong answers without
an error. A picture file must have $size by $size pixels and three channels. Do not set `shape` or
`batch_size` in config.json: Model Server would then resize any picture to a square and distort it.

The probabilities of `fp32` are those of edgeskin for one view, within 1e-5. Those of `int8` may differ by a
few hundredths, since kernels for other shapes and layouts round differently.

## Client

```python
import sys

import cv2
import numpy as np


def prepared(path):
    \"\"\"The centre square of a photo, BGR, uint8 ($size, $size, 3).\"\"\"
    photo = cv2.imread(path)
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photo[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side > $size else cv2.INTER_CUBIC
    return cv2.resize(square, ($size, $size), interpolation=method)


if __name__ == "__main__":
    import tritonclient.http as client  # pip install "tritonclient[http]"

    image = client.InferInput("image", [1, $size, $size, 3], "UINT8")
    image.set_data_from_numpy(prepared(sys.argv[1])[np.newaxis])
    answer = client.InferenceServerClient("127.0.0.1:8000").infer("$name", [image])
    print("P(cancer), one view:", answer.as_numpy("cancer_probability")[0])
```
""")
