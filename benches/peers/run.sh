#!/usr/bin/env bash
# weighbridge beside burn, ONNX Runtime, gemm and candle: prints a table of ratios.
#
#   benches/peers/run.sh                              all, about 5 minutes; before the first, burn's build: 24 of a core
#   benches/peers/run.sh --markdown FILE              writes the tables there too
#   benches/peers/run.sh --rounds 3 "f16 512x512x512" fewer turns, and only problems whose name contains that
#   PEERS="onnxruntime" benches/peers/run.sh          without burn; "burn" is without ONNX Runtime, "" without both
#
# See setup.sh for what it installs. Where there are several Vulkan drivers, set VK_DRIVER_FILES to one of them: each peer
# chooses its adapter by itself.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
peers=${PEERS-burn onnxruntime}
features=() ort=()
[[ $peers == *burn* ]] || features=(--no-default-features)
if [[ $peers == *onnxruntime* ]]; then
    "$here/setup.sh"
    ort=(--onnxruntime "$here/ort.sh")
fi
(cd "$here" && cargo build --release ${features[@]+"${features[@]}"})
# What burn tuned in an earlier run is not to be found: its first call is to say what tuning takes.
export CUBECL_AUTOTUNE_CACHE=0
target=${CARGO_TARGET_DIR:-$here/target}
"$root/scripts/with-vulkan" "$target/release/peers" ${ort[@]+"${ort[@]}"} "$@"
