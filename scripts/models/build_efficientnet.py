"""EfficientNet-Lite0 as ONNX from its PyTorch weights.  usage: build_efficientnet.py WEIGHTS.pth FOLDER

Writes efflite0_bn.onnx, with BatchNormalization, and efflite0_folded.onnx, with it folded into the convolutions.
input [batch, 3, 224, 224], (pixel - 127) / 128 -> logits [batch, 1000]. Padding is TensorFlow's SAME.
"""

import os
import sys

import numpy as np
import read_pth
from graph import Graph
from onnx import TensorProto

# repeats, kernel, stride, expansion, channels in and out
STAGES = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]
EPSILON = 1e-3


def build(weights, fold, path):
    g = Graph()
    bounds = [g.f32("zero", 0.0), g.f32("six", 6.0)]

    def conv(x, name, norm, kernel, stride, groups=1, activate=True):
        weight = weights[name + ".weight"]
        parts = ("weight", "bias", "running_mean", "running_var")
        gain, shift, mean, variance = (weights[f"{norm}.{part}"] for part in parts)
        before = kernel // 2 if stride == 1 else kernel // 2 - 1
        shape = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "pads": [before] * 2 + [kernel // 2] * 2,
            "group": groups,
        }
        if fold:
            scale = gain.astype(np.float64) / np.sqrt(variance.astype(np.float64) + EPSILON)
            weight = g.f32(name + ".weight", weight * scale[:, None, None, None])
            x = g.op("Conv", [x, weight, g.f32(name + ".bias", shift - mean * scale)], name=name, **shape)
        else:
            x = g.op("Conv", [x, g.f32(name + ".weight", weight)], name=name, **shape)
            arrays = [g.f32(f"{norm}.{part}", weights[f"{norm}.{part}"]) for part in parts]
            x = g.op("BatchNormalization", [x, *arrays], name=norm, epsilon=EPSILON)
        return g.op("Clip", [x, *bounds]) if activate else x

    x = conv("input", "_conv_stem", "_bn0", 3, 2)
    block = 0
    for repeats, kernel, stride, expansion, before, after in STAGES:
        for repeat in range(repeats):
            p = f"_blocks.{block}."
            block += 1
            stride, channels = (stride, before) if repeat == 0 else (1, after)
            y = x
            if expansion != 1:
                y = conv(y, p + "_expand_conv", p + "_bn0", 1, 1)
            y = conv(y, p + "_depthwise_conv", p + "_bn1", kernel, stride, channels * expansion)
            y = conv(y, p + "_project_conv", p + "_bn2", 1, 1, activate=False)
            x = g.op("Add", [y, x]) if stride == 1 and channels == after else y
    x = conv(x, "_conv_head", "_bn1", 1, 1)
    x = g.op("Flatten", [g.op("GlobalAveragePool", [x])], "features", axis=1)
    g.op("Gemm", [x, g.f32("_fc.weight", weights["_fc.weight"]), g.f32("_fc.bias", weights["_fc.bias"])], "logits", transB=1)
    inputs = [("input", TensorProto.FLOAT, ["batch", 3, "height", "width"])]
    g.save(path, "efficientnet-lite0", inputs, [("logits", TensorProto.FLOAT, ["batch", 1000])])


if __name__ == "__main__":
    source, folder = sys.argv[1:]
    state = read_pth.load(source)
    build(state, False, os.path.join(folder, "efflite0_bn.onnx"))
    build(state, True, os.path.join(folder, "efflite0_folded.onnx"))
