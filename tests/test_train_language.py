"""Other training languages: what runs, records and reports show, and that published rows do not judge them."""

import re
import shutil

import numpy as np
import pytest

import xeval
from tests.helpers import tiny
from tests.helpers.paired_answers import answers_with, write_run
from tests.helpers.sample_record import SHA
from xeval.definitions.reference import Reference
from xeval.definitions.registry import get_task
from xeval.judging.verdict import judge, row_of, why_none
from xeval.report import transfer
from xeval.report.formats import json, markdown
from xeval.report.matrix import build
from xeval.report.page import html
from xeval.results.configurations import Configuration
from xeval.results.store import StoredRun
from xeval.support.errors import DefinitionError, UnknownNameError

N = 600
LABELS = np.arange(N) % 3
SCORES = {  # source → target
    "en": {"en": 0.90, "es": 0.70, "de": 0.60},
    "es": {"en": 0.80, "es": 0.85, "de": 0.50},
    "de": {"en": 0.60, "es": 0.55, "de": 0.88},
}


def stored(folder, source: str, trained_instead: str | None) -> StoredRun:
    rights = {target: np.arange(N) < share * N for target, share in SCORES[source].items()}
    answers = {target: answers_with(LABELS, right) for target, right in rights.items()}
    run = write_run(folder / source, answers, LABELS, np.arange(N) // 3)
    sha256 = run.record.data.sha256 | {"train": {source: SHA[:-2] + source.encode().hex()[:2]}}
    said = {"training_language": source, "trained_instead": trained_instead}
    data = run.record.data.model_copy(update={"sha256": sha256})
    return StoredRun(run.folder, run.record.model_copy(update=said | {"data": data}))


@pytest.fixture
def runs(tmp_path):
    return [stored(tmp_path, "en", None), stored(tmp_path, "es", "own")]


def published() -> Reference:
    row = {"name": "theirs", "model": "org/m", "cells": {"en": 80.0, "es": 85.0}, "how": "computed", "recipe": "r"}
    table = {"name": "t", "title": "T", "task": "cats", "split": "test", "source_url": "x", "languages": ["en", "es"]}
    return Reference.model_validate(table | {"rows": [row]}, strict=False)


def test_run_trained_on_spanish_has_no_published_row(runs):
    english, spanish = runs
    assert row_of(english.record, published()).name == "theirs" and row_of(spanish.record, published()) is None
    assert [verdict.configuration for verdict in judge(runs, published())] == [Configuration.of(english.record)]
    assert why_none(spanish.record, published()) == "it was trained on Spanish, and no published row was"


def test_machine_translated_training_is_marked(tmp_path):
    run = stored(tmp_path, "es", "machine-translated")
    assert why_none(run.record, published()).startswith(
        "it was trained on Spanish, on machine translations (translate-train)"
    )
    assert Configuration.of(run.record).in_words.endswith("translate-train es")


def test_transfer_table_and_asymmetry_match_the_scores(runs):
    found = build(runs, "cats", published())
    by_target, lost = transfer.of(found)
    assert by_target.header == ("trained on", "en", "es", "de")
    assert by_target.rows == [("en", pytest.approx(0.9), pytest.approx(0.7), pytest.approx(0.6)),
                              ("es", pytest.approx(0.8), pytest.approx(0.85), pytest.approx(0.5))]  # fmt: skip
    # Spanish loses 85 - 70 by training on English instead, English 90 - 80 by training on Spanish.
    assert lost.rows == [("en → es", "15.0", "10.0", "+5.0")]
    assert found.sources == ["en", "es"] and "fine-tuned on English, or on Spanish" in found.how
    gaps = {row.name: row.gap for row in found.ours}
    assert gaps["org/m, r, trained on es"] == pytest.approx(85 - 80)
    assert gaps["org/m, r, trained on en"] == pytest.approx(90 - 70)


def test_transfer_is_shown_only_for_several_languages(runs):
    both, one = (build(some, "cats", None) for some in (runs, runs[:1]))
    for render in (markdown.render, html.render):
        assert "Transfer between languages" in render(both) and "Transfer between languages" not in render(one)
    assert '"asymmetry"' in json.render(both) and '"transfer"' not in json.render(one)


def test_published_gap_does_not_depend_on_our_runs(runs):
    task = get_task("xnli-mini")
    found = build(runs[1:], "cats", published(), known=task)
    [theirs] = [row for row in found.rows if row.published]
    assert theirs.gap == pytest.approx(80.0 - 85.0)


@pytest.fixture
def pairs(tmp_path):
    """A task file that declares other training rows, and data with Spanish training rows too."""
    rows = tiny.mini_rows() | {
        ("train", "es"): tiny.make_rows("es", 18),
        ("selection", "es"): tiny.make_rows("es", 12, 100),
    }
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    said = ('training_language = "en"', 'training_language = "en"\nother_training_rows = "own"')
    return tiny.write_task(tmp_path / "tasks", said), data


def run(pairs, checkpoint_of, tmp_path, **options):
    options = {"data": pairs[1], "results": tmp_path / "results", "device": "cpu", "dtype": "float32"} | options
    overrides = {"overrides": {"max_steps": 2, "batch_size": 6}} if options.get("train", True) else {}
    return xeval.run(str(pairs[0]), [str(checkpoint_of("bert"))], **overrides, **options)


def test_run_reads_only_the_chosen_training_language(pairs, checkpoint_of, tmp_path):
    [english] = run(pairs, checkpoint_of, tmp_path)
    shutil.rmtree(pairs[1] / "en")  # which training on Spanish must not need
    [spanish] = run(pairs, checkpoint_of, tmp_path, train_language="es", languages=["es", "zh"])
    assert (spanish.training_language, spanish.trained_instead) == ("es", "own")
    assert (english.training_language, english.trained_instead) == ("en", None)
    assert set(spanish.data.sha256["train"]) == set(spanish.data.sha256["selection"]) == {"es"}
    assert spanish.data.train_rows == {"found": 18, "expected": 0, "used": 18} and spanish.departure is None
    assert spanish.identity != english.identity
    assert spanish.training.weights_sha256 != english.training.weights_sha256


def test_unusable_training_language_is_refused(pairs, mini, checkpoint_of, tmp_path):
    with pytest.raises(UnknownNameError, match="xx"):
        run(pairs, checkpoint_of, tmp_path, train_language="xx")
    with pytest.raises(DefinitionError, match="nothing is trained; leave out --train-language"):
        run(pairs, checkpoint_of, tmp_path, train_language="es", train=False)
    with pytest.raises(DefinitionError, match="mini-pairs has training rows in en alone"):
        run((mini.task_file, mini.data), checkpoint_of, tmp_path, train_language="es")
    with pytest.raises(DefinitionError, match="leave out --train-language"):
        xeval.reproduce("distilmbert-card", train_language="es")
    own = run((mini.task_file, mini.data), checkpoint_of, tmp_path, train_language="en", languages=["zh"])
    assert own[0].trained_instead is None  # English is what it is trained on anyway


def test_xnli_is_translated_and_pan_x_has_own_rows():
    assert get_task("xnli").trained_on("de").trained_instead == "machine-translated"
    assert get_task("pan-x").trained_on("de").trained_instead == "own"
    assert get_task("xnli").trained_on("en").trained_instead is None


def test_microcosm_has_german_training_rows():
    from xeval.data.source import load_rows, open_source

    task = get_task("xnli-mini").trained_on("de")
    source = open_source(task, None, ["de"])
    german = load_rows(source, "de", "train")
    english = load_rows(open_source(get_task("xnli-mini"), None, ["de"]), "en", "train")
    assert len(german) == len(english) == 9000
    assert (german.gold == english.gold).all() and german.texts["premise"][0] != english.texts["premise"][0]
    assert (
        load_rows(source, "en", "test").sha256
        == load_rows(open_source(get_task("xnli-mini"), None, ["en"]), "en", "test").sha256
    )


def test_pairs_that_differ_most_by_direction_come_first(runs, tmp_path):
    german = stored(tmp_path, "de", "machine-translated")
    by_target, lost = transfer.of(build([*runs, german], "cats", published()))
    assert [line[0] for line in by_target.rows] == ["en", "es", "de (translate-train)"]
    assert lost.rows == [
        ("es → de", "38.0", "30.0", "+8.0"),  # German 88 - 50 by training on Spanish, Spanish 85 - 55 on German
        ("en → es", "15.0", "10.0", "+5.0"),
        ("en → de", "28.0", "30.0", "-2.0"),
    ]


def test_transfer_leaves_out_directions_without_a_score(runs):
    english, spanish = runs
    scores = {language: score for language, score in english.record.scores.items() if language != "es"}
    partial = StoredRun(english.folder, english.record.model_copy(update={"scores": scores}))
    found = build([partial, spanish], "cats", None)
    [by_target] = transfer.of(found)
    assert by_target.header == ("trained on", "en", "de", "es")
    assert [line[by_target.header.index("es")] for line in by_target.rows] == ["–", pytest.approx(0.85)]
    assert by_target.is_text == [True, False, False, False]
    lines = markdown.render(found).splitlines()
    [head] = [place for place, line in enumerate(lines) if line.startswith("| trained on")]
    assert re.fullmatch(r"\|:-+(\|-+:){3}\|", lines[head + 1])  # numbers on the right, though the first is a dash
    page = html.render(found)
    section = page[page.index('<h2 id="transfer">') :].partition("</section>")[0]
    assert [*re.findall('<th scope="col"(.*?)>', section)] == [' class="words"', "", "", ""]
    assert '<td><span class="number">–</span></td>' in section


def test_many_tested_languages_are_lines_of_transfer(runs):
    more = [f"q{letter}" for letter in "abcdefghijklmnopqrs"]

    def tested(run: StoredRun) -> StoredRun:
        scores = run.record.scores | dict.fromkeys(more, run.record.scores["de"])
        return StoredRun(run.folder, run.record.model_copy(update={"scores": scores}))

    by_target, _ = transfer.of(build([tested(run) for run in runs], "cats", None))
    assert by_target.title.endswith("trained on (column), tested in (line)")
    assert by_target.header == ("language", "en", "es") and len(by_target.rows) == 22
    assert by_target.rows[0] == ("en", pytest.approx(0.9), pytest.approx(0.8))
