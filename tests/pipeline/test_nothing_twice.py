"""Finished work is never repeated, however a run was interrupted."""

import math
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from world import Notes, World, forbid, predictions_of, record_of, sha256, weights_file

import xeval.data.corpus
import xeval.engine.snapshots
import xeval.engine.training
import xeval.support.files
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun, save_record
from xeval.support.cache import clear
from xeval.support.errors import StoreError, TrainingError
from xeval.support.progress import Phase


def test_second_invocation_changes_nothing(finished, no_training, no_prediction):
    before, record = finished.files(), record_of(finished)
    assert finished.run() == record
    assert finished.run(languages=["zh"]) == record
    assert finished.files() == before


def test_finished_run_does_not_need_the_cache(finished, no_training, no_prediction):
    clear("weights"), clear("encoded")
    assert finished.run() == record_of(finished)


def test_only_the_added_language_is_evaluated(empty, finished_once, monkeypatch):
    first = empty.run(languages=["en", "es"])
    before = empty.files()
    monkeypatch.setattr("xeval.engine.steps.logits_of", forbid("training"))
    second = empty.run()
    after = empty.files()
    assert {name for name in after if name not in before} == {f"{folder_name(empty)}/predictions/zh.parquet"}
    assert {name for name in before if before[name] != after[name]} == {f"{folder_name(empty)}/record.json"}
    assert second.status == "complete"
    assert second.training == first.training
    assert {language: second.scores[language] for language in ("en", "es")} == first.scores
    assert second.scores == record_of(finished_once).scores  # as if all had been requested together


def folder_name(world: World) -> str:
    (folder,) = world.folders()
    return str(folder.relative_to(world.results))


def test_encoded_rows_are_kept_and_used_again(empty, monkeypatch, checkpoint_of):
    empty.run(seeds=[1])
    kept = sorted((empty.folder / "cache" / "encoded").iterdir())
    assert len(kept) == 5  # English training and selection rows, test rows in three languages
    monkeypatch.setattr("xeval.runs.execute.encode", forbid("encoding"))
    empty.run(seeds=[2])
    assert sorted((empty.folder / "cache" / "encoded").iterdir()) == kept


def test_run_survives_if_encoded_rows_cannot_be_kept(empty):
    (empty.folder / "cache").mkdir(exist_ok=True)
    (empty.folder / "cache" / "encoded").write_text("a file where the folder should be")
    notes = Notes()
    assert empty.run(reporter=notes).status == "complete"
    said = [line for line in notes.lines if "encoded rows could not be kept for the next run" in line]
    assert len(said) == 2 and all("\n" not in line for line in said)  # one for training, one for the evaluation


def test_lost_weights_are_trained_again(empty, finished_once):
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


class InterruptedAtStep(Notes):
    """Interrupts the training when this step is done."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    @contextmanager
    def phase(self, name, total, unit):
        def advance(phase):
            if name == "train" and phase.done == self.step:
                raise KeyboardInterrupt

        yield Phase(name, total, unit, advance)


def test_interrupted_retraining_changes_no_result(empty, finished_once):
    empty.run(languages=["en", "es"])
    clear("weights")
    before = empty.files()
    with pytest.raises(KeyboardInterrupt):
        empty.run(reporter=InterruptedAtStep(5))
    assert empty.files() == before
    assert empty.run().scores == record_of(finished_once).scores


def test_interruption_after_retraining_keeps_old_scores(empty, monkeypatch):
    finished = empty.run(languages=["en", "es"])
    clear("weights")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("xeval.results.predictions.write_atomically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        empty.run()
    assert record_of(empty).scores == finished.scores


def test_unfinished_language_leaves_the_run_incomplete(empty, monkeypatch):
    empty.run(languages=["en"])

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("xeval.results.predictions.write_atomically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        empty.run()
    assert (record_of(empty).status, sorted(record_of(empty).scores)) == ("incomplete", ["en"])


def test_failed_retraining_keeps_old_scores(empty, monkeypatch):
    finished = empty.run(languages=["en", "es"])
    clear("weights")

    def break_down(*args, **kwargs):
        raise TrainingError("the loss became nan at step 1")

    monkeypatch.setattr("xeval.runs.execute.fine_tune", break_down)
    empty.run()
    assert record_of(empty).scores == finished.scores


def with_scores_of_other_weights(world: World) -> str:
    """Make the English and Spanish scores look as if they came from other weights, and drop Chinese.

    Return the hash of the weights that training gives.
    """
    (folder,) = world.folders()
    record = record_of(world)
    scores = {language: record.scores[language].model_copy(update={"value": 0.125}) for language in ("en", "es")}
    other = record.training.model_copy(update={"weights_sha256": "0" * 64})
    save_record(folder, record.model_copy(update={"training": other, "scores": scores}))
    return record.training.weights_sha256


@pytest.mark.parametrize("interrupted_at", range(2, 12))
def test_interrupted_reevaluation_loses_no_score(finished, monkeypatch, interrupted_at):
    """At each file written after the new record: predictions and records of three languages, then their replacement."""
    own, before = with_scores_of_other_weights(finished), record_of(finished)
    written, write = [], xeval.support.files.write_atomically

    def interrupt(path, content):
        written.append(path)
        if len(written) == interrupted_at:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("xeval.results.predictions.write_atomically", interrupt)
        patch.setattr("xeval.results.store.write_atomically", interrupt)
        finished.run(languages=["zh"])
    assert record_of(finished) == before
    monkeypatch.setattr("xeval.engine.steps.logits_of", forbid("training again"))
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
def test_finished_or_failed_training_leaves_no_checkpoints(empty, monkeypatch, is_broken):
    saved, save = [], xeval.engine.snapshots.Snapshots.save
    monkeypatch.setattr("xeval.engine.snapshots.Snapshots.is_due", lambda self: True)
    monkeypatch.setattr(
        "xeval.engine.snapshots.Snapshots.save",
        lambda self, snapshot: (saved.append(snapshot.step), save(self, snapshot)),
    )
    if is_broken:
        is_finite = iter([True] * 5 + [False])
        as_if = SimpleNamespace(ceil=math.ceil, isfinite=lambda loss: next(is_finite))  # others use isfinite too
        monkeypatch.setattr("xeval.engine.training.math", as_if)
    record = empty.run(languages=["en"])
    assert (record.status, len(saved)) == (("failed", 5) if is_broken else ("complete", 8))
    assert list((empty.folder / "cache" / "checkpoints").iterdir()) == []


def test_resumed_training_reports_where_it_stopped(empty, monkeypatch, finished_once):
    monkeypatch.setattr("xeval.engine.snapshots.Snapshots.is_due", lambda self: True)
    with pytest.raises(KeyboardInterrupt):
        empty.run(reporter=InterruptedAtStep(5))
    notes = Notes()
    record = empty.run(reporter=notes)
    assert any("training resumes at step 4, where it was interrupted" in line for line in notes.lines)
    assert (record.training, record.scores) == (record_of(finished_once).training, record_of(finished_once).scores)
    assert record.timing["train"].rows == 48


def test_scores_of_different_weights_are_never_mixed(finished):
    """As when training again, on other hardware say, gives weights other than the recorded ones."""
    own = with_scores_of_other_weights(finished)
    notes = Notes()
    again = finished.run(languages=["zh"], reporter=notes)
    assert any("all its languages are evaluated again" in line for line in notes.lines)
    assert again.training.weights_sha256 == own and sorted(again.scores) == ["en", "es", "zh"]
    assert all(score.value == score.totals["correct"] / 12 for score in again.scores.values())


def test_finished_languages_survive_an_interruption(empty, monkeypatch):
    done, save = [], xeval.results.predictions.write_atomically

    def interrupt_at_the_third(path, content):
        done.append(path)
        if len(done) == 3:
            raise KeyboardInterrupt
        save(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("xeval.results.predictions.write_atomically", interrupt_at_the_third)
        empty.run()
    left = record_of(empty)
    assert (left.status, sorted(left.scores)) == ("incomplete", ["en", "es"])
    before = empty.files()
    monkeypatch.setattr("xeval.engine.steps.logits_of", forbid("training"))
    record = empty.run()
    assert record.status == "complete" and sorted(record.scores) == ["en", "es", "zh"]
    assert all(empty.files()[name] == before[name] for name in before if name.endswith(".parquet"))


def test_parallel_invocations_share_one_training(empty, monkeypatch):
    trainings, load = [], xeval.runs.execute.load_pretrained
    monkeypatch.setattr("xeval.runs.execute.load_pretrained", lambda *args: (trainings.append(args), load(*args))[1])
    records: list[RunRecord] = []
    threads = [threading.Thread(target=lambda: records.append(empty.run())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trainings) == 1 and records[0] == records[1]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PAR1")])
def test_advice_on_damaged_predictions_keeps_the_run(finished, no_training, damage):
    (folder,) = finished.folders()
    damage(folder / "predictions" / "es.parquet")
    with pytest.raises(StoreError, match=r"es\.parquet: .*; the command that made it writes it again$"):
        StoredRun(folder, record_of(finished)).check_predictions("es")
    finished.run()
    StoredRun(folder, record_of(finished)).check_predictions("es")
