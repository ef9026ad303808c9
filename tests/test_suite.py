"""Suites on the command line: what runs, on which rows, what is left out, and the table in each format."""

import io
import json
import re
import shlex
import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from tests.helpers import tiny
from tests.helpers.sample_record import sweep_record
from xeval.data import corpus
from xeval.data import source as source_module
from xeval.definitions.registry import all_suites, all_tasks, get_recipe, get_suite, suite_tables
from xeval.definitions.suite import Suite, SuiteTable
from xeval.kinds.registry import get_kind
from xeval.report.suite import formats
from xeval.report.suite.table import build
from xeval.results.store import load_runs
from xeval.runs.suite import TaskRows, run_suite, suite_grids
from xeval.support.errors import StoreError, XevalError
from xeval.support.progress import Silent

SUITE = """\
name = "minis"
title = "Four small tasks"
source_url = "https://example.org/minis"
note = "They are small."

[[tasks]]
task = "mini-pairs"
group = "pairs"
folders = ["elsewhere", "pairs"]
languages = ["en", "es"]

[[tasks]]
task = "unanswered"
group = "pairs"
folders = ["unanswered"]

[[tasks]]
task = "untrained"
group = "others"
folders = ["untrained"]

[[tasks]]
task = "absent"
group = "others"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory, checkpoint_of):
    """A suite, its task files and four kinds of data: whole, with dev answers only, without training rows, none."""
    folder = tmp_path_factory.mktemp("suite")
    for name in ("mini-pairs", "unanswered", "untrained", "absent"):
        tiny.write_task(folder / "tasks", ("hf-2019", "xtreme-2020"), name=name)
    (folder / "minis.toml").write_text(SUITE, encoding="utf-8")
    data, rows = folder / "data", tiny.mini_rows()
    tiny.write_hub_layout(data / "pairs", rows)
    dev = {("selection", "es"): tiny.make_rows("es", 12, start=300)}
    tiny.write_xtreme_layout(data / "unanswered", rows | dev, test_labels=False)
    tiny.write_hub_layout(data / "untrained", {key: own for key, own in rows.items() if key[0] != "train"})
    return folder


@pytest.fixture(scope="module")
def words(world, checkpoint_of):
    common = ["--data", world / "data", "--tasks-dir", world / "tasks", "--results", world / "results"]
    model = ["--model", checkpoint_of("distilbert"), "--dtype", "float32", "--device", "cpu", "--epochs", "1"]
    return [str(word) for word in ["run", world / "minis.toml", *common, *model]]


@pytest.fixture
def ran(command, words):
    return command(*words)


def test_tasks_without_rows_are_skipped_with_a_reason(ran, world):
    code, out, err = ran
    assert code == 1
    assert {run.record.task for run in load_runs(world / "results")} == {"mini-pairs", "unanswered"}
    lines = err.splitlines()
    assert re.match(r"Plan: 4 runs(, 1 of them finished)? \(4 tasks; ", lines[0])  # an earlier test may have run them
    plan = lines[lines.index("mini-pairs: 2 languages") :]
    assert plan[2].startswith("untrained: not run: ")
    assert "no en/train-*.parquet, which the train rows of 'en' are read from" in plan[2]
    assert plan[3].startswith("absent: not run: ")
    assert err.splitlines()[-1] == "xeval: not run, for the reasons above: untrained, absent"
    assert "not run" not in out and err.count("absent") == 2
    assert (
        plan[1] == "unanswered: 2 languages on the dev split, since its test rows have no answers here; no rows in zh"
    )
    assert "Mini pairs (dev)" in out and "mean of 4" in out and "(2 of 4)" in out


def test_quiet_run_prints_the_reasons_at_the_end(ran, command, words):
    """On the second run, when every task that can run has finished."""
    code, _, err = command(*words, "--quiet", "--format", "json")
    assert code == 1
    untrained, absent = err.splitlines()
    assert untrained.startswith("xeval: untrained was not run: ") and "which the train rows" in untrained
    assert absent.startswith("xeval: absent was not run: ")


def test_the_rows_of_a_task_are_read_once(ran, command, words, monkeypatch):
    reads = Counter()

    def counted(source, language, role):
        rows = source_module.load_rows(source, language, role)  # rows that cannot be read do not count
        reads[source.task.name, source.task.splits.test, language, role] += 1
        return rows

    monkeypatch.setattr(corpus, "load_rows", counted)
    command(*words)
    of_pairs = {read: n for read, n in reads.items() if read[0] == "mini-pairs"}
    assert len(of_pairs) == 4 and set(of_pairs.values()) == {1}  # two languages, training and selection
    assert any(name == "unanswered" for name, *_ in reads)
    assert all(n == 1 for (*_, role), n in reads.items() if role == "test")


def test_only_the_suites_languages_are_evaluated(ran, world):
    [record] = [run.record for run in load_runs(world / "results") if run.record.task == "mini-pairs"]
    assert list(record.scores) == ["en", "es"]
    [on_dev] = [run.record for run in load_runs(world / "results") if run.record.task == "unanswered"]
    assert (list(on_dev.scores), on_dev.limits.test_split) == (["en", "es"], "dev")


@pytest.fixture
def matrix(ran, world):
    suite = get_suite(str(world / "minis.toml"))
    return build(load_runs(world / "results"), suite, all_tasks([world / "tasks"]), [A_TABLE])


GOOD_AVERAGES = ["80.0 (1 of 2)", r"50.0\* (1 of 2)", r"65.0\* (2 of 4)"]
A_TABLE = SuiteTable.model_validate(
    {
        "name": "published",
        "title": "A paper",
        "suite": "minis",
        "source_url": "https://example.org/paper",
        "note": "As printed.",
        "tasks": ["mini-pairs", "absent", "not-in-the-suite"],
        "metrics": {"absent": ["f1"]},
        "rows": [
            {"name": "Good", "model": "org/m", "cells": {"mini-pairs": 80.0, "absent": 50.0}},
            {"name": "Other", "cells": {"not-in-the-suite": 10.0}, "claimed_average": 10.0},
            {"name": "Taught", "cells": {"mini-pairs": 90.0}, "protocol": "translate-train"},
        ],
    },
    strict=False,
)


def test_swept_values_of_tasks_share_one_row(ran, world):
    runs = [
        replace(run, record=swept(run.record, rate))
        for run, rate in zip(load_runs(world / "results"), (1e-5, 2e-5), strict=True)
    ]
    built = build(runs, get_suite(str(world / "minis.toml")), all_tasks([world / "tasks"]))
    [ours] = built.ours
    assert ours.cells.keys() == {run.record.task for run in runs}
    assert "learning_rate chosen for each task" in ours.name and "e-05" not in ours.name
    for run, rate in zip(runs, ("1e-05", "2e-05"), strict=True):
        [note] = [line for line in built.footer if f", {run.record.task}: accuracy" in line]
        assert f"learning_rate {rate}: learning_rate chosen from 2 trials" in note


def swept(record, rate):
    changed = record.recipe.overrides | {"learning_rate": rate}
    return record.model_copy(
        update={
            "recipe": record.recipe.model_copy(update={"overrides": changed}),
            "sweep": sweep_record(rate, {1e-5: 0.5, 2e-5: 0.5}),
        }
    )


def test_means_are_over_languages_then_over_tasks(matrix, world):
    [ours] = matrix.ours
    runs = {run.record.task: run.record for run in load_runs(world / "results")}
    expected = {}
    for task, record in runs.items():
        expected[task] = 100 * sum(score.value for score in record.scores.values()) / len(record.scores)
        assert ours.cells[task].value == pytest.approx(expected[task])
        low, high = ours.cells[task].interval
        assert 0 <= low <= expected[task] <= high <= 100
    assert set(expected) == {"mini-pairs", "unanswered"}
    assert ours.groups["pairs"].value == pytest.approx(sum(expected.values()) / 2)
    assert "others" not in ours.groups
    assert (ours.total.value, ours.total.n, ours.total.of) == (pytest.approx(sum(expected.values()) / 2), 2, 4)


def test_published_rows_come_first_and_are_marked(matrix):
    names = [row.name for row in matrix.rows]
    assert names[:2] == ["Good, published", "Taught, published, translate-train"]
    assert len(names) == 3 and not matrix.rows[2].published
    good = matrix.rows[0]
    assert (good.total.value, good.total.other_metrics) == (65.0, True)
    assert any(line == "* not by this suite's metrics: absent by F1." for line in matrix.footer)
    assert any("A paper, https://example.org/paper. As printed." in line for line in matrix.footer)


def test_untrained_tasks_share_their_models_row(ran, world):
    """Although the overrides of the training recipe do not apply to them."""
    suite = get_suite(str(world / "minis.toml"))
    runs = [
        replace(run, record=run.record.model_copy(update={"training": None, "recipe": untrained(run.record.recipe)}))
        if run.record.task == "unanswered"
        else run
        for run in load_runs(world / "results")
    ]
    [ours] = build(runs, suite, all_tasks([world / "tasks"])).ours
    assert set(ours.cells) == {"mini-pairs", "unanswered"}


def untrained(recipe):
    return recipe.model_copy(update={"overrides": {}})


def test_markdown_has_rows_and_notes(matrix):
    lines = formats.markdown(matrix).splitlines()
    header = [cell.strip() for cell in lines[2].strip("|").split("|")]
    titles = ["Mini pairs", "Mini pairs (dev)", "Mini pairs", "Mini pairs"]
    assert header == ["model", *titles, "pairs", "others", "mean of 4"]
    good = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert good == [
        "Good, published",
        "80.0",
        "–",
        "–",
        r"50.0\*",
        "80.0 (1 of 2)",
        r"50.0\* (1 of 2)",
        r"65.0\* (2 of 4)",
    ]
    said = "\n".join(lines)
    assert "They are small." in said
    assert "unanswered: accuracy on the dev split in 2 of 3 languages (en es); xtreme-2020, seed 42." in said


def test_json_has_fractions_and_their_details(matrix):
    report = json.loads(formats.as_json(matrix))
    good, _, ours = report["rows"]
    assert good["scores"]["mini-pairs"] == {"value": 0.8, "other_metrics": False}
    cell = ours["scores"]["unanswered"]
    assert (cell["split"], cell["languages"], cell["lacking"], cell["metrics"]) == (
        "dev",
        ["en", "es"],
        ["zh"],
        ["accuracy"],
    )
    assert report["tasks"]["absent"]["group"] == "others" and ours["mean"]["n_tasks"] == 2


def test_html_table_is_complete_and_escapes_titles(matrix):
    page = formats.html(matrix).replace(matrix.suite.title, "<script>x</script>")

    class Cells(HTMLParser):
        n = 0

        def handle_starttag(self, tag, attrs):
            self.n += tag in ("td", "th")
            assert all(not value or "http" not in value for _, value in attrs)

    parser = Cells()
    parser.feed(formats.html(matrix))
    assert parser.n == 8 * 4
    hostile = matrix.suite.model_copy(update={"title": "<script>x</script>\n"})
    page = formats.html(type(matrix)(hostile, matrix.titles, matrix.rows, matrix.footer))
    assert "<script" not in page and "&lt;script&gt;" in page


def test_terminal_hides_published_rows_of_other_models(matrix):
    console = Console(file=io.StringIO(), width=200)
    formats.show(matrix, console)
    text = console.file.getvalue()
    assert "Good, published" not in text and "A report shows 2 published rows of other models too." in text
    assert "Mini pairs (dev)" in text and "mean of 4" in text


def test_missing_training_rows_are_the_reason_given(ran):
    """Not the test rows, which exist."""
    assert "untrained: not run" in ran[2] and "which the train rows" in ran[2]


@pytest.mark.parametrize(("ending", "said"), [("md", "# Four"), ("html", "<h1>Four"), ("json", '"minis"')])
def test_suite_report_is_written_in_three_formats(ran, command, world, tmp_path, ending, said):
    where = tmp_path / f"report.{ending}"
    code, out, err = command(
        *("report", "--suite", str(world / "minis.toml"), "--results", str(world / "results")),
        *("--tasks-dir", str(world / "tasks"), "--output", str(where)),
    )
    assert (code, out, err) == (0, "", "")
    assert said in where.read_text(encoding="utf-8")


def test_other_formats_are_refused(ran, command, world):
    words = ["report", "--suite", str(world / "minis.toml"), "--results", str(world / "results"), "--format", "latex"]
    code, _, err = command(*words)
    assert (code, err) == (2, "xeval: suite minis: wanted the format markdown, html, json, got latex\n")


def test_error_common_to_all_tasks_is_printed_once(command, words):
    code, out, err = command(*words, "--max-train", "0", "--quiet")
    assert (code, out) == (2, "")
    assert err == "xeval: max_train: wanted a number of rows of at least 1, got 0\n"


def test_suite_report_without_results_is_refused(tmp_path, world):
    with pytest.raises(StoreError, match="no results for suite minis there yet"):
        build([], get_suite(str(world / "minis.toml")), {}, [])


# ── what comes with xeval ──


@pytest.mark.parametrize("suite", all_suites().values(), ids=lambda suite: suite.name)
def test_shipped_suites_fit_the_shipped_tasks(suite: Suite):
    known = all_tasks()
    assert [member.task for member in suite.tasks if member.task not in known] == []
    for member in suite.tasks:
        task = known[member.task]
        assert sorted(set(member.languages) - set(task.languages)) == [], task.name
        for metric in member.metrics:
            get_kind(task.kind).measure(metric)
        assert member.recipe is None or get_recipe(member.recipe)


def test_xtreme_has_nine_tasks_in_four_groups():
    suite = get_suite("xtreme")
    groups = {name: [member.task for member in members] for name, members in suite.groups.items()}
    assert groups == {
        "classification": ["xnli", "paws-x"],
        "structured prediction": ["udpos", "pan-x"],
        "question answering": ["xquad", "mlqa", "tydiqa-goldp"],
        "retrieval": ["bucc2018", "tatoeba"],
    }
    n_languages = {member.task: len(member.languages) for member in suite.tasks if member.languages}
    assert n_languages == {"udpos": 33, "pan-x": 40, "xquad": 11, "bucc2018": 4, "tatoeba": 36}


@pytest.mark.parametrize("table", suite_tables("xtreme"), ids=lambda table: table.name)
def test_published_rows_follow_the_tables_task_order(table: SuiteTable):
    for row in table.rows:
        assert [task for task in table.tasks if task in row.cells] == list(row.cells)
    assert table.source_url.startswith("https://")


def test_only_trained_tasks_are_swept(tmp_path, monkeypatch):
    tasks = "".join(f'[[tasks]]\ntask = "{name}"\ngroup = "g"\n' for name in ("tags-mini", "retrieval-mini"))
    path = tmp_path / "two.toml"
    path.write_text(f'name = "two"\ntitle = "Two"\nsource_url = "https://example.org/two"\n{tasks}', encoding="utf-8")
    asked = {}

    def run_grid(task, pairs, *, sweep, **options):
        asked[task] = sweep
        return []

    monkeypatch.setattr("xeval.runs.suite.run_grid", run_grid)
    monkeypatch.setattr("xeval.runs.suite.find_rows", lambda *words: TaskRows(None, ["en"]))
    run_suite(str(path), ["mini-mbert"], sweep={"patience": [1, 2]})
    assert asked == {"tags-mini": {"patience": [1, 2]}, "retrieval-mini": None}


def test_terminal_counts_one_hidden_row_in_the_singular(matrix):
    console = Console(file=io.StringIO(), width=200)
    hidden = [row for row in matrix.rows if row.published and row.model not in {own.model for own in matrix.ours}]
    formats.show(replace(matrix, rows=[row for row in matrix.rows if row not in hidden[1:]]), console)
    assert "A report shows 1 published row of other models too." in console.file.getvalue()


def test_rule_names_metrics_as_the_notes_do(ran, world):
    suite, metrics = get_suite(str(world / "minis.toml")), [(), (), ("udpos_f1",), ("exact_match", "f1")]
    members = [one.model_copy(update={"metrics": own}) for one, own in zip(suite.tasks, metrics, strict=True)]
    measured = suite.model_copy(update={"tasks": tuple(members)})
    rule = build(load_runs(world / "results"), measured, all_tasks([world / "tasks"]), []).footer[0]
    assert "(untrained by UDPOS F1, absent by the mean of exact match and F1)" in rule


@pytest.mark.parametrize(
    "words",
    [
        ("--reference", "xnli-mini"),
        ("--tolerance", "2"),
        ("--mean-tolerance", "2"),
        ("--watts", "9"),
        ("--grams-per-kwh", "9"),
    ],
    ids=lambda words: words[0],
)
def test_suite_report_refuses_options_without_effect(command, words):
    code, out, err = command("report", "--suite", "xtreme", *words)
    assert (code, out) == (2, "")
    assert f"{words[0]}: a suite's report has no use for it; leave out one of the two" in err


def test_languages_named_for_a_suite_are_taken_as_they_are(command, words, tmp_path):
    """As `--help` says, and unlike the languages of one task."""
    results = ["--results", str(tmp_path), "--language", "es", "--quiet"]
    assert command(*words, *results)[0] == 1
    [run] = [run for run in load_runs(tmp_path) if run.record.task == "mini-pairs"]
    assert list(run.record.scores) == ["es"]


def test_suggested_report_of_a_suite_can_be_pasted(ran, command, words, world, tmp_path):
    suite = tmp_path / "my minis.toml"
    suite.write_text(SUITE, encoding="utf-8")
    _, out, _ = command("run", suite, *words[2:])
    [suggested] = re.findall("to report on them: xeval (.*)", out)
    code, report, err = command(*shlex.split(suggested))
    assert (code, err) == (0, "") and report.startswith("# Four small tasks")


TRAINED_AND_NOT = ("xnli-mini", "answers-mini", "retrieval-mini")


@pytest.fixture
def of_the_microcosm(tmp_path):
    """A suite of embedded tasks: one with training rows and a dev split in all languages, and two others."""
    tasks = "".join(f'[[tasks]]\ntask = "{name}"\ngroup = "{name}"\n' for name in TRAINED_AND_NOT)
    path = tmp_path / "three.toml"
    path.write_text(f'name = "three"\ntitle = "Three"\nsource_url = "https://example.org/3"\n{tasks}', encoding="utf-8")
    return path


FEW = ("--model", "mini-distilmbert", "--language", "de,en", "--max-train", "32", "--max-eval", "30", "--seed", "1")


def test_suite_trains_on_the_language_asked_for(command, of_the_microcosm, tmp_path):
    few = [*FEW, "--results", tmp_path / "alone", "--train-language", "de", "--quiet"]
    assert command("run", "xnli-mini", *few)[0] == 0
    few[few.index(tmp_path / "alone")] = tmp_path / "suite"
    code, _, err = command("run", of_the_microcosm, *few)
    assert code == 1 and "answers-mini was not run: task answers-mini has training rows in en alone" in err
    [alone] = load_runs(tmp_path / "alone")
    [of_suite] = [run for run in load_runs(tmp_path / "suite") if run.record.task == "xnli-mini"]
    assert of_suite.record.data.sha256["train"] == alone.record.data.sha256["train"]
    assert of_suite.record.training.loss_curve == alone.record.training.loss_curve


def test_suite_tells_languages_trained_on_apart(command, of_the_microcosm, tmp_path):
    few = [*FEW, "--results", tmp_path / "results", "--quiet"]
    command("run", of_the_microcosm, *few)
    command("run", of_the_microcosm, *few, "--train-language", "de")
    runs = load_runs(tmp_path / "results")
    built = build(runs, get_suite(str(of_the_microcosm)), all_tasks(()))
    english, german = sorted(built.ours, key=lambda row: "trained on" in row.name)
    assert german.name == f"{english.name}, trained on de"
    assert {row.cells["xnli-mini"].runs[0].record.training_language for row in (english, german)} == {"en", "de"}
    assert not any("not shown" in line for line in built.footer)
    translated = [
        replace(run, record=run.record.model_copy(update={"trained_instead": "machine-translated"}))
        for run in german.cells["xnli-mini"].runs
    ]
    notes = build(translated, get_suite(str(of_the_microcosm)), all_tasks(())).footer
    assert any(line.endswith("seed 1, translate-train de.") for line in notes)


def test_suite_on_dev_leaves_out_tasks_without_it(command, of_the_microcosm, tmp_path):
    """The split has one name, whatever the user calls it, and is not said to be used for want of answers."""
    code, out, err = command(
        "run", of_the_microcosm, *FEW, "--results", tmp_path / "results", "--test-split", "validation"
    )
    assert code == 1 and "retrieval-mini: not run: task retrieval-mini has no split 'validation'" in err
    assert "xnli-mini: 2 languages on the validation split\n" in err and "have no answers here" not in err
    assert {run.record.limits.test_split for run in load_runs(tmp_path / "results")} == {"dev"}
    assert "xnli-mini, the embedded microcosm (dev)" in out


def test_option_that_no_task_of_a_suite_has_is_refused(command, tmp_path):
    path = tmp_path / "one.toml"
    task = '[[tasks]]\ntask = "answers-mini"\ngroup = "answers"\n'
    path.write_text(f'name = "one"\ntitle = "One"\nsource_url = "https://example.org/1"\n{task}', encoding="utf-8")
    code, out, err = command("run", path, *FEW, "--results", tmp_path / "results", "--train-language", "de")
    assert (code, out) == (2, "") and "has training rows in en alone; leave out --train-language" in err
    assert "Plan" not in err


def test_suite_of_given_predictions_is_not_called_zero_shot(matrix):
    """How others trained is not known, and published rows need not be zero-shot either."""
    console = Console(file=io.StringIO(), width=200)
    formats.show(matrix, console)
    assert "zero-shot" not in console.file.getvalue() and "zero-shot" not in formats.html(matrix)


@pytest.mark.parametrize("model", ["my-encoder", "laboratory/multilingual-encoder-small-finetuned"])
def test_suite_breaks_no_number_at_80_columns(matrix, model):
    """Nor a title. A column is too narrow for the name of a long model, which breaks instead."""
    [ours] = matrix.ours
    rows = [replace(ours, name=f"{model} {number}") for number in range(3)]
    titles = {task: f"{title}, sorts of words" for task, title in matrix.titles.items()}
    cells = []
    for width in (80, 400):
        console = Console(file=io.StringIO(), width=width)
        formats.show(replace(matrix, rows=rows, titles=titles), console)
        body = console.file.getvalue().split("╇")[-1].split("In %.")[0]
        cells.append(Counter(re.findall(r"[^\s│─━┼]+", body)))
    assert cells[0]["51.2]"] == 3 and cells[0] == cells[1]


def test_suite_page_has_landmarks_and_named_columns(matrix):
    page = formats.html(matrix)
    assert page.count("<main>") == page.count("</main>") == 1
    assert page.index("<main>") < page.index("<h1>") and page.index("</ul>") < page.index("</main>")
    assert '<th scope="col"></th>' not in page and '<th scope="col">model</th>' in page


@pytest.mark.parametrize("name", ["Spanish", "spa"])
def test_languages_of_a_suite_may_be_given_by_name(command, words, tmp_path, name):
    """As those of one task may be."""
    options = ["--results", str(tmp_path), "--language", name, "--quiet"]
    assert command(*words, *options, "--dry-run")[1].startswith("Plan: 4 runs (4 tasks; ")
    command(*words, *options)
    assert {tuple(run.record.scores) for run in load_runs(tmp_path)} == {("es",)}


def test_languages_that_no_task_of_a_suite_has_are_refused(command, words, tmp_path):
    code, out, err = command(*words, "--results", str(tmp_path), "--language", "es,xx")
    assert (code, out) == (2, "") and "unknown language of suite minis 'xx'" in err
    assert list(tmp_path.iterdir()) == []


def test_tasks_of_a_suite_without_the_language_are_skipped(command, words, tmp_path):
    options = ["--results", str(tmp_path), "--language", "zh", "--quiet"]
    code, _, err = command(*words, *options)
    assert code == 1 and "mini-pairs was not run: task mini-pairs has none of the requested languages" in err


def test_model_that_fails_in_every_task_is_one_error(command, world, words, checkpoint_of, tmp_path):
    model = shutil.copytree(checkpoint_of("distilbert"), tmp_path / "broken")
    (model / "tokenizer.json").write_text("{")
    options = [str(model) if word == str(checkpoint_of("distilbert")) else word for word in words]
    code, out, err = command(*options, "--results", str(tmp_path / "results"), "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1) and f"{model}/tokenizer.json is not readable as JSON" in err


def test_recipe_replaces_those_of_a_suite(command, words, tmp_path):
    options = [
        "--results",
        str(tmp_path),
        "--language",
        "es",
        "--quiet",
        "--recipe",
        "xtreme-2020",
        "--selection",
        "last",
    ]
    command(*words, *options)
    assert {run.record.recipe.name for run in load_runs(tmp_path)} == {"xtreme-2020"}


def test_predictions_of_a_suite_are_scored_on_its_rows(command, world, tmp_path):
    right = [label for _, _, label in tiny.mini_rows()["test", "es"]]
    given = {"elsewhere": right, "untrained": [right[0]] * len(right)}
    for folder, labels in given.items():
        (tmp_path / "predictions" / folder).mkdir(parents=True)
        (tmp_path / "predictions" / folder / "test-es.tsv").write_text("".join(f"{label}\n" for label in labels))
    words = ["score", world / "minis.toml", "--predictions", tmp_path / "predictions", "--model", "somebody"]
    words += ["--data", world / "data", "--tasks-dir", world / "tasks", "--results", tmp_path / "results", "--quiet"]
    assert command(*words)[0] == 1  # two tasks have no predictions
    scores = {run.record.task: run.record.scores["es"].value for run in load_runs(tmp_path / "results")}
    assert scores == {"mini-pairs": 1, "untrained": pytest.approx(right.count(right[0]) / len(right))}


def test_suite_without_training_needs_no_training_rows(command, world, checkpoint_of, tmp_path):
    places = ["--data", world / "data", "--tasks-dir", world / "tasks", "--results", tmp_path]
    model = ["--model", checkpoint_of("bert", tiny.LABELS), "--dtype", "float32", "--device", "cpu"]
    command("run", world / "minis.toml", *places, *model, "--no-train", "--language", "es", "--quiet")
    assert {run.record.task for run in load_runs(tmp_path)} == {"mini-pairs", "unanswered", "untrained"}


class Said(Silent):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def found(world, tmp_path):
    """What a suite of one task finds in XTREME's layout: the languages that are run, and the lines printed."""
    path = tmp_path / "one.toml"
    head = 'name = "one"\ntitle = "One"\nsource_url = "https://example.org/1"\n'
    path.write_text(f'{head}[[tasks]]\ntask = "mini-pairs"\ngroup = "pairs"\n', encoding="utf-8")
    dev = {("selection", language): tiny.make_rows(language, 12, start=300) for language in ("en", "es", "zh")}

    def find(edit):
        data, said = tmp_path / "data", Said()
        edit(tiny.write_xtreme_layout(data, tiny.mini_rows() | dev))
        options = {"data": data, "tasks_dirs": [world / "tasks"], "reporter": said}
        grids, _ = suite_grids(str(path), ["mini-mbert"], **options)
        return grids["mini-pairs"].options["languages"], said.lines

    return find


def test_damaged_test_rows_are_not_replaced_or_left_out(found):
    """Neither the other languages nor the development rows stand in for them."""

    def shorten(folder):
        lines = (folder / "test-es.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "test-es.tsv").write_text("".join(lines[1:]), encoding="utf-8")

    with pytest.raises(XevalError, match=r"test-es.tsv: test rows of 'es': wanted 12, found 11"):
        found(shorten)


def test_languages_without_answers_have_rows(found):
    def strip(folder):
        rows = [line.split("\t") for line in (folder / "test-zh.tsv").read_text(encoding="utf-8").splitlines()]
        (folder / "test-zh.tsv").write_text("".join(f"{a}\t{b}\n" for a, b, _ in rows), encoding="utf-8")
        (folder / "test-es.tsv").unlink()

    languages, [said] = found(strip)
    assert languages == ["en"]
    assert said == "mini-pairs: 1 language; no rows in es; no answers in zh"


def test_missing_test_rows_are_not_said_to_lack_answers(found):
    languages, [said] = found(lambda folder: [path.unlink() for path in folder.glob("test-*.tsv")])
    assert languages == ["en", "es", "zh"]
    assert said == "mini-pairs: 3 languages on the dev split, since it has no test rows here"
