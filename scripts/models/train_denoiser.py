"""Trains the denoiser of examples/live_filter.  usage: train_denoiser.py DATA OUT.onnx

DATA has two folders, `train` and `held`, that the example itself has rendered (scripts/train-denoiser says how). Of each
picture there is `light.f16`, what two paths for each pixel found, `guide.u8` and `surface.u8`, which have no noise, and
`clean.f16`, the light again by 96 other paths. Noise in what is learned from does no harm where its mean is right.

The network has the light (square root of what falls on a surface; nearness in the fourth channel) and the guide (normal
and roughness), and gives the light: [1, 4, h, w], sides even. All but its ends is at half the resolution; windows that
are spread by 2 and 4 make it see 35 pixels. Only what int8 has forms of is in the middle: Conv, Relu, Add.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEIGHT = 192, 128
CHANNELS = 24
DILATIONS = [1, 1, 2, 4, 1]
STEPS, BATCH, CROP, RATE = 9000, 8, 96, 3e-3


def load(folder):
    def images(name, dtype):
        return np.fromfile(f"{folder}/{name}", dtype).reshape(-1, HEIGHT, WIDTH, 4).astype(np.float32)

    guide = images("guide.u8", np.uint8) / 255 * 2 - 1
    return images("light.f16", np.float16), guide, images("surface.u8", np.uint8) / 255, images("clean.f16", np.float16)


def init(rng):
    params = []
    for i in range(len(DILATIONS)):
        read = 8 if i == 0 else CHANNELS
        make = 16 if i == len(DILATIONS) - 1 else CHANNELS
        weight = rng.normal(size=(make, read, 3, 3)) * np.sqrt(2 / (9 * read))
        params.append((jnp.asarray(weight, jnp.float32), jnp.zeros(make)))
    return params


def network(params, light, guide):
    x = jnp.concatenate([light, guide], -1)
    for i, ((weight, bias), d) in enumerate(zip(params, DILATIONS)):
        stride = 2 if i == 0 else 1
        pads = [(d, d), (d, d)]
        layout = ("NHWC", "OIHW", "NHWC")
        x = jax.lax.conv_general_dilated(x, weight, (stride, stride), pads, rhs_dilation=(d, d), dimension_numbers=layout)
        x = x + bias
        if i == 0:
            x = first = jax.nn.relu(x)
        elif i == len(DILATIONS) - 2:
            x = jax.nn.relu(x + first)
        elif i < len(DILATIONS) - 1:
            x = jax.nn.relu(x)
    n, h, w, _ = x.shape
    # Channels are colour, row, column, so that a Reshape and a Transpose make them pixels.
    return x.reshape(n, h, w, 4, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * h, 2 * w, 4)


def shown(light, surface):
    """What is seen, up to the curve of the display: the light times the surface, and the square root of that."""
    return light[..., :3] * jnp.sqrt(surface[..., :3])


def loss(params, light, guide, surface, clean):
    error = shown(network(params, light, guide), surface) - shown(clean, surface)
    return jnp.mean(jnp.sqrt(error**2 + 1e-4))


def display(light, surface):
    """As examples/live_filter shows it: the filmic curve, then sRGB."""
    x = light[..., :3] ** 2 * surface[..., :3]
    x = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def psnr(light, surface, clean):
    error = (display(light, surface) - display(clean, surface)) ** 2
    return float(np.mean(-10 * np.log10(error.mean((1, 2, 3)))))


def turned(rng, guide):
    """The normals of a world that is turned about the vertical, and mirrored or not: to the light it is the same."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s, mirror = np.cos(angle), np.sin(angle), rng.choice([-1, 1])
    x, z = guide[..., 0] * mirror, guide[..., 2]
    return np.stack([c * x + s * z, guide[..., 1], c * z - s * x, guide[..., 3]], -1)


def export(params, path):
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(value, name))
        return name

    def op(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    x = op("Concat", ["light", "guide"], "both", axis=1)
    last = len(params) - 1
    for i, ((weight, bias), d) in enumerate(zip(params, DILATIONS)):
        weight = constant(f"conv{i}.weight", np.asarray(weight))
        bias = constant(f"conv{i}.bias", np.asarray(bias))
        stride = 2 if i == 0 else 1
        x = op("Conv", [x, weight, bias], f"conv{i}", kernel_shape=[3, 3], strides=[stride] * 2, dilations=[d] * 2, pads=[d] * 4)
        if i == last - 1:
            x = op("Add", [x, "relu0"], "sum")
        if i < last:
            x = op("Relu", [x], f"relu{i}")
    # Channels to pixels. The sizes come from the light's.
    i64 = lambda name, values: constant(name, np.array(values, np.int64))
    size = op("Slice", [op("Shape", ["light"], "shape"), i64("two", [2]), i64("four", [4])], "size")
    half = op("Div", [size, i64("halves", [2, 2])], "half")
    split = op("Concat", [i64("blocks", [1, 4, 2, 2]), half], "split", axis=0)
    joined = op("Concat", [i64("image", [1, 4]), size], "joined", axis=0)
    x = op("Reshape", [x, split], "blocked")
    x = op("Transpose", [x], "interleaved", perm=[0, 1, 4, 2, 5, 3])
    op("Reshape", [x, joined], "denoised")
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, "height", "width"]) for n in ("light", "guide", "denoised")]
    graph = helper.make_graph(nodes, "denoiser", ports[:2], ports[2:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="weighbridge")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    data, path = sys.argv[1:]
    train, held = load(f"{data}/train"), load(f"{data}/held")
    rng = np.random.default_rng(1)
    params = init(rng)
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0, RATE, 100, STEPS))
    state = optimizer.init(params)
    forward = jax.jit(network)

    @jax.jit
    def step(params, state, *batch):
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    def report(at, mean):
        denoised = np.concatenate([forward(params, *(t[i : i + 4] for t in held[:2])) for i in range(0, len(held[0]), 4)])
        before, after = psnr(held[0], *held[2:]), psnr(denoised, *held[2:])
        print(f"{at:5} steps, {time.process_time():.0f} s of CPU: loss {mean:.4f}, held out {before:.2f} -> {after:.2f} dB", flush=True)

    losses = []
    for at in range(1, STEPS + 1):
        batch = []
        for image in rng.integers(0, len(train[0]), BATCH):
            y, x = rng.integers(0, HEIGHT - CROP + 1), rng.integers(0, WIDTH - CROP + 1)
            flip = slice(None, None, rng.choice([-1, 1]))
            light, guide, surface, clean = (t[image, y : y + CROP, x : x + CROP][:, flip] for t in train)
            batch.append((light, turned(rng, guide), surface, clean))
        params, state, value = step(params, state, *(np.stack(t) for t in zip(*batch)))
        losses.append(float(value))
        if at % 1000 == 0:
            report(at, np.mean(losses[-1000:]))
            export(params, path)


if __name__ == "__main__":
    main()
