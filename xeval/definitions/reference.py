"""A published table: its rows, its claims, and where it is published."""

import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator, model_validator

from xeval.definitions.recipe import Adaptation
from xeval.definitions.toml import Frozen, HubId, LanguageCode, Name, Printed, Text


def _as_printed(value: Any, check: Callable[[Any], float]) -> float:
    check(value)
    return Printed(value)


Protocol = Literal[
    "zero-shot",
    "selected on target languages",
    "translate-train",
    "translate-test",
    "multilingual training",
]
Percentage = Annotated[float, Field(ge=0, le=100), WrapValidator(_as_printed)]


class ReferenceRow(Frozen):
    """One published row, with scores in percent."""

    name: Text
    """Its name in the table."""
    model: HubId
    cells: Annotated[dict[LanguageCode, Percentage], Field(min_length=1)]
    how: Text
    """How the scores were obtained: computed, reported from elsewhere, mean of seeds …"""
    selection: Text = "not published"
    protocol: Protocol = "zero-shot"
    """How the row was obtained. A row that is not zero-shot is shown, but verdicts never compare with it."""
    adaptation: Adaptation = "full"
    """Which part of the encoder was trained; verdicts compare the row only with runs that trained the same part."""
    layers_frozen: Annotated[int, Field(ge=0, le=1000)] | None = None
    """How many of the lowest layers were frozen, together with the embeddings."""
    recipe: Name | None = None
    """The recipe that `xeval reproduce` trains with; absent if the row cannot come from training in one language."""
    recipe_published: bool = False
    """Whether the source names that recipe."""
    n_seeds: Annotated[int, Field(gt=0)] | None = None
    """Number of training runs behind the row."""
    spread: dict[LanguageCode, Annotated[float, Field(ge=0, le=50)]] = {}
    """Standard deviation between seeds, in points."""
    claimed_average: Percentage | None = None
    """The average, as printed."""
    average_note: str = ""
    """Known reason why the claimed average differs from the recomputed one."""

    @property
    def is_trained_zero_shot(self) -> bool:
        """Whether the model was trained in one language alone, whatever its checkpoint was selected on."""
        return self.protocol in ("zero-shot", "selected on target languages")

    @model_validator(mode="after")
    def _recipe_of_training(self) -> "ReferenceRow":
        if self.is_trained_zero_shot and self.recipe is None:
            raise ValueError(f"row {self.name!r}: recipe is missing, which says what to train with")
        return self

    @model_validator(mode="after")
    def _one_adaptation(self) -> "ReferenceRow":
        if self.layers_frozen is not None and self.adaptation != "full":
            raise ValueError(f"row {self.name!r}: layers_frozen and adaptation {self.adaptation}; leave out one")
        return self

    @model_validator(mode="after")
    def _spread_of_seeds(self) -> "ReferenceRow":
        if self.spread and self.spread.keys() != self.cells.keys():
            raise ValueError(f"row {self.name!r}: spread must have the same languages as cells")
        if self.spread and (self.n_seeds or 1) < 2:
            raise ValueError(f"row {self.name!r}: a spread between seeds needs n_seeds of at least 2")
        return self

    @property
    def decimals(self) -> int:
        """The most decimals that a cell has: in a table of tenths, 82.0 may have been typed as 82."""
        return max(Printed(cell).decimals for cell in self.cells.values())

    @property
    def average(self) -> float:
        """The mean of the cells, recomputed."""
        return sum(self.cells.values()) / len(self.cells)

    @property
    def average_tolerance(self) -> float:
        """How far `claimed_average` may be from `average`: the claim was rounded, and so was each cell."""
        decimals = Printed(self.claimed_average).decimals if self.claimed_average is not None else self.decimals
        return float(0.1**decimals + 0.1**self.decimals) / 2


class Row(typing.Protocol):
    """The attributes that rows of every published table have."""

    @property
    def name(self) -> str: ...
    @property
    def cells(self) -> Mapping[str, float]: ...
    @property
    def claimed_average(self) -> float | None: ...
    @property
    def average_note(self) -> str: ...
    @property
    def average(self) -> float: ...
    @property
    def average_tolerance(self) -> float: ...


def lint_rows(rows: Sequence[Row], column: str, columns: Collection[str]) -> None:
    """Raise ValueError for two rows with one name, a cell in no column, or an average that the cells do not give.

    A row with an `average_note` may claim any average.
    """
    if len({row.name for row in rows}) != len(rows):
        raise ValueError("two rows have the same name")
    for row in rows:
        strays = set(row.cells) - set(columns)
        if strays:
            raise ValueError(f"row {row.name!r} has a {column} that the table's list lacks: {min(strays)!r}")
        claimed = row.claimed_average
        if claimed is not None and abs(claimed - row.average) > row.average_tolerance and not row.average_note:
            raise ValueError(
                f"row {row.name!r} claims an average of {claimed} where its cells give {row.average:.2f};"
                " correct it, or say in average_note that the source prints it so"
            )


class Claim(Frozen):
    """What the source says about a model in addition to its accuracies: a size, or a ratio of speeds."""

    model: HubId
    what: Literal["parameters", "layers", "hidden_size", "attention_heads", "times_as_fast"]
    value: Annotated[float, Field(gt=0)]
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far off a number may be and still be printed like this."""
    than: HubId | None = None
    """The model that the speed is compared with."""
    printed: Text
    """The source's own words."""
    source_url: Text

    @model_validator(mode="after")
    def _speed_of_two(self) -> "Claim":
        if (self.what == "times_as_fast") != (self.than is not None):
            raise ValueError(
                f"claim {self.printed!r}: than names the slower model of times_as_fast, and goes with nothing else"
            )
        return self


class Reference(Frozen):
    """A published table: its rows, where it is published, and what is known about it."""

    name: Name
    title: Text
    task: Name
    metric: Name = "accuracy"
    """The metric of the numbers; runs scored by another metric are not compared with them."""
    split: Text
    """The rows behind the numbers: "test", or the data's own name for the task's test split. A remark may follow in
    parentheses. Runs are not judged against numbers on other rows."""
    source_url: Text
    note: str = ""
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1)]
    """Its languages, in the table's own order."""
    rows: Annotated[tuple[ReferenceRow, ...], Field(min_length=1)]
    claims: tuple[Claim, ...] = ()

    @property
    def split_name(self) -> str:
        """The split without the remark, in lower case."""
        return self.split.partition("(")[0].strip().casefold()

    @model_validator(mode="after")
    def _lint(self) -> "Reference":
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: one is listed twice")
        lint_rows(self.rows, "language", self.languages)
        named = {model for claim in self.claims for model in (claim.model, claim.than) if model is not None}
        unknown = named - {row.model for row in self.rows}
        if unknown:
            raise ValueError(f"a claim is about {min(unknown)!r}, for which there is no row")
        return self
