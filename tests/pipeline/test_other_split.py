"""Evaluation on a split other than the test split: read from the right file, recorded, and never judged."""

import pytest
from world import World

from tests.helpers import tiny
from xeval.definitions.reference import Reference
from xeval.judging.verdict import NO_VERDICT, judge
from xeval.report.formats import markdown
from xeval.report.matrix import build
from xeval.results.store import load_runs
from xeval.runs.grid import reproduce
from xeval.support.errors import DataError, DefinitionError

DEV = {("selection", "es"): tiny.make_rows("es", 12, start=300), ("odd", "es"): tiny.make_rows("es", 5, start=400)}


@pytest.fixture
def with_dev(empty) -> World:
    """A world whose data also have Spanish development rows, and five rows of a split named odd."""
    empty.data = empty.copy_of_data()
    tiny.write_hub_layout(empty.data, DEV)
    return empty


def a_table(title: str = "t") -> Reference:
    row = {"name": "Model", "model": "org/m", "cells": {"es": 70.0}, "how": "computed", "recipe": "r"}
    table = {"name": "t", "title": title, "task": "mini-pairs", "split": "test", "source_url": "x"}
    return Reference.model_validate(table | {"languages": ["es"], "rows": [row]}, strict=False)


@pytest.mark.parametrize(
    ("asked", "n_rows", "recorded"), [("validation", 12, "dev"), ("dev", 12, "dev"), ("odd", 5, "odd")]
)
def test_record_names_the_split_it_was_evaluated_on(with_dev, asked, n_rows, recorded):
    record = with_dev.run(languages=["es"], test_split=asked)
    assert (record.scores["es"].n_rows, record.limits.test_split) == (n_rows, recorded)
    assert record.departure == f"it was evaluated on {recorded} rows, not on the test split"


def test_another_split_makes_another_run(with_dev):
    on_test = with_dev.run(languages=["es"])
    before = with_dev.files()
    on_dev = with_dev.run(languages=["es"], test_split="dev")
    assert on_test.identity != on_dev.identity
    assert on_test.training.weights_sha256 == on_dev.training.weights_sha256
    assert len(with_dev.folders()) == 2
    after = with_dev.files()
    assert {name: after[name] for name in before} == before


def test_reports_name_the_split_and_give_no_verdict(with_dev):
    with_dev.run(languages=["es"], test_split="dev")
    runs = load_runs(with_dev.results)
    matrix = build(runs, "mini-pairs", None)
    assert matrix.title == "Mini pairs (dev)"
    text = markdown.render(matrix)
    assert "evaluated on the dev split" in text and "the test split" not in text
    hub = [run.record.model.model_copy(update={"id": "org/m", "origin": "hub"}) for run in runs]
    renamed = [
        type(run)(run.folder, run.record.model_copy(update={"model": model}))
        for run, model in zip(runs, hub, strict=True)
    ]
    [verdict] = judge(renamed, a_table())
    assert verdict.mean.outcome == verdict.cells["es"].outcome == NO_VERDICT
    assert "Seed 3 is left out: it was evaluated on dev rows, not on the test split." in verdict.mean.sentence


def test_evaluating_on_selection_rows_is_a_finding(with_dev):
    chosen = with_dev.run(languages=["en"], test_split="dev", overrides={"selection": "english-dev"})
    assert [finding.name for finding in chosen.preflight if "choose" in finding.name] == ["rows to choose on"]
    last = with_dev.run(languages=["en"], test_split="dev", overrides={"selection": "last"})
    assert not [finding for finding in last.preflight if finding.name in ("rows to choose on", "overlap")]


@pytest.mark.parametrize(
    ("write", "asked", "complaint"),
    [
        (tiny.write_xtreme_layout, "odd", "no odd-es.tsv"),
        (tiny.write_official_layout, "odd", "no xnli.odd.tsv"),
        (tiny.write_hub_layout, "odd", "no es/odd-*.parquet"),
    ],
)
def test_error_about_a_missing_split_names_its_file(empty, tmp_path, write, asked, complaint):
    empty.data = write(tmp_path / "copy", tiny.mini_rows())
    with pytest.raises(DataError) as caught:
        empty.run(languages=["es"], test_split=asked)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("write", [tiny.write_xtreme_layout, tiny.write_official_layout])
def test_development_rows_are_found_in_each_layout(empty, tmp_path, write):
    empty.data = write(tmp_path / "copy", tiny.mini_rows() | {("selection", "es"): tiny.make_rows("es", 12, start=300)})
    record = empty.run(languages=["es"], test_split="dev")
    assert record.scores["es"].n_rows == 12


def test_reproduce_refuses_another_split():
    with pytest.raises(DefinitionError, match="test split dev: a published table is compared only on its own split"):
        reproduce("distilmbert-card", test_split="dev")


def test_test_split_by_its_name_is_no_other_split(with_dev):
    """So that the run is the same one, and its scores are judged."""
    on_test = with_dev.run(languages=["es"])
    assert with_dev.run(languages=["es"], test_split="test") == on_test
    assert on_test.limits.test_split is None and len(with_dev.folders()) == 1


def test_choosing_on_rows_that_are_not_evaluated_is_no_finding(with_dev):
    record = with_dev.run(languages=["es"], test_split="dev", overrides={"selection": "english-dev"})
    assert "rows to choose on" not in {finding.name for finding in record.preflight}
