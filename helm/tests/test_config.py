"""The services take the configuration that the chart writes, and know each key that the schema admits."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from conftest import CHART, MINIMAL, VALUES, merged

SERVICES = ("registry", "scorer", "trainer")
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Keys that the chart writes by itself, and that are no values therefore.
WRITTEN = {
    "listen", "onnx_runtime", "telemetry.metrics_listen",
    "store.endpoints", "store.user", "store.password_file", "bundles.url",
    "registry.cluster", "registry.advertise",
    "scorer.cluster", "scorer.name", "scorer.advertise", "scorer.cache.folder",
    "scorer.request_log.user_key_file",
    "trainer.datasets", "trainer.jobs", "trainer.registry", "trainer.signing_key",
}  # fmt: skip


def programs() -> Path:
    """The folder of the services' programs; the Rust test that runs this names it."""
    folder = os.environ.get("DECANT_PROGRAMS")
    if not folder:
        pytest.skip("DECANT_PROGRAMS names no folder of programs")
    return Path(folder)


def dump(service: str, config: str, variables: dict[str, str], folder: Path) -> dict:
    """The whole configuration, as the service would use it."""
    file = folder / f"{service}.toml"
    file.write_text(config)
    # What is checked to exist, and exists only in the pod.
    there = {"DECANT_TRAINER__DATASETS": str(folder)} if service == "trainer" else {}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DECANT_")}
    outcome = subprocess.run(
        [programs() / f"decant-{service}", "--config", file, "--dump-config"],
        env=kept | variables | there,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, f"{service}: {outcome.stderr}"
    return tomllib.loads(outcome.stdout)


def variables(rendered, service: str) -> dict[str, str]:
    """What the pod's variables would be."""
    found = next(one for one in rendered.workloads() if one["metadata"]["labels"]["app.kubernetes.io/component"] == service)
    (container,) = found["spec"]["template"]["spec"]["containers"]
    fields = {"metadata.name": "decant-scorer-5d4b-x2x", "status.podIP": "10.1.2.3"}
    values = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        known = "4" if "resourceFieldRef" in source else fields.get(source.get("fieldRef", {}).get("fieldPath"))
        value = variable.get("value", known)
        values[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], value)
    return values


def flat(table: dict, path: str = "") -> dict:
    leaves = {}
    for key, value in table.items():
        below = f"{path}.{key}".strip(".")
        leaves |= flat(value, below) if isinstance(value, dict) else {below: value}
    return leaves


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
@pytest.mark.parametrize("service", SERVICES)
def test_services_take_what_is_written(service, values, render, tmp_path):
    rendered = render(yaml.safe_load(values.read_text()))
    maps = [one for one in rendered.of_kind("ConfigMap") if one["metadata"]["name"].endswith(f"-{service}")]
    if not maps:
        pytest.skip("not installed")
    written = maps[0]["data"]["decant.toml"]
    used = flat(dump(service, written, variables(rendered, service), tmp_path))
    differs = {key: used.get(key) for key, value in flat(tomllib.loads(written)).items() if used.get(key) != value}
    differs.pop("trainer.datasets", None)
    assert not differs
    assert used["listen"].endswith((":7410", ":7420", ":7430"))
    if service == "scorer":
        assert used["scorer.workers"] == 4 and used["scorer.name"] == "decant-scorer-5d4b-x2x"
        assert used["scorer.advertise"].endswith(":7430")


@pytest.mark.parametrize("service", SERVICES)
def test_services_take_tokens_without_certificates(service, render, tmp_path):
    """As in a mesh that encrypts by itself: a service that is not told so refuses to start."""
    grant = {"name": "ops", "token_sha256": "0" * 64, "role": "admin"}
    auth = {"enabled": True, "tokens": {"existingSecret": "service-tokens"}, "grants": [grant]}
    rendered = render(merged(MINIMAL, {"auth": auth}))
    used = dump(service, rendered.config(service), variables(rendered, service), tmp_path)
    assert used["auth"]["enabled"] and used["auth"]["allow_plaintext"]
    (container,) = rendered.of_kind("Pod")[0]["spec"]["containers"]
    assert {"name": "DECANT_ALLOW_PLAINTEXT", "value": "true"} in container["env"]


def admitted(schema: dict) -> set[str]:
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    keys = set()
    for key, value in schema["properties"].items():
        named = SCHEMA["$defs"].get(value.get("$ref", "").rpartition("/")[2], value)
        keys |= {f"{key}.{inner}" for inner in admitted(value)} if "properties" in named else {key}
    return keys


@pytest.mark.parametrize("service", SERVICES)
def test_the_schema_admits_every_key_and_no_other(service, render, tmp_path):
    """A key that a service does not know would keep it from starting; one that the schema does not know cannot be set."""
    values = SCHEMA["properties"]
    keys = admitted(values[service]["properties"]["config"])
    if service != "trainer":
        keys |= {f"store.{key}" for key in admitted(values["etcd"]["properties"]["config"])}
        keys |= {f"bundles.{key}" for key in admitted(values["bundles"]["properties"]["config"])}
    rendered = render(MINIMAL)
    known = set(flat(dump(service, rendered.config(service), variables(rendered, service), tmp_path)))
    known = {key for key in known - WRITTEN if not key.startswith(("tls.", "auth.", "store.tls."))}
    # Keys without a default are not printed.
    optional = {"bundles.endpoint", "bundles.region"}
    assert keys - optional == known


def test_numbers_and_texts_survive(render):
    values = {
        "scorer": {
            "config": {
                "scorer": {"zone": 'a "quoted" \\ <zone>', "memory_bytes": 17179869184, "max_golden_tolerance": 1e-7}
            }
        },
        "telemetry": {"sample_ratio": 0.25},
        "log": {"filter": "info,decant_scorer=debug"},
    }
    config = tomllib.loads(render(merged(MINIMAL, values)).config("scorer"))
    scorer = config["scorer"]
    assert scorer["zone"] == 'a "quoted" \\ <zone>' and scorer["max_golden_tolerance"] == 1e-7
    assert scorer["memory_bytes"] == 17179869184 and isinstance(scorer["memory_bytes"], int)
    assert config["telemetry"]["sample_ratio"] == 0.25 and config["log"]["filter"] == "info,decant_scorer=debug"


def test_the_cache_stays_below_its_volume(render):
    for size, bytes_ in [("10Gi", 9663676416), ("500Mi", 471859200), ("1Ti", 989560464998)]:
        config = tomllib.loads(render(merged(MINIMAL, {"scorer": {"cache": {"size": size}}})).config("scorer"))
        assert config["scorer"]["cache"]["max_bytes"] == bytes_


def test_workers_follow_the_limit_unless_they_are_said(render):
    def names(values: dict) -> list[str]:
        spec = render(merged(MINIMAL, values)).one("Deployment", "decant-scorer")["spec"]["template"]["spec"]
        return [variable["name"] for variable in spec["containers"][0]["env"]]

    assert "DECANT_SCORER__WORKERS" in names({})
    assert "DECANT_SCORER__WORKERS" not in names({"scorer": {"config": {"scorer": {"workers": 3}}}})
