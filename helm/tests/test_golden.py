"""What the chart makes of the example values, to the last line."""

import difflib

import pytest
import yaml

from conftest import HERE, UPDATE, VALUES


def without_files(name: str, text: str) -> str:
    """Rules and dashboards are compared elsewhere: here only that each has its object."""
    documents = text.split("\n---\n")
    if "/metrics/prometheusrule" in name:
        documents = [document.partition("\nspec:\n")[0] + "\nspec: {}" for document in documents]
    if "/metrics/dashboards" in name:
        documents = [document.partition("\ndata:\n")[0] + "\ndata: {}" for document in documents]
    return "\n---\n".join(documents)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_golden(values, render):
    rendered = render(yaml.safe_load(values.read_text()))
    parts = {"NOTES.txt": rendered.notes} | rendered.texts
    made = "".join(f"# {name}\n{without_files(name, text).strip()}\n\n" for name, text in sorted(parts.items()))
    golden = HERE / "golden" / f"{values.stem}.txt"
    if UPDATE:
        golden.write_text(made)
    expected = golden.read_text() if golden.exists() else ""
    difference = "\n".join(difflib.unified_diff(expected.splitlines(), made.splitlines(), "golden", "made", lineterm=""))
    assert made == expected, f"{golden.name} differs; DECANT_UPDATE_GOLDEN=1 takes this over:\n{difference}"


def test_no_golden_is_left_over():
    golden = {path.stem for path in (HERE / "golden").iterdir()}
    assert golden == {path.stem for path in VALUES}
