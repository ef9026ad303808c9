"""A model that gives NaN is recorded as failed, and the others are completed."""

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from world import LABELS, Notes

import xeval.data.corpus
import xeval.engine.snapshots
import xeval.engine.training
import xeval.support.files
from xeval.results.store import load_record


def with_no_numbers(checkpoint: Path, folder: Path, piece: str | None = None) -> Path:
    """Copy the checkpoint to `folder`, with NaN for the embeddings of all pieces or only of `piece`."""
    shutil.copytree(checkpoint, folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pieces = slice(None) if piece is None else tokenizer.convert_tokens_to_ids(piece)
    assert pieces != tokenizer.unk_token_id
    with torch.no_grad():
        model.get_input_embeddings().weight[pieces] = float("nan")
    model.save_pretrained(folder)
    return folder


def test_failed_training_does_not_stop_the_next_model(empty):
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
    tried, logits_of = [], xeval.engine.steps.logits_of
    monkeypatch.setattr("xeval.engine.steps.logits_of", lambda *args: (tried.append(args), logits_of(*args))[1])
    assert empty.run(models=[str(broken)]).status == "failed"
    assert tried


def test_nan_checkpoint_fails_without_predictions(empty, checkpoint_of):
    broken = with_no_numbers(checkpoint_of("bert", LABELS), empty.folder / "broken")
    record = empty.run(models=[str(broken)], train=False)
    assert (record.status, record.scores) == ("failed", {})
    assert "12 rows have no finite logits" in record.failure and "\n" not in record.failure
    assert list(empty.results.rglob("*.parquet")) == []


def test_nan_during_selection_fails_the_run(empty):
    """The broken piece occurs only in the numbers of development rows: those in training rows have one digit."""
    broken = with_no_numbers(empty.model, empty.folder / "broken", piece="##0")
    record = empty.run(models=[str(broken)])
    assert (record.status, record.training) == ("failed", None)
    assert "no finite logits" in record.failure


def test_nan_in_one_language_leaves_the_rest_intact(empty):
    """The broken embedding is of a piece that no English row has, as after a flipped bit in the file."""
    broken = with_no_numbers(empty.model, empty.folder / "broken", piece="猫")
    failed, fine = empty.run_all(models=[str(broken), str(empty.model)])
    assert failed.status == "incomplete" and list(failed.failures) == ["evaluate/zh"] and "zh" in failed.failure
    assert sorted(failed.scores) == ["en", "es"]
    assert fine.status == "complete"
