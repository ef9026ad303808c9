"""A suite (several tasks with one score over all of them), as its file describes it, and published tables over one."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from xeval.definitions.languages import code_among
from xeval.definitions.reference import Percentage, Protocol, lint_rows
from xeval.definitions.toml import FilePattern, Frozen, HubId, LanguageCode, Name, Printed, Text


class SuiteTask(Frozen):
    """One task of a suite. Its score is the mean over its languages."""

    task: Name
    group: Text
    """The group it belongs to; each group has an average of its own."""
    folders: tuple[FilePattern, ...] = ()
    """Names that its folder below --data may have; if there is none, its files are looked for in --data itself."""
    recipe: Name | None = None
    """The recipe to train with; default: the task's."""
    metrics: tuple[Name, ...] = ()
    """The metrics whose mean is its score; default: the task's own metric."""
    languages: tuple[LanguageCode, ...] = ()
    """The languages that the suite averages over; default: all of the task's."""

    @model_validator(mode="after")
    def _each_once(self) -> "SuiteTask":
        for key in ("metrics", "languages"):
            if len(set(getattr(self, key))) != len(getattr(self, key)):
                raise ValueError(f"task {self.task!r}: {key} lists one twice")
        return self

    def languages_among(self, of_task: Sequence[str], names: Sequence[str]) -> list[str]:
        """Return the languages that the suite averages over; if there are `names`, only the languages with those names.

        `of_task` are the task's languages. A name is a code of any standard or an English name.
        """
        codes = list(self.languages or of_task)
        wanted = {code_among(codes, name) for name in names}
        return [code for code in codes if not names or code in wanted]


class Suite(Frozen):
    """Several tasks with one score: the mean over the tasks, each with equal weight."""

    name: Name
    """Its name on the command line, in place of a task's."""
    title: Text
    source_url: Text
    """Where the averaging rule is published."""
    note: str = ""
    """Printed under every report of this suite."""
    tasks: Annotated[tuple[SuiteTask, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> "Suite":
        if len({member.task for member in self.tasks}) != len(self.tasks):
            raise ValueError("tasks: one is listed twice")
        return self

    @property
    def groups(self) -> dict[str, list[SuiteTask]]:
        """The tasks of each group, in the file's order."""
        groups: dict[str, list[SuiteTask]] = {}
        for member in self.tasks:
            groups.setdefault(member.group, []).append(member)
        return groups


class SuiteRow(Frozen):
    """One published row: a score in percent for each task that the source has."""

    name: Text
    """Its name in the table."""
    model: HubId | None = None
    """Absent if the source does not say which checkpoint of the hub it is, or if there is none."""
    cells: Annotated[dict[Name, Percentage], Field(min_length=1)]
    protocol: Protocol = "zero-shot"
    """How the row was obtained, if not by training and selecting in one language."""
    claimed_average: Percentage | None = None
    """The average, as printed."""
    average_note: str = ""
    """Known reason why the claimed average differs from the recomputed one."""

    @property
    def average(self) -> float:
        """The mean of the cells, recomputed."""
        return sum(self.cells.values()) / len(self.cells)

    @property
    def average_tolerance(self) -> float:
        """How far `claimed_average` may be from `average`: the claim was rounded, and so was each cell."""
        decimals = max(Printed(cell).decimals for cell in self.cells.values())
        return float(0.1 ** Printed(self.claimed_average or 0.0).decimals + 0.1**decimals) / 2


class SuiteTable(Frozen):
    """A published table over the tasks of a suite."""

    name: Name
    title: Text
    suite: Name
    source_url: Text
    note: str = ""
    """What is known about it; printed under every report that shows it."""
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Its tasks, in the table's own order."""
    metrics: dict[Name, tuple[Name, ...]] = {}
    """The metrics of its numbers for a task, if they are not the suite's."""
    rows: Annotated[tuple[SuiteRow, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _lint(self) -> "SuiteTable":
        lint_rows(self.rows, "task", self.tasks)
        return self
