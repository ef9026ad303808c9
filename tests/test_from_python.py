"""What `import xeval` returns for existing results: the commands' numbers, data frames, and output for notebooks."""

import copy
import csv
import io
import json
import pickle
from dataclasses import asdict
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

import xeval
from tests.helpers import tiny
from tests.helpers.paired_answers import answers_with, write_run
from tests.helpers.sample_record import run_record, stored
from xeval.judging.gate.findings import GateFinding, Numbers, Thresholds
from xeval.report.notebook.checks import Checked
from xeval.results.records import Failure
from xeval.results.store import load_runs
from xeval.runs.outcome import Runs

N = 300
LABELS, GROUPS = np.arange(N) % 3, np.repeat(np.arange(N // 3), 3)
MODELS = {"org/good": 0.9, "org/fair": 0.7, "org/<b>poor</b>": 0.5}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(5)
    for name, share in MODELS.items():
        for seed in (1, 2):
            answers = {language: answers_with(LABELS, rng.random(N) < share) for language in ("en", "de")}
            write_run(folder, answers, LABELS, GROUPS, seed, name)
    return folder


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)


def check_shown(found, names=()) -> None:
    """A notebook shows the conclusion, and names without any markup."""
    for text in (found._repr_markdown_(), found._repr_html_()):
        assert "<b>" not in text and all(name in text for name in names)
    allowed = {"table", "thead", "tbody", "tr", "th", "td", "p", "ul", "li", "details", "summary"}
    assert set(Tags(found._repr_html_()).names) <= allowed
    assert repr(found).count("\n") == 0


def test_rank_matches_the_command(results, command):
    found = xeval.rank(results=results)
    lines = list(csv.DictReader(io.StringIO(command("rank", "--results", results, "--format", "csv")[1])))
    frame = found.frame()
    assert list(frame["model"]) == [line["model"] for line in lines]
    assert frame["value"].tolist() == [float(line["value"]) for line in lines]
    assert (
        frame["de"].between(0, 1).all()
        and found._repr_markdown_() == command("rank", "--results", results, "--format", "markdown")[1]
    )
    check_shown(found, ["org/good", "seeds"])
    assert found.conclusion in found._repr_html_() and found.conclusion in repr(found)


def test_rank_takes_models_and_a_language(results):
    found = xeval.rank(["org/good", "org/fair"], results=results, languages="de")
    assert (found.languages, len(found.frame())) == (["de"], 2)


def test_compare_matches_the_command(results, command):
    found = xeval.compare("org/fair", "org/good", results=results)
    frame = found.frame()
    assert list(frame["language"]) == ["en", "de"] and list(frame["better"]) == ["B", "B"]
    assert (frame["accuracy_b"] - frame["accuracy_a"]).to_numpy() == pytest.approx(frame["difference"].to_numpy())
    shown = command("compare", "org/fair", "org/good", "--results", results, "--format", "markdown")[1]
    assert found._repr_markdown_() == shown
    check_shown(found, ["org/fair", "org/good"])


def test_diagnosis_has_a_frame_and_markdown(results, tmp_path):
    write_run(tmp_path, {"en": np.zeros(N, dtype=int)}, LABELS, GROUPS)
    found = xeval.diagnose(tmp_path)
    assert list(found.frame()["severity"]) == [finding.severity for finding in found] != []
    assert found._repr_markdown_().count("\n- ") == len(found) - 1
    check_shown(found)
    assert "Nothing wrong" in type(found)()._repr_markdown_() and type(found)().frame().empty


def test_report_is_shown_in_its_own_format(results):
    text = xeval.report_of(results)
    assert text._repr_markdown_() == text and text._repr_html_() is None
    page = xeval.report_of(results, format="html")
    assert page._repr_markdown_() is None and Tags(page._repr_html_()).names == ["iframe"]
    assert xeval.report_of(results, format="csv")._repr_html_() is None


def test_audit_refutes_a_false_claim(mini, checkpoint_of, command):
    model = str(checkpoint_of("bert", tiny.LABELS))
    options = {"data": mini.data, "device": "cpu", "dtype": "float32"}
    found = xeval.audit(str(mini.task_file), model, "es", 0.99, **options)
    assert found.looked.outcome == "refuted" and found.conclusion.startswith("Refuted after")
    [row] = found.frame().to_dict("records")
    assert (row["claimed"], row["outcome"], row["language"]) == (0.99, "refuted", "es")
    check_shown(found)
    words = ("--model", model, "--language", "es", "--claimed", "99", "--data", mini.data, "--device", "cpu")
    code, out, _ = command("audit", mini.task_file, *words, "--dtype", "float32", "--quiet", "--format", "json")
    told, own = json.loads(out), json.loads(json.dumps(asdict(found)))
    del told["conclusion"], told["wall_s"], own["wall_s"]  # the conclusion says the time too
    assert (code, told) == (1, own)


@pytest.mark.parametrize(("name", "value"), [("claimed", 58.5), ("claimed", -0.1), ("tolerance", 1.5)])
def test_percentages_instead_of_fractions_are_refused(name, value):
    with pytest.raises(xeval.XevalError, match=f"{name}: wanted a fraction from 0 to 1, got {value:g}"):
        xeval.audit("xnli", "mbert", "ur", **{"claimed": 0.5, name: value})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda folder: xeval.rank("org/good", results=folder), "at least two models with scores, got 1"),
        (lambda folder: xeval.rank(["org/none", "org/good"], results=folder), "org/none"),
        (lambda folder: xeval.rank(results=folder, languages=["xx"]), "xx"),
        (lambda folder: xeval.rank(results=folder / "none"), "none"),
        (lambda folder: xeval.compare("org/good", "org/none", results=folder), "org/none"),
        (lambda folder: xeval.audit("xnlii", "mbert", "ur", 0.5), "unknown task 'xnlii'"),
    ],
)
def test_unusable_arguments_are_refused_in_one_line(results, call, said):
    with pytest.raises(xeval.XevalError, match=said) as refused:
        call(results)
    assert "\n" not in str(refused.value)


def test_gate_result_has_a_frame_and_markdown(results, tmp_path, command):
    baseline = tmp_path / "baseline.toml"
    assert command("bless", "--results", results, "--output", baseline)[0] == 0
    found = xeval.check(baseline, results)
    assert found.passed and "✅ xeval check" in found._repr_markdown_() and "Passed" in repr(found)
    frame = found.frame()
    assert len(frame) == len(found.findings) and not frame["fails"].any()
    assert {"kind", "configuration", "what", "sentence", "blessed", "now", "p", "unit"} < set(frame)


def test_unknown_name_crosses_a_process(results):
    with pytest.raises(xeval.XevalError) as refused:
        xeval.rank("org/goud", results=results)
    for again in (pickle.loads(pickle.dumps(refused.value)), copy.copy(refused.value)):
        assert (type(again), str(again)) == (type(refused.value), str(refused.value))


def test_report_can_be_copied_and_pickled(results):
    report = xeval.report_of(results, format="html")
    for again in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
        assert again == report and again._repr_html_() == report._repr_html_()
        assert again.built == report.built


def test_frame_shows_the_runs_now_in_the_list(results):
    stored = load_runs(results)
    runs = Runs(stored[:2])
    runs += Runs(stored[2:])
    assert runs.frame().equals(xeval.load_results(results))
    runs.reverse()
    del runs[0]
    assert list(dict.fromkeys(runs.frame()["folder"])) == [str(run.folder) for run in reversed(stored[:-1])]
    again = pickle.loads(pickle.dumps(runs))
    assert again.frame().equals(runs.frame())


def test_record_without_its_folder_is_refused_in_a_frame(results):
    stored = load_runs(results)
    runs = Runs(stored[:1])
    runs.append(stored[1].record)
    with pytest.raises(xeval.XevalError, match="without its folder"):
        runs.frame()


def test_package_is_marked_as_typed():
    """Without this file, type checkers take everything in the package for untyped (PEP 561)."""
    assert resources.files(xeval).joinpath("py.typed").is_file()


def test_audit_frame_separates_rows_read_from_all_rows(mini, checkpoint_of):
    model = str(checkpoint_of("bert", tiny.LABELS))
    found = xeval.audit(str(mini.task_file), model, "es", 0.99, data=mini.data, device="cpu", dtype="float32")
    [row] = found.frame().to_dict("records")
    assert (row["n_rows"], row["n_rows_read"]) == (found.n_rows, found.looked.n_rows)
    assert found.looked.n_rows < found.n_rows and (row["n_groups"], row["score"]) == (
        found.looked.n_groups,
        found.looked.score,
    )


def test_gate_frame_has_its_columns_without_numbers():
    usual = Checked([GateFinding("unchanged", "m", "de", "…", Numbers(50.0, 50.0, 1.0, "%"))], Thresholds()).frame()
    for findings in ([GateFinding("other settings", "m", "settings", "…")], []):
        frame = Checked(findings, Thresholds()).frame()
        assert list(frame) == list(usual) and frame["blessed"].isna().all()


def test_notebook_names_the_runs_that_failed():
    """So does the command; otherwise a mean over the other seeds would pass for a mean over all of them."""
    failure = Failure(reason="loss is nan after 3 steps", invocation=None)
    broken = run_record(status="failed", scores={}, failures={"training": failure}, seed=5)
    runs = Runs(stored([run_record(), broken]))
    assert "Failed: org/m r seed 5: loss is nan after 3 steps" in runs._repr_markdown_()
    assert "loss is nan after 3 steps" in runs._repr_html_()
    assert runs.plot() and "failed" in Runs(stored([broken]))._repr_html_()
