#!/usr/bin/env bash
# All of what a GPU is measured by, in one command of at most 8 minutes (the build apart), every result checked.
#
#   benches/gpu.sh                       writes benches/results/YYYY-MM-DD-gpu-ADAPTER.md
#   benches/gpu.sh --models DIR          MiniLM too, from scripts/fetch-models DIR
#   benches/gpu.sh --small               tries the command itself, on a software adapter too: small problems, and the
#                                        record goes to target/
#
# WGPU_ADAPTER_NAME chooses the adapter. Where they are there, cuBLAS is measured on the same card (libcublas and
# libcudart, of CUDA or of pip's nvidia packages), and burn (benches/peers, once it is built).
set -euo pipefail
cd "$(dirname "$0")/.."

small="" models=""
while [[ $# -gt 0 ]]; do
    case $1 in
        --small) small=1 ;;
        --models) models=$(cd "$2" && pwd) && shift ;;
        *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done

target=${CARGO_TARGET_DIR:-target}
say() { echo "gpu.sh: $*" >&2; }

say "building"
# This builds the binary too. The path of the bench's executable is the last thing that cargo says.
bench=$(cargo bench --bench gpu --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
[[ -n $bench ]] || { say "cargo did not say where the bench is"; exit 1; }
weighbridge=$target/release/weighbridge
if [[ -n $small ]]; then
    # Where there is no adapter, a software one will do.
    run() { scripts/with-vulkan timeout "$@"; }
else
    run() { timeout "$@"; }
fi

adapter=$(run 60 "$weighbridge" profile mlp --no-tuned --repeat 1)
adapter=${adapter%%$'\n'*}
say "$adapter"
if [[ -z $small && $adapter == *"(Cpu)"* ]]; then
    say "this is no GPU; --small tries the command on a software adapter"
    exit 1
fi
slug=$(echo "${adapter%%:*}" | tr '[:upper:]' '[:lower:]' | sed 's/(.*//; s/[^a-z0-9]\{1,\}/-/g; s/^-//; s/-$//')
record=benches/results/$(date +%F)-gpu-$slug.md
[[ -z $small ]] || record=$target/gpu-small.md
part=$record.part
trap 'rm -f "$part"' EXIT
SECONDS=0

{
    echo "# What a GPU does: ${adapter%%:*}"
    echo
    echo "$(date +%F), \`benches/gpu.sh${small:+ --small}\`, commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)."
    command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv
    echo
} > "$part"

# A section that must succeed, or the record is not written.
must() { say "$1, at $SECONDS s" && shift && "$@" >> "$part"; }

must "kernels" run 240 "$bench" --bench ${small:+--small}

cublas() {
    echo
    echo "## cuBLAS on the same card"
    echo
    if ! command -v python3 >/dev/null; then
        echo "cuBLAS was left out: there is no python3."
        return
    fi
    # 3: there is none, and it said so.
    timeout 60 python3 benches/cublas.py 1024 2048 4096 || { local status=$?; [[ $status -eq 3 ]]; }
}
must "cuBLAS" cublas

# Agreement with fp32, accuracy and cosines, in a report of `compare`; it has to have some.
right() {
    awk -F'[:,]' -v top1="$2" -v agree="$3" -v cosine="$4" '
        /"top1": [0-9]/ { n++; if ($2 + 0 < top1) bad = bad $0 }
        /"agreement": [0-9]/ { n++; if ($2 + 0 < agree) bad = bad $0 }
        /"cosine": / { n++; if ($2 + 0 < cosine) bad = bad $0 }
        END { if (bad != "" || n == 0) { print "gpu.sh: wrong results, or none:" bad > "/dev/stderr"; exit 1 } }' "$1"
}

# The table of `compare`, without the pictures that follow it, once its report is found right.
compared() {
    local json=$target/gpu-compare.json
    run 100 "$weighbridge" compare "$@" --no-tuned --json "$json" | awk '!over; /GPU: weights/ { over = 1 }'
}

# Where the time goes, in each mode, without and with what was tuned: the sums by op and what follows.
profiled() {
    local name=$1 shape=$2 mode tuned
    for mode in fp32 half static dynamic; do
        for tuned in untuned tuned; do
            [[ $tuned == untuned || -s $tune_file ]] || continue
            printf '\n%s %s, %s, %s:\n\n```text\n' "$(basename "$name" .onnx)" "$shape" "$mode" "$tuned"
            WEIGHBRIDGE_TUNE_FILE=$tune_file run 60 "$weighbridge" profile "$name" "${@:3}" ${shape:+--shape "$shape"} \
                $([[ $mode == fp32 ]] || echo "--mode $mode") $([[ $tuned == tuned ]] || echo --no-tuned) |
                sed '1,/^$/d' | sed '1,/^$/d'
            echo '```'
        done
    done
}

# Tunes into a file of this run's own. Where that takes too long, the rest is untuned.
tuned() {
    local status=0 began=$SECONDS
    run 50 "$weighbridge" tune "$@" --file "$tune_file" >&2 || status=$?
    printf '\n`weighbridge tune %s`: ' "$*"
    case $status in
        0) echo "done in $((SECONDS - began)) s." ;;
        124) echo "not done in 50 s." ;;
        *) return "$status" ;;
    esac
}

network() {
    local name=$1 images=$2 batch=$3
    printf '\n## %s\n\n```text\n' "$name"
    compared --model "$name" --images "$images"
    right "$target/gpu-compare.json" 0.8 0.95 0.9
    echo '```'
    profiled "$name" "${batch}x1x28x28"
}
images=2000 batch=64
[[ -z $small ]] || images=256 batch=4
tune_file=$target/gpu-tuned.json
rm -f "$tune_file"
printf '\n## Tuning\n' >> "$part"
modes=float,half,static,dynamic
if [[ -n $small ]]; then
    must "tuning" tuned --model mlp --mode float --batch 4 --budget 0.1
else
    must "tuning cnn" tuned --model cnn --mode $modes --batch 64 --budget 0.3
    must "tuning vit" tuned --model vit --mode $modes --batch 64 --budget 0.3
    [[ -z $models ]] || must "tuning MiniLM" tuned "$models/minilm/minilm_fp32.onnx" --mode $modes --budget 0.3 \
        --shape input_ids=1x128 --shape attention_mask=1x128
fi
must "cnn" network cnn "$images" "$batch"
must "vit" network vit "$images" "$batch"

minilm() {
    printf '\n## MiniLM-L6, 32 tokens\n\n'
    if [[ -z $models ]]; then
        echo "Left out: no --models."
        return
    fi
    local folder=$models/minilm
    echo '```text'
    compared "$folder/minilm_fp32.onnx" --data "input_ids=$folder/test_ids.npy" --data "attention_mask=$folder/test_mask.npy"
    right "$target/gpu-compare.json" 0 0 0.95
    echo '```'
    profiled "$folder/minilm_fp32.onnx" "" --shape input_ids=1x128 --shape attention_mask=1x128
}
must "MiniLM" minilm

peers() {
    printf '\n## Peers\n\n'
    local binary=${CARGO_TARGET_DIR:-benches/peers/target}/release/peers table=$target/gpu-peers.md
    if [[ ! -x $binary ]]; then
        echo "Left out: benches/peers is not built."
        return
    fi
    rm -f "$table"
    # What burn tuned in an earlier run is not to be found.
    CUBECL_AUTOTUNE_CACHE=0 run 120 "$binary" --rounds 3 --markdown "$table" ${small:+"256x256x256"} >&2
    cat "$table"
}
must "peers" peers

printf '\nTaken in %d s, the build apart.\n' "$SECONDS" >> "$part"
mv "$part" "$record"
say "$record, in $SECONDS s"
if [[ $SECONDS -gt 480 ]]; then
    say "that is more than 8 minutes"
    exit 1
fi
