"""What is finished is never computed again, whatever interrupted it."""

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
from xeval.results.store import save_record
from xeval.support.cache import clear
from xeval.support.errors import TrainingError
from xeval.support.progress import Phase


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
    monkeypatch.setattr("xeval.engine.steps.logits_of", forbid("training"))
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
    monkeypatch.setattr("xeval.runs.execute.encode", forbid("encoding"))
    empty.run(seeds=[2])
    assert sorted((empty.folder / "cache" / "encoded").iterdir()) == kept


def test_encoded_rows_that_cannot_be_kept_cost_the_run_nothing_and_are_said_once(empty):
    (empty.folder / "cache").mkdir(exist_ok=True)
    (empty.folder / "cache" / "encoded").write_text("a file where the folder should be")
    notes = Notes()
    assert empty.run(reporter=notes).status == "complete"
    said = [line for line in notes.lines if "encoded rows could not be kept for the next run" in line]
    assert len(said) == 2 and all("\n" not in line for line in said)  # of training, and of the evaluation


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

    monkeypatch.setattr("xeval.results.predictions.write_atomically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        empty.run()
    assert record_of(empty).scores == finished.scores


def test_a_language_that_was_asked_for_but_not_finished_leaves_the_run_incomplete(empty, monkeypatch):
    empty.run(languages=["en"])

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("xeval.results.predictions.write_atomically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        empty.run()
    assert (record_of(empty).status, sorted(record_of(empty).scores)) == ("incomplete", ["en"])


def test_training_again_that_breaks_down_does_not_take_the_finished_scores_with_it(empty, monkeypatch):
    finished = empty.run(languages=["en", "es"])
    clear("weights")

    def break_down(*args, **kwargs):
        raise TrainingError("the loss became nan at step 1")

    monkeypatch.setattr("xeval.runs.execute.fine_tune", break_down)
    empty.run()
    assert record_of(empty).scores == finished.scores


def with_scores_of_other_weights(world: World) -> str:
    """Make English and Spanish scores look like those of other weights and take Chinese out; returns the hash of the
    weights that training gives."""
    (folder,) = world.folders()
    record = record_of(world)
    scores = {language: record.scores[language].model_copy(update={"value": 0.125}) for language in ("en", "es")}
    other = record.training.model_copy(update={"weights_sha256": "0" * 64})
    save_record(folder, record.model_copy(update={"training": other, "scores": scores}))
    return record.training.weights_sha256


@pytest.mark.parametrize("interrupted_at", range(2, 12))
def test_an_evaluation_with_other_weights_that_is_interrupted_costs_no_score_and_goes_on(
    finished, monkeypatch, interrupted_at
):
    """At any file after the new record: predictions and records of three languages, and those that take over."""
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
def test_a_training_that_has_ended_keeps_no_checkpoints(empty, monkeypatch, is_broken):
    saved, save = [], xeval.engine.snapshots.Checkpoints.save
    monkeypatch.setattr("xeval.engine.snapshots.Checkpoints.is_due", lambda self: True)
    monkeypatch.setattr(
        "xeval.engine.snapshots.Checkpoints.save",
        lambda self, snapshot: (saved.append(snapshot.step), save(self, snapshot)),
    )
    if is_broken:
        is_finite = iter([True] * 5 + [False])
        as_if = SimpleNamespace(ceil=math.ceil, isfinite=lambda loss: next(is_finite))  # others use isfinite too
        monkeypatch.setattr("xeval.engine.training.math", as_if)
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

    monkeypatch.setattr("xeval.engine.snapshots.Checkpoints.is_due", lambda self: True)
    with pytest.raises(KeyboardInterrupt):
        empty.run(reporter=Interrupting())
    notes = Notes()
    record = empty.run(reporter=notes)
    assert any("training resumes at step 4, where it was interrupted" in line for line in notes.lines)
    assert (record.training, record.scores) == (record_of(finished_once).training, record_of(finished_once).scores)
    assert record.timing["train"].rows == 48


def test_scores_of_two_different_sets_of_weights_never_stand_in_one_record(finished):
    """As if training again, on other hardware say, gave other weights than those of the record."""
    own = with_scores_of_other_weights(finished)
    notes = Notes()
    again = finished.run(languages=["zh"], reporter=notes)
    assert any("all its languages are evaluated again" in line for line in notes.lines)
    assert again.training.weights_sha256 == own and sorted(again.scores) == ["en", "es", "zh"]
    assert all(score.value == score.totals["correct"] / 12 for score in again.scores.values())


def test_what_was_finished_before_an_interruption_is_not_computed_again(empty, monkeypatch):
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


def test_two_invocations_at_once_share_one_training(empty, monkeypatch):
    trainings, load = [], xeval.runs.execute.load_pretrained
    monkeypatch.setattr("xeval.runs.execute.load_pretrained", lambda *args: (trainings.append(args), load(*args))[1])
    records: list[RunRecord] = []
    threads = [threading.Thread(target=lambda: records.append(empty.run())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trainings) == 1 and records[0] == records[1]
