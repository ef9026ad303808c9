"""`xeval compare` as people and programs read it: terminal, Markdown, JSON, exit codes, sentences of flipped rows."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from tests.helpers import tiny
from tests.helpers.paired_answers import answers_with, write_run
from xeval.cli import main
from xeval.judging.comparison.compare import compare
from xeval.judging.comparison.flips import flipped_rows
from xeval.judging.comparison.paired_runs import pair
from xeval.report.comparison import runs as comparison

N = 90
LABELS, GROUPS = np.arange(N) % 3, np.repeat(np.arange(N // 3), 3)
WORSE, BETTER = np.arange(N) % 2 == 0, np.arange(N) % 9 != 0


def write(folder, right, **changes):
    languages = {"en": right, "de": ~right & BETTER, "es": BETTER}
    answers = {language: answers_with(LABELS, own) for language, own in languages.items()}
    return write_run(folder, answers, LABELS, GROUPS, **changes)


@pytest.fixture
def two(tmp_path):
    return pair([write(tmp_path, WORSE)], [write(tmp_path, BETTER, model="org/n")])


def printed(found, flipped=None) -> str:
    console = Console(width=80, file=io.StringIO(), highlight=False)
    comparison.show(found, flipped, console)
    return console.file.getvalue()


def test_table_has_a_line_per_language_and_fits_80_columns(two):
    lines = printed(compare(two)).splitlines()
    assert max(map(len, lines)) <= 80
    [header] = [line for line in lines if "B − A" in line]
    assert header.split("  ")[0] == "" and "McNemar" in header and "Holm" in header
    en, mean = ([line.split() for line in lines if line.startswith(start)] for start in ("en ", "mean of 3"))
    assert en[0][:4] == ["en", "50.0", "88.9", "+38.9"] and en[0][-1] == "B"
    # (50.0 + 44.4 + 88.9) / 3 and (88.9 + 0 + 88.9) / 3; -1.85 apart, but what is printed gives -1.8.
    assert mean[0][3:6] == ["61.1", "59.3", "-1.8"]


@pytest.mark.parametrize(
    "show", [printed, lambda found: comparison.markdown(found, None)], ids=["terminal", "markdown"]
)
def test_conclusion_seed_and_sides_are_always_shown(two, show):
    text = " ".join(show(compare(two, seed=77)).replace("**", "").split())
    for said in (
        compare(two, seed=77).conclusion,
        "A: org/m, seed 1",
        "B: org/n, seed 1",
        "10,000 resamples of premises, seed 77",
    ):
        assert said in text


def test_several_seeds_show_spread_instead_of_mcnemar(tmp_path):
    a = [write(tmp_path, WORSE, seed=seed) for seed in (1, 2)]
    b = [write(tmp_path, right, seed=seed, model="org/n") for seed, right in ((1, BETTER), (2, WORSE | BETTER))]
    text = printed(compare(pair(a, b), n_resamples=100))
    assert "A: org/m, mean of seeds 1, 2" in text and "McNemar" not in text
    [en] = [line.split() for line in text.splitlines() if line.startswith("en ")]
    # B minus A: 38.9 points with seed 1, 50.0 - 5.6 = 44.4 with seed 2; their standard deviation is 5.56 / √2
    spread = np.std([100 * (BETTER.mean() - 0.5), 100 * ((WORSE | BETTER).mean() - 0.5)], ddof=1)
    assert en[-3] == f"{spread:.1f}"


def test_json_has_fractions_intervals_and_flips(two):
    found = compare(two, seed=77, n_resamples=100)
    content = json.loads(comparison.as_json(found, flipped_rows(two, "en", None)))
    assert content["conclusion"] == found.conclusion and content["mean"]["seed"] == 77
    en = content["languages"][0]
    assert (en["language"], en["accuracy_a"], en["better"]) == ("en", 0.5, "B")
    assert en["interval"]["low"] == found.languages[0].interval.low
    assert len(content["flips"]["rows"]) == int((WORSE != BETTER).sum())


def test_hostile_names_stay_text(tmp_path):
    hostile = write(tmp_path, BETTER, model="org/<b>|x|[red]\x1b[31m\\")
    found = compare(pair([write(tmp_path, WORSE)], [hostile]), n_resamples=50)
    text = comparison.markdown(found, None)
    assert "<b>" not in text and "&lt;b&gt;\\|x\\|" in text
    assert "B: org/<b>|x|[red]\\x1b[31m\\, seed 1" in printed(found)


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """`command(*words)`: exit code, output and error message of `xeval compare words`."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xeval", "compare", *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


def test_command_compares_models_by_name_or_folder(command, tmp_path):
    write(tmp_path / "results", WORSE)
    write(tmp_path / "results", BETTER, model="org/n")
    code, out, err = command("org/m", "org/n", "--flips", "en", "--seed", "3")
    assert (code, err) == (0, "") and "seed 3" in " ".join(out.split())
    assert "Rows in en that only one side gets right: 45 (5 A, 40 B)" in " ".join(out.split())
    code, out, _ = command("results/cats/org--m", "org/n", "--format", "json")
    assert code == 0 and json.loads(out)["name_b"] == "org/n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("org/m", "org/x"), "unknown folder of runs or model in results 'org/x': did you mean 'org/n'"),
        (("org/m", "cats"), "cats is a task; wanted models that were run on it, or their folders: org/m, org/n"),
        (("org/m", "org/m"), "is on both sides; name different runs"),
        (("org/m", "org/n", "--flips", "fr"), "unknown language that A and B share 'fr'"),
        (("org/m", "other/cats/org--m"), "not evaluated on the same rows"),
        (("org/m", "org/n", "--format", "pdf"), "'pdf'"),
        (("org/m",), "Missing argument 'B'"),
    ],
)
def test_refusals_exit_with_2_and_one_line(command, tmp_path, words, complaint):
    write(tmp_path / "results", WORSE)
    write(tmp_path / "results", BETTER, model="org/n")
    write(tmp_path / "other", BETTER, rows_sha256="b" * 64)
    code, out, err = command(*words)
    assert (code, out) == (2, "") and complaint in err and len(err.splitlines()) == 1


def test_a_damaged_prediction_file_is_named(command, tmp_path):
    folder = write(tmp_path / "results", WORSE).folder
    write(tmp_path / "results", BETTER, model="org/n")
    (folder / "predictions" / "de.parquet").write_bytes(b"x")
    code, _, err = command("org/m", "org/n")
    assert code == 2 and "de.parquet: damaged" in err and len(err.splitlines()) == 1


def test_flipped_rows_have_sentences_if_data_are_given(mini, tmp_path, command):
    """mini-pairs' own rows: A gets the first wrong, B gets all right."""
    from xeval.data.source import load_rows, open_source
    from xeval.definitions.registry import get_task

    task = get_task(str(mini.task_file))
    pairs = load_rows(open_source(task, mini.data, ["es"], False), "es", "test")
    right = np.arange(len(pairs)) > 0
    rows = {"rows_sha256": pairs.sha256, "task": "mini-pairs"}
    for model, correct in (("org/m", right), ("org/n", right | True)):
        answers = {"es": answers_with(pairs.gold, correct)}
        write_run(tmp_path / "results", answers, pairs.gold, pairs.groups, model=model, **rows)
    words = ("org/m", "org/n", "--flips", "es", "--tasks-dir", str(mini.task_file.parent), "--format", "json")
    flips = json.loads(command(*words, "--data", str(mini.data))[1])["flips"]
    assert flips["sentences"] == {"0": [pairs.texts["premise"][0], pairs.texts["hypothesis"][0]]}
    assert flips["labels"] == ["yes", "maybe", "no"]  # the record's
    assert json.loads(command(*words)[1])["flips"]["sentences"] == {}
    changed = tiny.mini_rows()
    changed["test", "es"] = changed["test", "es"][::-1]
    code, _, err = command(*words, "--data", str(tiny.write_hub_layout(tmp_path / "other", changed)))
    assert code == 2 and "test rows of 'es' are not those that were scored" in err


def test_comparing_needs_no_torch(tmp_path):
    write(tmp_path / "results", WORSE)
    write(tmp_path / "results", BETTER, model="org/n")
    code = (
        "import sys; sys.argv = ['xeval', 'compare', 'org/m', 'org/n']\n"
        "from xeval.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'transformers', 'datasets', 'evaluate'} & sys.modules.keys()))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert process.stdout.splitlines()[-1] == "[]" and process.stderr == ""
