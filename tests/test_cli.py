"""The command line as users see it: exit codes, one line for each mistake, and which stream gets what."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import xeval
from tests.helpers.paired_answers import write_run
from tests.helpers.sample_record import run_record
from tests.helpers.sample_report import undated
from xeval.definitions.registry import all_tasks
from xeval.results.store import save_record
from xeval.support.errors import TrainingError
from xeval.support.version import DISTRIBUTION


@pytest.fixture
def command(command, monkeypatch, tmp_path):
    """`command(*words)` runs xeval in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return command


@pytest.fixture
def tiny_run(mini, checkpoint_of) -> list[str]:
    """The arguments of a complete run of a task that xeval does not ship, on a tiny encoder."""
    words = ["run", mini.task_file, "--model", checkpoint_of("distilbert"), "--data", mini.data]
    return [str(word) for word in [*words, "--epochs", "1", "--dtype", "float32", "--device", "cpu"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "xnl", "--model", "mbert"), "did you mean 'xnli'?"),
        (("run", "xnli", "--model", "distilmbrt"), "did you mean 'distilmbert'?"),
        (("run", "xnli", "--model", "mbert", "--language", "zz"), "unknown language of task xnli 'zz'"),
        (("run", "xnli", "--model", "mbert", "--recipe", "hf2019"), "did you mean 'hf-2019'?"),
        (("reproduce", "distilmbert-crd"), "did you mean 'distilmbert-card'?"),
        (("run", "xnli", "--model", "./nowhere"), "wanted a folder with config.json"),
        (("run", "xnli", "--model", "mbert", "--data", "nowhere"), "nowhere: wanted a folder"),
        (("run", "xnli", "--model", "mbert", "--batch-size", "0"), "batch_size"),
        (("run", "xnli", "--model", "mbert", "--learning-rate", "nan"), "learning_rate"),
        (("run", "xnli", "--model", "mbert", "--selection", "best"), "selection"),
        (("run", "xnli", "--model", "mbert", "--max-train", "0"), "at least 1, got 0"),
        (("run", "xnli", "--model", "mbert", "--seed", "-1"), "seed"),
        (("run", "xnli", "--model", "mbert", "--seed", "5-1"), "in ascending order, got '5-1'"),
        (("run", "xnli", "--model", "mbert", "--seed", "1-99999999"), "at most 1,000 seeds"),
        (("run", "xnli", "--model", "mbert", "--language", "Spansh"), "did you mean 'es'?"),
        (("run", "xnli", "--model", "mbert", "--dtype", "int8"), "wanted one of auto, float32, bfloat16"),
        (("run", "xnli", "--model", "mbert", "--device", "abacus"), "'abacus' cannot be used"),
        (("run", "xnli", "--model", "mbert", "--device", "cuda:63"), "'cuda:63' cannot be used here: torch "),
        (("run", "xnli", "--model", "mbert", "--tasks-dir", "nowhere"), "nowhere: wanted a folder of task files"),
        (("run", "xnli"), "--model"),
        (("run", "xnli", "--modle", "mbert"), "--modle"),
        (("report", "--results", "nowhere"), "no results there yet"),
        (("list", "taks"), "'WHAT': 'taks' is not one of"),
        (("cache", "--clear", "wieghts"), "did you mean 'weights'?"),
        (("run", "xnli", "--model", "mbert", "--language", "Klingon"), "'Klingon'; known: ar, bg, de, el"),
        (("check",), "(see xeval check --help)"),
        (("nowhere",), "No such command 'nowhere' (see xeval --help)"),
        (("frobnicate",), "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistake_exits_with_2_and_one_line_on_stderr(command, words, said):
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("xeval: ")
    assert said in err


def test_run_of_a_users_task_prints_scores_and_is_recorded(command, tiny_run):
    code, out, err = command(*tiny_run)
    assert code == 0
    assert "Chinese" in out and "results" in out
    [line] = [line for line in err.splitlines() if line.startswith("evaluate")]  # of all languages, with their scores
    assert re.search(r"accuracy: en \d+\.\d, es \d+\.\d, zh \d+\.\d$", line)
    assert len(list(Path("results").glob("*/*/*/record.json"))) == 1


def test_quiet_run_leaves_stderr_empty(command, tiny_run):
    code, _, err = command(*tiny_run, "--quiet")
    assert (code, err) == (0, "")


def test_json_output_is_the_records_alone(command, tiny_run):
    code, out, _ = command(*tiny_run, "--format", "json", "--language", "es,zh", "--seed", "1,2", "--seed", "3")
    records = json.loads(out)
    assert code == 0
    assert [record["seed"] for record in records] == [1, 2, 3]
    assert [list(record["scores"]) for record in records] == [["en", "es", "zh"]] * 3  # English comes too


def test_no_train_evaluates_only_the_named_languages(command, mini, checkpoint_of, tmp_path):
    model = checkpoint_of("bert", mini.task.labels)
    words = ("run", mini.task_file, "--no-train", "--model", model, "--data", mini.data, "--language", "es")
    code, out, _ = command(*words, "--results", tmp_path / "results", "--format", "json")
    assert (code, [list(record["scores"]) for record in json.loads(out)]) == (0, [["es"]])


def test_users_task_is_found_in_tasks_dir(command, mini, tiny_run):
    name = mini.task.name
    assert command("run", name, *tiny_run[2:])[0] == 2
    assert command("run", name, *tiny_run[2:], "--tasks-dir", mini.task_file.parent)[0] == 0


def test_a_report_on_a_users_task_names_its_labels(command, mini, tiny_run):
    assert command(*tiny_run)[0] == 0
    assert mini.task.labels[-1] in command("report", "--format", "html")[1]


def test_report_is_markdown_on_stdout_or_in_a_file(command, tiny_run):
    command(*tiny_run)
    code, out, _ = command("report")
    assert code == 0 and out.startswith("# ") and "| " in out
    assert command("report", "--output", "table.md") == (0, "", "")
    assert undated(Path("table.md").read_text(encoding="utf-8")) == undated(out)


def test_failed_run_exits_with_1(command, tiny_run, monkeypatch):
    def diverge(*args, **kwargs):
        raise TrainingError("the loss became nan at step 7")

    monkeypatch.setattr("xeval.runs.execute.fine_tune", diverge)
    code, out, err = command(*tiny_run, "--quiet")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1 and "seed 42 failed: the loss became nan at step 7" in err


def test_list_of_runs_shows_status_languages_and_recipe(command, tiny_run):
    command(*tiny_run)
    code, out, _ = command("list", "runs")
    assert code == 0 and "complete" in out and "en es zh" in out and "hf-2019, epochs 1.0" in out


@pytest.mark.parametrize("what", ["tasks", "models", "references", "recipes", "runs"])
def test_everything_that_can_be_named_can_be_listed(command, what):
    code, out, err = command("list", what)
    assert (code, err) == (0, "") and out.strip()


def test_cache_can_be_shown_and_cleared(command, tiny_run):
    command(*tiny_run)
    sizes = dict(line.split()[:2] for line in command("cache")[1].splitlines()[1:])
    assert float(sizes["weights"]) > 0
    code, out, _ = command("cache", "--clear", "weights")
    assert code == 0 and dict(line.split()[:2] for line in out.splitlines()[1:])["weights"] == "0.0"
    assert not list((Path(out.splitlines()[0]) / "weights").glob("*"))


def test_ctrl_c_says_that_finished_work_is_kept(command, tiny_run, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("xeval.runs.execute.predict", interrupt)
    code, _, err = command(*tiny_run, "--quiet")
    assert code == 130
    assert "the same command resumes from there" in err


def test_help_and_lists_do_not_load_torch():
    """Nor other libraries that compute. One process runs them all, where any of them would leave torch loaded."""
    lists = [("list",), *(("list", what) for what in ("tasks", "suites", "models", "references", "recipes"))]
    program = (
        "import sys, xeval.cli\n"
        f"for words in {[('--help',), ('--version',), ('run', '--help'), *lists]}:\n"
        "    sys.argv = ['xeval', *words]\n"
        "    try: xeval.cli.main()\n"
        "    except SystemExit as left: assert left.code == 0, words\n"
        "    assert not {'torch', 'transformers', 'pandas'} & sys.modules.keys(), words\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


MISTYPED = [
    ("run", "xnlx", "--model", "mbert"),
    ("run", "xnli", "--model", "mbrt"),
    ("run", "xnli", "--model", "mbert", "--language", "Klingon"),
    ("run", "xnli", "--model", "mbert", "--recipe", "hf"),
    ("reproduce", "crd"),
    ("plan", "xnli", "--model", "mbrt"),
    ("audit", "xnli", "--model", "org/name", "--language", "Klingon", "--claimed", "58.5"),
    ("bundle", "crd"),
    ("score", "xnlx", "--predictions", ".", "--model", "mbert"),
    ("probe", "mbrt"),
    ("doctor", "xnlx"),
]


def test_mistyped_name_is_refused_without_torch():
    """All commands run in one process, where any of them would leave torch loaded."""
    program = (
        "import sys, xeval.cli\n"
        f"for words in {MISTYPED}:\n"
        "    sys.argv = ['xeval', *words]\n"
        "    try: xeval.cli.main()\n"
        "    except SystemExit as left: assert left.code == 2, words\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    said = process.stderr.splitlines()
    assert len(said) == len(MISTYPED) and all(line.startswith("xeval: unknown ") for line in said), said


def test_version_is_that_of_the_package(command):
    assert command("--version")[1] == f"xeval {version(DISTRIBUTION)}\n"


def test_help_wraps_only_at_the_terminals_width(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "at 5 % for all pairs together." in command("rank", "--help")[1]


def test_h_is_short_for_help(command):
    assert command("run", "-h")[1] == command("run", "--help")[1] != ""


def test_list_counts_what_can_be_listed(command):
    lines = command("list")[1].splitlines()
    assert f"xeval list tasks {len(all_tasks()):9}" in lines and len(lines) == 6


def test_list_tables_shows_the_references(command):
    assert command("list", "tables") == command("list", "references")


def test_list_without_runs_says_how_to_make_one(command):
    assert command("list", "runs")[1] == "No runs in results. Make one with: xeval run xnli-mini --model mini-mbert\n"


def test_load_results_gives_the_scores_of_a_run(mini, checkpoint_of, tmp_path):
    records = xeval.run(
        str(mini.task_file), models=[str(checkpoint_of("bert"))], data=mini.data, results=tmp_path, dtype="float32"
    )
    frame = xeval.load_results(tmp_path)
    assert list(frame["language"]) == list(records[0].scores)
    assert frame["value"].between(0, 1).all()


def test_python_accepts_one_name_and_shows_the_report(mini, checkpoint_of, tmp_path):
    model = str(checkpoint_of("bert"))
    options = {"data": mini.data, "results": tmp_path, "dtype": "float32", "languages": "Spanish", "seeds": 5}
    runs = xeval.run(str(mini.task_file), model, **options)
    assert [(record.seed, list(record.scores)) for record in runs] == [(5, ["es"])]
    assert len(repr(runs[0])) < 200 and "seed 5, complete, 1 language" in repr(runs[0])
    assert list(runs.frame()["language"]) == ["es"]
    report = xeval.report_of(tmp_path).splitlines()
    assert runs._repr_markdown_().splitlines() == [line for line in report if not line.startswith("- Made on ")]
    shown = runs._repr_html_()
    assert '<th scope="row">es Spanish</th>' in shown and "<style" not in shown and shown.count("<table>") == 1


def test_public_names_are_listed_and_callable():
    assert dir(xeval) == sorted(xeval.__all__)
    assert all(callable(getattr(xeval, name)) for name in xeval.__all__)


def test_missing_results_folder_is_refused(tmp_path):
    with pytest.raises(xeval.XevalError, match="found none there"):
        xeval.load_results(tmp_path / "nope")


def test_a_misspelt_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="load_result"):
        xeval.load_result  # noqa: B018


def test_users_task_is_shown_with_the_table_its_file_names(command, mini, tiny_run, tmp_path):
    """A report that cannot find the file says why there are no verdicts."""
    text = mini.task_file.read_text(encoding="utf-8").replace('"mini-pairs"', '"mine"', 1)
    task = tmp_path / "mine.toml"
    task.write_text(text.replace("\n", '\ndefault_reference = "distilmbert-card"\n', 1), encoding="utf-8")
    words = [str(task) if word == str(mini.task_file) else word for word in tiny_run]
    code, out, _ = command(*words)
    assert code == 0 and "DistilmBERT" in out and "published" in out
    assert "No published table: no task file here is for this task" in command("report", "--task", "mine")[1]
    said = command("report", "--task", "mine", "--reference", "distilmbert-card")[1]
    assert "No verdicts: the published table is for task xnli, but these runs are for mine." in said


SUGGESTED = re.compile(r"xeval (?:report|compare|run) .+")


def suggested(text: str) -> list[str]:
    """Return the words of the command that a command's output ends with, as a shell reads them."""
    return shlex.split(SUGGESTED.findall(text)[-1].removesuffix(" evaluates it"))[1:]


def test_suggested_commands_can_be_pasted(command, tiny_run):
    results = ["--results", "my 'own' results"]
    _, out, err = command(*tiny_run, "--every-checkpoint", *results)
    assert command(*suggested(out))[0] == 0
    assert command(*suggested(err))[0] == 0
    model = Path(tiny_run[tiny_run.index("--model") + 1]).name
    _, out, _ = command("export", model, "an encoder", *results)
    assert suggested(out)[-1] == "an encoder"
    _, out, _ = command("plan", *tiny_run[1:], "--output", "(plan).json", *results)
    assert command(*suggested(out), "--dry-run")[0] == 0


@pytest.mark.parametrize("form", ["html", "latex"])
def test_documents_are_utf8_in_any_locale(tmp_path, form):
    record = run_record()
    named = record.model.model_copy(update={"id": "modèle"})
    save_record(tmp_path / "results" / "cats" / "m" / "run", record.model_copy(update={"model": named}))
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-m", "xeval", "report", "--format", form, "--results", tmp_path / "results"]
    piped = subprocess.run(words, env=os.environ | plain, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run([*words, "--output", tmp_path / "report"], check=True)
    assert piped == (tmp_path / "report").read_bytes() and "modèle" in piped.decode()


def test_results_path_may_hold_any_bytes(command, tmp_path):
    results = tmp_path / os.fsdecode(b"r\xe9s")
    save_record(results / "cats" / "m" / "run", run_record())
    assert command("report", "--results", results, "--output", "report.md")[0] == 0
    assert "r\\udce9s" in Path("report.md").read_text(encoding="utf-8")


def test_list_counts_every_run_of_a_task(command, tmp_path):
    labels = np.arange(6) % 3
    for seed in (1, 2, 3):
        write_run(tmp_path, {"en": labels}, labels, np.arange(6), seed=seed)
    assert command("list", "--results", tmp_path)[1].splitlines()[-1] == "xeval list runs          3"


def test_a_wrong_part_of_the_cache_deletes_nothing(command, tmp_path, monkeypatch):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path))
    kept = tmp_path / "encoded" / "rows"
    kept.parent.mkdir()
    kept.write_bytes(b"rows")
    code, out, err = command("cache", "--clear", "encoded", "--clear", "wieghts")
    assert (code, out, kept.exists()) == (2, "", True) and "did you mean 'weights'?" in err
    assert command("cache", "--clear", "encoded", "--clear", "speeds")[0] == 0 and not kept.exists()


def test_help_names_what_an_option_takes_and_not_its_type(command):
    commands = re.findall(r"^│ ([a-z][a-z-]+) ", command("--help")[1], flags=re.MULTILINE)
    assert len(commands) > 20
    helps = [line for name in commands for line in command(name, "--help")[1].splitlines() if " --help " not in line]
    of_options = [line for line in helps if re.match(r"│ \*? *--", line)]
    assert len(of_options) > 150
    assert [line for line in of_options if re.search(r"<(list|str|path|bool|int|float)\b", line)] == []
    assert [line for line in helps if "Usage:" in line and re.search(r"\.\.\.[\]}]", line)] == []


def test_a_damaged_record_hides_no_other_run(command, tmp_path):
    labels = np.arange(6) % 3
    folders = [write_run(tmp_path, {"en": labels}, labels, np.arange(6), seed=seed) for seed in (1, 2, 3)]
    record = folders[1].folder / "record.json"
    record.write_bytes(record.read_bytes().replace(b"complete", b"finished"))
    code, out, err = command("list", "runs", "--results", tmp_path)
    listed = {line.split()[-1]: line for line in out.splitlines()[1:]}
    assert code == 2 and err.count("\n") == 1 and f"{record}: damaged or edited" in err
    assert {name: "damaged" in line for name, line in listed.items()} == {
        run.folder.name: run is folders[1] for run in folders
    }


def test_windows_is_refused_in_one_line(command, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    code, out, err = command("list", "tasks")
    assert (code, out) == (2, "")
    assert err == "xeval: wanted Linux or macOS, got Windows; install xeval in WSL, learn.microsoft.com/windows/wsl\n"
