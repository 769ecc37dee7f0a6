"""From a trained run to a bundle: ONNX, OpenVINO IR, INT8, the recall gate, calibration, packing."""

import sys

# OpenVINO and NNCF would write a client id under the home folder and post to the network on import.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
