"""No row of a target language reaches training or selection."""

from world import (
    predictions_of,
    record_of,
)

import xeval.data.corpus
import xeval.engine.snapshots
import xeval.engine.training
import xeval.support.files
from tests.helpers import tiny


def test_target_rows_reach_neither_training_nor_selection(empty, finished_once):
    """Other rows in every file of the target languages leave the fine-tuned weights identical to the bit."""
    clean = record_of(finished_once)
    rows = tiny.mini_rows()
    poison = [("en en en", "es zh en", label) for _, _, label in rows["test", "en"]]
    rows |= {(role, language): poison for role in tiny.ROLES for language in ("es", "zh")}
    poisoned = empty.run(data=tiny.write_hub_layout(empty.folder / "poisoned", rows))
    assert poisoned.data.sha256["test"]["es"] != clean.data.sha256["test"]["es"]
    assert predictions_of(empty, "es")["logits"] != predictions_of(finished_once, "es")["logits"]
    assert poisoned.training == clean.training  # it includes weights_sha256 and the selection curve
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


def test_training_and_selection_read_only_english(empty, monkeypatch):
    asked, load = [], xeval.data.corpus.load_rows
    monkeypatch.setattr(
        "xeval.data.corpus.load_rows",
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


def test_target_train_and_dev_files_are_never_opened(empty):
    data = empty.copy_of_data()
    for language in ("es", "zh"):
        for split in ("train", "validation"):
            (data / language / f"{split}-00000-of-00001.parquet").write_bytes(b"not parquet")
    assert empty.run(data=data).status == "complete"


def test_evaluated_languages_do_not_change_the_weights(empty, finished_once):
    assert empty.run(languages=["zh"]).training == record_of(finished_once).training
