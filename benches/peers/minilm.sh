#!/usr/bin/env bash
# MiniLM beside ONNX Runtime's WebGPU plugin on lavapipe. usage: minilm.sh MODELS (from scripts/fetch-models)
# See setup.sh for what it installs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
models=$(cd "$1" && pwd)
"$here/setup.sh"
(cd "$root" && cargo build --release)
"$root/scripts/with-vulkan" "$here/ort.sh" "$here/minilm.py" "$models" "$root/target/release/weighbridge"
