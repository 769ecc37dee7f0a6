"""Turn a training run into a bundle: export it, quantize it to INT8, pass the gate, fit the rules, pack."""

import sys

# Importing OpenVINO or NNCF would otherwise write a client id to the home folder and contact a server.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
