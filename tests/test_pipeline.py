"""A whole run: what it leaves, what it never does twice, what it never sees, and what it refuses.

"No training" and "no prediction" are asserted by making the stages themselves raise when they are given a batch.
"""

import hashlib
import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import xeval.checkpoints
import xeval.corpus
import xeval.files
import xeval.train
from xeval.cache import clear
from xeval.errors import DataError, ModelError, TrainingError
from xeval.pipeline import run
from xeval.predictions import load_predictions
from xeval.progress import Phase, Silent
from xeval.records import RunRecord
from xeval.store import load_record, save_record

MAX_LENGTH = 48
BATCH_SIZE = 7
RECIPE = f"""\
name = "brief"
description = "Three batches of 7 pairs and one of 3 to an epoch of the 24"
learning_rate = 2e-3
batch_size = {BATCH_SIZE}
epochs = 2
max_length = {MAX_LENGTH}
weight_decay = 0.01
seed = 3
"""
LABELS = ("entailment", "neutral", "contradiction")


class Notes(Silent):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@dataclass
class World:
    """A results folder and a cache of their own, and how a run is started on them."""

    folder: Path
    task_file: Path
    data: Path
    model: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def run_all(self, **changes) -> list[RunRecord]:
        options = {
            "task": str(self.task_file),
            "models": [str(self.model)],
            "recipe": str(self.folder / "brief.toml"),
            "data": self.data,
            "results": self.results,
            "device": "cpu",
            "dtype": "float32",
        }
        return run(**(options | changes))

    def run(self, **changes) -> RunRecord:
        (record,) = self.run_all(**changes)
        return record

    def folders(self) -> list[Path]:
        return sorted(path.parent for path in self.results.glob("*/*/*/record.json"))

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of change of every file under the results, the lock left out."""
        return {
            str(path.relative_to(self.results)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.results.rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    def copy_of_data(self) -> Path:
        return Path(shutil.copytree(self.data, self.folder / "changed"))


@pytest.fixture
def empty(tmp_path, monkeypatch, mini, checkpoint_of) -> World:
    """Nothing has run yet."""
    (tmp_path / "brief.toml").write_text(RECIPE)
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    return World(tmp_path, mini.task_file, mini.data, checkpoint_of("bert"))


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory, mini, checkpoint_of) -> World:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "brief.toml").write_text(RECIPE)
    world = World(folder, mini.task_file, mini.data, checkpoint_of("bert"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEVAL_CACHE", str(folder / "cache"))
        world.run()
    return world


@pytest.fixture
def finished(finished_once, empty) -> World:
    """One run in all three languages has been completed; its weights are in the cache."""
    shutil.copytree(finished_once.folder, empty.folder, dirs_exist_ok=True)
    return empty


def forbid(*names: str):
    def refuse(*args, **kwargs):
        pytest.fail(f"{' and '.join(names)} should not have been needed")

    return refuse


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr("xeval.train.logits_of", forbid("training"))


@pytest.fixture
def no_prediction(monkeypatch):
    monkeypatch.setattr("xeval.predict.logits_of", forbid("prediction"))


def record_of(world: World) -> RunRecord:
    (folder,) = world.folders()
    return load_record(folder)


def predictions_of(world: World, language: str):
    (folder,) = world.folders()
    return load_predictions(folder, language, record_of(world).scores[language].predictions_sha256)


def weights_file(world: World, record: RunRecord) -> Path:
    return world.folder / "cache" / "weights" / record.identity / "model.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ── what a run leaves ──


def test_a_run_is_complete_with_every_row_of_every_language_counted_once(finished):
    record = record_of(finished)
    assert record.status == "complete" and record.failure is None
    assert sorted(record.scores) == sorted(tiny.LANGUAGES)
    for language, score in record.scores.items():
        table = predictions_of(finished, language).to_pydict()
        gold = [LABELS.index(label) for *_, label in tiny.mini_rows()["test", language]]
        assert table["row"] == list(range(12))
        assert table["label"] == gold
        assert table["prediction"] == [int(np.argmax(logits)) for logits in table["logits"]]
        n_correct = sum(got == wanted for got, wanted in zip(table["prediction"], gold, strict=True))
        assert (score.n_examples, score.n_correct, score.accuracy) == (12, n_correct, n_correct / 12)
        assert score.ci95_low <= score.accuracy <= score.ci95_high


def test_the_logits_on_disk_are_those_of_the_kept_weights_one_row_at_a_time(finished):
    model = AutoModelForSequenceClassification.from_pretrained(weights_file(finished, record_of(finished)).parent)
    tokenizer = AutoTokenizer.from_pretrained(finished.model)
    for language in tiny.LANGUAGES:
        rows = tiny.mini_rows()["test", language]
        logits = predictions_of(finished, language)["logits"].to_pylist()
        for (premise, hypothesis, _), got in zip(rows, logits, strict=True):
            inputs = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
            with torch.no_grad():
                np.testing.assert_allclose(got, model(**inputs).logits[0].numpy(), rtol=0, atol=1e-5)


def test_the_record_says_how_it_was_trained(finished):
    training = record_of(finished).training
    assert (training.n_steps, training.effective_batch_size, training.selection) == (8, 7, "english-dev")
    steps, losses = zip(*training.loss_curve, strict=True)
    assert steps == tuple(range(1, 9)) and all(np.isfinite(losses)) and min(losses) > 0
    accuracies = {point.step: point.accuracy for point in training.selection_curve}
    assert list(accuracies) == [4, 8]
    assert all((12 * accuracy).is_integer() for accuracy in accuracies.values())
    assert training.chosen_step == max(accuracies, key=accuracies.get)  # the first of the best
    assert training.weights_sha256 == sha256(weights_file(finished, record_of(finished)))


def test_the_record_says_what_went_in(finished):
    record = record_of(finished)
    assert (record.task, record.training_language, record.seed) == ("mini-pairs", "en", 3)
    assert {split: sorted(hashes) for split, hashes in record.data.sha256.items()} == {
        "train": ["en"],
        "selection": ["en"],
        "test": ["en", "es", "zh"],
    }
    assert record.data.train_rows == {"found": 24, "expected": 24, "used": 24}
    assert (record.recipe.name, record.recipe.overrides) == ("brief", {})
    assert record.recipe.values["learning_rate"] == 2e-3 and record.recipe.values["batch_size"] == 7
    assert (record.limits.max_train, record.limits.max_eval) == (None, None)
    assert (record.environment.device, record.environment.dtype) == ("cpu", "float32")
    encoder = AutoModelForSequenceClassification.from_pretrained(weights_file(finished, record).parent).base_model
    assert record.model.n_parameters == sum(parameter.numel() for parameter in encoder.parameters())
    assert (record.model.architecture, record.model.origin, record.model.revision) == ("bert", "local", None)


def test_the_record_says_how_long_each_phase_took_and_for_how_many_pairs(finished):
    timing = record_of(finished).timing
    assert {phase: entry.pairs for phase, entry in timing.items()} == {
        "train": 48,
        "evaluate/en": 12,
        "evaluate/es": 12,
        "evaluate/zh": 12,
    }
    assert all(0 < entry.wall_s < 600 for entry in timing.values())


@pytest.mark.parametrize(
    ("overrides", "n_steps", "n_pairs"),
    [
        ({"epochs": 1.5}, 6, 24 + 14),
        ({"epochs": 2, "max_steps": 5}, 5, 24 + 7),
        ({"epochs": None, "max_steps": 4}, 4, 24),
    ],
)
def test_the_pairs_timed_in_training_are_those_trained_on(empty, overrides, n_steps, n_pairs):
    record = empty.run(languages=["en"], overrides=overrides)
    assert (record.training.n_steps, record.timing["train"].pairs) == (n_steps, n_pairs)
    assert record.recipe.overrides == overrides


def test_the_effective_batch_size_is_told_before_training_starts(empty, monkeypatch):
    notes, told = Notes(), []
    logits_of = xeval.train.logits_of
    monkeypatch.setattr("xeval.train.logits_of", lambda *args: (told.append(len(notes.lines)), logits_of(*args))[1])
    empty.run(languages=["en"], reporter=notes)
    assert any("effective batch size 7 pairs" in line for line in notes.lines[: told[0]])


def test_models_and_seeds_make_a_grid_of_runs_in_the_order_asked_for(empty, checkpoint_of):
    models = [checkpoint_of("xlm-roberta"), checkpoint_of("distilbert")]
    records = empty.run_all(models=list(map(str, models)), seeds=[2, 1], languages=["es"])
    asked_for = [(model.name, seed) for model in models for seed in (2, 1)]
    assert [(record.model.id, record.seed) for record in records] == asked_for
    assert [record.model.architecture for record in records] == ["xlm-roberta"] * 2 + ["distilbert"] * 2
    assert len({record.training.weights_sha256 for record in records}) == 4
    assert len(empty.folders()) == 4


# ── nothing is computed twice ──


def test_a_second_invocation_does_no_work_and_changes_no_file(finished, no_training, no_prediction):
    before, record = finished.files(), record_of(finished)
    assert finished.run() == record
    assert finished.run(languages=["zh"]) == record
    assert finished.files() == before


def test_a_second_invocation_does_no_work_even_with_the_cache_emptied(finished, no_training, no_prediction):
    clear("weights"), clear("encoded")
    assert finished.run() == record_of(finished)


def test_a_language_added_later_is_evaluated_with_the_kept_weights_and_nothing_else_is(
    empty, finished_once, monkeypatch
):
    first = empty.run(languages=["en", "es"])
    before = empty.files()
    monkeypatch.setattr("xeval.train.logits_of", forbid("training"))
    second = empty.run()
    after = empty.files()
    assert {name for name in after if name not in before} == {f"{folder_name(empty)}/predictions/zh.parquet"}
    assert {name for name in before if before[name] != after[name]} == {f"{folder_name(empty)}/record.json"}
    assert second.status == "complete"
    assert second.training == first.training
    assert {language: second.scores[language] for language in ("en", "es")} == first.scores
    assert second.scores == record_of(finished_once).scores  # as if all had been asked for at once


def folder_name(world: World) -> str:
    (folder,) = world.folders()
    return str(folder.relative_to(world.results))


def test_encoded_rows_are_kept_and_used_again(empty, monkeypatch, checkpoint_of):
    empty.run(seeds=[1])
    kept = sorted((empty.folder / "cache" / "encoded").iterdir())
    assert len(kept) == 5  # English training and selection rows, test rows in three languages
    monkeypatch.setattr("xeval.one_run.encode", forbid("encoding"))
    empty.run(seeds=[2])
    assert sorted((empty.folder / "cache" / "encoded").iterdir()) == kept


def test_with_the_weights_gone_it_trains_again_says_so_and_the_record_stays_consistent(empty, finished_once):
    empty.run(languages=["en", "es"])
    clear("weights")
    notes = Notes()
    record = empty.run(reporter=notes)
    assert any("weights are no longer in the cache, so it is trained again" in line for line in notes.lines)
    assert (record.status, record.scores) == ("complete", record_of(finished_once).scores)
    assert sha256(weights_file(empty, record)) == record.training.weights_sha256


def test_damaged_kept_weights_are_not_used(empty, finished_once):
    record = empty.run(languages=["en", "es"])
    file = weights_file(empty, record)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert empty.run().scores == record_of(finished_once).scores


def test_an_interruption_while_training_again_keeps_the_scores_that_were_there(empty, monkeypatch):
    finished = empty.run(languages=["en", "es"])
    clear("weights")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("xeval.predictions.write_atomically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        empty.run()
    assert record_of(empty).scores == finished.scores


def test_a_language_that_was_asked_for_but_not_finished_leaves_the_run_incomplete(empty, monkeypatch):
    empty.run(languages=["en"])

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("xeval.predictions.write_atomically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        empty.run()
    assert (record_of(empty).status, sorted(record_of(empty).scores)) == ("incomplete", ["en"])


def test_training_again_that_breaks_down_does_not_take_the_finished_scores_with_it(empty, monkeypatch):
    finished = empty.run(languages=["en", "es"])
    clear("weights")

    def break_down(*args, **kwargs):
        raise TrainingError("the loss became nan at step 1")

    monkeypatch.setattr("xeval.one_run.fine_tune", break_down)
    empty.run()
    assert record_of(empty).scores == finished.scores


def with_scores_of_other_weights(world: World) -> str:
    """Make English and Spanish scores look like those of other weights and take Chinese out; returns the hash of the
    weights that training gives."""
    (folder,) = world.folders()
    record = record_of(world)
    scores = {language: record.scores[language].model_copy(update={"accuracy": 0.125}) for language in ("en", "es")}
    other = record.training.model_copy(update={"weights_sha256": "0" * 64})
    save_record(folder, record.model_copy(update={"training": other, "scores": scores}))
    return record.training.weights_sha256


@pytest.mark.parametrize("interrupted_at", range(2, 12))
def test_an_evaluation_with_other_weights_that_is_interrupted_costs_no_score_and_goes_on(
    finished, monkeypatch, interrupted_at
):
    """At any file after the new record: predictions and records of three languages, and those that take over."""
    own, before = with_scores_of_other_weights(finished), record_of(finished)
    written, write = [], xeval.files.write_atomically

    def interrupt(path, content):
        written.append(path)
        if len(written) == interrupted_at:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("xeval.predictions.write_atomically", interrupt)
        patch.setattr("xeval.store.write_atomically", interrupt)
        finished.run(languages=["zh"])
    assert record_of(finished) == before
    monkeypatch.setattr("xeval.train.logits_of", forbid("training again"))
    again = finished.run(languages=["zh"])
    assert (again.status, sorted(again.scores)) == ("complete", ["en", "es", "zh"])
    assert again.training.weights_sha256 == own
    for language in again.scores:
        predictions_of(finished, language)
    (folder,) = finished.folders()
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "predictions", "record.json"]


def test_damaged_or_missing_predictions_are_made_again(finished, no_training):
    (folder,) = finished.folders()
    record = record_of(finished)
    (folder / "predictions" / "es.parquet").write_bytes(b"PAR1")
    (folder / "predictions" / "zh.parquet").unlink()
    notes = Notes()
    assert finished.run(reporter=notes).scores == record.scores
    assert [line.split(": ")[1] for line in notes.lines if "evaluated again" in line] == [
        "es is evaluated again",
        "zh is evaluated again",
    ]
    for language in record.scores:
        predictions_of(finished, language)


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_training_that_has_ended_keeps_no_checkpoints(empty, monkeypatch, is_broken):
    saved, save = [], xeval.checkpoints.Checkpoints.save
    monkeypatch.setattr("xeval.checkpoints.Checkpoints.is_due", lambda self: True)
    monkeypatch.setattr(
        "xeval.checkpoints.Checkpoints.save", lambda self, snapshot: (saved.append(snapshot.step), save(self, snapshot))
    )
    if is_broken:
        is_finite = iter([True] * 5 + [False])
        monkeypatch.setattr("xeval.train.math.isfinite", lambda loss: next(is_finite))
    record = empty.run(languages=["en"])
    assert (record.status, len(saved)) == (("failed", 5) if is_broken else ("complete", 8))
    assert list((empty.folder / "cache" / "checkpoints").iterdir()) == []


def test_what_a_run_was_interrupted_in_is_said_when_it_goes_on(empty, monkeypatch, finished_once):
    class Interrupting(Notes):
        @contextmanager
        def phase(self, name, total, unit):
            def advance(phase):
                if name == "train" and phase.done == 5:
                    raise KeyboardInterrupt

            yield Phase(name, total, unit, advance)

    monkeypatch.setattr("xeval.checkpoints.Checkpoints.is_due", lambda self: True)
    with pytest.raises(KeyboardInterrupt):
        empty.run(reporter=Interrupting())
    notes = Notes()
    record = empty.run(reporter=notes)
    assert any("training goes on from step 4, where it was interrupted" in line for line in notes.lines)
    assert (record.training, record.scores) == (record_of(finished_once).training, record_of(finished_once).scores)
    assert record.timing["train"].pairs == 48


def test_scores_of_two_different_sets_of_weights_never_stand_in_one_record(finished):
    """As if training again, on other hardware say, gave other weights than those of the record."""
    own = with_scores_of_other_weights(finished)
    notes = Notes()
    again = finished.run(languages=["zh"], reporter=notes)
    assert any("all its languages are evaluated again" in line for line in notes.lines)
    assert again.training.weights_sha256 == own and sorted(again.scores) == ["en", "es", "zh"]
    assert all(score.accuracy == score.n_correct / 12 for score in again.scores.values())


def test_what_was_finished_before_an_interruption_is_not_computed_again(empty, monkeypatch):
    done, save = [], xeval.predictions.write_atomically

    def interrupt_at_the_third(path, content):
        done.append(path)
        if len(done) == 3:
            raise KeyboardInterrupt
        save(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("xeval.predictions.write_atomically", interrupt_at_the_third)
        empty.run()
    left = record_of(empty)
    assert (left.status, sorted(left.scores)) == ("incomplete", ["en", "es"])
    before = empty.files()
    monkeypatch.setattr("xeval.train.logits_of", forbid("training"))
    record = empty.run()
    assert record.status == "complete" and sorted(record.scores) == ["en", "es", "zh"]
    assert all(empty.files()[name] == before[name] for name in before if name.endswith(".parquet"))


def test_two_invocations_at_once_share_one_training(empty, monkeypatch):
    trainings, load = [], xeval.one_run.load_pretrained
    monkeypatch.setattr("xeval.one_run.load_pretrained", lambda *args: (trainings.append(args), load(*args))[1])
    records: list[RunRecord] = []
    threads = [threading.Thread(target=lambda: records.append(empty.run())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trainings) == 1 and records[0] == records[1]


# ── what makes a run another run ──


def changed_rows(world: World, language: str, split: str, place: int = 0) -> Path:
    """A copy of the data in which one hypothesis of this file differs."""
    folder = world.copy_of_data()
    path = folder / language / f"{split}-00000-of-00001.parquet"
    table = pq.read_table(path)
    hypotheses = table["hypothesis"].to_pylist()
    hypotheses[place] = hypotheses[place].swapcase() + " 2"
    index = table.column_names.index("hypothesis")
    pq.write_table(table.set_column(index, table.schema.field(index), [hypotheses]), path)
    return folder


def changed_weights(world: World) -> Path:
    folder = Path(shutil.copytree(world.model, world.folder / "models" / world.model.name))
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    with torch.no_grad():
        next(model.base_model.parameters())[0, 0] += 0.5
    model.base_model.save_pretrained(folder)
    return folder


def changed_tokenizer(world: World) -> Path:
    folder = Path(shutil.copytree(world.model, world.folder / "models" / world.model.name))
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["normalizer"]["lowercase"] = not tokenizer["normalizer"]["lowercase"]
    path.write_text(json.dumps(tokenizer))
    return folder


CHANGES = {
    "seed": lambda world: {"seeds": [4]},
    "learning rate": lambda world: {"overrides": {"learning_rate": 1e-3}},
    "epochs": lambda world: {"overrides": {"epochs": 1}},
    "max_length": lambda world: {"overrides": {"max_length": 40}},
    "selection": lambda world: {"overrides": {"selection": "last"}},
    "max_train": lambda world: {"max_train": 23},
    "max_eval": lambda world: {"max_eval": 11},
    "training rows": lambda world: {"data": changed_rows(world, "en", "train", place=23)},
    "selection rows": lambda world: {"data": changed_rows(world, "en", "validation")},
    "weights": lambda world: {"models": [str(changed_weights(world))]},
    "tokenizer": lambda world: {"models": [str(changed_tokenizer(world))]},
    "arithmetic": lambda world: {"dtype": "bfloat16"},
    "labels": lambda world: {
        "task": str(tiny.write_task(world.folder, ('"neutral", "contradiction"', '"contradiction", "neutral"')))
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_run_that_differs_in_this_has_a_folder_of_its_own(finished, change):
    before, first = finished.files(), record_of(finished)
    second = finished.run(languages=["en"], **change(finished))
    assert second.identity != first.identity
    assert len(finished.folders()) == 2
    assert {name: content for name, content in finished.files().items() if name in before} == before


def test_a_run_of_the_same_content_in_other_folders_is_the_same_run(finished, no_training, no_prediction):
    model = shutil.copytree(finished.model, finished.folder / "elsewhere" / finished.model.name)
    data = shutil.copytree(finished.data, finished.folder / "another name")
    recipe = shutil.copy(finished.folder / "brief.toml", finished.folder / "same.toml")
    task = shutil.copy(finished.task_file, finished.folder / "same-task.toml")
    options = {"models": [str(model)], "data": data, "recipe": str(recipe), "task": str(task)}
    assert finished.run(**options) == record_of(finished)


@pytest.mark.parametrize("write", [tiny.write_official_layout, tiny.write_xtreme_layout])
def test_the_same_rows_in_another_layout_are_the_same_run(finished, no_training, no_prediction, write):
    data = write(finished.folder / "layout", tiny.mini_rows())
    assert finished.run(data=data) == record_of(finished)


def test_a_checkpoint_of_the_same_content_under_another_name_has_the_same_identity(empty, finished_once):
    first = record_of(finished_once)
    model = shutil.copytree(empty.model, empty.folder / "another-name")
    record = empty.run(models=[str(model)], languages=["en"])
    assert (record.model.id, record.identity) == ("another-name", first.identity)
    assert (record.training, record.scores["en"]) == (first.training, first.scores["en"])


def test_a_value_given_that_the_recipe_has_already_makes_no_other_run(finished, no_training, no_prediction):
    finished.run(overrides={"learning_rate": 2e-3, "epochs": 2})
    assert len(finished.folders()) == 1


def test_test_rows_that_changed_since_the_run_are_refused_and_nothing_is_touched(finished, no_training, no_prediction):
    before = finished.files()
    with pytest.raises(DataError, match=r"^test rows of 'es' differ from those that [^\n]+$"):
        finished.run(data=changed_rows(finished, "es", "test"))
    assert finished.files() == before


def test_a_missing_language_is_noticed_before_anything_is_computed(empty, no_training, no_prediction):
    data = empty.copy_of_data()
    shutil.rmtree(data / "zh")
    with pytest.raises(DataError, match="zh"):
        empty.run(data=data)
    assert empty.files() == {}


# ── zero-shot means zero-shot ──


def test_target_language_rows_reach_neither_training_nor_selection(empty, finished_once):
    """Other rows in every file of the target languages leave the fine-tuned weights the same to the bit."""
    clean = record_of(finished_once)
    rows = tiny.mini_rows()
    poison = [("en en en", "es zh en", label) for _, _, label in rows["test", "en"]]
    rows |= {(role, language): poison for role in tiny.ROLES for language in ("es", "zh")}
    poisoned = empty.run(data=tiny.write_hub_layout(empty.folder / "poisoned", rows))
    assert poisoned.data.sha256["test"]["es"] != clean.data.sha256["test"]["es"]
    assert predictions_of(empty, "es")["logits"] != predictions_of(finished_once, "es")["logits"]
    assert poisoned.training == clean.training  # weights_sha256 is in it, and the selection curve
    assert poisoned.scores["en"] == clean.scores["en"]


def test_english_selection_rows_do_reach_selection(empty, finished_once):
    """The counterpart: with other English development labels, selection sees other accuracies."""
    rows = tiny.mini_rows()
    rows["selection", "en"] = [(premise, hypothesis, "neutral") for premise, hypothesis, _ in rows["selection", "en"]]
    rows["selection", "en"][0] = (*rows["selection", "en"][0][:2], "entailment")
    record = empty.run(data=tiny.write_hub_layout(empty.folder / "other", rows), languages=["en"])
    clean = record_of(finished_once)
    assert record.training.loss_curve == clean.training.loss_curve
    assert record.training.selection_curve != clean.training.selection_curve


def test_only_english_is_asked_for_to_train_and_to_select(empty, monkeypatch):
    asked, load = [], xeval.corpus.load_pairs
    monkeypatch.setattr(
        "xeval.corpus.load_pairs",
        lambda source, language, role: (asked.append((role, language)), load(source, language, role))[1],
    )
    empty.run()
    assert sorted(asked) == [
        ("selection", "en"),
        ("test", "en"),
        ("test", "es"),
        ("test", "zh"),
        ("train", "en"),
    ]


def test_files_of_target_languages_for_training_and_selection_are_not_even_opened(empty):
    data = empty.copy_of_data()
    for language in ("es", "zh"):
        for split in ("train", "validation"):
            (data / language / f"{split}-00000-of-00001.parquet").write_bytes(b"not parquet")
    assert empty.run(data=data).status == "complete"


def test_evaluating_more_languages_does_not_change_the_weights(empty, finished_once):
    assert empty.run(languages=["zh"]).training == record_of(finished_once).training


# ── checkpoints that are fine-tuned already ──


def renamed(checkpoint: Path, folder: Path, labels: tuple[str, ...]) -> Path:
    """The checkpoint with a head for as many labels of these names."""
    shutil.copytree(checkpoint, folder)
    names = {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": {}}
    AutoModelForSequenceClassification.from_pretrained(folder, **names).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["id2label"] == {str(i): n for i, n in enumerate(labels)}
    return folder


def with_permuted_labels(checkpoint: Path, folder: Path) -> Path:
    """The same classifier with the rows of its head, and the names of its labels, in another order."""
    order = [2, 0, 1]
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight[order].clone())
        model.classifier.bias.copy_(model.classifier.bias[order].clone())
    names = [LABELS[place].upper() for place in order]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: place for place, name in enumerate(names)}
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


def test_a_fine_tuned_checkpoint_is_evaluated_by_the_names_of_its_labels(empty, checkpoint_of, no_training):
    plain = checkpoint_of("bert", LABELS)
    permuted = with_permuted_labels(plain, empty.folder / "permuted")
    records = empty.run_all(models=[str(plain), str(permuted)], train=False)
    assert records[0].model.sha256 != records[1].model.sha256
    for language in tiny.LANGUAGES:
        tables = [
            load_predictions(folder, language, load_record(folder).scores[language].predictions_sha256)
            for folder in empty.folders()
        ]
        assert len(tables) == 2
        np.testing.assert_allclose(tables[0]["logits"].to_pylist(), tables[1]["logits"].to_pylist(), atol=1e-6)
        assert records[0].scores[language].n_correct == records[1].scores[language].n_correct
        assert tables[0]["prediction"] == tables[1]["prediction"]


def test_a_checkpoint_evaluated_as_it_is_reads_no_training_rows_and_says_that_none_were_used(
    empty, checkpoint_of, no_training
):
    data = empty.copy_of_data()
    (data / "en" / "train-00000-of-00001.parquet").unlink()
    (data / "en" / "validation-00000-of-00001.parquet").unlink()
    record = empty.run(models=[str(checkpoint_of("bert", LABELS))], train=False, data=data)
    assert (record.status, record.training, record.recipe.name) == ("complete", None, "no-train")
    assert (sorted(record.data.sha256), record.data.train_rows) == (["test"], {})
    assert sorted(record.scores) == sorted(tiny.LANGUAGES)


@pytest.mark.parametrize(
    "labels",
    [
        ("LABEL_0", "LABEL_1", "LABEL_2"),
        ("entailment", "neutral", "contradiction", "other"),
        ("entailment", "not_entailment"),
        ("entailment", "neutral", "contradiction", "contradictory"),
    ],
)
def test_a_checkpoint_whose_labels_cannot_be_told_is_refused_in_one_line(empty, labels, no_prediction):
    model = renamed(empty.model, empty.folder / "renamed", labels)
    with pytest.raises(ModelError, match=f"^model [^\n]*its labels are {', '.join(labels)}; [^\n]*$"):
        empty.run(models=[str(model)], train=False)
    assert empty.folders() == []


def test_labels_are_matched_whatever_their_capitals_and_by_their_other_names(empty, checkpoint_of):
    names = tuple(label.title() for label in LABELS)
    capitals = [('"entailment", "neutral", "contradiction"', ", ".join(f'"{name}"' for name in names))]
    capitals.append(('contradictory = "contradiction"', 'Contradictory = "Contradiction"'))
    task = tiny.write_task(empty.folder, *capitals)
    rows = {key: [(*row[:2], row[2].title()) for row in rows] for key, rows in tiny.mini_rows().items()}
    data = tiny.write_hub_layout(empty.folder / "data", rows, label_names=names)
    models = [
        checkpoint_of("bert", LABELS),
        checkpoint_of("bert", ("ENTAILMENT", "Neutral", "contradictory")),
    ]
    plain, other = empty.run_all(task=str(task), models=list(map(str, models)), data=data, train=False)
    assert {language: score.n_correct for language, score in plain.scores.items()} == {
        language: score.n_correct for language, score in other.scores.items()
    }


def test_a_checkpoint_without_a_head_is_refused_where_it_is_to_be_evaluated_as_it_is(empty):
    with pytest.raises(ModelError, match=r"^model [^\n]*no trained classification head[^\n]*$"):
        empty.run(train=False)


def test_a_fine_tuned_checkpoint_can_be_fine_tuned_further(empty, checkpoint_of):
    record = empty.run(models=[str(checkpoint_of("bert", LABELS))], languages=["en"])
    assert record.status == "complete" and record.training.n_steps == 8


# ── when a model breaks down ──


def with_no_numbers(checkpoint: Path, folder: Path, piece: str | None = None) -> Path:
    """The checkpoint with the embeddings of all pieces, or of only this one, being no numbers."""
    shutil.copytree(checkpoint, folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pieces = slice(None) if piece is None else tokenizer.convert_tokens_to_ids(piece)
    assert pieces != tokenizer.unk_token_id
    with torch.no_grad():
        model.get_input_embeddings().weight[pieces] = float("nan")
    model.save_pretrained(folder)
    return folder


def test_a_training_that_breaks_down_is_recorded_and_the_other_model_is_completed(empty):
    broken = with_no_numbers(empty.model, empty.folder / "broken")
    notes = Notes()
    failed, fine = empty.run_all(models=[str(broken), str(empty.model)], reporter=notes)
    assert (failed.status, failed.training, failed.scores) == ("failed", None, {})
    assert "the loss became nan at step 1" in failed.failure
    assert any("failed: the loss became nan at step 1" in line for line in notes.lines)
    assert (fine.status, sorted(fine.scores)) == ("complete", ["en", "es", "zh"])
    assert sorted(load_record(folder).status for folder in empty.folders()) == ["complete", "failed"]


def test_a_run_that_failed_is_tried_again(empty, monkeypatch):
    broken = with_no_numbers(empty.model, empty.folder / "broken")
    empty.run(models=[str(broken)])
    tried, logits_of = [], xeval.train.logits_of
    monkeypatch.setattr("xeval.train.logits_of", lambda *args: (tried.append(args), logits_of(*args))[1])
    assert empty.run(models=[str(broken)]).status == "failed"
    assert tried


def test_a_checkpoint_that_gives_no_numbers_is_recorded_as_failed_without_predictions(empty, checkpoint_of):
    broken = with_no_numbers(checkpoint_of("bert", LABELS), empty.folder / "broken")
    record = empty.run(models=[str(broken)], train=False)
    assert (record.status, record.scores) == ("failed", {})
    assert "12 rows have no finite logits" in record.failure and "\n" not in record.failure
    assert list(empty.results.rglob("*.parquet")) == []


def test_numbers_that_fail_only_in_selection_are_recorded_as_failed_too(empty):
    """A piece is broken that only the numbers in development rows have: those in training rows are of one digit."""
    broken = with_no_numbers(empty.model, empty.folder / "broken", piece="##0")
    record = empty.run(models=[str(broken)])
    assert (record.status, record.training) == ("failed", None)
    assert "no finite logits" in record.failure


def test_a_model_that_gives_no_numbers_in_one_language_does_not_stop_the_other_models(empty):
    """Embeddings that no English row uses are broken, as by a flipped bit in the file."""
    broken = with_no_numbers(empty.model, empty.folder / "broken", piece="猫")
    failed, fine = empty.run_all(models=[str(broken), str(empty.model)])
    assert failed.status == "failed" and "zh" in failed.failure
    assert sorted(failed.scores) == ["en", "es"]
    assert fine.status == "complete"
