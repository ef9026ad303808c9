"""What runs are seeds of: one training is never counted as two, and different trainings never as one."""

import pytest
from test_report import CARD, DISTILMBERT, SIX, a_run
from test_verdict import EN_ES, a_seed, a_table

from tests.helpers.sample_record import SHA, run_record, stored
from xeval.judging.comparison.named_runs import find_runs
from xeval.judging.verdict import judge
from xeval.report import matrix
from xeval.results.configurations import Configuration, by_configuration
from xeval.results.identity import identity, ingredients_of, is_of, lasting_values
from xeval.results.records import DataRecord, Limits, RecipeRecord
from xeval.results.store import StoredRun, load_runs, save_record
from xeval.support.errors import StoreError

OTHER_SHA = "b" * 64


def trained_on(sha256: str, seed: int = 1, **percent: float):
    rows = {"train": {"en": sha256}, "selection": {"en": SHA}, "test": {}}
    data = DataRecord(source="x", revision=None, sha256=rows, train_rows={})
    return a_seed(seed, data=data, **(percent or EN_ES))


def renamed(record, model_id: str):
    return record.model_copy(update={"model": record.model.model_copy(update={"id": model_id})})


# ── one training is one seed ──


def test_one_model_under_two_names_is_refused_as_a_second_seed_of_itself():
    record = a_seed(1, en=80.0, es=70.0)
    with pytest.raises(StoreError, match=r"^seed 1 of org/m, .* is there twice[^\n]*: run-0 and run-1;[^\n]*$"):
        by_configuration(stored([record, renamed(record, "a copy")]))


@pytest.mark.parametrize("n", [2, 3])
def test_the_same_record_several_times_is_no_verdict_on_several_seeds(n):
    """It read "leans low" once, and "reproduced, mean of 3 seeds" three times."""
    with pytest.raises(StoreError, match="is there twice"):
        judge(stored([a_seed(1, en=80.0, es=70.0)] * n), a_table())


def test_a_copied_folder_is_refused_by_the_report_and_by_a_comparison_in_one_line(tmp_path):
    run = a_run(**SIX)
    for name in ("hf-2019-seed1", "hf-2019-seed1.bak"):
        save_record(tmp_path / "xnli" / "m" / name, run.record)
    with pytest.raises(StoreError, match=r"hf-2019-seed1 and [^\n]*hf-2019-seed1\.bak"):
        matrix.build(load_runs(tmp_path), "xnli", CARD)
    with pytest.raises(StoreError, match=r"hf-2019-seed1 and [^\n]*hf-2019-seed1\.bak"):
        find_runs(DISTILMBERT, tmp_path)


# ── different trainings are different configurations ──


def test_seeds_on_other_training_rows_are_no_seeds_of_one_thing():
    runs = stored([trained_on(SHA, 1), trained_on(SHA, 2), trained_on(OTHER_SHA, 3)])
    verdicts = judge(runs, a_table())
    assert [verdict.cells["en"].n_seeds for verdict in verdicts] == [2, 1]
    rows = [row for row in matrix.build(runs, "cats", a_table()).rows if not row.published]
    assert [row.seeds for row in rows] == ["2", "1"]
    assert rows[0].name.endswith(f"rows {SHA[:8]}+{SHA[:8]}") and rows[0].name != rows[1].name


def test_one_seed_on_two_sets_of_training_rows_is_two_runs():
    groups = by_configuration(stored([trained_on(SHA), trained_on(OTHER_SHA)]))
    assert [len(runs) for runs in groups.values()] == [1, 1]


def test_test_rows_and_names_make_no_other_configuration():
    one = Configuration.of(a_seed(1, en=80.0))
    others = (a_seed(1, es=70.0), renamed(a_seed(1, en=80.0), "another"), a_seed(1, en=80.0, task_note="new"))
    assert {one, *map(Configuration.of, others)} == {one}


@pytest.mark.parametrize(
    "change",
    [
        {"task": "dogs"},
        {"dtype": "bfloat16"},
        {"encoding": "pairs-2"},
        {"kind": "another"},
        {"limits": Limits(max_train=5)},
        {"recipe": RecipeRecord(name="r", values={"learning_rate": 1.0}, overrides={})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_else_makes_another_one(change):
    assert Configuration.of(run_record()) != Configuration.of(run_record(**change))


def test_seeds_come_in_order_wherever_their_folders_lie():
    groups = by_configuration(stored([a_seed(seed, en=80.0) for seed in (10, 2, 1)]))
    assert [[run.record.seed for run in runs] for runs in groups.values()] == [[1, 2, 10]]


def test_a_name_says_no_more_than_it_takes():
    plain, half = Configuration.of(run_record()), Configuration.of(run_record(dtype="bfloat16"))
    assert plain.name() == plain.name([plain]) == "org/m, r, epochs 2.0, max train 10"
    assert half.name([plain, half]) == "org/m, r, epochs 2.0, max train 10, bfloat16"


# ── identity ──


def test_a_key_that_0_1_0_did_not_have_counts_only_where_it_says_something():
    old = {"learning_rate": 5e-5, "epochs": 2.0, "max_steps": None}
    assert lasting_values(old) == {"learning_rate": 5e-5, "epochs": 2, "max_steps": None}
    assert lasting_values(old | {"source_url": ""}) == lasting_values(old)  # its default
    assert lasting_values(old | {"source_url": "x"}) != lasting_values(old)


def test_the_hubs_revision_and_the_models_name_are_no_part_of_it():
    record = run_record()
    moved = record.model.model_copy(update={"revision": "another commit", "id": "another/name", "n_parameters": None})
    assert ingredients_of(record.model_copy(update={"model": moved})) == ingredients_of(record)


def test_a_record_that_does_not_know_its_labels_is_still_found():
    record = run_record()
    parts = ingredients_of(record)
    assert is_of(record.model_copy(update={"labels": None}), parts, record.seed)
    assert not is_of(record.model_copy(update={"labels": ["a", "b", "c"]}), parts, record.seed)
    assert not is_of(record, parts, record.seed + 1)
    assert identity(parts, 1) != identity(parts, 2)


def test_a_run_knows_the_way_to_its_predictions(tmp_path):
    with pytest.raises(StoreError, match=r"de\.parquet: cannot be read"):
        StoredRun(tmp_path, run_record()).predictions("de")
