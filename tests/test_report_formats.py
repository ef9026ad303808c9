"""`xeval report` in its formats: which one is written, what the model card says of the hardware, what is loaded."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.helpers.sample_report import TASK, sample_matrix
from xeval.cli import main
from xeval.report import from_folder, matrix
from xeval.report.formats import Format, format_of, model_card, render_as
from xeval.report.formats.model_card import Footprint
from xeval.results.records import ELSEWHERE, Limits, RecipeRecord, RunRecord
from xeval.results.store import StoredRun, load_runs, save_record
from xeval.support.errors import XevalError
from xeval.support.findings import error

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A results folder with two models."""
    folder = tmp_path_factory.mktemp("sample") / "results"
    for run_folder, record in ((run.folder, run.record) for run in sample_matrix(folder).runs):
        save_record(run_folder, on_all_rows(record))
    return folder


def on_all_rows(record: RunRecord) -> RunRecord:
    """The same record as if all of XNLI's rows had been there; only such runs get entries for the hub."""
    scores = {language: score.model_copy(update={"n_rows": 5010}) for language, score in record.scores.items()}
    sizes = dict.fromkeys(("found", "expected", "used"), TASK.expected_rows.train)
    data = record.data.model_copy(update={"train_rows": sizes})
    return record.model_copy(update={"scores": scores, "data": data})


@pytest.fixture
def report(capsys, monkeypatch, tmp_path, results):
    """`report(*words)`: the exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xeval", "report", "--results", str(results), *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


def one_model(folder: Path) -> matrix.Matrix:
    whole = sample_matrix(folder)
    return matrix.build(whole.runs[:2], "xnli", whole.reference)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.md", "# XNLI"),
        ("r", "# XNLI"),
        ("R.HTML", "<!doctype html>"),
        ("r.tex", "% Needs"),
        ("r.csv", '"task"'),
        ("r.json", "{"),
    ],
)
def test_file_ending_chooses_the_format(report, tmp_path, name, start):
    assert report("--output", name) == (0, "", "")
    assert (tmp_path / name).read_text().startswith(start)


def test_format_option_wins_over_the_ending(report, tmp_path):
    assert report("--output", "r.md", "--format", "csv")[0] == 0
    assert (tmp_path / "r.md").read_text().startswith('"task"')


def test_default_is_markdown_on_standard_output(report):
    assert report()[1].startswith("# XNLI")
    assert json.loads(report("--format", "json")[1])["task"] == "xnli"


def test_unknown_ending_exits_with_2(report, tmp_path):
    code, out, err = report("--output", "report.pdf")
    assert (code, out, err.count("\n")) == (2, "", 1) and "--format" in err
    assert report("--format", "pdf")[0] == 2
    assert list(tmp_path.iterdir()) == []
    assert {format_of(Path(f"x.{suffix}")) for suffix in ("md", "html", "tex", "csv", "json")} < set(Format)


def test_report_can_be_on_one_of_several_models(report):
    code, out, _ = report("--model", "organisation/another")
    assert code == 0 and "organisation/another" in out and "mean of 2 seeds" not in out
    code, _, err = report("--model", "organisation/anoter")
    assert code == 2 and "did you mean 'organisation/another'?" in err


def test_a_model_card_is_about_one_model(report):
    code, _, err = report("--format", "model-card")
    assert code == 2 and "choose one with --model" in err
    code, out, _ = report("--format", "model-card", "--model", "organisation/another")
    metadata = yaml.safe_load(out.split("---\n")[1])
    assert code == 0 and metadata["model-index"][0]["name"] == "organisation/another"


def test_hub_library_reads_the_cards_metadata(tmp_path):
    from huggingface_hub import ModelCard

    made = one_model(tmp_path)
    [ours] = made.ours
    card = ModelCard(model_card.render(made, TASK, Footprint()))
    found = {result.dataset_config: result.metric_value for result in card.data.eval_results}
    assert found == {language: round(value / 100, 4) for language, value in ours.cells.items()}
    assert {result.dataset_type for result in card.data.eval_results} == {"facebook/xnli"}


def test_hub_library_reads_the_eval_results(tmp_path):
    from huggingface_hub import parse_eval_result_entries

    entries = parse_eval_result_entries(yaml.safe_load(model_card.render_eval_results(one_model(tmp_path), TASK)))
    assert [entry.task_id for entry in entries] == list(one_model(tmp_path).ours[0].cells)
    assert {entry.dataset_id for entry in entries} == {"facebook/xnli"}
    with pytest.raises(XevalError, match="data set on the hub"):
        model_card.render_eval_results(one_model(tmp_path), None)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"max_train": 3000}, "it was trained on the first 3,000 rows alone"),
        ({"max_eval": 1000, "eval_seed": 1}, "it was evaluated on 1,000 rows of each language"),
        ({"test_split": "dev"}, "it was evaluated on dev rows, not on the test split"),
        ({}, "its data had 10,000 training rows instead of the task's 392,702"),
    ],
    ids=["max-train", "max-eval", "split", "rows"],
)
def test_partial_runs_get_no_leaderboard_entries(tmp_path, limits, why):
    """The card says why."""
    whole = one_model(tmp_path)
    part = matrix.build([partial(run, limits) for run in whole.runs], "xnli", whole.reference)
    card = render_as(Format.MODEL_CARD, part, TASK, Footprint())
    assert "model-index" not in card and "value:" not in card.split("---")[1]
    assert f"has no entries for the hub: {why}." in card
    with pytest.raises(XevalError) as refused:
        render_as(Format.EVAL_RESULTS, part, TASK, Footprint())
    assert "\n" not in str(refused.value)
    assert ("eval-results are for test splits" if "test_split" in limits else why) in str(refused.value)


def test_only_configurations_on_all_rows_get_entries(tmp_path):
    whole = one_model(tmp_path)
    limited = partial(whole.runs[0], {"max_train": 3000})
    both = matrix.build([*whole.runs, limited], "xnli", whole.reference)
    for chosen in (Format.MODEL_CARD, Format.EVAL_RESULTS):
        entries = render_as(chosen, both, TASK, Footprint()).split("\n---\n")[0]
        assert entries == render_as(chosen, whole, TASK, Footprint()).split("\n---\n")[0]


def test_untrained_checkpoint_claims_no_seed_or_transfer(tmp_path):
    whole = one_model(tmp_path)
    as_it_is = RecipeRecord(name="no-train", values={"max_length": 128}, overrides={})
    changes = {"recipe": as_it_is, "training": None, "seed": 42}
    run = replace(whole.runs[0], record=whole.runs[0].record.model_copy(update=changes))
    built = matrix.build([run], "xnli", whole.reference)
    for chosen in (Format.MODEL_CARD, Format.EVAL_RESULTS):
        entries = render_as(chosen, built, TASK, Footprint()).split("\n---\n")[0].lower()
        assert "without training" in entries
        assert not any(claim in entries for claim in ("zero-shot", "seed", "42", "no-train"))
    [row] = [
        row for row in json.loads(render_as(Format.JSON, built, TASK, Footprint()))["rows"] if not row["published"]
    ]
    assert row["seeds"] == [] and "(evaluated as it is)" in row["verdict"]["mean"]["sentence"]
    assert not any("Seed 42" in line for line in built.footer)


def partial(run: StoredRun, limits: dict[str, int | str]) -> StoredRun:
    """The same run on part of the rows; with no limits, on fewer training rows than the task has."""
    rows = {"found": 10_000, "expected": 392_702, "used": 10_000} if not limits else run.record.data.train_rows
    data = run.record.data.model_copy(update={"train_rows": rows})
    return replace(run, record=run.record.model_copy(update={"limits": Limits(**limits), "data": data}))


# ── rows without a verdict ──


@pytest.mark.parametrize("chosen", [Format.MARKDOWN, Format.HTML, Format.LATEX, Format.JSON, Format.MODEL_CARD])
def test_row_without_verdict_says_why_in_every_format(tmp_path, chosen):
    whole = one_model(tmp_path)
    folder = whole.runs[0].record.model.model_copy(update={"id": "my-copy", "origin": "local", "revision": None})
    local = [replace(run, record=run.record.model_copy(update={"model": folder})) for run in whole.runs]
    built = matrix.build(local, "xnli", whole.reference)
    text = render_as(chosen, built, TASK, Footprint())
    assert "my-copy is a local folder, and nothing says which published model it holds" in text.replace("{-}", "-")
    if chosen is Format.JSON:
        [row] = [row for row in json.loads(text)["rows"] if not row["published"]]
        assert row["verdict"]["outcome"] == "no verdict" and "--model NAME=FOLDER" in row["verdict"]["sentence"]


def test_report_says_who_claims_a_folder_is_a_published_model(tmp_path):
    whole = one_model(tmp_path)
    said = {"id": "my-copy", "origin": "local", "revision": None, "published_as": whole.runs[0].record.model.id}
    for by, why in (("word", "as the user stated"), ("checksum", "since its files have the same checksum")):
        folder = whole.runs[0].record.model.model_copy(update=said | {"published_by": by})
        local = [replace(run, record=run.record.model_copy(update={"model": folder})) for run in whole.runs]
        built = matrix.build(local, "xnli", whole.reference)
        [verdict] = built.verdicts
        assert verdict.mean.comparison == whole.verdicts[0].mean.comparison
        assert verdict.mean.sentence.startswith("DistilmBERT (hf-2019, the folder my-copy), mean of 6 languages:")
        assert f"my-copy (local, taken to be {said['published_as']}, {why})" in "".join(built.footer)
        assert not any("No verdict" in line for line in built.footer)


def test_unmeasured_energy_is_called_not_measured(tmp_path):
    made = one_model(tmp_path)
    plain = model_card.render(made, TASK, Footprint())
    assert "**Energy:** not measured" in plain and "**Carbon Emitted:** not measured" in plain
    only_watts = model_card.render(made, TASK, Footprint(watts=100))
    assert "**Carbon Emitted:** not measured" in only_watts and "**Energy:** an estimate: " in only_watts


def test_energy_and_carbon_are_estimated_from_the_hours(tmp_path):
    card = model_card.render(one_model(tmp_path), TASK, Footprint(watts=200, grams_per_kwh=300))
    hours = 2 * (1800 + 180) / 3600  # two seeds, training and one evaluation each
    assert "**Hours used:** 1.1 (1 fine-tuning, 0.1 evaluation) in 2 runs" in card
    assert f"**Energy:** an estimate: {hours * 0.2:.3g} kWh" in card
    assert f"**Carbon Emitted:** an estimate: {hours * 0.2 * 300:.3g} g of CO2" in card


def test_the_cost_of_predictions_that_others_computed_is_not_known(tmp_path):
    made = one_model(tmp_path)
    given = RecipeRecord(name=ELSEWHERE, values={}, overrides={})
    theirs = [
        replace(run, record=run.record.model_copy(update={"recipe": given, "training": None, "timing": {}}))
        for run in made.runs
    ]
    full = Footprint(watts=200, grams_per_kwh=300)
    card = model_card.render(matrix.build(theirs, "xnli", made.reference), TASK, full)
    assert "**Hardware Type:** not recorded" in card
    assert "**Hours used:** not recorded, since others computed the predictions" in card
    assert "**Energy:** not measured" in card and "**Carbon Emitted:** not measured" in card
    card = model_card.render(matrix.build([*made.runs, *theirs], "xnli", made.reference), TASK, full)
    assert "**Hardware Type:** x\n" in card and "**Hours used:** 1.1 (1 fine-tuning, 0.1 evaluation) in 2 runs" in card


def test_no_format_loads_slow_libraries(results):
    """All reports in one process, where a library once loaded stays loaded."""
    code = (
        "import sys; from xeval.cli import main\n"
        f"for chosen in {[chosen.value for chosen in Format]}:\n"
        f"    sys.argv = ['xeval', 'report', '--results', {str(results)!r}, '--format', chosen,"
        " '--model', 'organisation/another']\n"
        "    try: main()\n"
        "    except SystemExit as left: assert left.code == 0, chosen\n"
        "    slow = {'torch', 'transformers', 'datasets', 'evaluate', 'pandas', 'matplotlib'} & sys.modules.keys()\n"
        "    assert not slow, (chosen, slow)\n"
    )
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("chosen", [Format.MARKDOWN, Format.HTML, Format.LATEX, Format.JSON, Format.MODEL_CARD])
def test_findings_are_in_readable_formats_and_json(chosen, tmp_path):
    made = replace(one_model(tmp_path), findings=[error("permuted labels", "the evidence of it", "the fix of it.")])
    text = render_as(chosen, made, TASK, Footprint())
    for said in ("permuted labels", "the evidence of it", "the fix of it"):
        assert said in text
    assert "permuted" not in render_as(chosen, one_model(tmp_path), TASK, Footprint())


def test_command_in_a_report_gives_the_same_report(report, results):
    _, whole, _ = report()
    code, out, _ = report("--tolerance", "2.25", "--mean-tolerance", "3", "--tasks-dir", str(results.parent))
    [command] = re.findall(r"^- Made on .*: xeval report --results \S+ (.*)$", out, flags=re.MULTILINE)
    assert code == 0 and "±2.25 points for a cell, ±3" in out
    assert report(*shlex.split(command))[1] == out
    assert "tolerance " not in next(line for line in whole.splitlines() if line.startswith("- Made on "))


def test_columns_of_a_model_card_have_different_names(tmp_path):
    run = sample_matrix(tmp_path / "results").runs[-1]
    scores = dict(zip(["en", "zh-CN", "zh-TW"], run.record.scores.values(), strict=False))
    built = matrix.build([StoredRun(run.folder, run.record.model_copy(update={"scores": scores}))], "xnli", None)
    assert "| Model" in model_card.evaluation(built)
    for name in ("English", "Chinese (zh-CN)", "Chinese (zh-TW)"):
        assert f" {name} |" in model_card.evaluation(built)


def test_no_entries_name_the_data_set_of_another_task(tmp_path, results):
    """A task with XNLI's name and other labels is not XNLI."""
    for run in load_runs(results):
        other = run.record.model_copy(update={"labels": ["yes", "maybe", "no"]})
        save_record(tmp_path / run.folder.relative_to(results), other)
    model = load_runs(tmp_path)[0].record.model.id
    card = from_folder.report_of(tmp_path, model=model, format="model-card")
    assert "facebook/xnli" not in card and "type: xnli" in card
    with pytest.raises(XevalError, match="name a data set on the hub"):
        from_folder.report_of(tmp_path, model=model, format="eval-results")
