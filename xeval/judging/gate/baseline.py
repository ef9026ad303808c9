"""The baseline of the gate: its nouns, and Baseline ↔ TOML.

A baseline holds what a person has looked at and blessed. It is reviewed like code, so it states its content in words
and in percent; the gate computes with the counts.
"""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from xeval.definitions.reference import Percentage
from xeval.definitions.toml import Frozen, LanguageCode, Text, read_definition
from xeval.results.adaptations import settings_of
from xeval.results.configurations import in_words
from xeval.results.identity import canonical
from xeval.results.records import Fraction, Limits, Sha256
from xeval.support.errors import StoreError
from xeval.support.files import write_output
from xeval.support.text import one_line

MAX_BYTES = 50_000_000  # 10,000 configurations of 15 languages
ROUNDING = 0.006  # of a percentage with two decimals
ACCURACY = "accuracy"  # right rows are counted for it; it was the only metric of version 0.1.0
LEAST_SEEDS = 2  # with one seed, a drop cannot be told from chance in training

Count = Annotated[int, Field(ge=0)]
Setting = int | float | Text
Phase = Literal["train", "evaluate"]
Speed = Annotated[float, Field(gt=0)]  # pairs per second


class Cell(Frozen):
    """One language of one configuration. Lists with one number for each seed are in the order of the seeds.

    For accuracy, right rows are counted; for any other metric, its values are listed.
    """

    accuracy_percent: Percentage | None = None  # mean over seeds
    value_percent: Percentage | None = None  # for another metric: mean over seeds
    seed_sd_points: Annotated[float, Field(ge=0, le=100)] | None = None  # absent without training
    ci95_percent: tuple[Percentage, Percentage] | None = None  # only without training: rows are then the sample
    n_examples: Annotated[int, Field(gt=0)]
    n_correct: Annotated[tuple[Count, ...], Field(min_length=1, max_length=1000)] | None = None
    values: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=1000)] | None = None

    @property
    def scores(self) -> list[float]:
        """The metric's value for each seed, in percent."""
        if self.n_correct is not None:
            return [100 * correct / self.n_examples for correct in self.n_correct]
        return [100 * value for value in self.values or ()]

    @model_validator(mode="after")
    def _agrees(self) -> "Cell":
        counted = self.n_correct is not None
        if counted == (self.values is not None) or counted != (self.accuracy_percent is not None):
            raise ValueError("wanted accuracy_percent and n_correct, or value_percent and values")
        if self.n_correct is not None and max(self.n_correct) > self.n_examples:
            raise ValueError("n_correct exceeds n_examples")
        name, percent = ("accuracy", self.accuracy_percent) if counted else ("value", self.value_percent)
        if percent is None or abs(statistics.fmean(self.scores) - percent) > ROUNDING:
            source, mean = "n_correct" if counted else "values", statistics.fmean(self.scores)
            raise ValueError(f"{name}_percent is {percent}, but {source} gives {mean:.2f}")
        return self


class Blessed(Frozen):
    """The seeds of one (task, model, settings), which the gate compares with the same seeds of later runs."""

    task: Text
    metric: Text = ACCURACY
    n_labels: Annotated[int, Field(ge=2)] | None = None  # only in files of version 0.1.0; records have it now
    model: Text
    model_revision: Text | None = None
    model_sha256: Sha256
    trained: bool  # False: evaluated as it is, and not declared to be one of several seeds
    settings: dict[Text, Setting]  # recipe, each of its values, limits, dtype
    overrides: dict[Text, Setting] = Field(default_factory=dict)  # settings that the command line changed
    seeds: Annotated[tuple[Count, ...], Field(min_length=1, max_length=1000)]
    weights_sha256: tuple[Sha256, ...] = ()  # of each seed's fine-tuned weights; none without training
    mean_percent: Percentage  # over languages and seeds
    mean_seed_sd_points: Annotated[float, Field(ge=0, le=100)] | None = None
    languages: Annotated[dict[LanguageCode, Cell], Field(min_length=1)]
    throughput_pairs_per_s: dict[Phase, tuple[Speed, ...]] = Field(default_factory=dict)
    hardware: dict[Text, Setting]
    versions: dict[Text, Text]
    data_sha256: dict[Text, dict[LanguageCode, Sha256]]  # split → language → hash of the rows' content
    _unlike: dict[str, Setting] = PrivateAttr(default_factory=dict)  # settings to tell it from others of its name

    @model_validator(mode="after")
    def _agrees(self) -> "Blessed":
        if list(self.seeds) != sorted(set(self.seeds)):
            raise ValueError("seeds: wanted each once, in ascending order")
        if self.trained and len(self.seeds) < LEAST_SEEDS:
            raise ValueError(f"wanted at least {LEAST_SEEDS} seeds, got {len(self.seeds)}")
        if len(self.weights_sha256) != len(self.seeds) * self.trained:
            raise ValueError("weights_sha256: wanted one hash for each seed of a training run")
        for language, cell in self.languages.items():
            if len(cell.scores) != len(self.seeds):
                own = "n_correct" if cell.n_correct is not None else "values"
                raise ValueError(f"languages.{language}.{own}: wanted one number for each of {len(self.seeds)} seeds")
            if not self.trained and cell.ci95_percent is None:
                raise ValueError(f"languages.{language}: without training, ci95_percent is needed")
        mean = statistics.fmean(statistics.fmean(cell.scores) for cell in self.languages.values())
        if abs(mean - self.mean_percent) > ROUNDING:
            raise ValueError(f"mean_percent is {self.mean_percent}, but the languages give {mean:.2f}")
        if any(len(speeds) != len(self.seeds) for speeds in self.throughput_pairs_per_s.values()):
            raise ValueError("throughput_pairs_per_s: wanted one number for each seed")
        return self

    @property
    def key(self) -> str:
        return key_of(self.task, self.model, self.settings, self.metric)

    @property
    def name(self) -> str:
        """The configuration in words, on one line, with what tells it from others of the baseline."""
        return name_of(self.task, self.model, self.settings, self.overrides | self._unlike, self.trained)


class Baseline(Frozen):
    """A whole baseline file."""

    format: Literal[1] = 1
    configurations: Annotated[tuple[Blessed, ...], Field(min_length=1, max_length=10_000)]

    @model_validator(mode="after")
    def _distinct(self) -> "Baseline":
        if len({configuration.key for configuration in self.configurations}) != len(self.configurations):
            raise ValueError("two configurations have the same task, model and settings")
        for alike in self._by_name().values():
            first = alike[0].settings
            keys = {key for own in alike for key in own.settings | first if own.settings.get(key) != first.get(key)}
            for own in alike:
                own._unlike = {key: value for key, value in own.settings.items() if key in keys}
        return self

    def _by_name(self) -> dict[str, list[Blessed]]:
        """Group configurations by short name: a recipe's file may have been edited between the runs of two of them."""
        groups: dict[str, list[Blessed]] = {}
        for own in self.configurations:
            name = name_of(own.task, own.model, own.settings, own.overrides, own.trained)
            groups.setdefault(name, []).append(own)
        return groups


def key_of(task: str, model: str, values: Mapping[str, Setting], metric: str) -> str:
    """Return a text that is equal for runs that may be compared with each other."""
    return json.dumps([task, model, {key: canonical(value) for key, value in values.items()}, metric], sort_keys=True)


def name_of(
    task: str, model: str, values: Mapping[str, Setting], overrides: Mapping[str, Setting], trained: bool
) -> str:
    """Return a configuration in words, on one line. `values` are its settings; `overrides`, the changed ones."""
    limits = {key: values[key] for key in Limits.model_fields if key in values and (trained or key != "max_train")}
    recipe = in_words(str(values.get("recipe", "")), settings_of(values) | dict(overrides), limits)
    parts = [model, recipe, values.get("dtype", "")]
    return one_line(f"{task}: {', '.join(str(part) for part in parts if part != '')}")


def read(path: Path) -> Baseline:
    """Read the baseline file at `path`. Raises DefinitionError with the file, the place, what was wanted and got."""
    return read_definition(path, Baseline, MAX_BYTES)


HEADER = """\
# Made by `xeval bless`; `xeval check` compares later runs with it. Review it, and make it again rather than edit it.
# accuracy_percent (for other metrics, value_percent) is the mean over the seeds. n_correct (for other metrics, values,
# which are fractions) has one number for each seed, in their order.
"""


def write(path: Path, baseline: Baseline) -> None:
    """Write `baseline` as TOML. Raises StoreError if it is too large or cannot be written."""
    content = to_toml(baseline).encode()
    if len(content) > MAX_BYTES:
        raise StoreError(f"{path}: wanted at most {MAX_BYTES:,} bytes, got {len(content):,}; bless fewer runs")
    write_output(path, content)


def to_toml(baseline: Baseline) -> str:
    import tomlkit

    def inline(cell: dict[str, Any]) -> Any:
        table = tomlkit.inline_table()
        table.update(cell)
        return table

    content = baseline.model_dump(mode="json", exclude_none=True)
    for configuration in content["configurations"]:
        if configuration["metric"] == ACCURACY:
            del configuration["metric"]
        configuration["languages"] = {name: inline(cell) for name, cell in configuration["languages"].items()}
    return HEADER + "\n" + tomlkit.dumps(content)
