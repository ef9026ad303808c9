"""Configurations, which runs are seeds of: the class, the grouping of runs by it, and its name for people."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from xeval.results.adaptations import settings_of
from xeval.results.identity import canonical, ingredients_of, with_later_keys
from xeval.results.records import RunRecord, SweepRecord
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.text import numbered, one_line


@dataclass(frozen=True)
class Configuration:
    """A task and everything that weights depend on except the seed. Runs that differ only in the seed share it.

    Models and rows count by their content, so one model under two names is one configuration. Checkpoints that the user
    declared to be seeds of one configuration count by the name that they were given together.
    """

    task: str
    key: str  # all ingredients, as one text
    example: RunRecord = field(compare=False, repr=False)  # the record of one of its runs, which names are made from

    @classmethod
    def of(cls, record: RunRecord) -> "Configuration":
        """Return the configuration that `record` is a seed of."""
        parts = ingredients_of(record)
        del parts["labels"]  # the rows have the labels' numbers, and some old records lack their names
        parts["model"] = record.model_of_seeds
        return cls(record.task, json.dumps(parts, sort_keys=True), record)

    @property
    def in_words(self) -> str:
        """The recipe, how it adapts the encoder, the values that the command line changed, and the limits.

        For instance `hf-2019, epochs 3, max train 960`.
        """
        recipe, limits = self.example.recipe, self.example.limits.model_dump()
        if self.example.is_as_it_was:  # a limit on training rows was set for other tasks, and changed nothing here
            del limits["max_train"]
        text = in_words(recipe.name, settings_of(recipe.values) | recipe.overrides, limits)
        return f"{text}, translate-train {self.example.training_language}" if self.example.is_translate_train else text

    def name(self, others: Collection["Configuration"] = (), has_settings: bool = True) -> str:
        """Return the model, `in_words` if `has_settings`, and whatever distinguishes it from `others` of the model."""
        record = self.example
        twins = [
            other.example for other in others if other.example.model.id == record.model.id and other.key != self.key
        ]
        parts = [record.model.id, *([self.in_words] if has_settings else [])]
        if not record.is_translate_train and any(twin.training_language != record.training_language for twin in twins):
            parts.append(f"trained on {record.training_language}")
        if any(twin.dtype != record.dtype for twin in twins):
            parts.append(record.dtype)
        if any(twin.model_of_seeds != record.model_of_seeds for twin in twins):
            parts.append(f"@{(record.model.revision or record.model.sha256)[:8]}")
        alike = [other for other in others if other.example in twins and other.in_words == self.in_words]
        alike = [other for other in alike if other.example.training_language == record.training_language]
        parts += _other_values(record, [other.example for other in alike])
        if any(_training_rows(other.example) != _training_rows(record) for other in alike):
            parts.append(f"rows {_training_rows(record)}")
        unused = record.limits.max_train  # if there were any training, `in_words` would differ
        if unused and any(other.example.limits.max_train != unused for other in alike):
            parts.append(f"max train {unused:,}")
        return ", ".join(parts)

    @cached_property
    def traits(self) -> dict[str, object]:
        """The values that distinguish it, by the words that select it on the command line."""
        record = self.example
        model = record.model
        version = {"revision": model.revision[:12]} if model.revision else {"sha256": model.sha256[:12]}
        if record.declared is not None:
            version = {}
        return {
            "task": record.task,
            "model": model.id,
            **version,
            "recipe": record.recipe.name,
            "training_language": record.training_language,
            **with_later_keys(record.recipe.values),
            **record.limits.model_dump(),
            "dtype": record.dtype,
            "rows": _training_rows(record),
        }


def by_configuration(runs: Iterable[StoredRun]) -> dict[Configuration, list[StoredRun]]:
    """Group `runs` by configuration, each group in the order of its seeds.

    Raises StoreError if a configuration has the same seed twice, which would count as two training runs.
    """
    groups: dict[Configuration, dict[int, StoredRun]] = {}
    for run in runs:
        configuration = Configuration.of(run.record)
        seeds = groups.setdefault(configuration, {})
        if run.record.seed in seeds:
            first = seeds[run.record.seed]
            name = one_line(Configuration.of(first.record).name())
            raise StoreError(
                f"seed {run.record.seed} of {name} is there twice, which is one training run, not two seeds:"
                f" {first.folder} and {run.folder}; move one of them out of the results"
            )
        seeds[run.record.seed] = run
    return {configuration: [seeds[seed] for seed in sorted(seeds)] for configuration, seeds in groups.items()}


def names_of_runs(records: Iterable[RunRecord], among: Collection[Configuration]) -> str:
    """Name runs in a sentence, as `distilmbert hf-2019 seeds 1, 2`.

    If other configurations `among` those shown have the same model and recipe, whatever else differs is added.
    """
    seeds: dict[Configuration, list[int]] = {}
    for record in records:
        seeds.setdefault(Configuration.of(record), []).extend([record.seed] if record.has_seed else [])
    short = {own: f"{own.example.model.id} {own.example.recipe.name}" for own in {*among, *seeds}}
    shared = Counter(short.values())
    names = {own: short[own] if shared[short[own]] == 1 else f"{own.name(among)}," for own in seeds}
    return "; ".join(
        f"{names[own]} {numbered('seeds', numbers)}" if numbers else names[own].rstrip(",")
        for own, numbers in seeds.items()
    )


def sweep_of(records: Iterable[RunRecord]) -> SweepRecord | None:
    """Return the sweep that chose recipe values for these seeds: the one with the most trials; None without any."""
    return max((record.sweep for record in records if record.sweep), key=lambda sweep: sweep.budget, default=None)


def in_words(recipe: str, overrides: Mapping[str, Any], limits: Mapping[str, Any]) -> str:
    """Return a recipe's name, its changed values and the limits in one line."""
    parts = [recipe, *(f"{key} {value}" for key, value in overrides.items())]
    drawn = {"max_eval": " drawn evenly" if limits.get("eval_seed") else ""}
    parts += [
        f"{key.replace('_', ' ')} {_grouped(value)}{drawn.get(key, '')}"
        for key, value in limits.items()
        if value and key != "eval_seed"
    ]
    return ", ".join(parts)


def _grouped(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _other_values(record: RunRecord, alike: Iterable[RunRecord]) -> list[str]:
    """Return the recipe's values that are not those of all `alike`, whose recipes have the same name."""
    values, others = with_later_keys(record.recipe.values), [with_later_keys(other.recipe.values) for other in alike]
    return [
        f"{key} {value}"
        for key, value in values.items()
        if value is not None and any(canonical(other.get(key)) != canonical(value) for other in others)
    ]


def _training_rows(record: RunRecord) -> str:
    """Return a short name for the training and selection rows; empty if there was no training."""
    hashes = [sha256 for split in ("train", "selection") for sha256 in record.data.sha256.get(split, {}).values()]
    return "+".join(sha256[:8] for sha256 in hashes)
