"""all-MiniLM-L6-v2 as ONNX from its safetensors.  usage: build_minilm.py MODEL.safetensors OUT.onnx

input_ids and attention_mask [batch, seq] -> sentence_embedding [batch, 384]: the mean over the tokens that are not
masked, of length 1. Nodes are named as in the checkpoint: `encoder.layer.0.output.dense` is a MatMul.
"""

import sys

import numpy as np
from graph import Graph
from onnx import TensorProto
from safetensors.numpy import load_file

LAYERS, WIDTH, HEADS = 6, 384, 12


def build(weights, path):
    g = Graph()
    op, f32, i64 = g.op, g.f32, g.i64

    def norm(x, prefix):
        scale, shift = (g.constant(f"{prefix}.{n}", weights[f"{prefix}.{n}"]) for n in ("weight", "bias"))
        return op("LayerNormalization", [x, scale, shift], axis=-1, epsilon=1e-12)

    def linear(x, prefix):
        weight = g.constant(f"{prefix}.weight_T", weights[f"{prefix}.weight"].T)
        product = op("MatMul", [x, weight], name=prefix)
        return op("Add", [product, g.constant(f"{prefix}.bias", weights[f"{prefix}.bias"])])

    def gelu(x):
        erf = op("Erf", [op("Div", [x, f32("sqrt2", 2**0.5)])])
        return op("Mul", [op("Mul", [x, op("Add", [erf, f32("one_f", 1)])]), f32("half", 0.5)])

    e = "embeddings."
    words = g.constant(e + "word_embeddings.weight", weights[e + "word_embeddings.weight"])
    # There is one kind of token: its embedding goes into the positions'.
    places = weights[e + "position_embeddings.weight"] + weights[e + "token_type_embeddings.weight"][0]
    places = g.constant(e + "position_embeddings.weight", places)
    length = op("Slice", [op("Shape", ["input_ids"]), i64("one", [1]), i64("two", [2])])
    places = op("Slice", [places, i64("zero", [0]), length, i64("axis0", [0])])
    x = norm(op("Add", [op("Gather", [words, "input_ids"]), places]), e + "LayerNorm")

    mask = op("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    hidden = op("Sub", [f32("one_f", 1), op("Unsqueeze", [mask, i64("axes12", [1, 2])])])
    hidden = op("Mul", [hidden, f32("far", -10000.0)])
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."

        def heads(which, order):
            y = op("Reshape", [linear(x, f"{p}attention.self.{which}"), i64("split", [0, 0, HEADS, WIDTH // HEADS])])
            return op("Transpose", [y], perm=order)

        q, k, v = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        scores = op("Mul", [op("MatMul", [q, k]), f32("scale", (WIDTH // HEADS) ** -0.5)])
        scores = op("Softmax", [op("Add", [scores, hidden])], axis=-1)
        y = op("Transpose", [op("MatMul", [scores, v])], perm=[0, 2, 1, 3])
        y = linear(op("Reshape", [y, i64("join", [0, 0, WIDTH])]), p + "attention.output.dense")
        x = norm(op("Add", [y, x]), p + "attention.output.LayerNorm")
        y = linear(gelu(linear(x, p + "intermediate.dense")), p + "output.dense")
        x = norm(op("Add", [y, x]), p + "output.LayerNorm")

    mask = op("Unsqueeze", [mask, i64("axis2", [2])])
    total = op("ReduceSum", [op("Mul", [x, mask]), i64("one", [1])], keepdims=0)
    mean = op("Div", [total, op("ReduceSum", [mask, i64("one", [1])], keepdims=0)])
    length = op("Max", [op("ReduceL2", [mean], axes=[1], keepdims=1), f32("tiny", 1e-9)])
    op("Div", [mean, length], "sentence_embedding")
    inputs = [(name, TensorProto.INT64, ["batch", "seq"]) for name in ("input_ids", "attention_mask")]
    g.save(path, "all-MiniLM-L6-v2", inputs, [("sentence_embedding", TensorProto.FLOAT, ["batch", WIDTH])])


if __name__ == "__main__":
    source, target = sys.argv[1:]
    build({name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in load_file(source).items()}, target)
