"""A sweep: chosen by English dev alone, with its own seed, fully recorded, and its trials never counted as runs."""

import shutil
from pathlib import Path

import pytest
from test_breakdowns import with_no_numbers
from world import RECIPE, Notes, World, forbid

from tests.helpers.tiny import TELLING, telling_data
from xeval.data.corpus import Corpus
from xeval.judging.comparison.named_runs import runs_under
from xeval.judging.gate.bless import bless
from xeval.report import matrix
from xeval.results.records import RunRecord
from xeval.results.store import known_trials, load_runs, save_record
from xeval.runs.sweep import TRIAL_SEED
from xeval.support.cache import checkpoints_folder, weights_folder
from xeval.support.errors import StoreError, XevalError

RATES = [1e-9, 2e-3, 1e-2]  # the first learns nothing
SWEEP = {"learning_rate": RATES}


NEXT = dict(zip(TELLING, [*list(TELLING)[1:], "entailment"], strict=True))


def world_in(folder: Path, mini, model: Path) -> World:
    (folder / "brief.toml").write_text(RECIPE)
    return World(folder, mini.task_file, telling_data(folder / "telling"), model)


@pytest.fixture
def world(tmp_path, monkeypatch, mini, checkpoint_of) -> World:
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    return world_in(tmp_path, mini, checkpoint_of("bert"))


@pytest.fixture(scope="session")
def swept_once(tmp_path_factory, mini, checkpoint_of) -> World:
    folder = tmp_path_factory.mktemp("swept")
    world = world_in(folder, mini, checkpoint_of("bert"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEVAL_CACHE", str(folder / "cache"))
        world.run_all(sweep=SWEEP, seeds=[1, 2])
    return world


@pytest.fixture
def swept(swept_once, world) -> World:
    """A finished sweep over RATES, with seeds 1 and 2 of the values it chose."""
    shutil.copytree(swept_once.folder, world.folder, dirs_exist_ok=True)
    return world


def records_of(world: World) -> list[RunRecord]:
    return [run.record for run in load_runs(world.results)]


def trials_of(world: World) -> list[RunRecord]:
    return [trial.record for trial in known_trials(world.results, "mini-pairs")]


def trainings(notes: Notes) -> list[str]:
    return [line for line in notes.lines if "effective batch size" in line]


def without_times(record: RunRecord) -> RunRecord:
    return record.model_copy(update={"timing": {}, "invocations": {}, "sweep": None})


# ── the choice ──


def test_best_trial_on_english_dev_is_chosen(swept):
    sweep = records_of(swept)[0].sweep
    expected = []
    for rate in RATES:
        overrides = {"learning_rate": rate}
        record = swept.run(results=swept.folder / "plain", overrides=overrides, seeds=[TRIAL_SEED], languages=["zh"])
        [value] = [p.value for p in record.training.selection_curve if p.step == record.training.chosen_step]
        expected.append((record.identity, value))
    assert [trial.identity for trial in sweep.trials] == [identity for identity, _ in expected]
    assert [trial.values for trial in sweep.trials] == [{"learning_rate": rate} for rate in RATES]
    assert [trial.score for trial in sweep.trials[1:]] == [value for _, value in expected[1:]]
    best = max(RATES[1:], key=dict(zip(RATES, [value for _, value in expected], strict=True)).get)
    assert sweep.chosen == {"learning_rate": best}
    assert {record.recipe.values["learning_rate"] for record in records_of(swept)} == {best}
    assert (sweep.seed, sweep.values, sweep.n_others, sweep.budget) == (TRIAL_SEED, SWEEP, 0, 3)
    assert all(trial.wall_s > 0 for trial in sweep.trials)


def test_chosen_values_give_the_same_run_without_a_sweep(swept):
    with_sweep = records_of(swept)
    rate = with_sweep[0].sweep.chosen["learning_rate"]
    given = {} if rate == 2e-3 else {"learning_rate": rate}  # the recipe's own value is no override
    without = swept.run_all(results=swept.folder / "plain", overrides=given, seeds=[1, 2])
    assert [without_times(record) for record in with_sweep] == [without_times(record) for record in without]
    assert sorted(path.name for path in swept.folders()) == sorted(
        path.parent.name for path in (swept.folder / "plain").glob("*/*/*/record.json")
    )


def test_trial_that_learns_nothing_fails_without_a_score(swept):
    first = records_of(swept)[0].sweep.trials[0]
    assert first.score is None and "the training collapsed: accuracy on en development rows is" in first.failure
    [trial] = [trial for trial in trials_of(swept) if trial.identity == first.identity]
    assert trial.status == "failed" and trial.training.selection_curve


def test_trial_with_nan_loss_fails_and_is_never_chosen(world):
    """Without decay of the squares, and with an epsilon that is 0 in float32, AdamW divides 0 by 0."""
    notes = Notes()
    record = world.run(
        sweep={"adam_epsilon": [1e-46, 1e-8]}, overrides={"learning_rate": 5e-3}, languages=["es"], reporter=notes
    )
    broken, fine = record.sweep.trials
    assert (broken.score, broken.wall_s) == (None, None) and "the loss became nan at step" in broken.failure
    assert fine.score is not None and record.sweep.chosen == {"adam_epsilon": 1e-8}
    assert record.recipe.overrides == {"learning_rate": 5e-3}  # the recipe has this epsilon anyway
    assert any("trial 1: failed: the loss became nan" in line for line in notes.lines)
    again = Notes()
    world.run(
        sweep={"adam_epsilon": [1e-46, 1e-8]}, overrides={"learning_rate": 5e-3}, languages=["es"], reporter=again
    )
    assert trainings(again) == []


@pytest.mark.parametrize("order", [[50, 60], [60, 50]])
def test_first_of_equal_trials_is_chosen(world, order):
    """Both are so patient that it makes no difference."""
    record = world.run(sweep={"patience": order}, languages=["es"])
    assert len({trial.score for trial in record.sweep.trials}) == 1
    assert record.sweep.chosen == {"patience": order[0]}


def test_several_keys_are_tried_in_all_combinations(world):
    record = world.run(sweep={"learning_rate": [2e-3, 1e-2], "epochs": [1, 2]}, languages=["es"])
    pairs = [tuple(trial.values.values()) for trial in record.sweep.trials]
    assert pairs == [(2e-3, 1.0), (2e-3, 2.0), (1e-2, 1.0), (1e-2, 2.0)]
    assert len({trial.identity for trial in record.sweep.trials}) == 4
    assert record.recipe.values.items() >= record.sweep.chosen.items()


# ── what a trial may see ──


def test_trials_read_no_test_rows(world, monkeypatch):
    """All are read before the first trial, so that a missing file costs nothing, and again only after the last."""
    notes, tests = Notes(), Corpus.test
    asked = []

    def test(self, language):
        asked.append([line for line in notes.lines if "trial" in line])
        return tests(self, language)

    monkeypatch.setattr(Corpus, "test", test)
    world.run(sweep=SWEEP, reporter=notes)
    of_sweep = [line for line in notes.lines if "trial" in line]
    assert "chosen from 3 trials" in of_sweep[-1] and len(of_sweep) == 7
    assert {len(lines) for lines in asked} == {0, 7}  # before the first and after the choice, never between


def test_labels_of_test_rows_affect_neither_trials_nor_choice(swept):
    """In every language, English included."""
    other = telling_data(swept.folder / "other", NEXT)
    record = swept.run(data=other, results=swept.folder / "others", sweep=SWEEP, seeds=[1])
    first = records_of(swept)[0]
    assert record.scores["en"].value != first.scores["en"].value
    untimed = [[trial.model_copy(update={"wall_s": None}) for trial in each.sweep.trials] for each in (record, first)]
    assert untimed[0] == untimed[1] and record.sweep.chosen == first.sweep.chosen
    assert all(trial.data.sha256.keys() == {"train", "selection", "test"} for trial in trials_of(swept))
    assert all(trial.data.sha256["test"] == {} == trial.scores for trial in trials_of(swept))


# ── asked again ──


def test_second_invocation_changes_nothing(swept, no_training, no_prediction):
    before = swept.files()
    assert swept.run_all(sweep=SWEEP, seeds=[1, 2]) == records_of(swept)
    assert swept.files() == before


def test_another_seed_repeats_no_trial(swept):
    notes = Notes()
    swept.run(sweep=SWEEP, seeds=[4], reporter=notes)
    assert len(trainings(notes)) == 1 and "seed 4" in trainings(notes)[0]


def test_finished_trials_are_not_repeated_after_a_kill(world, swept_once):
    class Killed(Notes):
        def say(self, line: str) -> None:
            super().say(line)
            if "trial 3 of 3" in line:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.run(sweep=SWEEP, seeds=[1], reporter=Killed())
    assert (len(trials_of(world)), world.folders()) == (2, [])
    notes = Notes()
    record = world.run(sweep=SWEEP, seeds=[1], reporter=notes)
    assert [f"seed {TRIAL_SEED}" in line for line in trainings(notes)] == [True, False]
    assert [trial.score for trial in record.sweep.trials] == [t.score for t in records_of(swept_once)[0].sweep.trials]


def test_wider_or_narrower_sweep_keeps_earlier_trials(swept):
    notes = Notes()
    wider = swept.run(sweep={"learning_rate": [*RATES, 5e-3]}, seeds=[1], reporter=notes)
    assert (len(wider.sweep.trials), wider.sweep.n_others) == (4, 0)
    assert sum(f"seed {TRIAL_SEED}" in line for line in trainings(notes)) == 1
    narrower = swept.run(sweep={"learning_rate": RATES[1:]}, seeds=[1])
    assert (len(narrower.sweep.trials), narrower.sweep.n_others, narrower.sweep.budget) == (2, 2, 4)


def test_a_damaged_trial_is_named(swept):
    trial = known_trials(swept.results, "mini-pairs")[0]
    path = trial.folder / "trial.json"
    path.write_text(path.read_text().replace('"seed": 1000000', '"seed": 1000001', 1))
    with pytest.raises(StoreError, match=r"trial\.json: damaged or edited[^\n]*$"):
        swept.run(sweep=SWEEP, seeds=[1])


def test_only_the_record_of_a_trial_is_kept(swept):
    for trial in known_trials(swept.results, "mini-pairs"):
        assert {path.name for path in trial.folder.iterdir()} <= {"trial.json", ".lock"}
        assert not weights_folder(trial.record.identity).exists()
        assert not checkpoints_folder(trial.record.identity, trial.record.metric).exists()


# ── with and without ──


def test_sweep_is_added_to_the_record_of_an_existing_run(swept, no_training, no_prediction):
    chosen = records_of(swept)
    for folder, record in zip(swept.folders(), chosen, strict=True):
        save_record(folder, record.model_copy(update={"sweep": None}))
    assert swept.run_all(sweep=SWEEP, seeds=[1, 2]) == chosen == records_of(swept)


def test_run_without_a_sweep_keeps_the_recorded_sweep(swept):
    before = records_of(swept)[0]
    given = {"learning_rate": before.sweep.chosen["learning_rate"]}
    assert swept.run(overrides=given, seeds=[1]) == before
    shutil.rmtree(weights_folder(before.identity))
    (swept.folders()[0] / "predictions" / "es.parquet").unlink()
    again = swept.run(overrides=given, seeds=[1])  # trained again
    assert (again.sweep, again.scores.keys()) == (before.sweep, before.scores.keys())


# ── several models ──


def test_failed_sweep_does_not_affect_another_model(world, swept_once):
    broken = with_no_numbers(world.model, world.folder / "broken")
    notes = Notes()
    fine, *failed = world.run_all(models=[str(broken), str(world.model)], sweep=SWEEP, seeds=[1], reporter=notes)
    first = records_of(swept_once)[0]
    assert fine.sweep.chosen == first.sweep.chosen and fine.scores == {
        language: score.model_copy(update={"invocation": fine.scores[language].invocation})
        for language, score in first.scores.items()
    }
    assert len(failed) == 3 and {record.status for record in failed} == {"failed"}
    assert {record.model.id for record in failed} == {"broken"}
    said = [f"trial of learning_rate {rate}: the loss became nan at step 1" for rate in RATES]
    assert all(record.failure.startswith(start) for record, start in zip(failed, said, strict=True))
    assert any(line.endswith("none of 3 trials can be chosen, so nothing is evaluated") for line in notes.lines)
    assert len(world.folders()) == 1


def test_trials_are_reused_for_a_renamed_model(swept):
    copy = shutil.copytree(swept.model, swept.folder / "a-copy")
    notes = Notes()
    swept.run_all(models=[str(copy)], sweep=SWEEP, seeds=[1, 2], reporter=notes)
    assert trainings(notes) == [] and len(trials_of(swept)) == 3


# ── trials are not runs ──


def test_trials_are_not_counted_as_runs(swept):
    runs = load_runs(swept.results)
    assert sorted(run.record.seed for run in runs) == [1, 2]
    table = matrix.build(runs, "mini-pairs", None)
    assert [row.seeds for row in table.rows] == ["2"] and len(table.budgets) == 1
    assert bless(runs).configurations[0].seeds == (1, 2)


@pytest.mark.parametrize("depth", range(4))
def test_trials_are_not_found_as_runs_from_any_folder(swept, depth):
    """Not even if no run has finished yet."""
    for folder in swept.folders():
        shutil.rmtree(folder)
    trial = known_trials(swept.results, "mini-pairs")[0].folder
    assert runs_under([trial, *trial.parents][depth]) == []


# ── what is refused ──

BATCHES = {"batch_size": [8, 16]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sweep": {"learning_rat": [1, 2]}}, "did you mean 'learning_rate'"),
        ({"sweep": {"layer": [1, 2]}}, "unknown value of a recipe to sweep 'layer'"),
        ({"sweep": {"seed": [1, 2]}}, "give them with --seed"),
        ({"sweep": {"selection": ["last", "english-dev"]}}, "give it with --selection"),
        ({"sweep": {"selection_rows": [5, 6]}}, "give it with --selection-rows"),
        ({"sweep": {"learning_rate": ["high", 1e-3]}}, "learning_rate: Input should be a valid number, got 'high'"),
        ({"sweep": {"learning_rate": [float("nan"), 1e-3]}}, "learning_rate: Input should be a finite number"),
        ({"sweep": {"batch_size": [8, 0]}}, "batch_size: Input should be greater than 0"),
        ({"sweep": {"batch_size": [8]}}, "wanted two or more values to choose from, got [8]"),
        ({"sweep": {"batch_size": 8}}, "wanted two or more values to choose from, got 8"),
        ({"sweep": {"batch_size": "8,16"}}, "wanted two or more values to choose from, got '8,16'"),
        ({"sweep": {"max_steps": [8, None]}}, "wanted two or more values to choose from, got [8, None]"),
        ({"sweep": {"epochs": [1, 2, 1.0]}}, "epochs 1.0 is given twice"),
        ({"sweep": BATCHES, "overrides": {"batch_size": 4}}, "batch_size is also set to 4"),
        ({"sweep": BATCHES, "seeds": [1, TRIAL_SEED]}, "seed 1000000: a sweep's trials use it"),
        ({"sweep": BATCHES, "train": False}, "nothing is trained with --no-train"),
        ({"sweep": {"warmup_share": [0.1, 0.2], "warmup_steps": [1, 2]}}, "leave one out"),
    ],
)
def test_invalid_sweep_is_refused_before_loading(world, monkeypatch, changes, said):
    monkeypatch.setattr("xeval.runs.grid.open_source", forbid("data"))
    monkeypatch.setattr("xeval.runs.grid.find_checkpoint", forbid("a model"))
    with pytest.raises(XevalError) as refused:
        world.run(**changes)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("task", "said"), [("tatoeba", "nothing is trained by task tatoeba"), ("xquad", "has no rows to select on")]
)
def test_task_with_nothing_to_choose_on_is_refused(world, monkeypatch, task, said):
    monkeypatch.setattr("xeval.runs.grid.open_source", forbid("data"))
    with pytest.raises(XevalError, match=said):
        world.run(task=task, recipe=None, sweep=BATCHES)


def test_sweep_on_evaluated_rows_is_reported(world):
    notes = Notes()
    record = world.run(test_split="dev", overrides={"selection": "last"}, sweep=SWEEP, languages=["en"], reporter=notes)
    said = "whose en rows the recipe's values are chosen on"
    assert sum(said in line for line in notes.lines) == 1
    assert any(said in finding.evidence for finding in record.preflight)


def test_command_line_runs_the_same_sweep(swept, command, no_training, no_prediction):
    rates = ",".join(map(str, RATES))
    words = ["--model", swept.model, "--recipe", swept.folder / "brief.toml", "--data", swept.data, "--seed", "1,2"]
    places = ["--results", swept.results, "--device", "cpu", "--dtype", "float32"]
    code, out, _ = command("run", swept.task_file, *words, *places, "--sweep", f"learning-rate={rates}")
    assert code == 0 and "learning_rate chosen from 3 trials on English dev alone" in " ".join(out.split())


@pytest.mark.parametrize("option", ["learning_rate", "learning_rate=", "=1,2", "learning_rate=,"])
def test_malformed_sweep_option_is_refused_in_one_line(command, option):
    code, _, err = command("run", "xnli-mini", "--model", "mini-mbert", "--sweep", option)
    assert code == 2 and "wanted KEY=VALUE,VALUE" in err and err.count("\n") == 1


def test_repeated_sweep_key_is_refused_in_one_line(command):
    words = ("--sweep", "epochs=1,2", "--sweep", "epochs=3,4")
    code, _, err = command("run", "xnli-mini", "--model", "mini-mbert", *words)
    assert code == 2 and "epochs is given twice" in err and err.count("\n") == 1


@pytest.mark.parametrize("changes", [{"sweep": {"epochs": [0, 1]}}, {"sweep": BATCHES, "overrides": {"epochs": 0}}])
def test_sweep_without_training_is_refused(world, monkeypatch, changes):
    monkeypatch.setattr("xeval.runs.grid.open_source", forbid("data"))
    with pytest.raises(XevalError, match="sweep: epochs 0 trains nothing"):
        world.run(**changes)
