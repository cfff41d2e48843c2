"""Runs models with ONNX Runtime on the CPU: JOBS.json is [{model, inputs: {name: file}, optimized, integers,
outputs: [file]}], where integers says whether the graph has MatMulInteger or ConvInteger."""

import json
import platform
import sys

import numpy
import onnxruntime


def integer_kernels_are_exact():
    """On x86 without VNNI, ONNX Runtime's kernels add pairs of products in 16 bits, and saturate."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        return "vnni" in open("/proc/cpuinfo").read()
    except OSError:
        return False


def run(job, entries):
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    # The kernels that do not saturate are put in by an optimization.
    optimized = job["optimized"] or (job["integers"] and not exact)
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    for entry in entries:
        options.add_session_config_entry(entry, "1")
    # What MatMulNBits, into which int8 weights beside floats are fused, computes in: 1 is f32. By default it rounds
    # the floats to int8.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: numpy.load(file) for name, file in job["inputs"].items()})


# Slower kernels do not saturate, but take weights per channel only with their zero points. Else nothing is fused.
unsaturated, unfused = ["session.x64quantprecision"], ["session.disable_quant_qdq"]
exact = integer_kernels_are_exact()
attempts = [[]] if exact else [unsaturated, unfused]
for job in json.load(open(sys.argv[1])):
    for entries in attempts:
        try:
            outputs = run(job, entries)
            break
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
            if entries is attempts[-1]:
                raise
            print(f"{job['model']}: again without {entries[0]}: {str(error)[:200]}")
    for array, file in zip(outputs, job["outputs"], strict=True):
        numpy.save(file, numpy.ascontiguousarray(array, dtype=numpy.float32))
