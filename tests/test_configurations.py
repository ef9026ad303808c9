"""Which runs are seeds of one configuration: one training never counts as two, nor different trainings as one."""

import numpy as np
import pytest
from test_report import CARD, DISTILMBERT, SIX, a_run
from test_verdict import EN_ES, a_seed, a_table

from tests.helpers.paired_answers import write_run
from tests.helpers.sample_record import SHA, run_record, stored, sweep_record
from xeval.judging.comparison.named_runs import find_runs
from xeval.judging.verdict import judge
from xeval.report import matrix
from xeval.results.configurations import Configuration, by_configuration, sweep_of
from xeval.results.identity import identity, ingredients_of, is_of, lasting_values
from xeval.results.records import NO_TRAINING, DataRecord, Limits, RecipeRecord
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


def test_renamed_model_is_refused_as_a_second_seed():
    record = a_seed(1, en=80.0, es=70.0)
    with pytest.raises(StoreError, match=r"^seed 1 of org/m, .* is there twice[^\n]*: run-0 and run-1;[^\n]*$"):
        by_configuration(stored([record, renamed(record, "a copy")]))


@pytest.mark.parametrize("n", [2, 3])
def test_copies_of_one_record_get_no_verdict(n):
    """The verdict once read "leans low" for one, and "reproduced, mean of 3 seeds" for three."""
    with pytest.raises(StoreError, match="is there twice"):
        judge(stored([a_seed(1, en=80.0, es=70.0)] * n), a_table())


def test_report_and_comparison_refuse_a_copied_folder(tmp_path):
    run = a_run(**SIX)
    for name in ("hf-2019-seed1", "hf-2019-seed1.bak"):
        save_record(tmp_path / "xnli" / "m" / name, run.record)
    with pytest.raises(StoreError, match=r"hf-2019-seed1 and [^\n]*hf-2019-seed1\.bak"):
        matrix.build(load_runs(tmp_path), "xnli", CARD)
    with pytest.raises(StoreError, match=r"hf-2019-seed1 and [^\n]*hf-2019-seed1\.bak"):
        find_runs(DISTILMBERT, tmp_path)


# ── different trainings are different configurations ──


def test_other_training_rows_make_another_configuration():
    runs = stored([trained_on(SHA, 1), trained_on(SHA, 2), trained_on(OTHER_SHA, 3)])
    verdicts = judge(runs, a_table())
    assert [verdict.cells["en"].n_seeds for verdict in verdicts] == [2, 1]
    rows = [row for row in matrix.build(runs, "cats", a_table()).rows if not row.published]
    assert [row.seeds for row in rows] == ["2", "1"]
    assert rows[0].name.endswith(f"rows {SHA[:8]}+{SHA[:8]}") and rows[0].name != rows[1].name


def test_one_seed_on_two_training_sets_is_two_runs():
    groups = by_configuration(stored([trained_on(SHA), trained_on(OTHER_SHA)]))
    assert [len(runs) for runs in groups.values()] == [1, 1]


def test_configuration_ignores_test_rows_and_names():
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
def test_other_settings_make_another_configuration(change):
    assert Configuration.of(run_record()) != Configuration.of(run_record(**change))


def test_seeds_are_sorted_by_number():
    groups = by_configuration(stored([a_seed(seed, en=80.0) for seed in (10, 2, 1)]))
    assert [[run.record.seed for run in runs] for runs in groups.values()] == [[1, 2, 10]]


def test_name_is_as_short_as_possible():
    plain, half = Configuration.of(run_record()), Configuration.of(run_record(dtype="bfloat16"))
    assert plain.name() == plain.name([plain]) == "org/m, r, epochs 2.0, max train 10"
    assert half.name([plain, half]) == "org/m, r, epochs 2.0, max train 10, bfloat16"


def test_recipes_of_one_name_are_told_apart_by_their_values():
    """The user has edited a recipe, or has two with the same name."""
    values = {"learning_rate": 1e-3, "max_steps": 150, "epochs": None, "max_length": 64}
    changes = ({}, {"max_steps": 160}, {"max_steps": None, "epochs": 2.0})
    records = [run_record(recipe=RecipeRecord(name="own", values=values | change, overrides={})) for change in changes]
    ours = [Configuration.of(record) for record in records]
    assert [own.name(ours) for own in ours] == [
        "org/m, own, max train 10, max_steps 150",
        "org/m, own, max train 10, max_steps 160",
        "org/m, own, max train 10, epochs 2.0",
    ]
    assert ours[0].name() == ours[0].name(ours[:1]) == "org/m, own, max train 10"


# ── identity ──


def test_newer_recipe_key_counts_only_if_set():
    old = {"learning_rate": 5e-5, "epochs": 2.0, "max_steps": None}
    assert lasting_values(old) == {"learning_rate": 5e-5, "epochs": 2, "max_steps": None}
    assert lasting_values(old | {"source_url": ""}) == lasting_values(old)  # its default
    assert lasting_values(old | {"source_url": "x"}) != lasting_values(old)


def test_identity_ignores_hub_revision_and_model_name():
    record = run_record()
    moved = record.model.model_copy(update={"revision": "another commit", "id": "another/name", "n_parameters": None})
    assert ingredients_of(record.model_copy(update={"model": moved})) == ingredients_of(record)


def test_record_without_labels_is_still_found():
    record = run_record()
    parts = ingredients_of(record)
    assert is_of(record.model_copy(update={"labels": None}), parts, record.seed)
    assert not is_of(record.model_copy(update={"labels": ["a", "b", "c"]}), parts, record.seed)
    assert not is_of(record, parts, record.seed + 1)
    assert identity(parts, 1) != identity(parts, 2)


def test_stored_run_reads_its_own_predictions(tmp_path):
    answers = {"de": np.array([0, 1, 2, 0]), "en": np.array([2, 2, 1, 0])}
    write_run(tmp_path, answers, np.array([0, 1, 1, 0]), np.arange(4))
    [run] = load_runs(tmp_path)
    for language, predicted in answers.items():
        assert run.predictions(language).column("prediction").to_pylist() == predicted.tolist()


def test_error_about_missing_predictions_names_the_file(tmp_path):
    with pytest.raises(StoreError, match=r"de\.parquet: cannot be read"):
        StoredRun(tmp_path, run_record()).predictions("de")


@pytest.mark.parametrize("order", [1, -1])
def test_sweep_of_seeds_is_the_one_with_the_most_trials(order):
    few, many = sweep_record(1e-5, {1e-5: 0.7, 2e-5: 0.6}), sweep_record(1e-5, {1e-5: 0.7, 2e-5: 0.6, 3e-5: 0.5})
    records = [run_record(sweep=sweep) for sweep in (few, None, many)[::order]]
    assert sweep_of(records) == many


def test_limit_on_training_rows_names_no_untrained_run():
    recipe = RecipeRecord(name=NO_TRAINING, values={}, overrides={})

    def untrained(**limits: int) -> Configuration:
        return Configuration.of(run_record(recipe=recipe, training=None, limits=Limits(max_eval=50, **limits)))

    limited, plain = untrained(max_train=1000), untrained()
    assert limited.name() == plain.name([limited]) == "org/m, no-train, max eval 50"
    assert limited.name([plain]) == "org/m, no-train, max eval 50, max train 1,000"
