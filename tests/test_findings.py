"""Evidence is worded as intended, and the documentation names all findings."""

import ast
from pathlib import Path

import pytest

from xeval.support.findings import at_most, by_language
from xeval.support.text import percent, signed

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("shares", "written", "text"),
    [
        ({"el": 0.042, "th": 0.187}, percent, "th 18.7 %, el 4.2 %"),
        ({"te": 0.021, "af": 0.0002, "zh": 0.0004}, percent, "te 2.1 %, less in 2 more"),
        ({"te": 0.0003, "af": 0.0002}, percent, "te 0.0 %, af 0.0 %"),
        ({"te": 0.21, "af": 0.0}, percent, "te 21.0 %, af 0.0 %"),
        ({"en": 1.5, "de": -3.25}, signed, "en +1.5, de -3.3"),
        ({"de": 0.7125, "fr": 0.7005, "zh": 0.6815}, percent, "de 71.3 %, fr 70.1 %, zh 68.2 %"),  # of 2,000 rows
        ({}, percent, ""),
    ],
)
def test_evidence_lists_the_largest_shares_first(shares, written, text):
    assert by_language(shares, written) == text


def names_of_findings(*severities: str) -> set[str]:
    """Names written as literals in calls of the functions that make findings of these severities."""
    calls = [
        node
        for file in (ROOT / "xeval").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in severities
    ]
    firsts = [call.args[0] for call in calls if call.args]
    return {first.value for first in firsts if isinstance(first, ast.Constant)}


def test_the_page_on_diagnosis_names_every_finding():
    page = (ROOT / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    names = names_of_findings("error", "warning")
    assert len(names) > 20 and not [name for name in names if name not in page]


def test_its_tables_have_a_row_for_every_name_on_the_screen():
    page = (ROOT / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    firsts = [line.split("|")[1].split(" (")[0] for line in page.splitlines() if line.startswith("| ")]
    rows = {name.strip() for first in firsts for name in first.split(",")}
    assert names_of_findings("error", "warning", "fine") <= rows


def test_at_most_is_the_largest_number():
    assert at_most({"el": 0.042, "th": 0.187, "zh": 0.1}) == "at most 18.7 % (th)"
    assert at_most({"th": 0.1875, "zh": 0.1}, percent) == "at most 18.8 % (th)"
    assert at_most({"th": 0.3125, "zh": 0.1}, percent) == "at most 31.3 % (th)"
