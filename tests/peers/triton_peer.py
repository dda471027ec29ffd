"""Triton with its own Python backend: the C++ gRPC front end and dynamic batcher, and the model in Python.

The server is the one that PyTriton's wheel carries, as NVIDIA publishes no other outside of its containers; there is no
ONNX Runtime backend in it. Two processes: Triton, and the one in which its Python backend runs triton_model.py, with
shared memory between them.

- One instance of the model: more are for more cores than one.
- Dynamic batching as Triton's documentation would have one begin: on, with no wait, so that what has queued up goes
  together, at most 1024 rows (a larger request is refused). On one core and with 128 requests in flight a wait of
  0.5 ms gave nothing, as the queue is never empty, and made a lone request wait all of it.
- Metrics stay on, as in any other operation; HTTP is off.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from peer import INPUT, MODEL, OUTPUT, WIDTH, Peer, free_port
from triton_of_wheel import SERVER, assemble_backends, library_path, versions

CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 1024
input [{{ name: "{input}" data_type: TYPE_FP32 dims: [{width}] }}]
output [{{ name: "{output}" data_type: TYPE_FP32 dims: [1] }}]
instance_group [{{ count: 1 kind: KIND_CPU }}]
dynamic_batching {{ max_queue_delay_microseconds: {batch_wait} }}
parameters {{ key: "model" value {{ string_value: {model} }} }}
parameters {{ key: "threads" value {{ string_value: "{threads}" }} }}
"""


def write_repository(folder: Path, peer: Peer) -> None:
    here = Path(__file__).parent
    version = folder / MODEL / "1"
    version.mkdir(parents=True)
    # The backend imports the version's folder as a package, and nothing from elsewhere but installed ones.
    shutil.copyfile(here / "triton_model.py", version / "model.py")
    shutil.copyfile(here / "peer.py", version / "peer.py")
    config = CONFIG.format(
        name=MODEL,
        input=INPUT,
        width=WIDTH,
        output=OUTPUT,
        batch_wait=peer.batch_wait,
        model=json.dumps(str(peer.model)),
        threads=peer.threads,
    )
    (folder / MODEL / "config.pbtxt").write_text(config)


def main() -> int:
    peer = Peer("triton", __doc__, batch_wait=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_repository(folder / "models", peer)
        assemble_backends(folder / "backends")
        options = {
            "model-repository": folder / "models",
            "backend-directory": folder / "backends",
            "grpc-address": "127.0.0.1",
            "grpc-port": peer.port,
            "allow-http": "false",
            "metrics-address": "127.0.0.1",
            "metrics-port": free_port(),
        }
        environment = os.environ | {
            "LD_LIBRARY_PATH": library_path(),
            # The backend's process takes the packages of the first Python that it finds.
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        }
        command = [SERVER, *(f"--{option}={value}" for option, value in options.items())]
        server = subprocess.Popen(command, env=environment)
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            peer.wait_until_ready(server)
            peer.announce([], **versions(peer.port))
        except TimeoutError:
            server.terminate()
            raise
        finally:
            code = server.wait()
        return code


if __name__ == "__main__":
    sys.exit(main())
