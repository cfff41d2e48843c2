#!/usr/bin/env bash
# Runs Python with ONNX Runtime and its WebGPU plugin: `ort.sh [SCRIPT [ARGUMENT...]]`, ort.py if none is named.
# setup.sh has made what it needs. The layer is for ONNX Runtime alone: nobody else is to see features that are not there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export VK_LAYER_PATH=$root/target/dawn_shim VK_INSTANCE_LAYERS=VK_LAYER_PEERBENCH_shim
export ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER=1
[[ $# -gt 0 ]] || set -- "$here/ort.py"
exec "$root/target/onnxruntime-venv/bin/python" "$@"
