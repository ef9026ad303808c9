"""Rows that only one side of a comparison has right, for every kind of task whose rows are right or wrong."""

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.sample_record import INVOCATION, SHA, TOKENIZATION, files_of, run_record
from xeval.judging.comparison.compare import compare
from xeval.judging.comparison.flips import flipped_rows
from xeval.judging.comparison.paired_runs import pair
from xeval.kinds.kind import Kind
from xeval.kinds.registry import get_kind
from xeval.report.comparison import runs as shown
from xeval.results import records
from xeval.results.predictions import save_predictions
from xeval.results.store import StoredRun, save_record
from xeval.support.errors import DataError

TAGS = ["O", "B-PER", "I-PER"]


def write(folder, kind: str, metric: str, columns: dict, tally: list[list[float]], **changes) -> StoredRun:
    """A run in German whose predictions are `columns`, with their `tally`."""
    counts = np.array(tally, dtype=np.float64)
    sha256 = save_predictions(folder, "de", pa.table(columns), counts, np.arange(len(counts)))
    measure = get_kind(kind).measure(metric)
    score = records.Score(
        value=measure.over(counts),
        ci95=(0.0, 1.0),
        n_rows=len(counts),
        n_groups=len(counts),
        totals=dict(zip(measure.counted, counts.sum(axis=0).tolist(), strict=True)),
        tokenization=TOKENIZATION,
        predictions_sha256=sha256,
        invocation=INVOCATION,
    )
    model = records.ModelRecord(
        id=folder.name, origin="hub", revision=None, sha256=files_of(folder.name), n_parameters=1, architecture="bert"
    )
    data = records.DataRecord(source="x", revision=None, sha256={"test": {"de": SHA}}, train_rows={})
    options = {"kind": kind, "metric": metric, "scores": {"de": score}, "model": model, "data": data}
    record = run_record(**(options | {"limits": records.Limits(), "labels": None, "chance": None} | changes))
    save_record(folder, record)
    return StoredRun(folder, record)


def flips_of(tmp_path, kind: str, metric: str, a: tuple, b: tuple, **changes) -> list[tuple]:
    runs = [[write(tmp_path / name, kind, metric, *side, **changes)] for name, side in (("model-a", a), ("model-b", b))]
    found = flipped_rows(pair(*runs), "de", None)
    return [(f.row, f.label, f.prediction_a, f.prediction_b, f.right_a, f.right_b) for f in found.rows]


def test_a_sentence_is_right_if_all_its_tags_are(tmp_path):
    def tagged(*said):
        gold = [[1, 2, 0], [0, 0], [1]]
        correct = [sum(one == other for one, other in zip(*rows, strict=True)) for rows in zip(said, gold, strict=True)]
        tally = [[0, 0, 0, 0, 0, 0, n, len(row)] for n, row in zip(correct, gold, strict=True)]
        lists = {"label": gold, "prediction": list(said)}
        return {name: pa.array(rows, pa.list_(pa.int16())) for name, rows in lists.items()}, tally

    a, b = tagged([1, 2, 0], [0, 1], [0]), tagged([1, 0, 0], [0, 0], [2])
    assert flips_of(tmp_path, "tagging", "span_f1", a, b, labels=TAGS) == [
        (0, "B-PER I-PER O", "B-PER I-PER O", "B-PER O O", 1, 0),
        (1, "O O", "O B-PER", "O O", 0, 1),
    ]


@pytest.mark.parametrize(("metric", "rows"), [("f1", [0]), ("exact_match", [0]), ("mlqa_f1", [1]), ("f1_in_words", [])])
def test_answer_is_right_if_exact_under_its_metric(tmp_path, metric, rows):
    gold = pa.array([["cat"], ["dog", "hound", "dog"]])
    a = {"prediction": ["cat", "a dog"], "in_words": ["", ""], "gold": gold}
    b = {"prediction": ["cats", "hound"], "in_words": ["", ""], "gold": gold}
    tally_a, tally_b = ([1, 1, 0, 0, 0, 0, 1], [0, 0.5, 0, 0, 0, 0, 1]), ([0, 0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 0, 0, 1])
    found = flips_of(tmp_path, "answers", metric, (a, tally_a), (b, tally_b))
    known = {0: (0, "cat", "cat", "cats", 1, 0), 1: (1, "dog / hound", "a dog", "hound", 0, 1)}
    assert found == [known[row] for row in rows]


def test_gold_translation_comes_from_the_right_answer(tmp_path):
    def retrieved(prediction, correct):
        return {"prediction": pa.array(prediction, pa.int32())}, [[own, 1] for own in correct]

    a, b = retrieved([4, 5, 6], [1, 0, 0]), retrieved([7, 2, 6], [0, 1, 0])
    assert flips_of(tmp_path, "sentence-retrieval", "accuracy", a, b) == [
        (0, "4", "4", "7", 1, 0),
        (1, "2", "5", "2", 0, 1),
    ]


def test_mined_sentence_with_no_error_is_right(tmp_path):
    def mined(prediction, tally):
        return {"prediction": prediction}, tally

    a = mined(["en-1", "", "en-9"], [[1, 0, 0], [0, 0, 0], [0, 1, 0]])
    b = mined(["", "en-3", "en-9"], [[0, 0, 1], [0, 1, 0], [0, 1, 0]])
    assert flips_of(tmp_path, "bitext-mining", "f1", a, b) == [
        (0, "en-1", "en-1", "–", 1, 0),
        (1, "–", "–", "en-3", 1, 0),
    ]


def test_choices_are_shown_by_number(tmp_path):
    def chosen(prediction):
        logits = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6, np.float32)), 2)
        numbers = {"label": [0, 1, 1], "prediction": prediction}
        columns = {name: pa.array(values, pa.int32()) for name, values in numbers.items()}
        right = [one == other for one, other in zip(prediction, numbers["label"], strict=True)]
        return columns | {"logits": logits}, [[own, 1] for own in right]

    assert flips_of(tmp_path, "multiple-choice", "accuracy", chosen([0, 0, 1]), chosen([1, 0, 1])) == [
        (0, 0, 0, 1, 1, 0)
    ]


def test_kind_without_right_or_wrong_rows_is_refused(tmp_path, monkeypatch):
    class Other(get_kind("bitext-mining")):
        right = classmethod(Kind.right.__func__)  # the default

    monkeypatch.setattr("xeval.judging.comparison.flips.get_kind", lambda name: Other)
    side = {"prediction": ["", ""]}, [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(DataError, match="its sentences are neither right nor wrong; leave out --flips") as refused:
        flips_of(tmp_path, "bitext-mining", "f1", side, side)
    assert "\n" not in str(refused.value)


def test_without_training_no_seed_is_named(tmp_path):
    def retrieved(name, prediction, correct):
        recipe = records.RecipeRecord(name="v", values={"pooling": "mean", "layer": 2}, overrides={})
        columns = {"prediction": pa.array(prediction, pa.int32())}
        tally = [[own, 1] for own in correct]
        kind = "sentence-retrieval"
        return write(tmp_path / name, kind, "accuracy", columns, tally, recipe=recipe, training=None, timing={})

    comparison = compare(pair([retrieved("a", [0, 1], [1, 1])], [retrieved("b", [0, 0], [1, 0])]), n_resamples=50)
    text = shown.markdown(comparison, None)
    assert "- A: a, without training" in text and "seed 3" not in text and "training run on each side" not in text
    assert "for these models." in text and "trains_nothing" not in shown.as_json(comparison, None)


def test_row_that_half_of_the_seeds_have_right_is_no_flip(tmp_path):
    def retrieved(folder, *right_by_seed):
        return [
            write(folder / str(seed) / folder.name, "sentence-retrieval", "accuracy",
                  {"prediction": pa.array([0] * len(right), pa.int32())}, [[own, 1] for own in right], seed=seed)
            for seed, right in enumerate(right_by_seed, 1)
        ]  # fmt: skip

    a, b = retrieved(tmp_path / "a", [1, 1, 0], [0, 1, 0]), retrieved(tmp_path / "b", [0, 0, 1], [0, 0, 0])
    found = flipped_rows(pair(a, b), "de", None)
    assert [(flip.row, flip.right_a, flip.right_b) for flip in found.rows] == [(1, 2, 0)]
    said = "Rows in de that one side gets right in more than half of its seeds, and the other in fewer than half: 1"
    assert f"{said} (1 A, 0 B)" in shown.markdown(compare(pair(a, b), n_resamples=50), found)
