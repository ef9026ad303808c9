"""The comparison matrix: published rows with ours directly below them, as plain numbers in percent.

Every format is drawn from this one frame-like object, so that no two of them can disagree.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from xeval.definitions.reference import Reference, ReferenceRow
from xeval.judging.claims import ClaimVerdict, check
from xeval.judging.verdict import RowVerdict, Tolerance, collapse, judge, row_of
from xeval.report import footnotes
from xeval.results.findings import Finding
from xeval.results.records import RunRecord
from xeval.support.errors import StoreError

Run = tuple[Path, RunRecord]  # its folder, its record


@dataclass(frozen=True)
class Row:
    """One line of the matrix. Accuracies are percentages; None where there is no number."""

    name: str
    published: bool
    cells: dict[str, float]
    mean_reference: float | None  # over the reference's languages; None if one of them is missing
    mean_all: float | None  # over every language shown; None if one of them is missing
    gap: float | None  # training language minus the mean of the others among the reference's languages
    n_examples: str
    seeds: str
    verdict: RowVerdict | None = None  # on ours, against the published row above it
    more_verdicts: tuple[RowVerdict, ...] = ()  # against other published rows of the same model
    beside: ReferenceRow | None = None  # the published row that ours stands under
    runs: tuple[Run, ...] = ()  # the seeds that ours is the mean of


@dataclass(frozen=True)
class Matrix:
    task: str
    title: str
    languages: list[str]  # the reference's in its order, then the others
    n_reference_languages: int
    rows: list[Row]
    footer: list[str]
    note: str = ""  # what every report of the task has to say
    training_language: str = "en"
    reference: Reference | None = None
    runs: list[Run] = field(default_factory=list)  # of the task, failed ones included
    findings: list[Finding] = field(default_factory=list)  # what the diagnosis of these runs has found

    @property
    def ours(self) -> list[Row]:
        return [row for row in self.rows if not row.published]

    @property
    def verdicts(self) -> list[RowVerdict]:
        return [verdict for row in self.rows if row.verdict for verdict in (*row.more_verdicts, row.verdict)]

    @property
    def claims(self) -> list[ClaimVerdict]:
        """On what else the published table's source says of the models."""
        return check([record for _, record in self.runs], self.reference) if self.reference else []


def build(
    records: list[Run],
    task: str,
    reference: Reference | None,
    n_labels: int | None = None,
    tolerance: Tolerance | None = None,
) -> Matrix:
    """The matrix of `task` from `records`, beside `reference` if one is given.

    `n_labels` is the task's number of labels. With it chance is known: collapsed trainings are left out of averages
    and named in the footer, and our rows have verdicts against the published ones, within `tolerance`.

    Raises StoreError where the records hold no score for the task.
    """
    runs = [(folder, record) for folder, record in records if record.task == task]
    ours = [record for _, record in runs]
    scored = [run for run in runs if run[1].scores]
    if not scored:
        raise StoreError(f"no results of task {task} there yet; make some with: xeval run {task} --model distilmbert")
    example = scored[0][1]
    english = example.training_language
    evaluated = sorted({language for _, record in scored for language in record.scores})
    first = list(reference.languages) if reference else [english] * (english in evaluated)
    languages = first + [language for language in evaluated if language not in first]
    columns = _Columns(english, first if reference else languages, languages)
    groups = _groups(scored, n_labels)
    verdicts = judge(ours, reference, n_labels, tolerance) if reference and n_labels else []
    verdicts_on: dict[str, list[RowVerdict]] = {}
    for verdict in verdicts:
        verdicts_on.setdefault(verdict.configuration, []).append(verdict)

    rows: list[Row] = []
    unplaced = dict(groups)
    row_of_group = {key: row_of(group[0][1], reference) for key, group in groups.items()} if reference else {}
    for published in reference.rows if reference else ():
        rows.append(columns.row(f"{published.name}, published", True, published.cells, seeds=published.n_seeds or ""))
        for key in [key for key, row in row_of_group.items() if row is published]:
            ours_below = _our_row(unplaced.pop(key), list(groups.values()), columns)
            on_it = verdicts_on.get(key, [])
            last = on_it[-1] if on_it else None
            rows.append(replace(ours_below, verdict=last, more_verdicts=tuple(on_it[:-1]), beside=published))
    rows += [_our_row(group, list(groups.values()), columns) for group in unplaced.values()]
    n_reference = len(first) if reference else 0
    footer = footnotes.of(ours, reference) + _collapsed(scored, groups, n_labels)
    return Matrix(
        task, example.task_title, languages, n_reference, rows, footer, example.task_note, english, reference, runs
    )


def _groups(scored: list[Run], n_labels: int | None) -> dict[str, list[Run]]:
    """Seeds by configuration, without the collapsed ones unless there are no others."""
    groups: dict[str, list[Run]] = {}
    for run in scored:
        groups.setdefault(run[1].configuration(), []).append(run)
    if n_labels is None:
        return groups
    healthy = {key: [run for run in group if not collapse(run[1], n_labels)] for key, group in groups.items()}
    return {key: healthy[key] or group for key, group in groups.items()}


@dataclass(frozen=True)
class _Columns:
    """The languages that every row of one matrix is shown and averaged over."""

    english: str  # the training language
    shared: list[str]  # what the first mean and the gap are over
    languages: list[str]  # all that are shown

    def row(
        self, name: str, published: bool, cells: dict[str, float], n_examples: str = "", seeds: int | str = ""
    ) -> Row:
        rest = _mean(cells, [language for language in self.shared if language != self.english])
        gap = cells[self.english] - rest if self.english in cells and rest is not None else None
        means = _mean(cells, self.shared), _mean(cells, self.languages)
        return Row(name, published, cells, *means, gap, n_examples, str(seeds))


def _mean(cells: dict[str, float], languages: list[str]) -> float | None:
    if not languages or any(language not in cells for language in languages):
        return None
    return sum(cells[language] for language in languages) / len(languages)


def _our_row(group: list[Run], groups: list[list[Run]], columns: _Columns) -> Row:
    cells, n_seeds, n_examples = {}, set(), set()
    for language in columns.languages:
        scores = [record.scores[language] for _, record in group if language in record.scores]
        if scores:
            cells[language] = 100 * sum(score.accuracy for score in scores) / len(scores)
            n_seeds.add(len(scores))
            n_examples |= {score.n_examples for score in scores}
    name = _name(group[0][1], [other[0][1] for other in groups])
    return replace(columns.row(name, False, cells, _span(n_examples), _span(n_seeds)), runs=tuple(group))


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _name(record: RunRecord, others: list[RunRecord]) -> str:
    """The model, with whatever it takes to tell it from the other rows of the same model."""
    twins = [other for other in others if other.model.id == record.model.id and other is not record]
    parts = [record.model.id, record.recipe_in_words()]
    if any(twin.environment.dtype != record.environment.dtype for twin in twins):
        parts.append(record.environment.dtype)
    if any(twin.model.sha256 != record.model.sha256 for twin in twins):
        parts.append(f"@{(record.model.revision or record.model.sha256)[:8]}")
    return ", ".join(parts)


def _collapsed(scored: list[Run], groups: dict[str, list[Run]], n_labels: int | None) -> list[str]:
    if n_labels is None:
        return []
    lines = []
    for run in scored:
        record = run[1]
        reason = collapse(record, n_labels)
        shown = run in groups[record.configuration()]
        if reason:
            fate = "shown, since there is no other seed" if shown else "left out of the averages"
            lines.append(f"Collapsed: {record.model.id} {record.recipe.name} seed {record.seed}: {reason}; {fate}.")
    return lines
