"""Every shipped task, recipe and published table is complete and agrees with its source."""

import math
import re
from pathlib import Path

import pytest

from xeval.definitions.languages import describe
from xeval.definitions.recipe import Recipe
from xeval.definitions.reference import Reference
from xeval.definitions.registry import all_recipes, all_references, all_tasks, get_recipe, get_reference, get_task
from xeval.definitions.task import Task
from xeval.definitions.toml import read_definition

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = {
    "task": (REPOSITORY / "tasks", Task, all_tasks),
    "recipe": (REPOSITORY / "tasks" / "recipes", Recipe, all_recipes),
    "reference": (REPOSITORY / "results" / "published", Reference, all_references),
}
# Read from a local copy in the hub's or XTREME's layout; no commit of the hub's copy has been examined.
ONLY_LOCAL = {
    "sib200",
    "paws-x",
    "indicxnli",
    "massive-intent",
    "tatoeba",
    "bucc2018",
    "xcopa",
}
AWAITED = set()  # tasks of published tables whose kinds do not exist yet
SHIPPED = [(kind, path) for kind, (folder, _, _) in FOLDERS.items() for path in sorted(folder.glob("*.toml"))]


# ── every file that comes with xeval ──


@pytest.mark.parametrize(("kind", "path"), SHIPPED, ids=[f"{kind}/{path.stem}" for kind, path in SHIPPED])
def test_shipped_definition_is_complete_and_consistent(kind, path):
    _, noun, all_of_kind = FOLDERS[kind]
    definition = read_definition(path, noun)
    assert definition.name == path.stem
    assert all_of_kind()[path.stem] == definition, "the registry should find the very same"
    assert all(ord(c) >= 32 or c == "\n" for c in path.read_text(encoding="utf-8"))
    check = {"task": check_task, "recipe": check_recipe, "reference": check_reference}[kind]
    check(definition)


def check_task(task: Task) -> None:
    assert task.default_recipe in all_recipes()
    for language in task.languages:
        assert describe(language).name != language, f"xeval.definitions.languages should know {language}"
    assert task.licence and task.citation and is_url(task.source_url)
    from_somewhere = task.embedded or task.hub is not None or task.files is not None or task.name in ONLY_LOCAL
    assert from_somewhere, "the rows have to come from somewhere"
    if task.default_reference is not None:
        assert all_references()[task.default_reference].task == task.name


def check_recipe(recipe: Recipe) -> None:
    assert is_url(recipe.source_url) or not recipe.source_url
    assert recipe.pooling or recipe.learning_rate < 1e-2, "a recipe fine-tunes a pretrained encoder"
    assert recipe.patience is None or recipe.selection != "last", "patience needs something to choose by"


def check_reference(table: Reference) -> None:
    task = all_tasks()[table.task]
    assert set(table.languages) <= set(task.languages)
    assert len(set(table.languages)) == len(table.languages)
    task.of_kind.measure(table.metric)
    assert is_url(table.source_url)
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    for row in table.rows:
        assert row.recipe in all_recipes() or not row.is_trained_zero_shot
        if row.recipe is not None:
            recipe = get_recipe(row.recipe)
            assert (row.adaptation, row.layers_frozen) == (recipe.adaptation, recipe.layers_frozen)
        in_order = [language for language in table.languages if language in row.cells]
        assert list(row.cells) == in_order, f"{row.name} should have its cells in the table's order"


def is_url(text: str) -> bool:
    return re.fullmatch(r"https://[^\s]+", text) is not None or (text != "" and (REPOSITORY / text).is_file())


def test_every_kind_of_file_is_shipped():
    assert {kind for kind, _ in SHIPPED} == set(FOLDERS)


def test_xnli_is_the_benchmark_as_published():
    xnli = all_tasks()["xnli"]
    assert sorted(xnli.languages) == sorted(FIFTEEN)
    assert xnli.labels == ("entailment", "neutral", "contradiction")
    rows = xnli.expected_rows
    assert (rows.train, rows.selection, rows.test) == (392_702, 2_490, 5_010)
    assert xnli.hub is not None and xnli.hub.id == "facebook/xnli"
    assert xnli.training_language == "en"


# ── recipes, against the values that their sources publish ──

WARMED_UP = {"warmup_share", "warmup_steps"}
XTREME_QA = {
    "learning_rate": 3e-5,
    "batch_size": 32,
    "epochs": 3,
    "max_length": 384,
    "warmup_steps": 500,
    "weight_decay": 1e-4,
    "selection": "last",
    "seed": 42,
}
WU_DREDZE = {
    "learning_rate": 3e-5,
    "batch_size": 32,
    "epochs": 3,
    "max_length": 128,
    "warmup_share": 0.1,
    "weight_decay": 0.01,
    "selection": "english-dev",
}
ENCODEVAL = {
    "learning_rate": 3.6e-5,
    "batch_size": 32,
    "max_steps": 10_000,
    "warmup_share": 0.1,
    "weight_decay": 0.1,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-5,
    "patience": 1,
    "seed": 42,
}
PUBLISHED_RECIPES = {
    # Nicolas-BZRD/EuroBERT, issue 3
    "encodeval-2025": {**ENCODEVAL, "learning_rate_by_model": {"EuroBERT/EuroBERT-2.1B": 2.8e-5}},
    "encodeval-2025-pawsx": {**ENCODEVAL, "learning_rate_by_model": {"EuroBERT/EuroBERT-610m": 4.6e-5}},
    # transformers, examples/pytorch/text-classification/README.md
    "hf-2019": {"learning_rate": 5e-5, "batch_size": 32, "epochs": 2, "max_length": 128, "selection": "last"},
    # google-research/xtreme, scripts/train_xnli.sh and third_party/run_classify.py
    "xtreme-2020": {
        "learning_rate": 2e-5,
        "batch_size": 32,
        "epochs": 5,
        "max_length": 128,
        "selection": "english-dev",
        "evaluate_every_steps": 100,
        "seed": 42,
    },
    # google-research/xtreme, scripts/train_pawsx.sh
    "xtreme-2020-pawsx": {
        "learning_rate": 2e-5,
        "learning_rate_by_model": {},
        "batch_size": 32,
        "epochs": 5,
        "max_length": 128,
        "selection": "english-dev",
        "evaluate_every_steps": 200,
        "seed": 42,
    },
    # nyu-mll/jiant, jiant/scripts/benchmarks/xtreme and jiant/shared/model_setup.py
    "jiant-2020": {
        "learning_rate": 1e-5,
        "batch_size": 32,
        "epochs": 2,
        "max_length": 256,
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "selection": "english-dev",
        "selection_rows": 500,
        "evaluate_every_steps": 1000,
        "patience": 30,
    },
    # izhx/nlu-evals, scripts/run_glue_one.sh and scripts/run_pawsx.sh
    "nlu-evals": {
        "learning_rate": 2e-5,
        "batch_size": 32,
        "epochs": 3,
        "max_length": 128,
        "warmup_share": 0.06,
        "selection": "last",
    },
    "nlu-evals-pawsx": {
        "learning_rate": 2e-5,
        "batch_size": 32,
        "epochs": 2,
        "max_length": 128,
        "selection": "last",
    },
    # izhx/nlu-evals, scripts/run_squad.sh and run_tydiqa.sh, then run_wikiann.sh and run_udpos.sh
    "nlu-evals-answers": XTREME_QA | {"warmup_steps": None, "warmup_share": 0.0},
    "nlu-evals-tags": {
        "learning_rate": 2e-5,
        "batch_size": 32,
        "epochs": 10,
        "max_length": 128,
        "warmup_share": 0.0,
        "weight_decay": 0.0,
        "selection": "last",
    },
    # dadelani/sib-200, code/xlmr_zero.sh: batches of 16 per GPU, accumulated over two steps
    "sib200-2024": {
        "learning_rate": 1e-5,
        "batch_size": 32,
        "epochs": 20,
        "max_length": 164,
        "weight_decay": 0.0,
        "selection": "last",
    },
    # google-research/xtreme, scripts/train_qa.sh: the same on SQuAD and on TyDi QA
    "xtreme-2020-squad": XTREME_QA,
    "xtreme-2020-tydiqa": XTREME_QA,
    # google-research/xtreme, scripts/run_tatoeba.sh: number 7 of the last 12 hidden states, 13 of the last 24
    "xtreme-vectors": {"max_length": 512, "pooling": "mean", "layer": None},
    # izhx/nlu-evals; the layer is not named here
    "nlu-evals-vectors": {"max_length": 512, "pooling": "first token"},
    # google-research/xtreme, scripts/train_xcopa.sh and third_party/run_xcopa.py
    "xtreme-r-xcopa": {"learning_rate": 2e-5, "batch_size": 32, "epochs": 5, "max_length": 128, "selection": "last"},
    # Wu and Dredze 2019: one choice among batches of 16 and 32, rates of 2e-5, 3e-5 and 5e-5, and 3 and 4 epochs
    "wu-dredze-2019-frozen-0": WU_DREDZE | {"layers_frozen": 0},
    "wu-dredze-2019-frozen-6": WU_DREDZE | {"layers_frozen": 6},
    # Conneau et al. 2020: up to 30 times 5,000 batches, patience 5
    "xlmr-2020": {
        "learning_rate": 5e-6,
        "batch_size": 128,
        "epochs": None,
        "max_steps": 150_000,
        "evaluate_every_steps": 5_000,
        "patience": 5,
    },
}


def test_all_published_recipes_are_shipped():
    assert set(PUBLISHED_RECIPES) <= set(all_recipes())


@pytest.mark.parametrize("name", PUBLISHED_RECIPES)
def test_a_recipe_has_the_published_values(name):
    recipe = get_recipe(name).model_dump()
    assert {key: recipe[key] for key in PUBLISHED_RECIPES[name]} == PUBLISHED_RECIPES[name]


@pytest.mark.parametrize(
    "name", sorted(key for key, values in PUBLISHED_RECIPES.items() if not WARMED_UP & values.keys())
)
def test_no_warm_up_unless_the_source_names_one(name):
    assert get_recipe(name).count_warmup_steps(10_000) == 0


@pytest.mark.parametrize("name", [key for key, values in PUBLISHED_RECIPES.items() if "adam_beta2" not in values])
def test_other_recipes_keep_adam_defaults(name):
    recipe = get_recipe(name)
    assert (recipe.adam_beta1, recipe.adam_beta2, recipe.adam_epsilon) == (0.9, 0.999, 1e-8)


def test_xtreme_vectors_come_from_layer_8_or_14():
    recipe = get_recipe("xtreme-vectors")
    assert (recipe.layer_of(12), recipe.layer_of(24), recipe.layer_of(13)) == (8, 14, None)


def test_vector_and_training_keys_exclude_each_other():
    values = {"name": "vectors", "description": "d", "max_length": 64, "pooling": "mean", "layer": 2}
    assert Recipe.model_validate(values).layer_of(12) == 2
    with pytest.raises(ValueError, match="epochs: a recipe with a pooling trains nothing"):
        Recipe.model_validate(values | {"epochs": 3})
    training = {"learning_rate": 1e-5, "batch_size": 32, "epochs": 1}
    with pytest.raises(ValueError, match="layer: only a recipe with a pooling takes vectors from one"):
        Recipe.model_validate({key: value for key, value in values.items() if key != "pooling"} | training)


def test_xtreme_recipe_has_613_checkpoints_on_xnli():
    recipe, n_pairs = get_recipe("xtreme-2020"), get_task("xnli").expected_rows.train
    n_steps = recipe.epochs * math.ceil(n_pairs / recipe.batch_size)
    assert (n_steps, n_steps // recipe.evaluate_every_steps) == (61_360, 613)


@pytest.mark.parametrize(
    ("model", "learning_rate"),
    [
        ("FacebookAI/xlm-roberta-large", 3e-5),
        ("FacebookAI/xlm-mlm-100-1280", 3e-5),
        ("google-bert/bert-base-multilingual-cased", 2e-5),
    ],
)
def test_xtreme_raises_the_learning_rate_for_two_models(model, learning_rate):
    assert get_recipe("xtreme-2020").learning_rate_for(model) == learning_rate


# ── published tables, against their sources ──

CARD_LANGUAGES = ("en", "es", "zh", "de", "ar", "ur")
CARD = {
    "google-bert/bert-base-multilingual-cased": (82.1, 74.6, 69.1, 72.3, 66.4, 58.5),
    "google-bert/bert-base-multilingual-uncased": (81.4, 74.3, 63.8, 70.5, 62.1, 58.3),
    "distilbert/distilbert-base-multilingual-cased": (78.2, 69.1, 64.0, 66.3, 59.1, 54.7),
}
FIFTEEN = ("en", "fr", "es", "de", "el", "bg", "ru", "tr", "ar", "vi", "th", "zh", "hi", "sw", "ur")
TABLE_1 = [  # model, printed average, cells
    ("google-bert/bert-base-multilingual-cased", 66.3,
     (82.1, 73.8, 74.3, 71.1, 66.4, 68.9, 69.0, 61.6, 64.9, 69.5, 55.8, 69.3, 60.0, 50.4, 58.0)),
    ("FacebookAI/xlm-mlm-100-1280", 71.3,
     (83.7, 76.2, 76.6, 73.7, 72.4, 73.0, 72.1, 68.1, 68.4, 72.0, 68.2, 71.5, 64.5, 58.0, 62.4)),
    ("FacebookAI/xlm-mlm-100-1280", 70.7,
     (83.2, 76.7, 77.7, 74.0, 72.7, 74.1, 72.7, 68.7, 68.6, 72.9, 68.9, 72.5, 65.6, 58.2, 62.4)),
    ("FacebookAI/xlm-roberta-base", 76.2,
     (85.8, 79.7, 80.7, 78.7, 77.5, 79.6, 78.1, 74.2, 73.8, 76.5, 74.6, 76.7, 72.4, 66.5, 68.3)),
    ("FacebookAI/xlm-roberta-large", 80.9,
     (89.1, 84.1, 85.1, 83.9, 82.9, 84.0, 81.2, 79.6, 79.8, 80.8, 78.1, 80.2, 76.9, 73.9, 73.8)),
]  # fmt: skip
MDEBERTA = (88.2, 82.6, 84.4, 82.7, 82.3, 82.4, 80.8, 79.5, 78.5, 78.1, 76.4, 79.5, 75.9, 73.9, 72.4)


def test_the_distilmbert_card_has_its_cells():
    table = get_reference("distilmbert-card")
    assert table.languages == CARD_LANGUAGES
    assert {row.model: tuple(row.cells.values()) for row in table.rows} == CARD


def test_the_distilmbert_card_publishes_no_recipe():
    assert not any(row.recipe_published for row in get_reference("distilmbert-card").rows)


def test_conneau_2020_matches_its_table_1():
    table = get_reference("conneau-2020")
    assert table.languages == FIFTEEN
    rows = [(row.model, row.claimed_average, tuple(row.cells.values())) for row in table.rows]
    assert rows == TABLE_1


def test_only_swapped_averages_have_notes():
    explained = {row.claimed_average: row.average for row in get_reference("conneau-2020").rows if row.average_note}
    assert explained == {71.3: pytest.approx(70.7, abs=0.1), 70.7: pytest.approx(71.3, abs=0.1)}


def test_the_mdeberta_card_has_its_cells():
    table = get_reference("mdeberta-card")
    [row] = table.rows
    assert (table.languages, tuple(row.cells.values())) == (FIFTEEN, MDEBERTA)


def test_the_transformers_readme_has_its_one_cell():
    [row] = get_reference("transformers-readme").rows
    assert (row.model, row.cells) == ("google-bert/bert-base-multilingual-cased", {"de": 70.94})


@pytest.mark.parametrize("name", sorted(all_tasks()))
def test_tasks_with_published_tables_name_one(name):
    """Without a default, a run stands beside nothing unless the user knows what the table is called."""
    task = get_task(name)
    tables = {table.name for table in all_references().values() if (table.task, table.metric) == (name, task.metric)}
    assert task.default_reference in tables or not tables
