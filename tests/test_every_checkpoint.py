"""`--every-checkpoint` evaluates each checkpoint in every language, despite interruptions; all else is as usual."""

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import tiny
from xeval.results.candidates import GatheredPredictions, checkpoints_of, load_checkpoints, step_folder
from xeval.results.predictions import column, load_predictions
from xeval.results.records import RunRecord
from xeval.results.store import load_record, replace_by_successor, save_record, successor_folder
from xeval.runs.grid import run
from xeval.support.errors import StoreError
from xeval.support.progress import Phase, Silent

RECIPE = """\
name = "brief"
description = "Four steps to an epoch of 24 pairs; selection every third step and at the end"
learning_rate = 2e-3
batch_size = 7
epochs = 2
max_length = 48
weight_decay = 0.01
evaluate_every_steps = 3
seed = 3
"""
STEPS = [3, 6, 8]


def interrupt() -> None:
    raise KeyboardInterrupt


class Notes(Silent):
    def __init__(self, at: str = "", do: Callable[[], None] = interrupt) -> None:
        self.lines: list[str] = []
        self.steps: list[int] = []  # of the training, as they are done
        self._at, self._do = at, do

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def phase(self, name, total, unit):
        def on_change(phase):
            if name == "train":
                self.steps.append(phase.done)
            if self._at and phase.note == self._at:
                self._do()

        yield Phase(name, total, unit, on_change)


class World:
    def __init__(self, folder, mini, model) -> None:
        self.folder, self.mini, self.model = folder, mini, model
        (folder / "brief.toml").write_text(RECIPE)

    def run(self, results="results", **changes) -> RunRecord:
        options = {
            "models": [str(self.model)],
            "recipe": str(self.folder / "brief.toml"),
            "data": self.mini.data,
            "results": self.folder / results,
            "device": "cpu",
            "dtype": "float32",
            "every_checkpoint": True,
        }
        (record,) = run(str(self.mini.task_file), **(options | changes))
        return record

    def run_folder(self, results="results"):
        (path,) = (self.folder / results).glob("*/*/*/record.json")
        return path.parent

    def logits(self, results="results"):
        """(step, language) → logits of every checkpoint, read from disk."""
        folder = self.run_folder(results)
        return {
            (one.step, language): column(
                load_predictions(step_folder(checkpoints_of(folder), one.step), language, score.predictions_sha256),
                "logits",
            ).tolist()
            for one in load_checkpoints(folder, load_record(folder)).checkpoints
            for language, score in one.scores.items()
        }


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So that a repeated training run computes exactly the same."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def world(tmp_path, monkeypatch, mini, checkpoint_of):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    return World(tmp_path, mini, checkpoint_of("bert"))


@pytest.fixture(scope="module")
def done(tmp_path_factory, mini, checkpoint_of):
    """With the option in `results`, and without it in `plain`."""
    made = World(tmp_path_factory.mktemp("every"), mini, checkpoint_of("bert"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEVAL_CACHE", str(made.folder / "cache"))
        made.run()
        made.run("plain", every_checkpoint=False)
    return made


@pytest.fixture
def finished(done, world):
    shutil.copytree(done.folder, world.folder, dirs_exist_ok=True)
    return world


def timeless(record: RunRecord) -> RunRecord:
    invocations = {
        name: invocation.model_copy(
            update={"environment": invocation.environment.model_copy(update={"started_at": ""})}
        )
        for name, invocation in record.invocations.items()
    }
    rows = {phase: entry.rows for phase, entry in record.timing.items()}
    return record.model_copy(update={"timing": rows, "invocations": invocations})


def test_option_changes_no_result_of_the_run(done):
    with_it, without = (done.run_folder(results) for results in ("results", "plain"))
    assert timeless(load_record(with_it)) == timeless(load_record(without))
    for language in tiny.LANGUAGES:
        name = f"predictions/{language}.parquet"
        assert (with_it / name).read_bytes() == (without / name).read_bytes()
    assert sorted(path.name for path in with_it.iterdir()) == [".lock", "checkpoints", "predictions", "record.json"]


def test_every_checkpoint_has_scores_in_every_language(done):
    folder = done.run_folder()
    record, logits = load_record(folder), done.logits()
    assert [point.step for point in record.training.selection_curve] == STEPS
    assert sorted(logits) == [(step, language) for step in STEPS for language in tiny.LANGUAGES]
    for language, score in record.scores.items():
        chosen = column(load_predictions(folder, language, score.predictions_sha256), "logits")
        np.testing.assert_array_equal(logits[record.training.chosen_step, language], chosen)
    for one in load_checkpoints(folder, record).checkpoints:
        for language, score in one.scores.items():
            gold = [tiny.LABELS.index(label) for *_, label in tiny.mini_rows()["test", language]]
            right = np.mean(np.argmax(logits[one.step, language], axis=1) == gold)
            assert (score.value, score.n_rows) == (right, 12)


def test_a_second_invocation_does_nothing(finished, monkeypatch):
    for stage in ("steps", "prediction"):
        monkeypatch.setattr(f"xeval.engine.{stage}.logits_of", lambda *args: pytest.fail("nothing should be computed"))
    notes = Notes()
    finished.run(reporter=notes)
    assert "nothing to do" in notes.lines[-2] and notes.lines[-1].endswith("--selection")


def test_target_rows_affect_neither_training_nor_choice(world, done):
    """Different rows in every file of the target languages leave the fine-tuned weights bit-identical."""
    rows = tiny.mini_rows()
    poison = [("en en en", "es zh en", label) for _, _, label in rows["test", "en"]]
    rows |= {(role, language): poison for role in tiny.ROLES for language in ("es", "zh")}
    record = world.run(data=tiny.write_hub_layout(world.folder / "poisoned", rows))
    assert record.training == load_record(done.run_folder()).training
    assert world.logits()[6, "es"] != done.logits()[6, "es"] and world.logits()[6, "en"] == done.logits()[6, "en"]


@pytest.mark.parametrize("often", [True, False], ids=["saved after every step", "never saved"])
def test_interrupted_training_repeats_no_evaluation(world, done, monkeypatch, often):
    """Interrupted after Spanish at the second checkpoint."""
    monkeypatch.setattr("xeval.engine.snapshots.Snapshots.is_due", lambda self: often)
    with pytest.raises(KeyboardInterrupt):
        world.run(reporter=Notes("step 6 evaluated in es"))
    added, add = [], GatheredPredictions.add
    monkeypatch.setattr(
        "xeval.results.candidates.GatheredPredictions.add",
        lambda self, step, language, *args: (added.append((step, language)), add(self, step, language, *args))[1],
    )
    notes = Notes()
    record = world.run(reporter=notes)
    assert added == [(6, "zh"), (8, "en"), (8, "es"), (8, "zh")]
    assert any("training resumes at step 5" in line for line in notes.lines) == often
    assert sorted(set(notes.steps)) == list(range(5 if often else 1, 9))
    assert world.logits() == done.logits()
    assert (record.training, record.scores) == (
        load_record(done.run_folder()).training,
        load_record(done.run_folder()).scores,
    )


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{")], ids=["gone", "damaged"])
def test_damaged_gathered_checkpoint_is_made_again(world, done, damage):
    def break_it():
        (path,) = (world.folder / "cache").rglob("step-000006/checkpoint.json")
        damage(path)

    with pytest.raises(StoreError, match=r"^[^\n]*step-000006/checkpoint\.json: [^\n]*; run the command again$"):
        world.run(reporter=Notes("step 6 evaluated in en", break_it))
    world.run()
    assert world.logits() == done.logits()


@pytest.mark.parametrize(
    "before", [{"every_checkpoint": False}, {"languages": ["en"]}], ids=["without the option", "in fewer languages"]
)
def test_training_restarts_if_checkpoints_were_skipped(world, done, monkeypatch, before):
    monkeypatch.setattr("xeval.engine.snapshots.Snapshots.is_due", lambda self: True)
    steps = []

    class Interrupting(Silent):
        @contextmanager
        def phase(self, name, total, unit):
            def on_change(phase):
                steps.append(phase.done)
                if phase.done == 5:
                    raise KeyboardInterrupt

            yield Phase(name, total, unit, on_change if name == "train" else lambda phase: None)

    with pytest.raises(KeyboardInterrupt):
        world.run(reporter=Interrupting(), **before)
    notes = Notes()
    world.run(reporter=notes)
    assert any("training restarts, although it had reached step 4" in line for line in notes.lines)
    assert world.logits() == done.logits()


def test_finished_run_is_retrained_for_its_checkpoints(world, done):
    plain = world.run(every_checkpoint=False)
    with pytest.raises(StoreError, match="this run has kept only the chosen checkpoint; xeval run with"):
        load_checkpoints(world.run_folder(), plain)
    notes = Notes()
    record = world.run(reporter=notes)
    assert any("not all its checkpoints were evaluated in en es zh, so it is trained again" in n for n in notes.lines)
    assert record == plain and record.status == "complete"
    assert world.logits() == done.logits()


def test_languages_added_later_need_the_option(world, done):
    world.run(languages=["en", "es"])
    world.run(every_checkpoint=False)
    folder = world.run_folder()
    assert load_checkpoints(folder, load_record(folder)).languages == ["en", "es"]
    notes = Notes()
    world.run(languages=["zh"], reporter=notes)
    assert any("evaluated in zh, so it is trained again" in line for line in notes.lines)
    assert world.logits() == done.logits()


def test_checkpoints_of_another_training_are_remade(finished, done):
    folder = finished.run_folder()
    record = load_record(folder)
    other = record.training.model_copy(update={"weights_sha256": "0" * 64})
    save_record(folder, record.model_copy(update={"training": other}))
    with pytest.raises(StoreError, match="from another training run than the run's scores"):
        load_checkpoints(folder, load_record(folder))
    again = finished.run()
    assert again.training == record.training and finished.logits() == done.logits()
    assert not successor_folder(folder).exists()


def test_successor_run_removes_old_checkpoints(finished):
    folder = finished.run_folder()
    successor = successor_folder(folder)
    shutil.copytree(folder / "predictions", successor / "predictions")
    save_record(successor, load_record(folder))
    replace_by_successor(folder)
    assert not checkpoints_of(folder).exists()


@pytest.mark.parametrize("name", ["checkpoints.json", "step-000006/predictions/es.parquet", "SHA256SUMS"])
def test_damaged_checkpoint_set_is_refused_and_remade(finished, done, name):
    path = checkpoints_of(finished.run_folder()) / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"^[^\n]*checkpoints: damaged[^\n]*--every-checkpoint[^\n]*$"):
        load_checkpoints(finished.run_folder(), load_record(finished.run_folder()))
    finished.run()
    assert finished.logits() == done.logits()


def test_non_finite_logits_at_checkpoints_are_recorded(world, monkeypatch):
    """As when a flipped bit breaks a piece that only Chinese has."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    broken = world.folder / "broken"
    shutil.copytree(world.model, broken)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(broken), AutoTokenizer.from_pretrained(broken)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("猫")] = float("nan")
    model.save_pretrained(broken)
    record, plain = (world.run(name, models=[str(broken)], every_checkpoint=name == "a") for name in ("a", "b"))
    assert record.status == plain.status == "incomplete" and record.failure == plain.failure
    assert record.scores == plain.scores and sorted(record.scores) == ["en", "es"]
    for one in load_checkpoints(world.run_folder("a"), record).checkpoints:
        assert sorted(one.scores) == ["en", "es"] and "no finite logits" in one.failures["zh"]


def test_abandoned_training_is_not_taken_up_again(world, done, monkeypatch):
    """Its snapshot would go with the checkpoints of the training run that replaced it, which may differ on a GPU."""
    monkeypatch.setattr("xeval.engine.snapshots.Snapshots.is_due", lambda self: True)
    with pytest.raises(KeyboardInterrupt):
        world.run(languages=["en"], reporter=Notes("step 6 evaluated in en"))
    monkeypatch.setattr("xeval.engine.snapshots.Snapshots.is_due", lambda self: False)
    with pytest.raises(KeyboardInterrupt):
        world.run(reporter=Notes("step 6 evaluated in es"))
    notes = Notes()
    world.run(reporter=notes)
    assert min(notes.steps) == 1
    assert world.logits() == done.logits()
