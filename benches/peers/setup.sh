#!/usr/bin/env bash
# Makes what ort.sh needs, under target/: ONNX Runtime with its WebGPU plugin, and a small Vulkan layer: Dawn, which the
# plugin is made of, insists on two texture features that lavapipe does not report, and the layer reports them for it.
# On Debian and Ubuntu installs gcc and Vulkan's headers where there are none.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
packages=(onnx==1.23.2 onnxruntime-ep-webgpu==0.4.0)

if ! echo '#include <vulkan/vk_layer.h>' | gcc -E - >/dev/null 2>&1; then
    as_root=()
    [[ $(id -u) -eq 0 ]] || as_root=(sudo)
    if ! command -v apt-get >/dev/null; then
        echo "$0: install gcc and Vulkan's headers with your package manager." >&2
        exit 1
    fi
    echo "$0: installing gcc, libc6-dev and libvulkan-dev" >&2
    ${as_root[@]+"${as_root[@]}"} apt-get -qq update
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends gcc libc6-dev libvulkan-dev >/dev/null
fi
"$root/scripts/with-onnxruntime" true
venv=$root/target/onnxruntime-venv
if [[ $(cat "$venv/peers" 2>/dev/null) != "${packages[*]}" ]]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    printf '%s\n' "${packages[*]}" >"$venv/peers"
fi
mkdir -p "$root/target/dawn_shim"
cp "$here/dawn_shim/layer.json" "$root/target/dawn_shim/"
gcc -O2 -shared -fPIC -fvisibility=hidden -o "$root/target/dawn_shim/libshim.so" "$here/dawn_shim/shim.c"
