#!/usr/bin/env bash
# MiniLM beside ONNX Runtime's WebGPU plugin on lavapipe. usage: minilm.sh MODELS (from scripts/fetch-models)
# Needs gcc and Vulkan's headers (libvulkan-dev): Dawn insists on two texture features that lavapipe does not report, which
# a small layer reports for it. Makes target/peers-venv.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
models=$(cd "$1" && pwd)
venv=$root/target/peers-venv
[ -d "$venv" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q onnxruntime==1.32.0 onnxruntime-ep-webgpu==0.4.0 numpy
mkdir -p "$root/target/dawn_shim"
cp "$here/dawn_shim/layer.json" "$root/target/dawn_shim/"
gcc -O2 -shared -fPIC -fvisibility=hidden -o "$root/target/dawn_shim/libshim.so" "$here/dawn_shim/shim.c"
(cd "$root" && cargo build --release)
export VK_LAYER_PATH=$root/target/dawn_shim VK_INSTANCE_LAYERS=VK_LAYER_PEERBENCH_shim
export ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER=1
"$root/scripts/with-vulkan" "$venv/bin/python" "$here/minilm.py" "$models" "$root/target/release/weighbridge"
