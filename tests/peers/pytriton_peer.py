"""PyTriton: Triton's C++ gRPC front end and dynamic batcher, with the model in a Python function.

Three processes: Triton; the proxy that its Python backend starts; and this one, which the proxy hands each batch
through shared memory and ZeroMQ. triton_peer.py is the same Triton without the last hop.

- One inference function: more are for more cores than one.
- Dynamic batching as Triton's documentation would have one begin: on, with no wait, so that what has queued up goes
  together, at most 1024 rows (a larger request is refused). On one core and with 128 requests in flight waits of 0.5 to
  2 ms gave nothing that lasted, as the queue is never empty, and made a lone request wait all of it.
- Metrics stay on, as in any other operation; HTTP is off.
"""

import os
import signal
import tempfile
import threading
from pathlib import Path

import numpy
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from peer import INPUT, MODEL, OUTPUT, WIDTH, Peer, free_port
from triton_of_wheel import library_path, versions


def main() -> None:
    peer = Peer("pytriton", __doc__, batch_wait=0)
    score = peer.scorer()

    @batch
    def infer(**inputs):
        # Triton wants a dimension behind that of the batch: scores are N x 1 here.
        return {OUTPUT: score(inputs[INPUT])[:, numpy.newaxis]}

    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    os.environ["LD_LIBRARY_PATH"] = library_path()
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=peer.port,
        allow_http=False,
        metrics_address="127.0.0.1",
        metrics_port=free_port(),
    )
    with tempfile.TemporaryDirectory() as folder, Triton(config=config, workspace=Path(folder) / "workspace") as triton:
        batcher = DynamicBatcher(max_queue_delay_microseconds=peer.batch_wait)
        triton.bind(
            MODEL,
            infer,
            inputs=[Tensor(name=INPUT, dtype=numpy.float32, shape=(WIDTH,))],
            outputs=[Tensor(name=OUTPUT, dtype=numpy.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=1024, batcher=batcher),
        )
        triton.run()
        peer.announce([], **versions(peer.port))
        # Triton may die before it is told to: then this must end too, or nobody would notice.
        while not stopped.wait(timeout=1.0) and triton.is_alive():
            pass


if __name__ == "__main__":
    main()
