"""MLServer: Seldon's Python model server, on grpc.aio and uvloop.

- No parallel workers: they are for more cores than one, and each request would cross to another process and back.
- Adaptive batching as its documentation has it: at most 32 requests, or what came within 5 ms. On one core and with 128
  requests in flight that answered some 30 to 40 % more of them than no batching; 1 ms gave nothing. The price is that a
  lone request waits all 5 ms: `--batch-wait 0` turns batching off, for measuring at low load.
- The loop that `mlserver start` installs, uvloop. Debug off, which also turns its line for each request off. Metrics
  stay on, as in any other operation.
"""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlserver.utils import install_uvloop_event_loop

from peer import MODEL, OUTPUT, Peer

peer = Peer("mlserver", __doc__, batch_wait=5000)


class Bench(MLModel):
    async def load(self) -> bool:
        self.score = peer.scorer()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (tensor,) = payload.inputs
        scores = self.score(NumpyCodec.decode_input(tensor))
        # Not by the codec, which would make N scores a column of N x 1.
        output = ResponseOutput(name=OUTPUT, shape=list(scores.shape), datatype="FP32", data=scores.tolist())
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    # Port 0: HTTP and metrics cannot be told not to listen, and nobody asks them.
    settings = Settings(
        debug=False, host="127.0.0.1", grpc_port=peer.port, http_port=0, metrics_port=0, parallel_workers=0
    )
    model = ModelSettings(
        name=MODEL, implementation=Bench, max_batch_size=32, max_batch_time=peer.batch_wait / 1_000_000
    )
    peer.announce_later(["mlserver", "uvloop", "protobuf"])
    await MLServer(settings).start([model])


if __name__ == "__main__":
    install_uvloop_event_loop()
    asyncio.run(main())
