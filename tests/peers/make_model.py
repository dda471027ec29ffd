"""Writes the benchmark's model: an MLP of 64 -> 128 -> 64 -> 1 with ReLU and a final sigmoid, the same bytes each time.

usage: make_model.py MODEL.onnx

Input `item_dense` (float, N x 64), output `score` (float, N). The names are those of a Decant bundle's graph.
"""

import itertools
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTHS = [64, 128, 64, 1]
SEED = 20260801


def model() -> onnx.ModelProto:
    random = numpy.random.default_rng(SEED)
    nodes, initializers, value = [], [], "item_dense"
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(WIDTHS)):
        # He's scale keeps the scores spread over (0, 1): a model that answers 0.5 to everything would prove nothing.
        weights = random.standard_normal((inputs, outputs), numpy.float32) * numpy.float32(numpy.sqrt(2 / inputs))
        biases = random.standard_normal(outputs, numpy.float32) * numpy.float32(0.1)
        names = {part: f"layer{layer}.{part}" for part in ("weights", "biases", "linear", "relu")}
        initializers.append(numpy_helper.from_array(weights, names["weights"]))
        initializers.append(numpy_helper.from_array(biases, names["biases"]))
        nodes.append(helper.make_node("Gemm", [value, names["weights"], names["biases"]], [names["linear"]]))
        value = names["linear"]
        if layer < len(WIDTHS) - 2:
            nodes.append(helper.make_node("Relu", [value], [names["relu"]]))
            value = names["relu"]
    initializers.append(numpy_helper.from_array(numpy.array([-1], numpy.int64), "rows"))
    nodes.append(helper.make_node("Sigmoid", [value], ["probability"]))
    nodes.append(helper.make_node("Reshape", ["probability", "rows"], ["score"]))
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("item_dense", TensorProto.FLOAT, ["N", WIDTHS[0]])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        initializers,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)], producer_name="decant")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    made = model()
    onnx.checker.check_model(made, full_check=True)
    with open(sys.argv[1], "wb") as file:
        file.write(made.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
