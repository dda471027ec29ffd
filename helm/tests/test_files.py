"""A chart can hold no file from outside its folder, so rules and dashboards are copies. They are kept equal here."""

import json

import helm_python
import pytest
import yaml

from conftest import CHART, MINIMAL, ROOT, UPDATE, merged

COPIES = {
    CHART / "files" / "rules": (ROOT / "deploy" / "prometheus" / "rules", "*.yml"),
    CHART / "files" / "dashboards": (ROOT / "deploy" / "grafana" / "dashboards", "*.json"),
}


@pytest.mark.parametrize(("copy", "original"), COPIES.items(), ids=lambda one: getattr(one, "name", ""))
def test_copies_are_equal(copy, original):
    folder, pattern = original
    originals = {path.name: path.read_text() for path in folder.glob(pattern)}
    assert originals, f"there is nothing in {folder}"
    if UPDATE:
        for path in copy.glob("*"):
            path.unlink()
        for name, text in originals.items():
            (copy / name).write_text(text)
    copies = {path.name: path.read_text() for path in copy.glob("*")}
    assert set(copies) == set(originals)
    differ = [name for name in copies if copies[name] != originals[name]]
    assert not differ, "DECANT_UPDATE_GOLDEN=1 copies them anew"


def test_rules_and_dashboards_arrive_unchanged(render):
    metrics = {"prometheusRule": {"enabled": True, "runbookUrl": "https://wiki/runbooks"}, "dashboards": {"enabled": True}}
    rendered = render(merged(MINIMAL, {"metrics": metrics}))
    rules = {one["metadata"]["name"]: one["spec"] for one in rendered.of_kind("PrometheusRule")}
    for path in (CHART / "files" / "rules").glob("*"):
        text = path.read_text().replace("https://decant.example/runbooks", "https://wiki/runbooks")
        assert rules.pop(f"decant-{path.stem}") == yaml.safe_load(text)
    assert not rules
    boards = {one["metadata"]["name"]: one for one in rendered.of_kind("ConfigMap") if "dashboard" in one["metadata"]["name"]}
    for path in (CHART / "files" / "dashboards").glob("*"):
        board = boards.pop(f"decant-dashboard-{path.stem}")
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(board["data"][path.name]) == json.loads(path.read_text())
    assert not boards


def test_the_package_renders_what_the_folder_renders(chart, tmp_path):
    """Nothing that counts is ignored when the chart is packed."""
    metrics = {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}
    values = merged(MINIMAL, {"metrics": metrics})
    with helm_python.Chart.load(helm_python.package(CHART, destination=tmp_path)) as packed:
        assert packed.render(values, name="decant") == chart.render(values, name="decant")
