"""The model that triton_peer.py gives to Triton's Python backend, whose own process loads this file and peer.py."""

import json
from pathlib import Path

import numpy
import triton_python_backend_utils as backend

from .peer import INPUT, OUTPUT, scorer


class TritonPythonModel:
    """The backend looks for a class of this name."""

    def initialize(self, args: dict) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        model, threads = (parameters[name]["string_value"] for name in ("model", "threads"))
        self.score = scorer(Path(model), int(threads))

    def execute(self, requests: list) -> list:
        """One call for what the batcher put together: the requests come apart, each with its own rows."""
        rows = [backend.get_input_tensor_by_name(request, INPUT).as_numpy() for request in requests]
        together = numpy.concatenate(rows) if len(rows) > 1 else rows[0]
        # Triton wants a dimension behind that of the batch: scores are N x 1 here.
        scores = self.score(together)[:, numpy.newaxis]
        responses, first = [], 0
        for part in rows:
            last = first + len(part)
            responses.append(backend.InferenceResponse([backend.Tensor(OUTPUT, scores[first:last])]))
            first = last
        return responses
