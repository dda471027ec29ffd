"""values.yaml is the manual, and nothing but what it says is taken."""

import json

import pytest
import yaml

from conftest import CHART, MINIMAL, merged

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
# Objects whose keys are Kubernetes' or the user's, and Helm's own.
OPEN = {"affinity", "volume", "global"}


def resolved(schema: dict) -> dict:
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def closed_objects(schema: dict, path: str = ""):
    schema = resolved(schema)
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        yield path, schema
        for key, value in schema["properties"].items():
            yield from closed_objects(value, f"{path}.{key}".strip("."))


def test_the_schema_is_closed():
    for path, schema in closed_objects(SCHEMA):
        assert schema["additionalProperties"] is False, path
        for key, value in schema["properties"].items():
            value = resolved(value)
            free = value.get("type") == "object" and "additionalProperties" not in value
            assert not free or key in OPEN, f"{path}.{key} takes anything"


def test_every_key_of_the_schema_has_a_default_and_every_default_a_key():
    for path, schema in closed_objects(SCHEMA):
        keys = path.split(".") if path else []
        # Sections of Decant's own configuration have their defaults in the programs.
        if "config" in keys or keys[:1] in (["log"], ["telemetry"], ["limits"]):
            continue
        value = DEFAULTS
        for key in keys:
            value = value[key]
        expected = set(schema["properties"]) - OPEN.intersection({"global"})
        optional = {"claims"} if path.endswith("resources") else set()
        assert set(value) | optional == expected | optional, path


def test_every_value_says_what_it_is():
    """Each key of the chart's own follows a comment of helm-docs' form; one that only groups others may do without."""
    text = (CHART / "values.yaml").read_text()
    lines, root = text.splitlines(), yaml.compose(text)
    closed = {path for path, _ in closed_objects(SCHEMA)}

    def undocumented(node: yaml.MappingNode, path: str) -> list[str]:
        found = []
        for key, value in node.value:
            below = f"{path}.{key.value}".strip(".")
            groups = below in closed and not below.endswith((".config", ".resources"))
            if groups and value.value:
                found += undocumented(value, below)
            if (not groups or not value.value) and not documented(key.start_mark.line):
                found.append(below)
        return found

    def documented(line: int) -> bool:
        begin = line
        while lines[begin - 1].lstrip().startswith("#"):
            begin -= 1
        return any(one.lstrip().startswith("# -- ") for one in lines[begin:line])

    # The sections of Decant's own configuration are documented as a whole.
    missing = [path for path in undocumented(root, "") if path.partition(".")[0] not in ("log", "limits", "telemetry")]
    assert not missing, missing


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicas": 3}, ["replicas"]),
        ({"scorer": {"replica": 3}}, ["/scorer", "replica"]),
        ({"scorer": {"replicas": "three"}}, ["/scorer/replicas", "want integer"]),
        ({"scorer": {"replicas": 0}}, ["/scorer/replicas"]),
        ({"scorer": {"config": {"scorer": {"queue_milis": 3}}}}, ["/scorer/config/scorer", "queue_milis"]),
        ({"scorer": {"config": {"scorer": {"name": "x"}}}}, ["/scorer/config/scorer", "name"]),
        ({"scorer": {"config": {"registry": {}}}}, ["/scorer/config", "registry"]),
        ({"scorer": {"config": {"listen": "0.0.0.0:1"}}}, ["/scorer/config", "listen"]),
        ({"registry": {"config": {"registry": {"pushes": 0}}}}, ["/registry/config/registry/pushes"]),
        ({"scorer": {"autoscaling": {"scaleDownStabilizationSeconds": 60}}}, ["scaleDownStabilizationSeconds", "300"]),
        ({"scorer": {"cache": {"size": "ten"}}}, ["/scorer/cache/size"]),
        ({"scorer": {"resources": {"limits": {"cpu": "two"}}}}, ["/scorer/resources/limits/cpu"]),
        ({"scorer": {"resources": {"limits": None}}}, ["/scorer/resources", "limits"]),
        ({"scorer": {"image": {"digest": "latest"}}}, ["/scorer/image/digest"]),
        ({"etcd": {"endpoints": ["etcd:2379"]}}, ["/etcd/endpoints/0"]),
        ({"etcd": {"bundled": {"replicas": 2}}}, ["/etcd/bundled/replicas"]),
        ({"bundles": {"url": "ftp://models"}}, ["/bundles/url"]),
        ({"bundles": {"config": {"secret_key": "x"}}}, ["/bundles/config", "secret_key"]),
        ({"auth": {"grants": [{"name": "ops", "role": "root", "identity": "cn:ops"}]}}, ["/auth/grants/0/role"]),
        ({"auth": {"grants": [{"name": "ops", "role": "admin"}]}}, ["/auth/grants/0", "identity"]),
        ({"log": {"format": "xml"}}, ["/log/format"]),
        ({"telemetry": {"sample_ratio": 2}}, ["/telemetry/sample_ratio"]),
        ({"telemetry": {"metrics_listen": ""}}, ["/telemetry", "metrics_listen"]),
        ({"cluster": "Production"}, ["/cluster"]),
        ({"listenAddress": "127.0.0.1"}, ["/listenAddress"]),
    ],
    ids=str,
)
def test_the_schema_names_what_it_refuses(values, words, refused):
    error = refused(values)
    assert all(word in error for word in words), error


TLS = {"tls": {"enabled": True}}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"etcd": {"endpoints": []}}, "etcd.endpoints: name the members"),
        ({"etcd": {"bundled": {"enabled": True}}}, "etcd.endpoints: must be empty"),
        ({"etcd": {"auth": {"user": "decant"}}}, "etcd.auth.existingSecret"),
        ({"etcd": {"tls": {"existingSecret": "x"}}}, "`http://etcd:2379` is not https"),
        ({"bundles": {"url": ""}}, "bundles.url: say where"),
        ({"bundles": {"persistence": {"enabled": True}}}, "bundles.url: say where"),
        (TLS, "registry.tls.existingSecret: name the Secret"),
        (TLS | {"registry": {"tls": {"existingSecret": "x"}}}, "scorer.tls.existingSecret"),
        ({"tls": {"certManager": {"enabled": True}}}, "tls.certManager.enabled: makes no sense"),
        ({"tls": {"enabled": True, "certManager": {"enabled": True}}}, "tls.certManager.issuerRef.name"),
        ({"tls": {"requireClientCertificate": True}}, "tls.requireClientCertificate"),
        ({"auth": {"enabled": True}}, "auth.enabled: services need credentials"),
        ({"trainer": {"signingKey": {"existingSecret": "x", "value": "y"}}}, "trainer.signingKey.value"),
        ({"trainer": {"datasets": {"existingClaim": "x", "volume": {"emptyDir": {}}}}}, "trainer.datasets.volume"),
        ({"scorer": {"autoscaling": {"enabled": True, "targetCpuPercent": 0}}}, "scorer.autoscaling: set"),
        ({"scorer": {"autoscaling": {"enabled": True, "maxReplicas": 2}}}, "scorer.autoscaling.maxReplicas: 2"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_by_its_key(values, says, refused):
    assert says in refused(values)


def test_without_values_the_error_says_what_is_missing(refused):
    assert "etcd.endpoints: name the members" in refused({}, base={})


def test_a_bundled_etcd_takes_no_credentials(refused):
    base = {"etcd": {"bundled": {"enabled": True}}, "bundles": {"url": "s3://models"}}
    assert "the bundled etcd has neither" in refused({"etcd": {"tls": {"existingSecret": "x"}}}, base)


def test_the_defaults_fit_the_schema(chart):
    chart.validate_schema(MINIMAL)
    chart.validate_schema(merged(MINIMAL, {"global": {"anything": 1}}))
