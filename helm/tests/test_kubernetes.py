"""Kubernetes takes what the chart makes, from the oldest version that Chart.yaml admits to the newest one known."""

import functools

import helm_python
import kubernetes_validate.utils as kubernetes_validate
import pytest
import yaml

from conftest import CHART, VALUES

# Kinds of operators, which Kubernetes itself has no schema of.
FOREIGN = {"Certificate", "ServiceMonitor", "PrometheusRule"}
OLDEST = "1.28.0"
VERSIONS = kubernetes_validate.all_versions()
VERSIONS = VERSIONS[VERSIONS.index(OLDEST) :]
# It would read the definitions of all kinds anew for each object.
kubernetes_validate.schema_contents = functools.cache(kubernetes_validate.schema_contents)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schema(version, example):
    for found in example.objects:
        if found["kind"] in FOREIGN:
            continue
        name = f"{found['kind']}/{found['metadata']['name']}"
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name} at {'.'.join(map(str, error.path))}: {error.message}")


def test_the_oldest_version_is_the_charts():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={OLDEST}-0"


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_lint_has_nothing_to_say(values):
    report = helm_python.lint(CHART, yaml.safe_load(values.read_text()), strict=True, namespace="ranking")
    worth_saying = [message for message in report["messages"] if message["error"] != "icon is recommended"]
    assert not worth_saying and not report["errors"], report


def test_names_and_namespaces(example):
    names = [(found["kind"], found["metadata"]["name"]) for found in example.objects]
    assert len(names) == len(set(names)), "two objects have one name"
    assert all(len(name) <= 63 for _, name in names), names
    assert all(found["metadata"]["namespace"] == "ranking" for found in example.objects)


def test_a_long_name_leaves_room(render):
    values = {"etcd": {"bundled": {"enabled": True, "replicas": 3}}, "bundles": {"persistence": {"enabled": True}}}
    rendered = render(values, name="r" * 53)
    # A StatefulSet's pods have a number after the name, and a label with a digest of their revision.
    assert all(len(found["metadata"]["name"]) <= 52 for found in rendered.of_kind("StatefulSet", "Deployment"))
    assert all(len(found["metadata"]["name"]) <= 63 for found in rendered.objects)


def test_releases_beside_each_other_share_no_object(render):
    values = {"etcd": {"endpoints": ["http://etcd:2379"]}, "bundles": {"url": "s3://models"}}
    one, other = render(values, name="one"), render(values, name="other")
    names = [{(found["kind"], found["metadata"]["name"]) for found in release.objects} for release in (one, other)]
    assert not names[0] & names[1]
    selectors = [found["spec"]["selector"]["matchLabels"] for release in (one, other) for found in release.workloads()]
    assert len({tuple(selector.items()) for selector in selectors}) == len(selectors)
