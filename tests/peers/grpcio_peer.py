"""The Python floor: gRPC's own Python server with ONNX Runtime in its handler, and nothing else.

It is what any Python model server has to pay for gRPC, protobuf and the interpreter, so it is made as fast as it gets:

- The synchronous server with four threads. On one core and with 128 requests in flight it answered some 20 to 40 % more
  of them than grpc.aio on uvloop, and that more than grpc.aio on asyncio's own loop; with one thread it was no faster.
- No batching. ONNX Runtime takes some 10 microseconds for a row, and gRPC in Python some 200 for a request: putting
  requests together would save of the smaller part and add a queue.
"""

import signal
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy
from tritonclient.grpc import service_pb2, service_pb2_grpc

from peer import INPUT, MODEL, OUTPUT, WIDTH, Peer


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, score) -> None:
        self.score = score

    def ModelReady(self, request, context):
        return service_pb2.ModelReadyResponse(ready=request.name == MODEL)

    def ModelInfer(self, request, context):
        if request.model_name != MODEL:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {request.model_name!r}, only {MODEL!r}")
        scores = self.score(decoded(request, context))
        return service_pb2.ModelInferResponse(
            model_name=MODEL,
            model_version="1",
            id=request.id,
            outputs=[{"name": OUTPUT, "datatype": "FP32", "shape": scores.shape}],
            raw_output_contents=[scores.tobytes()],
        )


def decoded(request, context) -> numpy.ndarray:
    """The one tensor of a request, from either of the two places where the protocol allows its values."""
    if len(request.inputs) != 1:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{len(request.inputs)} inputs, expected {INPUT!r} alone")
    (tensor,) = request.inputs
    if (tensor.name, tensor.datatype) != (INPUT, "FP32"):
        found = f"{tensor.name!r} of {tensor.datatype}"
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the input is {found}, expected {INPUT!r} of FP32")
    if request.raw_input_contents:
        values = numpy.frombuffer(request.raw_input_contents[0], "<f4")
    else:
        values = numpy.array(tensor.contents.fp32_contents, numpy.float32)
    if len(tensor.shape) != 2 or tensor.shape[1] != WIDTH or values.size != tensor.shape[0] * WIDTH:
        found = f"shape {list(tensor.shape)} with {values.size} values"
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{found}, expected [N, {WIDTH}] and as many values")
    return values.reshape(-1, WIDTH)


def main() -> None:
    peer = Peer("grpcio", __doc__)
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(peer.scorer()), server)
    server.add_insecure_port(f"127.0.0.1:{peer.port}")
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=5))
    server.start()
    peer.announce(["protobuf"])
    server.wait_for_termination()


if __name__ == "__main__":
    main()
