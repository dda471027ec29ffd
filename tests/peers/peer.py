"""What the peers' programs share: the command line, the ONNX Runtime session, and the line that says they are ready."""

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import grpc
import numpy
import onnxruntime

# What a request names, and what the graph of the benchmark's model names.
MODEL, INPUT, OUTPUT = "bench", "features", "score"
GRAPH_INPUT, WIDTH = "item_dense", 64

READY_METHOD = "/inference.GRPCInferenceService/ModelReady"
# ModelReadyRequest{name: MODEL} and ModelReadyResponse{ready: true} on the wire. Two messages of one field each need no
# generated classes, which each server brings for itself and of which a process cannot hold two.
READY_REQUEST = b"\x0a" + bytes([len(MODEL)]) + MODEL.encode()
READY_ANSWER = b"\x08\x01"
READY_WITHIN = 60.0  # seconds


def scorer(model: Path, threads: int) -> Callable[[numpy.ndarray], numpy.ndarray]:
    """Opens the model; gives a function from rows (FP32, N x 64) to scores (FP32, N)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that spins takes the one core from the server that would feed it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def score(rows: numpy.ndarray) -> numpy.ndarray:
        return session.run([OUTPUT], {GRAPH_INPUT: rows})[0]

    return score


def free_port() -> int:
    """A port for what a server insists on serving beside gRPC."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Peer:
    """One server's program. `batch_wait` is for how many microseconds its batcher has a request wait, if not told."""

    def __init__(self, name: str, about: str, batch_wait: int | None = None) -> None:
        self.name = name
        # No abbreviations: a server that reads the command line too might take one for an option of its own.
        parser = argparse.ArgumentParser(
            description=about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        parser.add_argument("--model", type=Path, required=True, help="the ONNX model, as make_model.py writes it")
        parser.add_argument("--port", type=int, required=True, help="where gRPC is served")
        parser.add_argument("--threads", type=int, default=1, help="ONNX Runtime's threads for one call (default 1)")
        if batch_wait is not None:
            parser.add_argument(
                "--batch-wait",
                type=int,
                default=batch_wait,
                help=f"microseconds that a request may wait for others (default {batch_wait}, for throughput)",
            )
        arguments = parser.parse_args()
        self.model, self.port, self.threads = arguments.model.resolve(), arguments.port, arguments.threads
        self.batch_wait = getattr(arguments, "batch_wait", None)
        # Stdout is one line of JSON for whoever started the program. What servers write to it joins their log, stderr.
        self._stdout = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def scorer(self) -> Callable[[numpy.ndarray], numpy.ndarray]:
        return scorer(self.model, self.threads)

    def wait_until_ready(self, server: subprocess.Popen | None = None) -> None:
        """Returns once the model says over gRPC that it is ready. TimeoutError tells what it said instead, or that the
        process which should say so has ended."""
        deadline = time.monotonic() + READY_WITHIN
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            ask = channel.unary_unary(READY_METHOD)
            while True:
                try:
                    if ask(READY_REQUEST, timeout=1.0, wait_for_ready=True) == READY_ANSWER:
                        return
                    reason = "the model is not ready"
                except grpc.RpcError as error:
                    reason = f"{error.code().name}: {error.details()}"
                if server is not None and server.poll() is not None:
                    raise TimeoutError(f"{self.name} ended with {server.returncode} instead of becoming ready")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.name} is not ready after {READY_WITHIN:.0f} s: {reason}")
                time.sleep(0.05)

    def announce(self, packages: list[str], **others: str) -> None:
        """Waits for the model and prints the ready line: the versions that really run, the peer's own by its name."""
        self.wait_until_ready()
        versions = {package: version(package) for package in [*packages, "grpcio", "numpy"]}
        versions |= {"onnxruntime": onnxruntime.__version__, "python": platform.python_version()} | others
        line = {"ready": True, "peer": self.name, "versions": versions}
        print(json.dumps(line), file=self._stdout, flush=True)

    def announce_later(self, packages: list[str]) -> None:
        """The same from a thread of its own, for servers that keep the main thread; it ends with its line."""

        def run() -> None:
            try:
                self.announce(packages)
            except TimeoutError as error:
                print(error, file=sys.stderr)
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=run, daemon=True).start()
