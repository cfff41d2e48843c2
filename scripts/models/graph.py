"""A small writer of ONNX graphs."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Graph:
    """Nodes and constants in the order in which they are added. Values are named after their node unless told."""

    def __init__(self):
        self.nodes = []
        self.constants = {}

    def constant(self, name, array):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def f32(self, name, value):
        return self.constant(name, np.asarray(value, np.float32))

    def i64(self, name, value):
        return self.constant(name, np.asarray(value, np.int64))

    def op(self, kind, inputs, output=None, name=None, **attributes):
        name = name or f"{kind}_{len(self.nodes) + 1}"
        output = output or name.lower()
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def save(self, path, name, inputs, outputs):
        """Opset 17, which has LayerNormalization; IR 8 belongs to it."""
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            name,
            [info(*value) for value in inputs],
            [info(*value) for value in outputs],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="weighbridge")
        onnx.checker.check_model(model)
        onnx.save(model, path)
