#!/usr/bin/env python3
"""MiniLM at batch 1, 128 tokens: this crate beside ONNX Runtime's WebGPU plugin, on one adapter, in turns.

usage: minilm.py MODELS WEIGHBRIDGE [ROUNDS]     (see minilm.sh, which makes what this needs)

MODELS is what scripts/fetch-models made, WEIGHBRIDGE the command line. Prints the best of each, the median, the ratios by the best,
and how far the fp32 embeddings are apart. Machines are shared: what others run at the time moves medians more than ratios.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort
import onnxruntime_ep_webgpu as webgpu

models, command = sys.argv[1:3]
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
model = os.path.join(models, "minilm", "minilm_fp32.onnx")
work = tempfile.mkdtemp()
tokens = np.random.default_rng(3).integers(1000, 29000, (1, 128))
feeds = {"input_ids": tokens, "attention_mask": np.ones((1, 128), np.int64)}
rows = np.random.default_rng(4).integers(1000, 29000, (8, 128))
inputs = []
for name, array in feeds.items():
    np.save(f"{work}/{name}.npy", array)
    inputs += ["--input", f"{name}={work}/{name}.npy"]
np.save(f"{work}/rows.npy", rows)
np.save(f"{work}/ones.npy", np.ones((8, 128), np.int64))


def weighbridge(*arguments):
    return subprocess.run([command, *arguments], check=True, capture_output=True, text=True).stdout


calibration = ["--data", f"input_ids={work}/rows.npy", "--data", f"attention_mask={work}/ones.npy", "--batch", "4"]
variants = {"fp32": model}
for mode in ("half", "static", "dynamic", "weight-only"):
    variants[mode] = f"{work}/{mode}.onnx"
    more = calibration if mode == "static" else []
    weighbridge("quantize", model, "--mode", mode, *more, "-o", variants[mode])

ort.set_default_logger_severity(3)
ort.register_execution_provider_library("webgpu", webgpu.get_library_path())
devices = [d for d in ort.get_ep_devices() if d.ep_name == webgpu.get_ep_name()]
options = ort.SessionOptions()
options.add_provider_for_devices(devices, {})
session = ort.InferenceSession(model, options)
theirs = session.run(None, feeds)[0]

samples = {"ONNX Runtime WebGPU fp32": []} | {f"weighbridge {v}": [] for v in variants}
for _ in range(rounds):
    for _ in range(3):
        start = time.perf_counter()
        session.run(None, feeds)
        samples["ONNX Runtime WebGPU fp32"].append((time.perf_counter() - start) * 1e3)
    for name, path in variants.items():
        out = weighbridge("run", path, *inputs, "-o", f"{work}/{name}.npy", "--repeat", "5")
        samples[f"weighbridge {name}"].append(float(re.search(r"([0-9.]+) ms", out).group(1)))

base = min(samples["ONNX Runtime WebGPU fp32"])
ours = min(samples["weighbridge fp32"])
head = ["MiniLM-L6, batch 1, 128 tokens", "best, ms", "median, ms", "times ONNX Runtime WebGPU", "times our fp32"]
print(f"| {' | '.join(head)} |\n| --- | ---: | ---: | ---: | ---: |")
for name, times in samples.items():
    best = min(times)
    print(f"| {name} | {best:.1f} | {statistics.median(times):.1f} | {base / best:.2f} | {ours / best:.2f} |")
fp32 = np.load(f"{work}/fp32.npy")
print(f"\nfp32 embeddings differ by at most {abs(fp32 - theirs).max():.1e} (of {abs(theirs).max():.2f})")
