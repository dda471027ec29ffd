"""KServe: the Python server that runs KServe's custom models, on grpc.aio and asyncio's own loop.

- One process, which is what its gRPC server has; workers are for HTTP.
- No batching: KServe's batcher is an agent in a container beside this server, and speaks HTTP only.
- asyncio's own loop: `--event-loop uvloop` is for HTTP, and ModelServer does not start under uvloop's policy.
- Its line for each request and that for each request's latency are off. Metrics stay on; they cannot be turned off.
- Scores go out as raw contents. Its examples put lists into fp32_contents, which answered somewhat more requests
  of one row, but a standard client does not read those (Triton's does not).
"""

import logging

import kserve
from kserve.logging import configure_logging

from peer import MODEL, OUTPUT, Peer


class Bench(kserve.Model):
    def __init__(self, score) -> None:
        super().__init__(MODEL)
        self.score = score
        self.ready = True

    def predict(self, payload: kserve.InferRequest, headers=None) -> kserve.InferResponse:
        (tensor,) = payload.inputs
        scores = self.score(tensor.as_numpy())
        output = kserve.InferOutput(OUTPUT, list(scores.shape), "FP32", scores)
        return kserve.InferResponse(payload.id, MODEL, [output])


def main() -> None:
    peer = Peer("kserve", __doc__)
    configure_logging()
    logging.getLogger("kserve").setLevel(logging.WARNING)
    peer.announce_later(["kserve", "protobuf"])
    # Port 0: HTTP cannot be told not to listen, and nobody asks it.
    server = kserve.ModelServer(http_port=0, grpc_port=peer.port, enable_latency_logging=False)
    server.start([Bench(peer.scorer())])


if __name__ == "__main__":
    main()
