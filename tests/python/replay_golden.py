"""Opens a bundle's model.onnx in plain ONNX Runtime and replays golden.json.

usage: replay_golden.py BUNDLE_FOLDER
"""

import json
import sys
from pathlib import Path

import numpy
import onnxruntime


def arrays(side: str, rows: dict) -> dict[str, numpy.ndarray]:
    """The packed inputs of one side, by the graph's names for them."""
    count, slots, width = rows["rows"], rows["slots"], rows["dense_width"]
    return {
        f"{side}_ids": numpy.array(rows["ids"], numpy.int32).reshape(count, slots),
        f"{side}_weights": numpy.array(rows["weights"], numpy.float32).reshape(count, slots),
        f"{side}_dense": numpy.array(rows["dense"], numpy.float32).reshape(count, width),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    golden = json.loads((folder / "golden.json").read_text())
    given = arrays("query", golden["query"]) | arrays("item", golden["item"])
    wanted = {node.name for node in session.get_inputs()}
    (scores,) = session.run(["score"], {name: array for name, array in given.items() if name in wanted})
    expected = numpy.array(golden["expected"], numpy.float32)
    assert scores.shape == expected.shape, f"shape {scores.shape}, expected {expected.shape}"
    worst = float(numpy.abs(scores - expected).max())
    assert worst <= golden["tolerance"], f"scores differ by {worst}, tolerance {golden['tolerance']}"
    # The batch dimension is free: one row alone scores as it does among the others.
    one = {name: array[:1] for name, array in given.items() if name in wanted}
    (alone,) = session.run(["score"], one)
    assert abs(float(alone[0]) - float(expected[0])) <= golden["tolerance"], "one row alone scores differently"


if __name__ == "__main__":
    main()
