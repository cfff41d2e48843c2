"""Runs models with ONNX Runtime on the CPU: JOBS.json is [{model, inputs: {name: file}, optimized, outputs: [file]}]."""

import json
import sys

import numpy
import onnxruntime

for job in json.load(open(sys.argv[1])):
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if job["optimized"] else level.ORT_DISABLE_ALL
    # Else products of u8 and i8 saturate in 16 bits on x86 processors without VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    inputs = {name: numpy.load(file) for name, file in job["inputs"].items()}
    for array, file in zip(session.run(None, inputs), job["outputs"], strict=True):
        numpy.save(file, numpy.ascontiguousarray(array, dtype=numpy.float32))
