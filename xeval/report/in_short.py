"""Matrix → a line for each model: its mean, the published mean, and how many languages have which outcome."""

from collections.abc import Sequence
from dataclasses import dataclass

from xeval.definitions.model_name import short_name
from xeval.judging.verdict import NO_VERDICT
from xeval.report import verdicts
from xeval.report.matrix import Matrix, Row
from xeval.support.text import capitalised, one_decimal


@dataclass(frozen=True)
class InShort:
    """A row of ours. Numbers are as printed; a dash stands for a missing number."""

    name: str  # of the model
    how: str  # how it was trained
    own_name: str  # the model's, with how it was trained if other rows are of the same model
    row: Row
    mean: str
    mark: str
    outcome: str
    published: str
    gap: str
    tally: dict[str, int]  # outcome → number of languages

    @property
    def by_language(self) -> str:
        """The outcomes by language, as `✗ not reproduced 1 (es) · ≈ agrees 11`. Empty without a published row."""
        if self.row.verdict is None:
            return ""
        return verdicts.by_language(self.row.verdict) if self.tally.keys() != {NO_VERDICT} else capitalised(NO_VERDICT)


def of(matrix: Matrix) -> list[InShort]:
    """Return a line for each row of ours, in their order."""
    names = _names(matrix.ours)
    return [_in_short(row, name, names.count(name) > 1) for row, name in zip(matrix.ours, names, strict=True)]


def _names(rows: Sequence[Row]) -> list[str]:
    """Return short names of the models, or full names where short ones would be the same."""
    ids = [row.runs[0].record.model.id for row in rows]
    of_short: dict[str, set[str]] = {}
    for model in ids:
        of_short.setdefault(short_name(model), set()).add(model)
    return [short_name(model) if len(of_short[short_name(model)]) == 1 else model for model in ids]


def _in_short(row: Row, name: str, is_shared: bool) -> InShort:
    mean = row.verdict.mean if row.verdict else None
    compared = mean.comparison if mean else None
    how = row.name.removeprefix(row.runs[0].record.model.id).removeprefix(", ")
    shown = row.mean_reference if row.mean_reference is not None else row.mean_all
    return InShort(
        name=name,
        how=how,
        own_name=f"{name}, {how}" if is_shared and how else name,
        row=row,
        mean=verdicts.number(compared.ours if compared else shown),
        mark=verdicts.MARKS[mean.outcome] if mean and compared else "",
        outcome=mean.outcome if mean else "",
        published=one_decimal(mean.published) if mean and compared else "–",
        gap=verdicts.number(row.printed_gap),
        tally=verdicts.tally(row.verdict) if row.verdict else {},
    )
