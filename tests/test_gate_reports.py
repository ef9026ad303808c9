"""What the gate writes for other programs: JUnit XML, GitHub's annotations and summary, JSON.

`XEVAL_RENEW_GOLDEN=1 python -m pytest tests/test_gate_reports.py` rewrites the expected files, for review.
"""

import io
import json
import os
import re
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
from rich.console import Console
from test_baseline import HOSTILE
from test_gate import BASELINE, a_seed, bless, check, seeds

from xeval.judging.gate.findings import PASSING, GateFinding, Kind, Numbers, Outcome, Thresholds
from xeval.report.gate import github, junit, terminal
from xeval.report.gate import json as gate_json
from xeval.report.gate import summary as gate_summary
from xeval.results.records import ModelRecord
from xeval.support.errors import StoreError

GOLDEN = Path(__file__).parent / "golden_gate"
HOSTILE_NAMES = [
    HOSTILE,
    "::error::owned",
    "a\n::error title=x::owned",
    "##[error]owned",
    "]]>",
    "<script>alert(1)</script>",
    "[red]markup[/red]",
    "| a | b |\n|---|---|",
    "\x1b]0;title\x07\x00\ud7ff\ufffe",
    "100%0A::error::owned",
]


def some_of_everything() -> Outcome:
    """A regression, a drop within chance, an improvement, a missing language, and an unknown model."""
    runs = [
        record.model_copy(update={"scores": {code: kept for code, kept in record.scores.items() if code != "es"}})
        for record in seeds(moves={"en": 5.0, "th": -6.0})
    ]
    another = ModelRecord(
        id=HOSTILE, origin="local", revision=None, sha256="d" * 64, n_parameters=1, architecture="bert"
    )
    outcome = check(BASELINE, [*runs, *seeds(model=another)])
    name = BASELINE.configurations[0].name
    doubt = f"{name}: zh fell by 2.0 points, but chance in training may explain it."
    doubtful = GateFinding("drop within chance", name, "zh", doubt, Numbers(50.0, 48.0, 0.21, "%"))
    note = GateFinding("note", name, "versions", f"{name}: torch 3, blessed 2.")
    return Outcome([*outcome.findings, doubtful, note], outcome.thresholds)


@pytest.mark.parametrize(
    ("file", "render"),
    [
        ("junit.xml", junit.render),
        ("check.json", gate_json.render),
        ("summary.md", gate_summary.render),
        ("annotations.txt", lambda outcome: "\n".join(github.annotations(outcome)) + "\n"),
    ],
)
def test_the_files_are_as_expected(file, render):
    text = render(some_of_everything())
    if os.environ.get("XEVAL_RENEW_GOLDEN"):
        (GOLDEN / file).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / file).read_text(encoding="utf-8")


def test_junit_counts_what_is_in_it():
    root = ElementTree.fromstring(junit.render(some_of_everything()).encode())
    for suite in [root, *root.iter("testsuite")]:
        assert int(suite.attrib["tests"]) == len(list(suite.iter("testcase"))) > 0
        assert int(suite.attrib["failures"]) == len(list(suite.iter("failure")))
        assert int(suite.attrib["skipped"]) == len(list(suite.iter("skipped")))


def hostile_outcome(name: str) -> Outcome:
    finding = GateFinding("regression", name, name, f"{name}: fell.")
    return Outcome([finding, GateFinding("note", name, name, name)], Thresholds())


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_junit_is_valid_xml_for_any_name(name):
    root = ElementTree.fromstring(junit.render(hostile_outcome(name)).encode())
    assert [element.tag for element in root.iter()] == ["testsuites", "testsuite", "testcase", "failure", "system-out"]
    assert all(value.isprintable() for element in root.iter() for value in element.attrib.values())


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_annotation_is_one_command_for_any_name(name):
    lines = github.annotations(hostile_outcome(name))
    assert len(lines) == 2 and [line.split(" ")[0] for line in lines] == ["::error", "::notice"]
    for line in lines:
        assert line.isprintable()
        title, _, message = line.split(" ", 1)[1].partition("::")
        assert ":" not in title and "," not in title
        assert re.search(r"%(?!25|3A|2C|0D|0A)", title + message) is None


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_the_summary_shows_a_name_as_text(name):
    text = gate_summary.render(hostile_outcome(name))
    assert re.search(r"<(?!/?$)", text) is None and "\x1b" not in text and "\x00" not in text
    assert [line for line in text.splitlines() if line.startswith("::")] == []
    rows = [re.findall(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3 and {len(row) for row in rows} == {7}  # header, rule and one finding, six columns each


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_json_is_one_object_for_any_name(name):
    text = gate_json.render(hostile_outcome(name))
    assert json.loads(text)["findings"][0]["configuration"] == name
    assert all(line.isprintable() for line in text.splitlines())


def test_last_annotation_counts_further_failures():
    findings = [GateFinding("regression", "c", f"l{n}", f"c: l{n} fell.") for n in range(14)]
    lines = github.annotations(Outcome(findings, Thresholds()))
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == 10
    assert errors[-1] == "::error title=xeval::and 5 more; the summary of this step lists them all"
    ten = github.annotations(Outcome(findings[:10], Thresholds()))
    assert ten[9] == "::error title=xeval%3A regression::c: l9 fell."


@pytest.mark.parametrize("already", [0, 500_000, 1_048_500, 1_048_576])
def test_long_summary_is_cut_to_githubs_limit(tmp_path, already):
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * already)
    github.append_summary(path, "🐈 a line\n" * 100_000)
    content = path.read_bytes()
    assert len(content) <= 1024 * 1024
    if already < 1_048_000:
        assert len(content) > 1024 * 1024 - 200
        assert content.decode().endswith(github.CUT)
        assert set(content[already:].decode().removesuffix(github.CUT).splitlines()) == {"🐈 a line"}


def test_a_short_summary_is_whole(tmp_path):
    github.append_summary(tmp_path / "s.md", "one\n")
    github.append_summary(tmp_path / "s.md", "two\n")
    assert (tmp_path / "s.md").read_text() == "one\ntwo\n"
    with pytest.raises(StoreError, match="the step's summary cannot be written"):
        github.append_summary(tmp_path / "none" / "s.md", "x")


def test_terminal_shows_how_far_unchanged_languages_changed():
    """A rise that the seeds do not show is not called an improvement; its size is seen all the same."""
    wide = [a_seed(n, "a", en=80 + luck, es=70, th=60) for n, luck in enumerate((-9.0, 0.0, 9.0), 1)]
    now = [a_seed(n, "b", en=86 + luck, es=69, th=60) for n, luck in enumerate((-9.0, 0.0, 9.0), 1)]
    console = Console(file=io.StringIO(), width=120)
    terminal.show(check(bless(wide), now), console)
    [line] = [line for line in console.file.getvalue().splitlines() if " languages " in line and "mean" not in line]
    assert [cell.strip() for cell in line.split("│") if cell.strip()] == ["3 languages", "-1.0 to +6.0", "unchanged"]


def test_documented_keys_and_kinds_are_those_of_the_json():
    page = (Path(__file__).resolve().parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")
    section = page.split("## Keys of the JSON file")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE))
    content = json.loads(gate_json.render(some_of_everything()))
    [finding, *_] = [finding for finding in content["findings"] if finding["numbers"]]
    assert list(rows) == [*content, *(f"findings[].{key}" for key in finding)]
    named = {key: re.findall(r"`(.+?)`", text) for key, text in rows.items()}
    assert set(named["thresholds"]) == content["thresholds"].keys()
    assert set(named["alpha"]) == content["alpha"].keys()
    assert finding["numbers"].keys() < set(named["findings[].numbers"])
    failing, passing = (set(re.findall(r"`(.+?)`", part)) for part in rows["findings[].kind"].split("if not:"))
    assert (failing, passing) == (set(get_args(Kind)) - PASSING, PASSING)
