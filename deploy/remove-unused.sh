#!/bin/sh
# Remove from OpenVINO's package what a CPU does not need to run a network in OpenVINO's own format.
#
#     sh deploy/remove-unused.sh .../site-packages/openvino
#
# These stay: the CPU plugin, the reader of OpenVINO's format, auto-batching (which compiling looks for) and TBB.
set -eu
openvino=$1
ls "$openvino"/libs/libopenvino_*_cpu_plugin.so >/dev/null # fails where this is not OpenVINO's package
for plugin in auto hetero intel_gpu intel_npu; do
    rm -f "$openvino/libs/libopenvino_${plugin}_plugin.so"
done
rm -f "$openvino/libs/cache.json" # of the GPU plugin
for frontend in gguf jax onnx paddle pytorch tensorflow tensorflow_lite; do
    rm -f "$openvino"/libs/libopenvino_${frontend}_frontend.so.*
    rm -f "$openvino/frontend/$frontend"/*.so
done
rm -f "$openvino"/libs/libopenvino_c.so.* # the interface for C
rm -rf "$openvino/cmake" "$openvino/include" "$openvino/tools"
