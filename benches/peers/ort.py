#!/usr/bin/env python3
"""ONNX Runtime, CPU and WebGPU plugin, for the peers binary: a line of JSON in, a line of JSON out (see ort.sh).

prepare makes a session, runs it once and writes its outputs as f32 to files; run times it; clear forgets all sessions.
The first input is on the device, and the output stays there, where the device is not the CPU; the second operand of a
product is a constant of the model. One word of the output, read back by every run, proves that it is done.
"""
import json
import os
import sys
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # What libraries print is not an answer.
ort.set_default_logger_severity(4)
devices = []
try:
    import onnxruntime_ep_webgpu as plugin

    ort.register_execution_provider_library("webgpu", plugin.get_library_path())
    devices = [d for d in ort.get_ep_devices() if d.ep_name == plugin.get_ep_name()][:1]
except Exception as e:
    print(f"ort.py: no WebGPU plugin: {e}", file=sys.stderr)
NUMPY = {T.FLOAT: np.float32, T.FLOAT16: np.float16, T.INT8: np.int8, T.UINT8: np.uint8, T.INT32: np.int32}
ON_DEVICE = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
sessions = {}


def make(nodes, x, outs, constants):
    """A model of one input, (element type, array)."""
    inputs = [h.make_tensor_value_info("a", x[0], list(x[1].shape))]
    outputs = [h.make_tensor_value_info(name, element, shape) for name, element, shape in outs]
    names = [nh.from_array(np.asarray(v), n) for n, v in constants.items()]
    first, element, _ = outs[0]
    if element in (T.FLOAT, T.FLOAT16) and outs[0][2]:
        names += [nh.from_array(np.array([v] * len(outs[0][2]), np.int64), f"word{v}") for v in (0, 1)]
        nodes = nodes + [h.make_node("Slice", [first, "word0", "word1"], ["word"])]
        outputs.append(h.make_tensor_value_info("word", element, None))
    graph = h.make_graph(nodes, "g", inputs, outputs, names)
    opsets = [h.make_opsetid("", 21), h.make_opsetid("com.microsoft", 1)]
    return h.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def product(op, q):
    m, k, n = q["m"], q["k"], q["n"]
    a = np.fromfile(q["a"], np.float32).reshape(m, k)
    b = np.fromfile(q["b"], np.float32).reshape(k, n)
    a_scale, b_scale, out_scale = (np.float32(s) for s in q["scales"])
    if op in ("f32", "f16"):
        element = T.FLOAT if op == "f32" else T.FLOAT16
        a = a.astype(NUMPY[element])
        model = make([h.make_node("MatMul", ["a", "b"], ["c"])], (element, a), [("c", element, [m, n])],
                     {"b": b.astype(NUMPY[element])})
        return model, a, lambda y: y
    if op == "MatMulNBits":
        a = (a * a_scale).astype(np.float32)
        block = 32
        words = (b.T.reshape(n, k // block, block) + 128).astype(np.uint8)
        scales = np.full((n, k // block), b_scale, np.float32)
        node = h.make_node(op, ["a", "b", "scales"], ["c"], domain="com.microsoft", K=k, N=n, bits=8, block_size=block)
        model = make([node], (T.FLOAT, a), [("c", T.FLOAT, [m, n])], {"b": words, "scales": scales})
        return model, a, lambda y: y
    a = (a + 128).astype(np.uint8)
    constants = {"b": b.astype(np.int8), "a_zero": np.uint8(128), "b_zero": np.int8(0)}
    if op == "MatMulInteger":
        node = h.make_node(op, ["a", "b", "a_zero", "b_zero"], ["c"])
        return make([node], (T.UINT8, a), [("c", T.INT32, [m, n])], constants), a, lambda y: y
    constants |= {"a_scale": a_scale, "b_scale": b_scale, "c_scale": out_scale, "c_zero": np.uint8(128)}
    names = ["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "c_scale", "c_zero"]
    model = make([h.make_node(op, names, ["c"])], (T.UINT8, a), [("c", T.UINT8, [m, n])], constants)
    return model, a, lambda y: [y[0].astype(np.float32) - 128]


def elementwise(op, q):
    side = q["side"]
    a = np.fromfile(q["a"], np.float32)
    keep = lambda y: y
    if op == "minmax":
        nodes = [h.make_node("ReduceMin", ["a"], ["lo"], keepdims=0), h.make_node("ReduceMax", ["a"], ["hi"], keepdims=0)]
        return make(nodes, (T.FLOAT, a), [("lo", T.FLOAT, []), ("hi", T.FLOAT, [])], {}), a, keep
    if op == "row_max":
        a = a.reshape(side, side)
        node = h.make_node("ReduceMax", ["a", "axes"], ["c"], keepdims=0)
        return make([node], (T.FLOAT, a), [("c", T.FLOAT, [side])], {"axes": np.array([1], np.int64)}), a, keep
    if op == "QuantizeLinear":
        constants = {"scale": np.float32(q["scales"][0]), "zero": np.int8(0)}
        node = h.make_node(op, ["a", "scale", "zero"], ["c"])
        return make([node], (T.FLOAT, a), [("c", T.INT8, list(a.shape))], constants), a, keep
    outs = [("c", T.UINT8, list(a.shape)), ("scale", T.FLOAT, []), ("zero", T.UINT8, [])]
    return make([h.make_node(op, ["a"], ["c", "scale", "zero"])], (T.FLOAT, a), outs, {}), a, keep


def session(model, webgpu, strict=False):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # Threads that wait for the next run by spinning would slow whoever's turn it is.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not webgpu:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    options.add_provider_for_devices(devices, {})
    if strict:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return ort.InferenceSession(model, options)


def prepare(q):
    op, webgpu = q["op"], q["webgpu"]
    model, a, look = product(op, q) if "m" in q else elementwise(op, q)
    if webgpu:
        try:
            session(model, True, strict=True)
        except Exception:
            return {"id": 0, "outputs": 0, "first": 0.0, "fallback": True}
    start = time.perf_counter()
    s = session(model, webgpu)
    binding = s.io_binding()
    if webgpu:
        binding.bind_ortvalue_input("a", ort.OrtValue.ortvalue_from_numpy(a, "gpu", 0, 0))
    else:
        binding.bind_cpu_input("a", a)
    word = any(o.name == "word" for o in s.get_outputs())
    for o in s.get_outputs():
        if webgpu and word and o.name != "word" and o.type in ON_DEVICE:
            kept = ort.OrtValue.ortvalue_from_shape_and_type(o.shape, ON_DEVICE[o.type], "gpu", 0, 0)
            binding.bind_ortvalue_output(o.name, kept)
        else:
            binding.bind_output(o.name, "cpu")
    s.run_with_iobinding(binding)
    first = time.perf_counter() - start
    outputs = [y for o, y in zip(s.get_outputs(), binding.copy_outputs_to_cpu()) if o.name != "word"]
    outputs = look(outputs)
    for i, y in enumerate(outputs):
        np.asarray(y, np.float32).ravel().tofile(os.path.join(q["out"], f"out{i}"))
    name = len(sessions) + 1
    sessions[name] = (s, binding)
    return {"id": name, "outputs": len(outputs), "first": first, "fallback": False}


def run(q):
    s, binding = sessions[q["id"]]
    start = time.perf_counter()
    for _ in range(q["runs"]):
        s.run_with_iobinding(binding)
    return {"seconds": time.perf_counter() - start}


def hello(_):
    name = ""
    if devices:
        name = f"plugin {getattr(plugin, '__version__', '')}".strip()
    return {"version": ort.__version__, "webgpu": name}


for line in sys.stdin:
    question = json.loads(line)
    try:
        if question["do"] == "end":
            answer = {}
        elif question["do"] == "clear":
            sessions.clear()
            answer = {}
        else:
            answer = {"hello": hello, "prepare": prepare, "run": run}[question["do"]](question)
    except Exception as e:
        answer = {"error": str(e)[-300:]}
    print(json.dumps(answer), file=answers, flush=True)
    if question["do"] == "end":
        break
