"""`xeval bless` and `xeval check` as people and CI jobs use them."""

import json
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_gate import INVOCATION, seeds
from test_gate_reports import HOSTILE_NAMES

from tests.helpers.sample_record import SHA
from xeval.cli import app
from xeval.results.records import ModelRecord, Timing
from xeval.results.store import save_record


@pytest.fixture
def command(command, monkeypatch, tmp_path):
    """`command(*words)` runs xeval in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return command


def put(folder: Path, records) -> Path:
    for number, record in enumerate(records):
        save_record(folder / "xnli-mini" / "m" / f"run{number}", record)
    return folder


def mini(records):
    """Return the records as runs of a task that xeval knows."""
    return [record.model_copy(update={"task": "xnli-mini"}) for record in records]


# ── the two commands ──


def test_bless_then_check_passes_and_then_fails(command, tmp_path):
    put(tmp_path / "blessed", mini(seeds("a")))
    code, out, err = command("bless", "--results", "blessed", "--output", "b.toml")
    assert (code, err) == (0, "") and "mean 70.0 % over 3 languages, seeds 1, 2, 3" in out
    assert "xeval check --baseline b.toml" in out

    code, out, err = command("check", "--results", "blessed", "--baseline", "b.toml")
    assert (code, err) == (0, "") and "Passed: no drop exceeds both chance and what is allowed (1.5 points" in out

    put(tmp_path / "worse", mini(seeds(moves={"th": -6.0})))
    code, out, err = command("check", "--results", "worse", "--baseline", "b.toml")
    assert (code, err) == (1, "")
    assert "th fell by 6.0 points, from 60.0 to 54.0 %" in out
    assert re.search(r"th +│ +60\.0 % │ +54\.0 % │ +-6\.0 │ < 0\.001 │ regression", out)
    assert "Failed: 2 × regression" in out


def test_thresholds_are_options_and_recorded(command, tmp_path):
    put(tmp_path / "blessed", mini(seeds("a")))
    put(tmp_path / "worse", mini(seeds(moves={"th": -6.0})))
    command("bless", "--results", "blessed", "--output", "b.toml")
    wide = ["--threshold", "7", "--mean-threshold", "3", "--throughput-threshold", "0.5"]
    code, out, _ = command("check", "--results", "worse", "--baseline", "b.toml", *wide, "--json", "o.json")
    assert code == 0 and "7 points in a language, 3 on the mean, 0.5 times the blessed speed" in out
    written = json.loads((tmp_path / "o.json").read_text())
    assert written["thresholds"] == {"cell_points": 7.0, "mean_points": 3.0, "throughput_ratio": 0.5}


def test_throughput_threshold_of_0_allows_any_slowdown(command, tmp_path):
    def timed(wall_s: float):
        return [
            record.model_copy(update={"timing": {"train": Timing(wall_s=wall_s, rows=1000, invocation=INVOCATION)}})
            for record in runs
        ]

    runs = mini(seeds("a"))
    for folder, wall_s in {"blessed": 10.0, "slow": 1000.0, "fast": 0.1}.items():
        put(tmp_path / folder, timed(wall_s))
    command("bless", "--results", "blessed", "--output", "b.toml")
    words = ["check", "--baseline", "b.toml", "--json", "o.json", "--results"]
    assert command(*words, "slow")[0] == 1
    for folder in ("blessed", "slow", "fast"):
        code, out, err = command(*words, folder, "--throughput-threshold", "0")
        assert (code, err) == (0, "") and "0 times the blessed speed" in out
        findings = json.loads((tmp_path / "o.json").read_text())["findings"]
        assert [finding["kind"] for finding in findings if finding["what"] == "train throughput"] == ["unchanged"]


def test_github_gets_annotations_and_a_summary(command, tmp_path, monkeypatch):
    put(tmp_path / "blessed", mini(seeds("a")))
    put(tmp_path / "worse", mini(seeds(moves={"th": -6.0})))
    command("bless", "--results", "blessed", "--output", "b.toml")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("what was there\n")
    code, out, _ = command("check", "--results", "worse", "--baseline", "b.toml", "--github", "--junit", "j/o.xml")
    assert code == 1
    lines = out.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    table_end = lines.index(f"::{token}::")
    assert len(token) == 32 and any("regression" in line for line in lines[1:table_end])
    assert [line.split("::")[1] for line in lines[table_end + 1 :]] == [
        "error title=xeval%3A regression",
        "error title=xeval%3A regression",
        "notice title=xeval check",
    ]
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("what was there\n### ❌ xeval check\n\nFailed: 2 × regression")
    assert ElementTree.parse(tmp_path / "j" / "o.xml").getroot().attrib["failures"] == "2"


def test_github_option_works_outside_github(command, tmp_path):
    put(tmp_path / "blessed", mini(seeds("a")))
    command("bless", "--results", "blessed", "--output", "b.toml")
    code, out, err = command("check", "--results", "blessed", "--baseline", "b.toml", "--github")
    assert (code, err) == (0, "") and out.splitlines()[-1].startswith("::notice title=xeval check::Passed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bless", "--results", "nowhere", "--output", "b.toml"), "nowhere: no results there yet"),
        (("check", "--results", "nowhere", "--baseline", "b.toml"), "b.toml: cannot read this baseline file"),
        (("check", "--results", "one"), "--baseline"),
        (("bless", "--results", "one"), "--output"),
        (("bless", "--results", "one", "--output", "b.toml"), "wanted at least 2 seeds, got one"),
        (("check", "--results", "one", "--baseline", "bad.toml"), "bad.toml: configurations"),
        (("check", "--results", "one", "--baseline", "good.toml", "--threshold", "-1"), "--threshold"),
        (("check", "--results", "empty", "--baseline", "good.toml"), "empty: no results there yet"),
        (("check", "--results", "one", "--baseline", "good.toml", "--junit", "one/xnli-mini"), "xnli-mini: cannot be"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(command, tmp_path, words, said):
    put(tmp_path / "one", mini(seeds("a")[:1]))
    put(tmp_path / "two", mini(seeds("a")))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.toml").write_text("format = 1\nconfigurations = []\n")
    command("bless", "--results", "two", "--output", "good.toml")
    code, _, err = command(*words)
    assert code == 2 and said in err and err.count("\n") == 1


def test_a_refused_blessing_leaves_the_old_baseline(command, tmp_path):
    put(tmp_path / "one", mini(seeds("a")[:1]))
    (tmp_path / "b.toml").write_text("the old one")
    assert command("bless", "--results", "one", "--output", "b.toml")[0] == 2
    assert (tmp_path / "b.toml").read_text() == "the old one"


def test_check_is_fast_and_needs_no_torch(tmp_path):
    put(tmp_path / "two", mini(seeds("a")))
    bless = [sys.executable, "-m", "xeval", "bless", "--results", "two", "--output", "b.toml"]
    subprocess.run(bless, cwd=tmp_path, check=True, capture_output=True)
    code = (
        "import sys, resource, xeval.cli\n"
        "sys.argv = ['xeval', 'check', '--results', 'two', '--baseline', 'b.toml', '--github', '--json', 'o.json']\n"
        "try: xeval.cli.main()\n"
        "except SystemExit as left: assert left.code == 0\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'pyarrow'} & sys.modules.keys()\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(sorted(heavy), used.ru_utime + used.ru_stime, file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    heavy, cpu_s = process.stderr.rsplit(" ", 1)
    assert heavy == "[]" and float(cpu_s) < 2  # CPU time, which other work on the machine does not lengthen


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_terminal_shows_a_hostile_name_as_text(command, tmp_path, name):
    """Through the files: a record with such a model name is blessed, read back and checked."""
    model = ModelRecord(id=name, origin="local", revision=None, sha256=SHA, n_parameters=1, architecture="bert")
    put(tmp_path / "runs", mini(seeds("a", model=model)))
    assert command("bless", "--results", "runs", "--output", "b.toml")[0] == 0
    code, out, err = command("check", "--results", "runs", "--baseline", "b.toml", "--github")
    assert (code, err) == (0, "")
    assert all(line.isprintable() for line in out.splitlines())
    lines = out.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    shown = lines[lines.index(f"::{token}::") + 1 :]
    assert [line.split(" ")[0] for line in shown] == ["::notice"]


def test_documented_workflow_uses_existing_commands():
    """Its steps, and the lines at the top of the page, name commands and options that xeval has."""
    yaml = pytest.importorskip("yaml")
    page = (Path(__file__).parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    steps = [line for step in workflow["jobs"]["gate"]["steps"] for line in step.get("run", "").splitlines()]
    lines = [line.strip() for line in [*steps, *page.splitlines()] if line.strip().startswith("xeval ")]
    assert len(lines) == 9
    known = {command.name: command.callback for command in app.registered_commands}
    for line in lines:
        _, command, *words = line.split()
        options = {name for parameter in _parameters(known[command]) for name in parameter}
        assert {word for word in words if word.startswith("--")} <= options, line


def _parameters(callback) -> list[list[str]]:
    """Return the option names of a command, from the annotations of its function."""
    hints = typing.get_type_hints(callback, include_extras=True)
    return [
        [name for name in (option.default, *(option.param_decls or ())) if str(name).startswith("--")]
        for hint in hints.values()
        for option in getattr(hint, "__metadata__", ())
    ]


def test_command_suggested_by_bless_can_be_pasted(command, tmp_path):
    put(tmp_path / "results", mini(seeds("a")))
    said = command("bless", "--output", "my $baseline.toml")[1]
    assert command(*shlex.split(said.partition("later runs with: ")[2])[1:])[0] == 0
