"""Predictions computed elsewhere: matched with their rows or refused in one line, then a run like any other."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import SHARED
from tests.helpers import tiny
from tests.helpers.checkpoints import LABELS
from tests.helpers.results import write_as_other_pyarrow
from xeval.checks.after.diagnose import diagnose_run
from xeval.data.tables import table_of
from xeval.definitions.reference import Reference
from xeval.definitions.registry import find_task
from xeval.judging.verdict import judge
from xeval.kinds.given import Given
from xeval.kinds.rows import Rows
from xeval.report.matrix import build
from xeval.results.store import load_record, load_run, load_runs
from xeval.runs.score_given import score_given
from xeval.support.errors import DataError, DefinitionError, StoreError, XevalError

ROWS_OF_ES = tiny.mini_rows()["test", "es"]
GOLD = [label for _, _, label in ROWS_OF_ES]
SAID = [GOLD[1], *GOLD[1:]]  # one of twelve is wrong


@pytest.fixture
def world(tmp_path):
    tiny.write_task(tmp_path / "tasks")
    tiny.write_hub_layout(tmp_path / "data", tiny.mini_rows())
    return tmp_path


def scored(world: Path, path: Path, **options):
    options = {"model": "somebody", "data": world / "data", "results": world / "results"} | options
    return score_given(str(world / "tasks" / "mini-pairs.toml"), path, **options)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def table(header: str, *columns) -> str:
    return "\n".join([header, *("\t".join(map(str, line)) for line in zip(*columns, strict=True))]) + "\n"


ROWS = range(len(SAID))
BACKWARDS = list(reversed(ROWS))
FORMS = {
    "a label a line": ("test-es.tsv", "\n".join(SAID) + "\n"),
    "a number a line": ("test-es.tsv", "\n".join(str(LABELS.index(label)) for label in SAID)),
    "CRLF": ("es.txt", "\r\n".join(SAID) + "\r\n"),
    "a byte order mark": ("test-es.txt", "\ufeff" + "\n".join(SAID)),
    "another name of a label": ("es.txt", "\n".join(SAID).replace("contradiction", "contradictory")),
    "a script of transformers": ("es/predictions.txt", table("index\tprediction", ROWS, SAID)),
    "numbered backwards": ("es.tsv", table("row\tprediction", BACKWARDS, [SAID[row] for row in BACKWARDS])),
    "beside gold labels": ("predictions_es.tsv", table("label\tprediction", GOLD, SAID)),
    "CSV": ("es.csv", table("row\tprediction", ROWS, SAID).replace("\t", ",")),
    "JSON Lines": ("es.jsonl", "".join(json.dumps({"prediction": label}) + "\n" for label in SAID)),
}


@pytest.mark.parametrize("form", FORMS)
def test_predictions_are_read_in_every_form(world, form):
    name, text = FORMS[form]
    root = write(world / "given" / name, text)
    run = scored(world, world / "given")
    score = run.record.scores["es"]
    assert (score.value, score.n_rows, score.n_groups) == (11 / 12, 12, 4)
    assert run.record.computed_elsewhere and run.record.departure is None
    assert run.predictions("es")["prediction"].to_pylist() == [LABELS.index(label) for label in SAID]
    assert scored(world, root, languages=["es"], results=world / "file").record.scores == run.record.scores | {
        "es": score.model_copy(update={"invocation": run.record.scores["es"].invocation})
    }


def test_bare_logits_follow_the_label_order(world):
    logits = np.eye(3, dtype=np.float32)[[LABELS.index(label) for label in SAID]]
    for name, column in {
        "lists": logits.tolist(),
        "of one size": pa.FixedSizeListArray.from_arrays(logits.ravel(), 3),
    }.items():
        path = world / name / "es.parquet"
        path.parent.mkdir()
        pq.write_table(pa.table({"logits": column}), path)
        assert scored(world, path, results=world / f"{name} results").record.scores["es"].value == 11 / 12


def test_rescoring_a_run_gives_the_same_predictions(world):
    first = scored(world, write(world / "es.txt", "\n".join(SAID)))
    again = scored(world, first.folder / "predictions", results=world / "again")
    assert again.predictions("es").equals(first.predictions("es"))
    ours, theirs = (run.record.scores["es"].model_copy(update={"invocation": "x"}) for run in (again, first))
    assert ours == theirs and ours.value == 11 / 12


def test_one_file_may_have_all_languages(world):
    languages = [language for language in tiny.LANGUAGES for _ in ROWS]
    write(world / "all.tsv", table("language\tprediction", languages, [*GOLD, *SAID, *GOLD]))
    assert {lang: s.value for lang, s in scored(world, world / "all.tsv").record.scores.items()} == {
        "en": 1.0, "es": 11 / 12, "zh": 1.0,
    }  # fmt: skip


def test_later_languages_join_the_same_run(world):
    scored(world, write(world / "es.txt", "\n".join(SAID)))
    run = scored(world, write(world / "zh.txt", "\n".join(GOLD)))
    assert list(run.record.scores) == ["es", "zh"]
    assert load_run(run.folder) == run
    assert len(scored(world, world / "es.txt").record.scores) == 2  # scoring the same file again changes nothing
    with pytest.raises(StoreError, match="other predictions for 'es' were scored as somebody predictions seed 0"):
        scored(world, write(world / "es.txt", "\n".join(GOLD)))


def test_later_languages_join_a_run_from_before_an_update_of_pyarrow(world):
    first = scored(world, write(world / "es.txt", "\n".join(SAID)))
    before = first.predictions("es")
    write_as_other_pyarrow(first.folder)
    write(world / "given" / "es.txt", "\n".join(SAID))
    write(world / "given" / "zh.txt", "\n".join(GOLD))
    run = scored(world, world / "given")
    assert run.folder == first.folder and run.predictions("es").equals(before)
    assert {language: score.value for language, score in run.record.scores.items()} == {"es": 11 / 12, "zh": 1.0}
    assert load_record(run.folder) == run.record
    with pytest.raises(StoreError, match="other predictions for 'es' were scored"):
        scored(world, write(world / "es.txt", "\n".join(GOLD)))


def test_seeds_of_a_model_form_one_configuration(world):
    from xeval.results.configurations import by_configuration

    for seed in (1, 2, 3):
        scored(world, write(world / "es.txt", "\n".join([*GOLD[:seed], *GOLD[:1] * (12 - seed)])), seed=seed)
    runs = load_runs(world / "results")
    [group] = by_configuration(runs).values()
    assert [run.record.seed for run in group] == [1, 2, 3]
    [row] = build(runs, "mini-pairs", None).ours
    assert row.seeds == "3"
    assert row.cells["es"] == pytest.approx(100 * np.mean([run.record.scores["es"].value for run in runs]))


def test_gate_takes_seeds_and_recognises_their_predictions(world):
    from xeval.judging.gate.bless import bless
    from xeval.judging.gate.check import check

    write(world / "es.txt", "\n".join(SAID))
    one = scored(world, world / "es.txt", seed=1)
    with pytest.raises(StoreError, match="wanted at least 2 seeds"):
        bless([one])
    other = scored(world, write(world / "es.txt", "\n".join([*GOLD[:-1], GOLD[0]])), seed=2)
    baseline = bless([one, other])
    [blessed] = baseline.configurations
    assert blessed.trained and len(set(blessed.weights_sha256)) == 2
    again = [
        scored(world, run.folder / "predictions", seed=run.record.seed, results=world / "again") for run in (one, other)
    ]
    changed = [again[0], scored(world, write(world / "es.txt", "\n".join(GOLD)), seed=2, results=world / "changed")]
    notes = [{finding.what for finding in check(baseline, runs).findings} for runs in (again, changed)]
    assert ["weights" in what for what in notes] == [True, False]


def test_known_model_name_is_resolved_to_its_hub_id(world):
    run = scored(world, write(world / "es.txt", "\n".join(SAID)), model="mbert")
    assert (run.record.model.id, run.record.model.origin) == ("google-bert/bert-base-multilingual-cased", "hub")
    own = scored(world, world / "es.txt", model="our own")
    assert own.record.model.origin == "local"
    row = {"name": "mBERT", "model": run.record.model.id, "cells": {"es": 91.7}, "how": "computed", "recipe": "hf-2019"}
    table = {"name": "t", "title": "t", "task": "mini-pairs", "split": "test", "source_url": "x", "languages": ["es"]}
    [verdict] = judge([run, own], Reference.model_validate(table | {"rows": [row]}, strict=False))
    assert (verdict.row, verdict.configuration.example.model.id) == ("mBERT", run.record.model.id)
    assert verdict.cells["es"].comparison.difference == pytest.approx(100 * 11 / 12 - 91.7)


# ── refused, in one line each ──

LONG = "\n".join([*SAID, SAID[0]])
BROKEN = {
    "one too few": ("es.txt", "\n".join(SAID[1:]), "wanted 12 predictions, one for each row of the data, found 11"),
    "one too many": ("es.txt", LONG, "found 13"),
    "none": ("es.txt", "", "found 0"),
    "an empty line": ("es.txt", "\n".join([*SAID[:3], "", *SAID[3:]]), "line 4 is empty"),
    "no label": ("es.txt", "\n".join(["maybe", *SAID[1:]]), "prediction 1 is 'maybe'; wanted one of entailment"),
    "a number that is no label": ("es.txt", "\n".join(["3", *SAID[1:]]), "prediction 1 is '3'"),
    "a number below 0": ("es.txt", "\n".join(["-1", *SAID[1:]]), "prediction 1 is '-1'"),
    "a fraction": ("es.txt", "\n".join(["0.5", *SAID[1:]]), "prediction 1 is '0.5'"),
    "a row twice": ("es.tsv", table("row\tprediction", [0, 0, *ROWS[2:]], SAID), "that occur twice: 1, first 0"),
    "a row left out": ("es.tsv", table("row\tprediction", ROWS[1:], SAID[1:]), "1 of 12 rows have no prediction"),
    "a row that is not there": ("es.tsv", table("row\tprediction", [*ROWS[:-1], 99], SAID), "first 99"),
    "rows counted from 1": ("es.tsv", table("row\tprediction", range(1, 13), SAID), "count them from 0"),
    "a row number that is none": ("es.tsv", table("row\tprediction", ["x", *ROWS[1:]], SAID), "row number 'x'"),
    "ids that the data lack": ("es.tsv", table("id\tprediction", ROWS, SAID), "the rows of the data have no ids"),
    "an empty id": ("es.tsv", table("id\tprediction", ["", *ROWS[1:]], SAID), "a row has no id"),
    "no column": ("es.csv", "guess,confidence\nentailment,1\n", "no column 'prediction' in its first line"),
    "no column of objects": ("es.jsonl", '{"guess": 1}\n', "no column 'prediction' or 'logits'"),
    "lines of unequal length": ("es.tsv", "row\tprediction\n0\tneutral\textra\n", "line 2 has 3 fields"),
    "not UTF-8": ("es.txt", b"entailment\xff", "line 1 is not UTF-8"),
    "two languages in its name": ("es-zh.txt", "\n".join(SAID), "its name contains es and zh"),
    "no language in its name": ("predictions.txt", "\n".join(SAID), "its name contains no language of the task"),
    "a language of no task": ("all.tsv", table("language\tprediction", ["xx"] * 12, SAID), "'xx' is not one of task"),
    "another language": ("fr.txt", "\n".join(SAID), "its name contains no language of the task"),
    "no JSON": ("es.json", "{", "not readable as JSON"),
    "JSON without ids": ("es.json", json.dumps(SAID), "wanted answers by id"),
    "JSON with ids that the data lack": ("es.json", json.dumps(dict(enumerate(SAID))), "the data have no ids"),
    "JSON Lines cut off": ("es.jsonl", '{"prediction": 1}\n{"predi', "line 2 is not readable as JSON"),
    "logits too few": ("es.jsonl", '{"logits": [1, 2]}\n' * 12, "2 logits per row; wanted one for each of entailment"),
    "logits of unequal length": (
        "es.jsonl",
        '{"logits": [1, 2, 3]}\n{"logits": [1]}\n' * 6,
        "wanted logits as lists of numbers, all of one length",
    ),
    "logits without end": ("es.jsonl", '{"logits": [1, 2, Infinity]}\n' * 12, "wanted logits as a list of finite"),
    "logits in another order": (
        "es.jsonl",
        '{"logits": [1, 0, 0], "prediction": "contradiction"}\n' * 12,
        "the highest logit is not the prediction's",
    ),
    "a list for a label": ("es.jsonl", '{"prediction": ["neutral"]}\n' * 12, "prediction 1 is"),
    "true for a label": ("es.jsonl", '{"prediction": true}\n' * 12, "prediction 1 is True"),
    "null for a label": ("es.jsonl", '{"prediction": null}\n' * 12, "prediction 1 is None"),
    "a damaged Parquet": ("es.parquet", b"PAR1nothingPAR1", "not readable as parquet"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_faulty_predictions_are_refused_in_one_line(world, fault):
    name, content, message = BROKEN[fault]
    path = write(world / "given" / name, content if isinstance(content, str) else "")
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(XevalError) as caught:
        scored(world, path)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (world / "results").exists()


def test_a_second_file_of_a_language_is_refused(world):
    for name in ("es.txt", "es.tsv"):
        write(world / "given" / name, "\n".join(SAID))
    with pytest.raises(DataError, match="another file also has predictions for 'es'"):
        scored(world, world / "given")


@pytest.mark.parametrize("name", ["test-{}.tsv", "{}/predictions.tsv", "of {}, seed 1.tsv"])
@pytest.mark.parametrize("separator", "-_")
def test_codes_of_several_parts_are_read_whole(world, name, separator):
    """A task may have a language in two scripts or countries, such as zh, zh-Hant and zh-Hant-HK."""
    codes = ["zh", "zh-Hant", "zh-Hant-HK", "pt-BR", "pt"]
    tiny.write_hub_layout(world / "data", {("test", code): ROWS_OF_ES for code in codes})
    tiny.write_task(world / "tasks", ('"en", "es", "zh"', ", ".join(map(repr, ["en", *codes]))))
    for place, code in enumerate(codes):
        wrong = ["neutral" if label != "neutral" else "entailment" for label in GOLD[:place]]
        text = "\n".join([*wrong, *GOLD[place:]])
        write(world / "given" / name.format(code.replace("-", separator)), text)
    scores = scored(world, world / "given").record.scores
    assert {code: score.totals["correct"] for code, score in scores.items()} == {
        code: len(GOLD) - place for place, code in enumerate(codes)
    }


def test_a_language_without_a_file_is_named(world):
    write(world / "given" / "es.txt", "\n".join(SAID))
    with pytest.raises(DataError, match="no predictions for zh"):
        scored(world, world / "given", languages=["es", "zh"])
    with pytest.raises(DataError, match="found none"):
        scored(world, world / "nowhere")
    with pytest.raises(DefinitionError, match="wanted one of the two"):
        scored(world, world / "given", labels=world / "given")


def test_one_faulty_file_prevents_any_write(world):
    write(world / "given" / "es.txt", "\n".join(SAID))
    write(world / "given" / "zh.txt", "\n".join(SAID[1:]))
    with pytest.raises(DataError, match=r"zh\.txt: predictions for 'zh': wanted 12"):
        scored(world, world / "given")
    assert not (world / "results").exists()


# ── recognised after scoring ──


def many(world: Path, **said: list[int]):
    """Findings by name on 300 rows per language, where each function turns mostly right answers into predictions."""
    rng = np.random.default_rng(3)
    gold = rng.integers(0, 3, 300)
    rows = {key: value for key, value in tiny.mini_rows().items() if key[0] != "test"}
    for language in said:
        own = tiny.make_rows(language, 300, start=500)
        rows["test", language] = [(*texts, LABELS[label]) for (*texts, _), label in zip(own, gold, strict=True)]
    tiny.write_hub_layout(world / "data", rows)
    tiny.write_task(world / "tasks", ("test = 12", "test = 300"))
    for language, change in said.items():
        right = np.where(rng.random(300) < 0.7, gold, rng.integers(0, 3, 300))
        write(world / "given" / f"{language}.txt", "\n".join(LABELS[label] for label in change(right)))
    run = scored(world, world / "given")
    return {finding.name: finding.line for finding in diagnose_run(run, None, None)}


@pytest.mark.parametrize(("n_rows", "said"), [(1, "1 row earlier"), (-2, "2 rows later")])
def test_shifted_rows_are_recognised(world, n_rows, said):
    found = many(world, en=lambda right: right, es=lambda right: np.roll(right, n_rows))
    assert list(found) == ["shifted rows"]
    assert "es: " in found["shifted rows"] and f"each prediction belongs {said}" in found["shifted rows"]
    assert "en: " not in found["shifted rows"]


def test_permuted_labels_are_recognised(world):
    line = many(world, en=lambda right: (right + 1) % 3)["permuted labels"]
    assert "or as numbers in the order of the task file's labels" in line and "config.json" not in line


def test_one_label_throughout_is_recognised(world):
    assert "one label throughout" in many(world, en=lambda right: right, es=lambda right: right * 0)


def test_one_file_for_two_languages_is_recognised(world):
    same = np.random.default_rng(5).integers(0, 3, 300)
    found = many(world, en=lambda right: right, es=lambda right: same, zh=lambda right: same)
    assert "es and zh have the same predictions" in found["one file for two languages"]


def test_rows_in_another_order_are_recognised(world):
    shuffled = many(world / "1", en=lambda right: right, es=np.random.default_rng(6).permutation)
    assert "es: " in shuffled["another order"] and "in random order 33" in shuffled["another order"]
    assert "en: " not in shuffled["another order"]
    sorted_ = many(world / "2", en=lambda right: right, es=np.sort)
    assert "sorted by label" in sorted_["another order"]
    reversed_ = many(world / "3", en=lambda right: right, es=lambda right: right[::-1])
    assert "in reverse order" in reversed_["another order"]


def test_gold_labels_as_predictions_are_recognised(world):
    many(world, en=lambda right: right)
    gold = load_runs(world / "results")[0].predictions("en")["label"].to_pylist()
    write(world / "gold" / "en.txt", "\n".join(map(str, gold)))
    [finding] = diagnose_run(scored(world, world / "gold", results=world / "2"), None, None)
    assert (finding.name, finding.evidence) == ("no prediction is wrong", "all of them are right in en")


def test_healthy_predictions_give_no_finding(world):
    assert many(world, en=lambda right: right, es=lambda right: right, zh=lambda right: right) == {}


# ── ids ──


def test_rows_are_matched_by_id_in_any_order():
    rows = Rows("en", "test", {}, np.zeros(3), np.arange(3), ids=["a", "b", "c"])
    given = Given("file", ["C", "A", "B"], ids=["c", "a", "b"])
    assert given.in_order_of(rows).answers == ["A", "B", "C"]
    for ids, message in ((["a", "a", "b"], "ids that occur twice: 1"), (["a", "b", "d"], "an id that no row")):
        with pytest.raises(DataError, match=message):
            Given("file", ["A", "B", "C"], ids=ids).in_order_of(rows)
    with pytest.raises(DataError, match="1 of 3 rows have no prediction, first 'c'"):
        Given("file", ["A", "B"], ids=["a", "b"]).in_order_of(rows)


def test_an_id_that_several_rows_have_names_none_of_them():
    """The id of a document, for instance: one prediction counted for all of its rows."""
    rows = Rows("en", "test", {}, np.zeros(4), np.arange(4), ids=["a", "a", "b", "b"])
    for ids in (["a", "b"], ["a", "a", "b", "b"]):
        given = Given("file", ["A", "B", "C", "D"][: len(ids)], ids=ids)
        with pytest.raises(DataError, match="name their rows by id, but several rows have 'a'; if they are"):
            given.in_order_of(rows)
    numbered = Given("file", ["D", "C", "B", "A"], ids=["b", "b", "a", "a"], numbers=[3, 2, 1, 0])
    assert numbered.in_order_of(rows).answers == ["A", "B", "C", "D"]
    assert Given("file", ["A", "B", "C", "D"]).in_order_of(rows).answers == ["A", "B", "C", "D"]


# ── XTREME's own mock submission, https://github.com/google-research/xtreme, evaluate_test.py ──

GOLDEN = {
    "xnli": ("accuracy", 30.666666666666668),
    "paws-x": ("accuracy", 51.42857142857143),
    "pan-x": ("span_f1", 57.50793650793652),
    "udpos": ("udpos_f1", 70.21746048354693),
    "bucc2018": ("f1", 55.0),
    "tatoeba": ("accuracy", 53.611111111111114),
    "xquad": ("f1", 79.9586776859504),
    "mlqa": ("mlqa_f1", 81.76870748299321),
    "tydiqa-goldp": ("f1", 97.22222222222223),
}
EXACT = {"xquad": 77.27272727272727, "mlqa": 57.142857142857146, "tydiqa-goldp": 88.88888888888889}


@pytest.mark.skipif(
    not (SHARED / "data/xtreme/mock_test_data.tar.xz").exists(), reason="XTREME's mock data are not in ../shared"
)
@pytest.mark.parametrize("task", GOLDEN)
def test_the_mock_submission_gets_its_golden_scores(task, tmp_path, unpacked):
    folder = unpacked("mock_test_data")
    run = score_given(
        task, folder / "predictions", labels=folder / "labels", model="mock", results=tmp_path / "results"
    )
    metric, golden = GOLDEN[task]
    scores = run.record.scores.values()
    assert run.record.metric == metric
    assert 100 * np.mean([score.value for score in scores]) == pytest.approx(golden, abs=1e-10)
    if task in EXACT:
        name = "mlqa_exact_match" if task == "mlqa" else "exact_match"
        assert 100 * np.mean([score.more[name] for score in scores]) == pytest.approx(EXACT[task], abs=1e-10)


HIDDEN = ("._test-es.tsv", "__MACOSX/._test-es.tsv", ".ipynb_checkpoints/test-es-checkpoint.tsv")


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_files_hold_no_predictions(world, name):
    write(world / "given" / "test-es.tsv", "\n".join(SAID))
    write(world / "given" / name, "\n".join(GOLD))
    assert scored(world, world / "given").record.scores["es"].value == 11 / 12


LONG_NUMBER = "9" * 5000  # more digits than Python reads
ABSURD = {
    "row number": ("es.tsv", table("row\tprediction", [LONG_NUMBER, *ROWS[1:]], SAID), "wanted whole numbers from 0"),
    "logit": ("es.jsonl", f'{{"logits": [1, 2, {"9" * 400}]}}\n' * 12, "wanted logits as lists of numbers"),
    "nested logits": ("es.tsv", table("row\tlogits", ROWS, ["[" * 50_000] * 12), "wanted logits as lists of numbers"),
}


@pytest.mark.parametrize("what", ABSURD)
def test_absurd_numbers_are_refused_in_one_line(world, what):
    name, content, said = ABSURD[what]
    with pytest.raises(DataError) as caught:
        scored(world, write(world / "given" / name, content))
    assert said in str(caught.value) and "\n" not in str(caught.value)


# ── right answers alone, and logits ──


@pytest.mark.parametrize("name", ["row", "id"])
def test_right_answers_are_matched_by_name_too(world, name):
    order = np.random.default_rng(7).permutation(12)
    right = table(f"{name}\tlabel", order, [GOLD[row] for row in order])
    said = table(f"{name}\tprediction", order[::-1], [SAID[row] for row in order[::-1]])
    labels = write(world / "right" / "es.tsv", right)
    run = scored(world, write(world / "es.tsv", said), data=None, labels=labels)
    assert run.record.scores["es"].value == 11 / 12


FAULTY_KEYS = {
    "a row left out": (table("row\tlabel", [*ROWS[:5], *ROWS[6:]], GOLD[1:]), "first 11"),
    "an id twice": (table("id\tlabel", [0, *ROWS[:-1]], GOLD), "id '0' occurs twice"),
    "no row": ("", "wanted the right answers, found none"),
}


@pytest.mark.parametrize("fault", FAULTY_KEYS)
def test_faulty_right_answers_are_refused_in_one_line(world, fault):
    content, message = FAULTY_KEYS[fault]
    labels = write(world / "right" / "es.tsv", content)
    with pytest.raises(DataError, match=message):
        scored(world, write(world / "es.tsv", table("id\tprediction", ROWS, SAID)), data=None, labels=labels)


PAIR = "de-1\ten-1\n"
OTHER_FORMS = {  # task → predictions, right answers, and what is said of one of the two
    "questions without contexts": ("xquad", "de.json", '{"a": "x"}', '{"a": "x"}', "in SQuAD's format"),
    "pairs in a table": ("bucc2018", "de.tsv", PAIR, f"id\tprediction\n{PAIR}", "the ids of a pair on each line"),
    "tags as text": ("udpos", "de.jsonl", '{"prediction": ["X"]}', '{"prediction": "X"}', "wanted a list of them"),
    "logits of words": ("udpos", "de.jsonl", '{"logits": [1, 2]}', '{"prediction": ["X"]}', "logits alone"),
    "logits of sentences": ("tatoeba", "de.jsonl", '{"logits": [1, 2]}', '{"prediction": 0}', "logits alone"),
    "logits of pairs": ("bucc2018", "de.jsonl", '{"logits": [1, 2]}', None, "logits alone"),
    "logits of three choices": ("xcopa", "id.jsonl", '{"logits": [1, 2, 3]}', '{"prediction": 0}', "3 logits per row"),
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_forms_that_a_task_cannot_use_are_refused(tmp_path, form):
    task, name, said, right, message = OTHER_FORMS[form]
    labels = write(tmp_path / "right" / (name if right else "de.txt"), right or PAIR)
    with pytest.raises(DataError, match=message):
        score_given(task, write(tmp_path / name, said), model="m", labels=labels, results=tmp_path / "results")


def test_losses_of_choices_are_not_taken_for_logits(tmp_path):
    right = write(tmp_path / "right" / "it.txt", "0\n1\n")
    losses = '{"scores": [1.5, 2.5], "prediction": 0}\n{"scores": [2.5, 1.5], "prediction": 1}\n'
    with pytest.raises(DataError, match="in 2 of 2 rows the highest logit is not the prediction's"):
        score_given(
            "xcopa", write(tmp_path / "it.jsonl", losses), model="m", labels=right, results=tmp_path / "results"
        )


def test_prediction_decides_between_equal_logits(world):
    logits = [[1.0 if label in (said, LABELS[0]) else 0.0 for label in LABELS] for said in SAID]
    lines = [json.dumps({"logits": own, "prediction": said}) for own, said in zip(logits, SAID, strict=True)]
    run = scored(world, write(world / "es.jsonl", "\n".join(lines)))
    assert run.record.scores["es"].value == 11 / 12


def test_right_answers_beside_logits_are_named(world):
    logits = np.eye(3)[[LABELS.index(said) for said in SAID]].tolist()
    lines = [json.dumps({"logits": own, "label": right}) for own, right in zip(logits, GOLD, strict=True)]
    with pytest.raises(DataError, match=r"in 1 of 12 rows .* and no right answers in column label"):
        scored(world, write(world / "es.jsonl", "\n".join(lines)))


# ── whose predictions they are ──


def test_folder_of_predictions_does_not_hide_a_published_model(world, monkeypatch):
    monkeypatch.chdir(world)
    for name in ("mbert", "bert-base-multilingual-cased", "google-bert/bert-base-multilingual-cased"):
        path = write(world / name / "es.txt", "\n".join(SAID))
        model = scored(world, path, model=name).record.model
        assert (model.id, model.origin) == ("google-bert/bert-base-multilingual-cased", "hub")
    assert scored(world, path, model="mbert@abc").record.model.revision == "abc"


def test_predictions_without_the_name_of_a_model_are_refused(world):
    with pytest.raises(DefinitionError, match="got an empty one"):
        scored(world, write(world / "es.txt", "\n".join(SAID)), model=" ")


def test_reports_say_no_more_of_others_than_is_known(world):
    path = write(world / "es.txt", "\n".join(SAID))
    runs = [scored(world, path, model=name) for name in ("mbert", "our own")]
    table = {"name": "t", "title": "t", "task": "mini-pairs", "split": "test", "source_url": "x", "languages": ["es"]}
    row = {
        "name": "X",
        "model": "FacebookAI/xlm-roberta-base",
        "cells": {"es": 91.7},
        "how": "computed",
        "recipe": "hf-2019",
    }
    footer = build(runs, "mini-pairs", Reference.model_validate(table | {"rows": [row]}, strict=False)).footer
    for name in ("google-bert/bert-base-multilingual-cased", "our own"):
        [line] = [line for line in footer if line.startswith(f"{name};")]
        assert "its predictions were computed elsewhere, and scored here" in line
        assert not any(word in line for word in ("without training", "torch", "not known"))
    assert build(runs, "mini-pairs", None).setting == ""  # the table on the terminal said zero-shot
    [why] = [line for line in footer if line.startswith("No verdict on our own")]
    assert "score its predictions with its alias or hub id after --model" in why and "folder" not in why


def test_languages_with_other_numbers_of_rows_join_one_run(world):
    from xeval.results.merge import merge

    said = {"es": SAID[:6], "zh": SAID[:9]}
    for language, labels in said.items():
        path = write(world / f"{language}.txt", "\n".join(labels))
        right = write(world / "right" / f"{language}.txt", "\n".join(GOLD[: len(labels)]))
        run = scored(world, path, data=None, labels=right)
        part = scored(world, path, data=None, labels=right, results=world / f"only {language}")
        assert part.folder.name == run.folder.name and part.record.limits.max_eval == len(labels)
    assert list(run.record.scores) == ["es", "zh"] and run.record.limits.max_eval == 9
    merge([world / "only zh", world / "only es"], world / "merged")
    [merged] = load_runs(world / "merged")
    assert set(merged.record.scores) == {"es", "zh"} and merged.record.limits == run.record.limits


def test_rows_are_resampled_where_groups_are_not_known(world):
    from xeval.judging.comparison.compare import compare
    from xeval.judging.comparison.paired_runs import pair
    from xeval.judging.comparison.ranked_runs import load_contest
    from xeval.results.configurations import by_configuration

    path, right = write(world / "es.txt", "\n".join(SAID)), write(world / "right" / "es.txt", "\n".join(GOLD))
    for source, named in (({}, "premises"), ({"data": None, "labels": right}, "rows")):
        runs = [scored(world, path, model=model, results=world / named, **source) for model in ("a", "b")]
        assert compare(pair([runs[0]], [runs[1]])).resampled == named
        assert load_contest(by_configuration(runs)).scope.grouped_by == named


def test_tags_of_a_sentence_may_be_on_one_line(tmp_path):
    right = write(tmp_path / "right" / "de.tsv", "Anna\tB-PER\nlacht\tO\n\nBonn\tB-LOC\n")
    path = write(tmp_path / "de.txt", "B-PER O \r\nB-PER\r\n")
    run = score_given("pan-x", path, model="m", labels=right, results=tmp_path / "results")
    assert run.record.scores["de"].totals["correct"] == 2
    both = write(path, "O B-PER\nO O\n\nO B-LOC\n")  # the right tag and the predicted one
    run = score_given("pan-x", both, model="both", labels=right, results=tmp_path / "results")
    assert run.record.scores["de"].totals["correct"] == 3


def test_answers_in_lower_case_are_scored(tmp_path):
    names = [f"Anna Berg {number}" for number in range(20)]
    asked = [
        {
            "context": f"It was {name}, who won.",
            "qas": [{"id": name, "question": "Who?", "answers": [{"text": name, "answer_start": 7}]}],
        }
        for name in names
    ]
    right = write(tmp_path / "right" / "de.json", json.dumps({"data": [{"paragraphs": asked}]}))
    said = write(tmp_path / "de.json", json.dumps({name: f"{name.lower()} who" for name in names}))
    run = score_given("xquad", said, model="m", labels=right, results=tmp_path / "results")
    assert run.record.scores["de"].value == pytest.approx(2 * 3 / (3 + 4))


@pytest.mark.parametrize("name", ["xlmr:lr=1e-5", "run_3|final @ 2", "ours (v2), ~50 % <b>", "a/b/c"])
def test_model_of_any_name_is_found_by_it(world, name):
    from xeval.judging.comparison.named_runs import find_run

    path = write(world / "es.txt", "\n".join(SAID))
    runs = [scored(world, path, model=name, seed=seed) for seed in (0, 1)]
    assert find_run(f"{name}:seed=1", world / "results").folder == runs[1].folder
    scored(world, path, model="another")
    shutil.rmtree(runs[1].folder)
    assert find_run(name, world / "results").folder == runs[0].folder


# ── files as people export them ──

BACK = table("{}\tprediction", BACKWARDS, [SAID[row] for row in BACKWARDS])


@pytest.mark.parametrize("name", ["Row", "ID", " index", "Language"])
def test_names_of_rows_spelt_otherwise_are_refused(world, name):
    with pytest.raises(DataError, match=f"but one that is called '{name}'; rename it to '{name.strip().lower()}'"):
        scored(world, write(world / "es.tsv", BACK.format(name)))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_shuffled_index_of_a_frame_is_not_ignored(world, suffix):
    frame = pd.DataFrame({"prediction": SAID})
    write_as = {".csv": pd.DataFrame.to_csv, ".parquet": pd.DataFrame.to_parquet}[suffix]
    path = world / f"es{suffix}"
    write_as(frame.sample(frac=1, random_state=1), path)
    with pytest.raises(DataError, match="numbers the rows in another order than they have; call it 'row'"):
        scored(world, path)
    write_as(frame, path)
    assert scored(world, path).record.scores["es"].value == 11 / 12


def test_semicolons_may_separate_columns(world):
    content = table("row\tprediction", BACKWARDS, [SAID[row] for row in BACKWARDS]).replace("\t", ";")
    for suffix in ("csv", "txt"):
        path = write(world / suffix / f"es.{suffix}", content)
        assert scored(world, path, results=world / suffix / "results").record.scores["es"].value == 11 / 12


def test_language_is_given_for_the_only_file_of_a_folder(world):
    write(world / "given" / "predictions.txt", "\n".join(SAID))
    assert list(scored(world, world / "given", languages=["es"]).record.scores) == ["es"]
    write(world / "given" / "others.txt", "\n".join(SAID))
    with pytest.raises(DataError, match=r"no language of the task; wanted one in it, as in test-en\.tsv"):
        scored(world, world / "given", languages=["es"])


@pytest.mark.parametrize("name", ["test-zh.tsv.gz", "test-zh.TSV", "zh/predictions.Txt"])
def test_no_language_is_left_out_for_its_ending(world, name):
    write(world / "given" / "test-es.tsv", "\n".join(SAID))
    other = write(world / "given" / name, "\n".join(SAID))
    with pytest.raises(DataError, match=f"{other.name}: would be ignored because of its extension"):
        scored(world, world / "given")
    assert list(scored(world, world / "given", languages=["es"]).record.scores) == ["es"]
    if name.endswith(".gz"):
        write(other.with_suffix(""), "\n".join(SAID))  # unpacked
        assert list(scored(world, world / "given").record.scores) == ["es", "zh"]


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_arrays_are_refused_with_what_to_write(world, save):
    path = world / f"es.{'npy' if save is np.save else 'npz'}"
    save(path, np.eye(3))
    with pytest.raises(DataError, match="arrays of NumPy; write them as"):
        scored(world, path)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    lines = {"csv": frame.to_csv(), "jsonl": frame.to_json(orient="records", lines=True)}
    path.write_bytes(lines[path.suffix[1:]].encode() if path.suffix[1:] in lines else frame.to_parquet())


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_one_file_may_hold_predictions_and_right_answers(world, suffix):
    frame, path = pd.DataFrame({"prediction": SAID, "label": GOLD, "confidence": 0.9}), world / f"es.{suffix}"
    write_frame(path, frame)
    run = scored(world, path, data=None, labels=path)
    assert run.record.scores["es"].value == 11 / 12
    assert [LABELS[number] for number in run.predictions("es")["label"].to_pylist()] == GOLD


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_labels_beside_a_column_like_predictions_are_not_scored(world, suffix):
    frame, path = pd.DataFrame({"label": GOLD, "y_pred": SAID}), world / f"es.{suffix}"
    write_frame(path, frame)
    with pytest.raises(DataError, match=r"'label' would be read as predictions, but there is 'y_pred' as well"):
        scored(world, path)


def test_numbers_of_tags_mean_what_their_file_says(tmp_path):
    right = write(tmp_path / "right" / "de.tsv", "Anna\tB-PER\nlacht\tO\n\nBonn\tB-LOC\n")
    features = datasets.Features({"prediction": datasets.Sequence(datasets.ClassLabel(names=["B-LOC", "B-PER", "O"]))})
    own = datasets.Dataset.from_dict({"prediction": [["B-PER", "O"], ["B-LOC"]]}, features=features)
    pq.write_table(table_of(own), tmp_path / "de.parquet")
    run = score_given("pan-x", tmp_path / "de.parquet", model="m", labels=right, results=tmp_path / "results")
    assert run.record.scores["de"].totals["correct"] == 3


def test_some_languages_of_a_file_may_be_chosen(world):
    languages = [language for language in tiny.LANGUAGES for _ in ROWS]
    path = write(world / "all.tsv", table("language\tprediction", languages, [*GOLD, *SAID, *GOLD]))
    scores = scored(world, path, languages=["es"]).record.scores
    assert {language: score.value for language, score in scores.items()} == {"es": 11 / 12}


def test_one_run_is_scored_by_one_metric(tmp_path):
    text = find_task("udpos")[0].read_text(encoding="utf-8").replace('metric = "udpos_f1"', 'metric = "token_accuracy"')
    path = write(tmp_path / "tasks" / "udpos.toml", text)
    options = {"model": "m", "results": tmp_path / "results"}
    for language in ("de", "fr"):
        write(tmp_path / f"{language}.tsv", "der\tDET\nHund\tNOUN\n")
    before = score_given("udpos", tmp_path / "de.tsv", labels=tmp_path / "de.tsv", **options)
    with pytest.raises(StoreError, match="is scored by UDPOS F1, and task udpos now by token accuracy"):
        score_given(str(path), tmp_path / "fr.tsv", labels=tmp_path / "fr.tsv", **options)
    assert load_record(before.folder) == before.record


def test_seeds_are_scored_on_the_same_rows(world):
    path = write(world / "es.txt", "\n".join(SAID))
    key = write(world / "key" / "es.txt", "\n".join(GOLD))
    scored(world, path)
    tiny.write_hub_layout(world / "data", {("test", "es"): [*ROWS_OF_ES[1:], ROWS_OF_ES[0]]})
    with pytest.raises(DataError, match=r"test rows of 'es' differ from those that .* was scored on; use another"):
        scored(world, path, seed=1)
    assert [run.record.seed for run in load_runs(world / "results")] == [0]
    scored(
        world, path, seed=2, data=None, labels=key
    )  # without texts, it cannot be known whether the rows are the same


def test_predictions_in_another_order_of_labels_are_no_second_seed(world):
    """They were averaged with the first. Under the same seed, reports then refused every run in the folder."""
    numbers = [(*texts, str(LABELS.index(label))) for *texts, label in ROWS_OF_ES]
    options = {"data": tiny.write_xtreme_layout(world / "numbers", {("test", "es"): numbers})}
    path = write(world / "es.txt", "\n".join(SAID))
    before = scored(world, path, **options)
    tiny.write_task(world / "tasks", ('"entailment", "neutral"', '"neutral", "entailment"'))
    said = "has the labels entailment, neutral, .* now has neutral, entailment, .*; use another --results folder"
    for seed in (0, 1):
        with pytest.raises(StoreError, match=said):
            scored(world, path, seed=seed, **options)
    assert [run.record for run in load_runs(world / "results")] == [before.record]
    assert scored(world, path, model="another", **options).record.labels[0] == "neutral"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_tags_of_a_sentence_may_be_one_text_in_a_column(tmp_path, suffix):
    right = write(tmp_path / "right" / "de.tsv", "Anna\tB-PER\nlacht\tO\n\nBonn\tB-LOC\n")
    path = tmp_path / f"de.{suffix}"
    write_frame(path, pd.DataFrame({"row": [1, 0], "prediction": ["B-LOC", "B-PER O"]}))
    run = score_given("pan-x", path, model="m", labels=right, results=tmp_path / "results")
    assert run.record.scores["de"].totals["correct"] == 3
