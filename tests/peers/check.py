"""Starts a peer, asks it with Triton's own client, compares its scores with ONNX Runtime in this process, and stops it.

usage: check.py MODEL.onnx PEER... [--core N]

PEER is the name of a program beside this one: grpcio, kserve, mlserver, pytriton, triton. Its Python is read from
DECANT_PEER_<NAME> (deploy/bootstrap.sh env). This program runs in DECANT_PYTHON.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy
import onnxruntime
import tritonclient.grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

TOLERANCE = 1e-5
START_WITHIN, STOP_WITHIN = 90.0, 30.0  # seconds
# With batching on, Triton has every output carry a dimension behind that of the batch.
SCORES_ARE_COLUMNS = {"triton", "pytriton"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def start(name: str, model: Path, port: int, core: int | None) -> subprocess.Popen:
    variable = f"DECANT_PEER_{name.upper()}"
    if variable not in os.environ:
        sys.exit(f"{variable} is not set: the peer {name} is not set up here (deploy/bootstrap.sh peers)")
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    program = Path(__file__).with_name(f"{name}_peer.py")
    options = ["--model", str(model), "--port", str(port), "--threads", "1"]
    command = [*pinned, os.environ[variable], str(program), *options]
    # A session of its own, so that whatever the server started can be killed with it if it does not stop.
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def ready_line(name: str, process: subprocess.Popen) -> dict:
    """What the peer says when it is ready; whoever is silent for too long is killed, which ends the wait."""
    impatience = threading.Timer(START_WITHIN, os.killpg, (process.pid, signal.SIGKILL))
    impatience.start()
    line = process.stdout.readline()
    impatience.cancel()
    assert line, f"{name} ended or was silent for {START_WITHIN:.0f} s; its log is above"
    return json.loads(line)


def end(process: subprocess.Popen) -> str | None:
    """Asks the peer to end, and kills it if it does not; gives what more it wrote to stdout, or nothing if killed."""
    process.terminate()
    try:
        return process.communicate(timeout=STOP_WITHIN)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None


def stop(name: str, process: subprocess.Popen) -> None:
    rest = end(process)
    assert rest is not None, f"{name} did not end within {STOP_WITHIN:.0f} s of SIGTERM"
    assert process.returncode == 0, f"{name} ended with {process.returncode} after SIGTERM"
    assert rest == "", f"{name} wrote more to stdout than its one line: {rest!r}"


def asked(client: tritonclient.grpc.InferenceServerClient, model: str, rows: numpy.ndarray) -> numpy.ndarray:
    features = tritonclient.grpc.InferInput("features", list(rows.shape), "FP32")
    features.set_data_from_numpy(rows)
    return client.infer(model, [features], client_timeout=10.0).as_numpy("score")


def asked_with_contents(port: int, rows: numpy.ndarray) -> numpy.ndarray:
    """The same with the values in fp32_contents, which Triton's client never uses; they may come back in it too."""
    request = service_pb2.ModelInferRequest(model_name="bench")
    tensor = request.inputs.add(name="features", datatype="FP32", shape=rows.shape)
    tensor.contents.fp32_contents.extend(rows.ravel().tolist())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10.0)
    (output,) = response.outputs
    if response.raw_output_contents:
        scores = numpy.frombuffer(response.raw_output_contents[0], "<f4")
    else:
        scores = numpy.array(output.contents.fp32_contents, numpy.float32)
    return scores.reshape(output.shape)


def compare(name: str, scores: numpy.ndarray, expected: numpy.ndarray) -> float:
    shape = (*expected.shape, 1) if name in SCORES_ARE_COLUMNS else expected.shape
    assert scores.shape == shape, f"{name} answers in shape {scores.shape}, expected {shape}"
    assert scores.dtype == numpy.float32, f"{name} answers in {scores.dtype}"
    worst = float(numpy.abs(scores.ravel() - expected).max())
    assert worst <= TOLERANCE, f"the scores of {name} differ by {worst}, tolerance {TOLERANCE}"
    return worst


def check(name: str, model: Path, core: int | None) -> None:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    random = numpy.random.default_rng(7)
    port = free_port()
    process = start(name, model, port, core)
    try:
        line = ready_line(name, process)
        assert line["ready"] is True and line["peer"] == name and name in line["versions"], f"{name} says {line}"
        worst = 0.0
        with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
            for count in (1, 37):
                rows = random.standard_normal((count, 64), numpy.float32)
                (expected,) = session.run(["score"], {"item_dense": rows})
                worst = max(worst, compare(name, asked(client, "bench", rows), expected))
                worst = max(worst, compare(name, asked_with_contents(port, rows), expected))
            # Many at once, of many sizes: what a batcher puts together has to come apart again.
            many = [random.standard_normal((1 + index % 7, 64), numpy.float32) for index in range(400)]
            with ThreadPoolExecutor(32) as threads:
                answers = threads.map(lambda rows: asked(client, "bench", rows), many)
            for rows, scores in zip(many, answers, strict=True):
                (expected,) = session.run(["score"], {"item_dense": rows})
                worst = max(worst, compare(name, scores, expected))
            try:
                asked(client, "nobody", rows)
            except InferenceServerException as error:
                refusal = error.status()
            else:
                raise AssertionError(f"{name} answers for a model that it does not have")
    except BaseException:
        end(process)
        raise
    stop(name, process)
    versions = json.dumps(line["versions"])
    print(f"{name}: scores differ by at most {worst:.1e}, an unknown model is {refusal}, {versions}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the model, as make_model.py writes it")
    parser.add_argument("peers", nargs="+", metavar="PEER")
    parser.add_argument("--core", type=int, help="the core that each server is pinned to")
    arguments = parser.parse_args()
    for name in arguments.peers:
        check(name, arguments.model, arguments.core)


if __name__ == "__main__":
    main()
