"""The specification of one run, and the identity that follows from it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from xeval.data.corpus import EVAL_SEED, Corpus
from xeval.data.model_files import Checkpoint
from xeval.definitions.recipe import LORA_KEYS, NOT_OF_TRAINING, Recipe
from xeval.definitions.task import Task
from xeval.definitions.toml import HubId, first_complaint
from xeval.engine.adaptation import refuse_without_peft
from xeval.engine.devices import Compute
from xeval.engine.loading import count_layers
from xeval.results.identity import identity, ingredients, is_of, is_training_of, lasting_values
from xeval.results.records import NO_TRAINING, DataRecord, Limits, RecipeRecord, RunRecord, SweepRecord
from xeval.results.store import RECORD, StoredRun, run_folder
from xeval.support.errors import DefinitionError
from xeval.support.files import is_there
from xeval.support.text import counted

_WARMUP = "warmup_share", "warmup_steps"  # of which `override` takes back the one that is not given


@dataclass(frozen=True)
class Declared:
    """A declaration that a checkpoint trained elsewhere is one of several that differ only in their seed."""

    name: str  # of all of them together
    seed: int


@dataclass(frozen=True)
class RunSpec:
    """One (task, model, recipe, seed) on given rows and in a given arithmetic."""

    task: Task
    checkpoint: Checkpoint
    recipe: Recipe
    overrides: dict[str, Any]
    seed: int
    train: bool  # False: the checkpoint is evaluated as it is
    corpus: Corpus
    compute: Compute
    declared: Declared | None = None  # set if the checkpoint is one of several seeds
    sweep: SweepRecord | None = None  # how the recipe's values were chosen; not part of the run's identity

    @property
    def learning_rate(self) -> float:
        return self.recipe.learning_rate_for(self.checkpoint.known_as)

    @property
    def recipe_name(self) -> str:
        return recipe_name(self.recipe, self.train)

    @property
    def in_words(self) -> str:
        """The run's name in messages."""
        name = f"{self.checkpoint.id} {self.recipe_name}"
        if self.declared is not None:
            return f"{self.declared.name} {self.recipe_name} seed {self.declared.seed} ({self.checkpoint.id})"
        return f"{name} seed {self.seed}" if self.train else name

    def recipe_record(self) -> RecipeRecord:
        return recipe_record(self.recipe, self.checkpoint.known_as, self.overrides, self.train)

    def data_record(self, test_sha256: dict[str, str]) -> DataRecord:
        corpus, english = self.corpus, self.task.training_language
        sha256 = {"test": test_sha256}
        if self.train:
            sha256 |= {split: {english: rows.sha256} for split, rows in corpus.training.items()}
        return DataRecord(
            source=corpus.source.name,
            revision=corpus.source.revision,
            sha256=sha256,
            train_rows=corpus.train_rows() if self.train else {},
        )

    def identity(self) -> str:
        """Return a hash of everything that the fine-tuned weights depend on.

        Test rows are not included, so that languages can be added later. The record has their hashes, and rows that no
        longer match are refused.
        """
        return identity(self._ingredients(), self.seed)

    def describes(self, record: RunRecord) -> bool:
        """Return whether `record` is of this very run, whatever the names of its folder and model, and whatever its
        seed if nothing is trained."""
        return is_of(record, self._ingredients(), self.seed if self.train else record.seed)

    def is_like(self, record: RunRecord) -> bool:
        """Return whether `record` has the same model, recipe, seed and limits on rows, even if the rows differ."""
        own, limits = self.recipe_record(), self.corpus.limits
        mine = self.checkpoint.sha256, self.seed, own.name, lasting_values(own.values)
        theirs = record.model.sha256, record.seed, record.recipe.name, lasting_values(record.recipe.values)
        return (*mine, limits.max_train, limits.max_eval) == (*theirs, record.limits.max_train, record.limits.max_eval)

    def shares_training_with(self, record: RunRecord) -> bool:
        """Return whether `record` has the same training as this run, whatever was evaluated with it.

        A checkpoint that was chosen by another metric than the task's is another one.
        """
        return record.metric == self.task.metric and is_training_of(record, self._ingredients(), self.seed)

    def _ingredients(self) -> dict[str, Any]:
        return ingredients(
            kind=self.task.kind,
            encoding=self.task.of_kind.encoding,
            labels=list(self.task.labels) or None,
            rows_sha256=self.data_record({}).sha256,
            model_sha256=self.checkpoint.sha256,
            recipe_values=self.recipe_record().values,
            limits=self.corpus.limits,
            dtype=self.compute.dtype_name,
        )

    def folder(self, results: Path, known: Sequence[StoredRun] = ()) -> Path:
        """Return the folder of this run below `results`, whether or not it exists yet.

        If that folder has no record, a `known` run with the same content counts as this run: version 0.1.0 named
        folders by another identity, and a model may have several names.
        """
        name, seed = self.checkpoint.id, self.seed
        if self.declared is not None:
            name, seed = self.declared.name, self.declared.seed
        own = run_folder(results, self.task.name, name, self.recipe_name, seed, self.identity())
        same = [run.folder for run in known if run.record.task == self.task.name and self.describes(run.record)]
        return own if is_there(own / RECORD) or not same else same[0]


def recipe_name(recipe: Recipe, train: bool) -> str:
    """Return the name that a run with `recipe` has in messages and in its record."""
    return recipe.name if train or recipe.pooling else NO_TRAINING


def recipe_record(recipe: Recipe, model_id: str, overrides: dict[str, Any], train: bool) -> RecipeRecord:
    """Return what a run's record says of `recipe` for this model; `overrides` are the values replaced in it already."""
    name = recipe_name(recipe, train)
    if recipe.pooling:
        values = recipe.model_dump(include={"max_length", "pooling", "layer"})
        return RecipeRecord(name=name, values=values, overrides=overrides)
    if not train:
        kept = {key: value for key, value in overrides.items() if key == "max_length"}
        return RecipeRecord(name=name, values={"max_length": recipe.max_length}, overrides=kept)
    excluded = NOT_OF_TRAINING if recipe.adaptation == "lora" else NOT_OF_TRAINING.union(LORA_KEYS)
    values = recipe.model_dump(exclude=excluded)
    values["learning_rate"] = recipe.learning_rate_for(model_id)
    return RecipeRecord(name=name, values=values, overrides=overrides)


def changing(overrides: dict[str, Any], recipe: Recipe, changed: Recipe, model_id: str, train: bool) -> dict[str, Any]:
    """Return the `overrides` that change a value for this model; all of them turned `recipe` into `changed`.

    `--warmup-share 0` is one of them if the recipe has `warmup_steps`, which it sets aside.
    """
    own, new = (recipe_record(each, model_id, {}, train).values for each in (recipe, changed))
    return {
        key: value
        for key, value in overrides.items()
        if key not in own or any(own[name] != new[name] for name in (_WARMUP if key in _WARMUP else (key,)))
    }


def override(recipe: Recipe, overrides: dict[str, Any]) -> Recipe:
    """Return `recipe` with some of its values replaced. Raises DefinitionError for a value that no recipe may have."""
    try:
        changed = recipe.model_dump(mode="json") | overrides
        if "learning_rate" in overrides:
            changed["learning_rate_by_model"] = {}
        if "warmup_steps" in overrides and "warmup_share" not in overrides:
            changed["warmup_share"] = 0.0
        if "warmup_share" in overrides and "warmup_steps" not in overrides:
            changed["warmup_steps"] = None
        if "layer" in overrides:
            changed["layer_by_depth"] = {}
        return Recipe.model_validate_json(json.dumps(changed))
    except ValidationError as error:
        raise DefinitionError(f"recipe {recipe.name}: {first_complaint(error)}") from error


def fitting(task: Task, recipe: Recipe) -> Recipe:
    """Return `recipe` unchanged if it fits `task`.

    Raises DefinitionError if the recipe trains and the task's kind does not, or the reverse, and if a package that the
    recipe needs is not installed.
    """
    refuse_without_peft(recipe)
    if task.of_kind.trains == (recipe.pooling is None):
        return recipe
    wanted, got = ("how to train", "a pooling") if task.of_kind.trains else ("a pooling", "how to train")
    raise DefinitionError(
        f"recipe {recipe.name}: task {task.name} needs one that says {wanted}, and this one says {got};"
        f" use --recipe {task.default_recipe}"
    )


def with_layer(recipe: Recipe, checkpoint: Checkpoint) -> Recipe:
    """Return `recipe` with the layer of this encoder to take vectors from; leave a recipe that trains as it is.

    Raises DefinitionError if the encoder has fewer layers than the recipe wants, or the recipe names no layer for an
    encoder of this depth.
    """
    if recipe.pooling is None and not recipe.layers_frozen:
        return recipe
    n_layers = count_layers(checkpoint)
    if recipe.pooling is None:
        if recipe.layers_frozen and recipe.layers_frozen > n_layers:
            raise DefinitionError(
                f"recipe {recipe.name}: {checkpoint.id} has {n_layers} layers, so layers_frozen"
                f" {recipe.layers_frozen} is too many; give --layers-frozen"
            )
        return recipe
    layer = recipe.layer_of(n_layers)
    if layer is None or layer > n_layers:
        problem = "names no layer for that many" if layer is None else f"names layer {layer}"
        raise DefinitionError(
            f"recipe {recipe.name}: {checkpoint.id} has {counted(n_layers, 'layers')}, and it {problem}; give --layer"
        )
    return recipe.model_copy(update={"layer": layer})


def declare(name: str | None, seeds: Sequence[int], models: Sequence[str], train: bool) -> dict[str, Declared]:
    """Declare each model to be one seed of `name`, numbered by `seeds` or else 1, 2, 3 … in their order.

    Returns the declarations by model, none if `name` is None. Raises DefinitionError if runs here train, if the name is
    invalid, and unless there is one seed for each model and none of them twice.
    """
    if name is None:
        return {}
    if train:
        raise DefinitionError("seeds of: what is trained here has seeds of its own; leave it out, or add --no-train")
    try:
        TypeAdapter(HubId).validate_python(name)
    except ValidationError as error:
        raise DefinitionError(f"seeds of: wanted a name of letters, digits and ._-, got {name!r}") from error
    numbers = list(seeds) or list(range(1, len(models) + 1))
    if len(numbers) != len(models) or len(set(numbers)) != len(numbers) or len(set(models)) != len(models):
        raise DefinitionError(
            f"seeds of {name}: wanted one seed for each of {counted(len(models), 'models')}, none of them twice, got"
            f" {', '.join(map(str, numbers))}"
        )
    return {model: Declared(name, seed) for model, seed in zip(models, numbers, strict=True)}


def limits(max_train: int | None, max_eval: int | None, test_split: str | None = None) -> Limits:
    for name, limit in (("max_train", max_train), ("max_eval", max_eval)):
        if limit is not None and limit < 1:
            raise DefinitionError(f"{name}: wanted a number of rows of at least 1, got {limit}")
    eval_seed = None if max_eval is None else EVAL_SEED
    return Limits(max_train=max_train, max_eval=max_eval, eval_seed=eval_seed, test_split=test_split)
