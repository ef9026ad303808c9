"""Everything that a run's weights depend on, and the identity that follows from it.

Only these things count: the training and selection rows, the model and the recipe by content, how rows become token
ids, labels, limits, arithmetic, and the seed. Names, notes, test rows, a task's languages and the hub's revisions do
not.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from xeval.definitions.recipe import LORA_KEYS, NOT_OF_TRAINING, Recipe
from xeval.results.records import Limits, RunRecord

# A recipe's keys in version 0.1.0. A later key counts only if its value is not the default, since 0.1.0 did what the
# default says.
_FIRST_KEYS = frozenset(
    {
        "learning_rate",
        "batch_size",
        "epochs",
        "max_steps",
        "max_length",
        "warmup_share",
        "weight_decay",
        "max_grad_norm",
        "selection",
        "evaluate_every_steps",
        "patience",
    }
)


_SOME_ROWS = 1  # stands for any number


def ingredients(  # noqa: PLR0913  one parameter for each thing that counts
    *,
    kind: str,
    encoding: str,
    labels: list[str] | None,
    rows_sha256: Mapping[str, Mapping[str, str]],
    model_sha256: str,
    recipe_values: Mapping[str, Any],
    limits: Limits,
    dtype: str,
) -> dict[str, Any]:
    """Return everything that weights depend on except the seed, as plain values.

    `rows_sha256`: split → language → hash.
    """
    return {
        "kind": kind,
        "encoding": encoding,
        "labels": labels,
        "rows": {split: dict(hashes) for split, hashes in rows_sha256.items() if split != "test"},
        "model": model_sha256,
        "recipe": lasting_values(recipe_values),
        "limits": {key: value for key, value in limits.model_dump().items() if value is not None},
        "dtype": dtype,
    }


def ingredients_of(record: RunRecord) -> dict[str, Any]:
    """Return the same for the existing run of `record`.

    `max_eval` of predictions computed elsewhere is the most rows that a language has, which may grow with the next
    language, so what counts is that there is one.
    """
    limits = record.limits
    if record.computed_elsewhere and limits.max_eval is not None:
        limits = limits.model_copy(update={"max_eval": _SOME_ROWS})
    return ingredients(
        kind=record.kind,
        encoding=record.encoding,
        labels=record.labels,
        rows_sha256=record.data.sha256,
        model_sha256=record.model.sha256,
        recipe_values=record.recipe.values,
        limits=limits,
        dtype=record.dtype,
    )


def identity(parts: Mapping[str, Any], seed: int) -> str:
    """Return the SHA-256 of these ingredients and the seed."""
    return hashlib.sha256(json.dumps({**parts, "seed": seed}, sort_keys=True).encode()).hexdigest()


def is_of(record: RunRecord, parts: Mapping[str, Any], seed: int) -> bool:
    """Return whether `record` is the run of these ingredients and this seed. If it has no labels, any are accepted."""
    own = _labelled(record, parts)
    return identity(own, record.seed) == identity(parts, seed)


def is_training_of(record: RunRecord, parts: Mapping[str, Any], seed: int) -> bool:
    """Return whether the training in `record` is that of the run of these ingredients and this seed.

    Another split, or other rows of it, may have been evaluated.
    """
    own = _labelled(record, parts)
    mine, of_record = identity(_of_training(parts), seed), identity(_of_training(own), record.seed)
    return record.training is not None and mine == of_record


def _labelled(record: RunRecord, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record's ingredients, with the labels of `parts` if it has none."""
    own = ingredients_of(record)
    if own["labels"] is None:
        own["labels"] = parts["labels"]
    return own


def _of_training(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ingredients that affect the weights. Selection rows do so only if something is chosen by them."""
    recipe = parts["recipe"]
    chooses = recipe.get("selection") != "last" or recipe.get("patience") is not None
    rows = {split: hashes for split, hashes in parts["rows"].items() if chooses or split != "selection"}
    limits = {key: value for key, value in parts["limits"].items() if key == "max_train"}
    return {**parts, "rows": rows, "limits": limits}


def lasting_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values without the keys that 0.1.0 did not have and that are at their default."""
    fields = Recipe.model_fields
    return {
        key: canonical(value)
        for key, value in values.items()
        if key in _FIRST_KEYS or key not in fields or canonical(value) != canonical(fields[key].default)
    }


def with_later_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values with the keys that an older record lacks, at the default, which is what was done."""
    if "learning_rate" not in values:  # nothing was trained
        return dict(values)
    later = Recipe.model_fields.keys() - _FIRST_KEYS - NOT_OF_TRAINING - set(LORA_KEYS) - values.keys()
    return {**values, **{key: field.default for key, field in Recipe.model_fields.items() if key in later}}


def canonical(value: Any) -> Any:
    """Return `value` as a list for a tuple and as an int for a whole float, so that equal values give the same JSON."""
    if isinstance(value, tuple | list):
        return [canonical(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
