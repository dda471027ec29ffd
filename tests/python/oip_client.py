"""Asks a scorer over the Open Inference Protocol, as a user of Triton's own client does.

usage: oip_client.py ADDRESS EXPECTED_JSON DESCRIPTORS

EXPECTED_JSON holds the model's name, the number of the version in service and of one that is resident only, its digest,
columns of some rows, and their scores from ScorerService.Score. DESCRIPTORS is the compiled protocol of the scorer.
"""

import json
import queue
import sys
from pathlib import Path

import grpc
import numpy
import tritonclient.grpc as triton
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

NUMPY = {
    "INT8": numpy.int8,
    "INT16": numpy.int16,
    "INT32": numpy.int32,
    "INT64": numpy.int64,
    "UINT8": numpy.uint8,
    "UINT16": numpy.uint16,
    "UINT32": numpy.uint32,
    "UINT64": numpy.uint64,
    "FP16": numpy.float16,
    "FP32": numpy.float32,
    "FP64": numpy.float64,
}
INTEGERS = [name for name in NUMPY if "INT" in name]


def tensor(name: str, datatype: str, values: list, shape: list[int] | None = None) -> triton.InferInput:
    if datatype == "BYTES":
        array = numpy.array([str(value).encode() for value in values], object)
    else:
        array = numpy.array(values, NUMPY[datatype])
    array = array.reshape(shape or [len(values)])
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def inputs(rows: dict, names: str = "INT64", numbers: str = "FP32", shape: list[int] | None = None) -> list:
    """The rows as tensors: their names and their numbers each in a datatype of their own."""
    return [
        tensor("user", names, rows["user"], shape),
        tensor("age", numbers, rows["age"], shape),
        tensor("film", names, rows["film"], shape),
    ]


def refused(code: grpc.StatusCode, reason: str, call, *arguments, **options) -> None:
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        assert error.status() == str(code), f"{error.status()}, not {code}: {error.message()}"
        assert reason in error.message(), f"`{reason}` is not in: {error.message()}"
        return
    raise AssertionError(f"{call.__name__} was not refused")


def numbers_are_tritons(path: Path) -> None:
    """Each message, field, enum and call of the scorer's protocol is in Triton's, with the same name, number and type."""
    ours = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    theirs = {"message": {}, "enum": {}, "call": {}}
    mine = {"message": {}, "enum": {}, "call": {}}

    def note(into: dict, prefix: str, messages, enums) -> None:
        for enum in enums:
            into["enum"][f"{prefix}.{enum.name}"] = {(value.name, value.number) for value in enum.value}
        for message in messages:
            name = f"{prefix}.{message.name}"
            into["message"][name] = {
                (field.name, field.number, field.type, field.label, field.type_name, field.HasField("oneof_index"))
                for field in message.field
            }
            note(into, name, message.nested_type, message.enum_type)

    def note_file(into: dict, file) -> None:
        note(into, file.package, file.message_type, file.enum_type)
        for service in file.service:
            for method in service.method:
                into["call"][f"{service.name}/{method.name}"] = {
                    (method.input_type, method.output_type, method.client_streaming, method.server_streaming)
                }

    for module in (model_config_pb2, service_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        note_file(theirs, file)
    for file in ours.file:
        if file.package == "inference":
            note_file(mine, file)
    for kind, definitions in mine.items():
        assert len(definitions) > 0, f"the scorer has no {kind}"
        for name, parts in definitions.items():
            extra = parts - theirs[kind].get(name, set())
            assert name in theirs[kind] and not extra, f"{kind} {name} is not Triton's: {extra}"
    assert mine["enum"]["inference.DataType"] == theirs["enum"]["inference.DataType"]


def tells_of_itself(client: triton.InferenceServerClient, expected: dict) -> None:
    model, version = expected["model"], expected["version"]
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(model) and client.is_model_ready(f"{model}/main", version)
    assert not client.is_model_ready("unheard-of")
    assert not client.is_model_ready(model, expected["resident"])
    server = client.get_server_metadata()
    assert server.name == "decant-scorer" and "statistics" in server.extensions, server
    metadata = client.get_model_metadata(model)
    assert metadata.platform == "onnxruntime_onnx" and list(metadata.versions) == [version], metadata
    described = {entry.name: (entry.datatype, list(entry.shape)) for entry in metadata.inputs}
    assert described == {"user": ("BYTES", [-1]), "age": ("FP32", [-1]), "film": ("BYTES", [-1])}, described
    (output,) = metadata.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("score", "FP32", [-1])
    config = client.get_model_config(model, as_json=True)["config"]
    assert config["backend"] == "onnxruntime" and config["max_batch_size"] == 10_000, config
    assert config["version_policy"] == {"specific": {"versions": [version]}}, config
    assert config["input"][1] == {"name": "age", "data_type": "TYPE_FP32"}, config
    index = {entry.version: entry.state for entry in client.get_model_repository_index().models}
    assert index == {version: "READY", expected["resident"]: "UNAVAILABLE"}, index


def scores_as_score_does(client: triton.InferenceServerClient, address: str, expected: dict) -> None:
    model, rows = expected["model"], expected["rows"]
    scores = numpy.array(expected["scores"], numpy.float32)

    def check(given: list, **options) -> triton.InferResult:
        result = client.infer(model, given, **options)
        found = result.as_numpy("score")
        assert found.dtype == numpy.float32 and numpy.array_equal(found, scores), f"{found}, not {scores}"
        return result

    for names in [*INTEGERS, "BYTES"]:
        check(inputs(rows, names=names))
    for numbers in [*INTEGERS, "FP16", "FP32", "FP64"]:
        check(inputs(rows, numbers=numbers))
    check(inputs(rows, shape=[len(scores), 1]))
    outputs = [triton.InferRequestedOutput("score")]
    result = check(
        inputs(rows),
        model_version=expected["version"],
        outputs=outputs,
        request_id="77",
        timeout=30_000_000,
        client_timeout=30,
    )
    response = result.get_response()
    assert (response.id, response.model_version) == ("77", expected["version"])
    assert response.parameters["decant_digest"].string_param == expected["digest"]

    # The client sends raw contents only; the protocol's other form is typed.
    stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(address))
    request = service_pb2.ModelInferRequest(model_name=model)
    fields = {
        "user": ("INT64", "int64_contents"),
        "age": ("FP64", "fp64_contents"),
        "film": ("UINT32", "uint_contents"),
    }
    for name, (datatype, field) in fields.items():
        given = request.inputs.add(name=name, datatype=datatype, shape=[len(scores)])
        getattr(given.contents, field).extend(int(value) for value in rows[name])
    typed = stub.ModelInfer(request)
    assert not typed.raw_output_contents
    assert numpy.array_equal(numpy.array(typed.outputs[0].contents.fp32_contents, numpy.float32), scores)


def streams(client: triton.InferenceServerClient, expected: dict) -> None:
    answers: queue.Queue = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number in range(30):
        given = inputs(expected["rows"])
        client.async_stream_infer(expected["model"], given[:2] if number % 10 == 3 else given, request_id=str(number))
    for number in range(30):
        result, error = answers.get(timeout=60)
        if number % 10 == 3:
            assert result is None and "inputs[film]: missing" in error.message(), error
        else:
            assert error is None, error
            assert result.get_response().id == str(number)
            assert numpy.array_equal(result.as_numpy("score"), numpy.array(expected["scores"], numpy.float32))
    client.stop_stream()


def counts(client: triton.InferenceServerClient, expected: dict) -> None:
    def asked():
        (statistics,) = client.get_inference_statistics(expected["model"], expected["version"]).model_stats
        return statistics

    def batches(statistics) -> dict:
        return {batch.batch_size: batch.compute_infer.count for batch in statistics.batch_stats}

    before = asked()
    client.infer(expected["model"], inputs(expected["rows"]))
    after = asked()
    assert after.inference_count - before.inference_count == len(expected["scores"])
    # One batch, unless the scorer finds its rows slow and splits them; so few rows are counted by their exact number.
    executed = {size: count - batches(before).get(size, 0) for size, count in batches(after).items()}
    assert after.execution_count - before.execution_count == sum(executed.values())
    assert sum(size * count for size, count in executed.items()) == len(expected["scores"]), executed
    stats = [statistics.inference_stats for statistics in (before, after)]
    for part in ("success", "compute_input", "compute_infer", "compute_output"):
        first, second = (getattr(stat, part) for stat in stats)
        assert second.count - first.count == 1 and second.ns > first.ns, f"{part}: {stats}"
    everything = client.get_inference_statistics().model_stats
    assert {statistics.version for statistics in everything} == {expected["version"], expected["resident"]}


def refuses(client: triton.InferenceServerClient, expected: dict) -> None:
    model, rows = expected["model"], expected["rows"]
    invalid, not_found = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    given = inputs(rows)
    refused(not_found, "no slot `main` of a model `unheard-of`", client.infer, "unheard-of", given)
    refused(not_found, "no slot `main` of a model `unheard-of`", client.get_model_metadata, "unheard-of")
    refused(not_found, "no slot `main` of a model `unheard-of`", client.get_inference_statistics, "unheard-of")
    in_service = f"in service: {expected['version']}"
    refused(not_found, in_service, client.infer, model, given, model_version=expected["resident"])
    refused(invalid, "`latest` is no version", client.infer, model, given, model_version="latest")
    refused(invalid, "model_name:", client.infer, "No Model", given)

    many = [tensor("user", "FP32", rows["user"]), tensor("age", "INT64", rows["age"][:1]), tensor("usr", "INT64", [1])]
    for reason in (
        "inputs[user]: has type float",
        "inputs[age]: 1 rows",
        "inputs[usr]: no feature",
        "inputs[film]: missing",
    ):
        refused(invalid, reason, client.infer, model, many)
    # Headers have no room for more, and a client that cannot read them takes the answer for a full queue.
    endless = [tensor(f"unknown-{number}", "INT64", [1]) for number in range(1_000)]
    refused(invalid, "more that find no room here", client.infer, model, endless)
    short = inputs(rows)
    short[1].set_shape([len(rows["age"]) + 1])
    refused(invalid, "inputs[age]: has", client.infer, model, short)
    refused(
        invalid,
        "[rows, values of a row] is expected",
        client.infer,
        model,
        inputs(rows, shape=[len(rows["user"]), 1, 1]),
    )
    boolean = triton.InferInput("age", [len(rows["age"])], "BOOL")
    boolean.set_data_from_numpy(numpy.array(rows["age"], bool))
    refused(invalid, "datatype `BOOL` is not read", client.infer, model, [given[0], boolean, given[2]])
    outputs = [triton.InferRequestedOutput("logit"), triton.InferRequestedOutput("score", class_count=1)]
    for reason in ("outputs[logit]:", "outputs[score].parameters[classification]:"):
        refused(invalid, reason, client.infer, model, given, outputs=outputs)
    shared = triton.InferInput("user", [len(rows["user"])], "INT64")
    shared.set_shared_memory("region", 8 * len(rows["user"]))
    refused(invalid, "shared_memory_region", client.infer, model, [shared, *given[1:]])

    refused(grpc.StatusCode.DEADLINE_EXCEEDED, "deadline", client.infer, model, given, timeout=1)
    command = f"`decant slot set {model} VERSION`"
    refused(grpc.StatusCode.FAILED_PRECONDITION, command, client.load_model, model)
    refused(grpc.StatusCode.FAILED_PRECONDITION, command, client.unload_model, model)
    refused(grpc.StatusCode.UNIMPLEMENTED, "", client.get_system_shared_memory_status)
    refused(grpc.StatusCode.UNIMPLEMENTED, "", client.get_trace_settings)


def main() -> None:
    address, expected, descriptors = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    numbers_are_tritons(descriptors)
    with triton.InferenceServerClient(address) as client:
        tells_of_itself(client, expected)
        scores_as_score_does(client, address, expected)
        streams(client, expected)
        counts(client, expected)
        refuses(client, expected)


if __name__ == "__main__":
    main()
