"""Renders the chart as Helm would, and reads what comes out."""

import os
from pathlib import Path

import helm_python
import pytest
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHART = HERE.parent / "decant"
VALUES = sorted((HERE / "values").glob("*.yaml"))

# Set, files that can be made anew are: golden renders, and the chart's copies of rules and dashboards.
UPDATE = bool(os.environ.get("DECANT_UPDATE_GOLDEN"))

# The least that every release must say.
MINIMAL = {"etcd": {"endpoints": ["http://etcd:2379"]}, "bundles": {"url": "s3://models"}}


class Rendered:
    """The objects of a release."""

    def __init__(self, texts: dict[str, str]):
        self.texts = {name.removeprefix("decant/"): text for name, text in texts.items() if text.strip()}
        self.notes = self.texts.pop("templates/NOTES.txt")
        self.objects = [
            document
            for name in sorted(self.texts)
            for document in yaml.safe_load_all(self.texts[name])
            if document is not None
        ]

    def of_kind(self, *kinds: str) -> list[dict]:
        return [found for found in self.objects if found["kind"] in kinds]

    def one(self, kind: str, name: str) -> dict:
        found = [one for one in self.of_kind(kind) if one["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
        return found[0]

    def workloads(self) -> list[dict]:
        return self.of_kind("Deployment", "StatefulSet")

    def pods(self) -> list[tuple[str, dict, dict]]:
        """Each kind of pod there is: its name, its labels and its spec."""
        templates = [(one["metadata"]["name"], one["spec"]["template"]) for one in self.workloads()]
        single = [(one["metadata"]["name"], one) for one in self.of_kind("Pod")]
        return [(name, pod["metadata"]["labels"], pod["spec"]) for name, pod in templates + single]

    def config(self, component: str) -> str:
        return self.one("ConfigMap", f"decant-{component}")["data"]["decant.toml"]


def merged(base: dict, over: dict) -> dict:
    """Values over values, as several files given to Helm."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


@pytest.fixture(scope="session")
def chart():
    with helm_python.Chart.load(CHART) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart):
    def render(values: dict, **options) -> Rendered:
        options = {"name": "decant", "namespace": "ranking"} | options
        return Rendered(chart.render(values, **options))

    return render


@pytest.fixture(scope="session")
def refused(chart):
    """What Helm says of values, laid over the least that must be said, that it must not take."""

    def refused(values: dict, base: dict = MINIMAL) -> str:
        with pytest.raises(helm_python.HelmError) as error:
            chart.render(merged(base, values), name="decant", namespace="ranking")
        return str(error.value)

    return refused


@pytest.fixture(scope="session", params=VALUES, ids=lambda path: path.stem)
def example(request, render) -> Rendered:
    """The release of each file of example values."""
    return render(yaml.safe_load(request.param.read_text()))
