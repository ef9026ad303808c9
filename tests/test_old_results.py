"""Results of version 0.1.0 stay readable for ever: today's commands say of them what that version said.

This holds for reports, comparisons and the gate. `fixtures/v0.1.0/make.sh` made the files with that version's code. Its
notation for recipes (`max_steps=200`) has become the one that the matrix always had (`max_steps 200`), and languages
that nobody evaluated are no longer shown; every number is unchanged.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from xeval.cli import main
from xeval.judging.comparison.named_runs import find_runs, names_of
from xeval.judging.equivalence import UNSETTLED
from xeval.report import frame
from xeval.results.configurations import by_configuration
from xeval.results.old_records import read_record
from xeval.results.records import Float32Check, RunRecord
from xeval.results.store import StoredRun, load_run, load_runs

MEANS = ("mean_of_reference_languages", "mean_of_all_languages", "gap_points")  # over the languages that are shown
FIXTURES = Path(__file__).parent / "fixtures" / "v0.1.0"
NEW_WORDS = {  # verdicts name limits too, as the rows of the matrix always did
    "mini-mbert (mini, epochs 2.0)": "mini-mbert (mini, epochs 2.0, max train 600, max eval 90)",
    "max_grad_norm 1e+30), ": "max_grad_norm 1e+30, max train 600), ",
}
REWORDED = {  # what 0.1.0 worded differently
    r" pairs show (?=[0-9.]+ % of )": " pairs cover ",
    r"(?<=mini-distilmbert) mini (?=seed 4: too)": ", mini, learning_rate 1.0, max_grad_norm 1e+30, max train 600, ",
    r"(?<=mini-mbert) mini (?=seed 1: too)": ", mini, epochs 2.0, max train 600, max eval 90, ",
    "The interval is about drawing other test pairs": "The interval covers the draw of test pairs",
    ", not about training again": ", not retraining",
    "no drop beyond both chance": "no drop exceeds both chance",
    r"a speed of ([0-9.]+) times the blessed\b": r"\1 times the blessed speed",
    r"the blessed one, ([0-9,]+) pairs/s after ([0-9,]+)(?=[,.])": r"the blessed one (\1 rows/s, blessed \2)",
}


@pytest.fixture
def command(capsys, monkeypatch):
    """`command(*words)`: the exit code, standard output and standard error, run in the fixtures' folder."""
    monkeypatch.chdir(FIXTURES)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xeval", *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


def in_todays_words(said: str) -> str:
    """A sentence of 0.1.0 with its recipe in today's notation."""
    parts = re.split(r"(changed from the recipe: [^;]*;)", re.sub(r"\bmax_(train|eval)=", r"max \1 ", said))
    text = "".join(
        part if part.startswith("changed") else re.sub(r"\b([a-z_]+)=(?=[\d.])", r"\1 ", part) for part in parts
    )
    text = text.replace('"mend":', '"fix":')
    text = reworded(text)
    for old, new in NEW_WORDS.items():
        text = text.replace(old, new)
    part = "it was trained on the first 600 rows alone"
    both = f"{part} and it was evaluated on the first 90 rows of each language"
    text = re.sub(r"(max eval 90\), .*)it used only part of the rows", rf"\1{both}", text)
    return text.replace("it used only part of the rows", part)


def reworded(said: str) -> str:
    for old, new in REWORDED.items():
        said = re.sub(old, new, said)
    return said


def of_the_better_rows(said: str) -> str:
    """Today's sentence on too few steps as 0.1.0 wrote it: the best figure, without naming its rows."""

    def best(found: re.Match) -> str:
        return f"{max(re.findall(r'[0-9.]+(?= %)', found[0]), key=float)} %"

    on = r"[0-9.]+ % on the (?:test|development) rows"
    return re.sub(rf"(?<=accuracy in en is ){on}(?: and {on})?", best, said)


def said(name: str) -> str:
    return (FIXTURES / "said" / name).read_text(encoding="utf-8")


def read_json(text: str):
    return json.loads(text)


def without(report: dict, *keys: str) -> dict:
    return {key: value for key, value in report.items() if key not in keys}


# ── reading ──


def test_records_are_read_with_all_their_numbers():
    runs = load_runs(FIXTURES / "results")
    assert len(runs) == 10
    for run in runs:
        old = json.loads((run.folder / "record.json").read_text(encoding="utf-8"))
        assert old["schema_version"] == 2
        record = run.record
        assert (record.schema_version, record.identity, record.seed) == (3, old["identity"], old["seed"])
        assert (record.kind, record.metric, record.chance) == ("pair-classification", "accuracy", 1 / 3)
        assert record.labels == ["entailment", "neutral", "contradiction"]
        assert record.dtype == old["environment"]["dtype"]
        for language, score in record.scores.items():
            before = old["scores"][language]
            assert (score.value, *score.ci95) == (before["accuracy"], before["ci95_low"], before["ci95_high"])
            assert score.totals == {"correct": before["n_correct"], "rows": before["n_examples"]}
            assert score.tokenization.pieces_per_row == before["pieces_per_pair"]
            assert len(run.predictions(language)) == score.n_rows
        [place] = record.environments
        assert (place.hardware, place.versions) == (old["environment"]["hardware"], old["environment"]["versions"])
        made_by = {timing.invocation for timing in record.timing.values()}
        assert made_by <= set(record.invocations) and (made_by or record.failures)


def test_records_of_schemas_1_and_2_agree():
    first, second = (
        load_run(FIXTURES / name / "xnli-mini/mini-distilmbert/mini-seed2-68f2d0b6") for name in ("schema1", "results")
    )
    assert first.record == second.record


def test_failed_run_keeps_its_reason():
    [run] = load_runs_of("broken")
    assert (run.record.status, list(run.record.failures), run.record.scores) == ("failed", ["train"], {})
    assert run.record.failure.startswith("the loss became nan at step 1")


def test_every_checkpoint_of_a_run_is_read():
    [run] = [run for run in load_runs_of("mini-mbert") if run.record.limits.max_train == 600]
    candidates = run.candidates()
    assert candidates.languages == ["en", "es", "zh"]
    for checkpoint in candidates.checkpoints:
        for language, score in checkpoint.scores.items():
            table = run.candidate_predictions(checkpoint.step, language, score.predictions_sha256)
            right = sum(
                a == b for a, b in zip(table["prediction"].to_pylist(), table["label"].to_pylist(), strict=True)
            )
            assert score.value == right / score.n_rows


def load_runs_of(model: str):
    return [run for run in load_runs(FIXTURES / "results") if run.record.model.id == model]


def test_rewritten_record_is_unchanged():
    for run in load_runs(FIXTURES / "results"):
        assert RunRecord.model_validate_json(run.record.model_dump_json()) == run.record


def test_seeds_are_grouped_as_before():
    groups = by_configuration(load_runs(FIXTURES / "results"))
    seeds = {configuration.name(): [run.record.seed for run in runs] for configuration, runs in groups.items()}
    assert seeds["mini-mbert, mini, max_steps 200"] == seeds["mini-distilmbert, mini, max_steps 200"] == [1, 2, 3]
    assert len(seeds) == 6


def test_the_frame_has_a_row_for_each_score():
    assert len(frame.load_results(FIXTURES / "results")) == 2 * 6 + 3 + 2 + 2


# ── reporting ──


def numbers_of(markdown: str) -> dict[tuple[str, str], str]:
    """The cells of the first table by row and language: scores without their marks."""
    header, _, *rows = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")]
    return {
        (name.strip(), language.strip()): cell.strip().rstrip("✓✗?≈↓↑ ")
        for name, *cells in rows
        for language, cell in zip(header[1:], cells, strict=True)
        if len(language.strip()) == 2
    }


def intervals_of(markdown: str) -> set[tuple[str, ...]]:
    """From each sentence of a verdict: its subject, our number, and the interval of the difference."""
    found = re.findall(r"- (\S+ \(.*\)), (.*?): .*our ([0-9.]+) .* difference, (\S+) to (\S+),", markdown)
    return {(re.sub(r"\b([a-z_]+)=(?=[\d.])", r"\1 ", name), *others) for name, *others in found}


def test_the_report_in_markdown_has_the_same_numbers(command):
    code, out, _ = command("report", "--results", "results")
    before, now = (numbers_of(text) for text in (in_todays_words(said("report.markdown")), out))
    assert code == 0 and len(now) == 7 * 4
    assert now == {(name, language): before[name, language] for name, language in now}
    assert {cell for key, cell in before.items() if key not in now and "published" not in key[0]} == {"–"}
    assert intervals_of(out) == intervals_of(said("report.markdown")) and len(intervals_of(out)) == 4


def test_the_report_as_json_has_the_same_numbers(command):
    code, out, _ = command("report", "--results", "results", "--format", "json")
    now, before = read_json(of_the_better_rows(out)), read_json(in_todays_words(said("report.json")))
    now["runs"] = [without(run, "sweep") for run in now["runs"]]
    assert (code, now["runs"], now["findings"]) == (0, before["runs"], before["findings"])
    assert set(now["languages"]) <= set(before["languages"]) and now["languages"][0] == "en"
    for row, old in zip(now["rows"], before["rows"], strict=True):
        kept = without(row, "more_verdicts", "exhibits", "verdict", "seeds", *MEANS)
        assert kept == without(old, "verdict", "seeds", *MEANS)
        if row["verdict"] is not None and old["verdict"] is not None:
            assert_verdicts_are_the_same(row["verdict"], old["verdict"])


def assert_verdicts_are_the_same(now: dict, old: dict) -> None:
    for new_cell, old_cell in zip(
        [now["mean"], *now["cells"].values()], [old["mean"], *old["cells"].values()], strict=True
    ):
        assert without(new_cell, "sentence", "outcome") == without(old_cell, "sentence", "outcome")
        settled = old_cell["outcome"] != "inconclusive"
        assert (new_cell["outcome"] == old_cell["outcome"]) if settled else new_cell["outcome"] in UNSETTLED


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("compare.json", ["mini-distilmbert:max_steps=200", "mini-mbert:max_steps=200"]),
        ("selection.json", ["mini-mbert:max_train=600", "--selection"]),
    ],
)
def test_comparisons_are_the_same(command, file, words):
    code, out, _ = command("compare", *words, "--results", "results", "--format", "json")
    now = read_json(out)
    compared = now.get("last_minus_dev", now)
    assert compared.pop("metric") == "accuracy"  # which 0.1.0 did not have to say
    now.pop("configuration", None)  # which 0.1.0 did not say
    before = reworded(said(file))
    before = before.replace("from -11.2 to +3.3", "from -11.3 to +3.3")  # -11.25, now rounded away from zero
    assert (code, now) == (0, read_json(before))


def test_the_diagnosis_and_the_list_are_the_same(command):
    assert of_the_better_rows(command("diagnose", "--results", "results")[1]) == reworded(said("diagnose.txt"))
    before = re.sub(r"(?m)^(.* tuned .*) 42( +complete)", r"\1 – \2", said("runs.txt"))
    assert command("list", "runs", "--results", "results")[1] == before


def test_gate_agrees_with_0_1_0_on_the_old_baseline(command, tmp_path):
    where = str(tmp_path / "check.json")
    code, out, _ = command("check", "--results", "gate", "--baseline", "baseline.toml", "--json", where)
    # Today, the line on unchanged languages also says how far they changed.
    out = re.sub(r"(languages +(?:│ +){3})\+0\.0(?= │)", r"\1    ", out)
    assert (code, out) == (0, in_todays_words(said("check.txt")))
    assert read_json(Path(where).read_text()) == read_json(in_todays_words(said("check.json")))


def test_old_results_pass_a_baseline_blessed_today(command, tmp_path):
    where = str(tmp_path / "new.toml")
    assert command("bless", "--results", "gate", "--output", where)[0] == 0
    assert command("check", "--results", "gate", "--baseline", where)[0] == 0
    lines = (path.read_text().splitlines() for path in (FIXTURES / "baseline.toml", Path(where)))
    old, new = ([line for line in own if not line.startswith("#")] for own in lines)
    assert [line for line in old if line not in new] == ["n_labels = 3"] and set(new) <= set(old)


# ── running ──


def test_runs_finished_by_0_1_0_are_not_repeated(command, tmp_path, no_computing):
    """The command that made them trains nothing and touches no file."""
    shutil.copytree(FIXTURES / "results", tmp_path / "results")
    before = contents(tmp_path / "results")
    words = "--model mini-distilmbert --model mini-mbert --seed 1,2,3 --language en,th --max-steps 200 --dtype float32"
    code, _, err = command("run", "xnli-mini", *words.split(), "--results", str(tmp_path / "results"))
    assert code == 0 and err.count("nothing to do, 2 languages") == 6
    assert contents(tmp_path / "results") == before


@pytest.mark.slow
def test_first_rows_and_drawn_rows_are_kept_apart(command, tmp_path):
    """The command used with 0.1.0 now reports that --max-eval means other rows, and leaves the old run unchanged."""
    gate = shutil.copytree(FIXTURES / "gate", tmp_path / "gate")
    before = contents(gate)
    words = "--model mini-distilmbert --seed 1 --language en --max-train 600 --max-eval 300 --dtype float32"
    code, _, err = command("run", "xnli-mini", *words.split(), "--results", str(gate))
    assert code == 0 and err.count("was evaluated on the first 300 rows, as version 0.1.0 did; now they") == 1
    assert {name: content for name, content in contents(gate).items() if name in before} == before
    assert command("list", "runs", "--results", str(gate))[1].count("mini-distilmbert") == 3
    both = "mini-distilmbert:seed=1,eval_seed=None", "mini-distilmbert:seed=1,eval_seed=1"
    code, _, err = command("compare", *both, "--results", str(gate))
    assert code == 2 and err.endswith(
        "; version 0.1.0 took the first rows for --max-eval, but later versions draw them evenly from all rows;"
        " evaluate the older side again\n"
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def no_computing(monkeypatch):
    def refuse(*args, **options):
        pytest.fail("nothing should have been computed")

    monkeypatch.setattr("xeval.engine.steps.logits_of", refuse)
    monkeypatch.setattr("xeval.engine.prediction.logits_of", refuse)


def test_old_and_new_runs_are_named_by_what_differs(tmp_path):
    """A record of 0.1.0 lacks the keys that recipes got later, all of which are at their default."""
    old = next(run for run in load_runs(FIXTURES / "gate") if run.record.seed == 1)
    recipe = old.record.recipe
    later = {"warmup_steps": None, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "adaptation": "full"}
    values = {"recipe": recipe.model_copy(update={"values": recipe.values | later})}
    model = {"model": old.record.model.model_copy(update={"id": "mini-mbert", "sha256": "0" * 64})}
    new = StoredRun(tmp_path, old.record.model_copy(update=values | model))
    assert names_of([old], [new]) == ("mini-distilmbert", "mini-mbert")
    words = f"{FIXTURES / 'gate'}:adaptation=full,adam_beta1=0.9"
    assert {run.record.seed for run in find_runs(words, tmp_path)} == {1, 2}


@pytest.mark.parametrize(
    ("failure", "phase"),
    [("sw: no finite logits in 3 rows", "evaluate/sw"), ("no space is left: free some", "train"), ("killed", "train")],
)
def test_old_failure_names_what_failed(failure, phase):
    [folder, *_] = sorted((FIXTURES / "results" / "xnli-mini" / "mini-mbert").iterdir())
    old = json.loads((folder / "record.json").read_text())
    sound = load_run(folder).record
    del old["content_sha256"]
    checks = {"en": {"n_examples": 90, "n_flips": 1, "max_logit_difference": 0.5}}
    changed = old | {"status": "failed", "failure": failure, "float32_checks": checks}
    found = read_record(json.dumps(changed).encode(), folder)
    assert {phase: each.reason for phase, each in found.failures.items()} == {phase: failure}
    assert (found.status, found.scores, found.timing) == ("incomplete", sound.scores, sound.timing)
    assert found.float32_checks == {"en": Float32Check(n_rows=90, n_flips=1, max_logit_difference=0.5)}
    assert {timing.invocation for timing in found.timing.values()} == {
        timing["invocation"] for timing in old["timing"].values()
    }
    nothing = read_record(json.dumps(changed | {"scores": {}, "timing": {}}).encode(), folder)
    assert (nothing.status, list(nothing.failures)) == ("failed", [phase])
    [invocation] = nothing.invocations
    assert nothing.failures[phase].invocation == invocation
