"""The comparison matrix: published rows with ours directly below them, as plain numbers in percent.

Every format is drawn from this one frame-like object, so that no two of them can disagree.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from xeval.errors import StoreError
from xeval.records import RunRecord
from xeval.schema import Reference
from xeval.verdict import RowVerdict, Tolerance, collapse, judge, row_of


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


@dataclass(frozen=True)
class Matrix:
    task: str
    title: str
    languages: list[str]  # the reference's in its order, then the others
    n_reference_languages: int
    rows: list[Row]
    footer: list[str]

    @property
    def verdicts(self) -> list[RowVerdict]:
        return [row.verdict for row in self.rows if row.verdict]


def build(
    records: list[tuple[Path, RunRecord]],
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
    ours = [record for _, record in records if record.task == task]
    scored = [record for record in ours if record.scores]
    if not scored:
        raise StoreError(f"no results of task {task} there yet; make some with: xeval run {task} --model distilmbert")
    english = scored[0].training_language
    evaluated = sorted({language for record in scored for language in record.scores})
    first = list(reference.languages) if reference else [english] * (english in evaluated)
    languages = first + [language for language in evaluated if language not in first]
    columns = _Columns(english, first if reference else languages, languages)
    groups = _groups(scored, n_labels)
    verdicts = judge(ours, reference, n_labels, tolerance) if reference and n_labels else []
    verdict_on = {verdict.configuration: verdict for verdict in verdicts}

    rows: list[Row] = []
    unplaced = dict(groups)
    for published in reference.rows if reference else ():
        rows.append(columns.row(f"{published.name}, published", True, published.cells, seeds=published.n_seeds or ""))
        for key, group in list(unplaced.items()):
            if row_of(group[0], reference) is published:
                rows.append(_our_row(unplaced.pop(key), list(groups.values()), columns, verdict_on.get(key)))
    rows += [_our_row(group, list(groups.values()), columns) for group in unplaced.values()]
    n_reference = len(first) if reference else 0
    footer = _footer(ours, reference) + _collapsed(scored, groups, n_labels)
    return Matrix(task, scored[0].task_title, languages, n_reference, rows, footer)


def _groups(scored: list[RunRecord], n_labels: int | None) -> dict[str, list[RunRecord]]:
    """Seeds by configuration, without the collapsed ones unless there are no others."""
    groups: dict[str, list[RunRecord]] = {}
    for record in scored:
        groups.setdefault(record.configuration(), []).append(record)
    if n_labels is None:
        return groups
    healthy = {key: [record for record in group if not collapse(record, n_labels)] for key, group in groups.items()}
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


def _our_row(
    group: list[RunRecord], groups: list[list[RunRecord]], columns: _Columns, verdict: RowVerdict | None = None
) -> Row:
    cells, n_seeds, n_examples = {}, set(), set()
    for language in columns.languages:
        scores = [record.scores[language] for record in group if language in record.scores]
        if scores:
            cells[language] = 100 * sum(score.accuracy for score in scores) / len(scores)
            n_seeds.add(len(scores))
            n_examples |= {score.n_examples for score in scores}
    row = columns.row(_name(group[0], groups), False, cells, _span(n_examples), _span(n_seeds))
    return replace(row, verdict=verdict)


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _name(record: RunRecord, groups: list[list[RunRecord]]) -> str:
    """The model, with whatever it takes to tell it from the other rows of the same model."""
    twins = [group[0] for group in groups if group[0].model.id == record.model.id and group[0] is not record]
    parts = [record.model.id, record.recipe.name]
    parts += [f"{key} {value}" for key, value in record.recipe.overrides.items()]
    parts += [f"{key.replace('_', ' ')} {value:,}" for key, value in record.limits.model_dump().items() if value]
    if any(twin.environment.dtype != record.environment.dtype for twin in twins):
        parts.append(record.environment.dtype)
    if any(twin.model.sha256 != record.model.sha256 for twin in twins):
        parts.append(f"@{(record.model.revision or record.model.sha256)[:8]}")
    return ", ".join(parts)


def _footer(ours: list[RunRecord], reference: Reference | None) -> list[str]:
    lines = sorted({record.task_note for record in ours if record.task_note})
    if reference:
        lines.append(f"Published rows: {reference.title}, {reference.source_url}. {reference.note}".strip())
        unpublished = sorted({row.recipe for row in reference.rows if not row.recipe_published})
        if unpublished:
            lines.append(
                f"The table's recipe is not published for every row; its file names {', '.join(unpublished)} instead."
            )
    lines += [f"{_produced_by(record)}" for record in {record.configuration(): record for record in ours}.values()]
    lines += [
        f"Failed: {record.model.id} {record.recipe.name} seed {record.seed}: {record.failure}"
        for record in ours
        if record.status == "failed"
    ]
    return lines


def _collapsed(scored: list[RunRecord], groups: dict[str, list[RunRecord]], n_labels: int | None) -> list[str]:
    lines = []
    for record in scored if n_labels else []:
        reason = collapse(record, n_labels)
        shown = record in groups[record.configuration()]
        if reason:
            fate = "shown, since there is no other seed" if shown else "left out of the averages"
            lines.append(f"Collapsed: {record.model.id} {record.recipe.name} seed {record.seed}: {reason}; {fate}.")
    return lines


def _produced_by(record: RunRecord) -> str:
    values, environment = record.recipe.values, record.environment
    parts = [
        record.model.id
        + (f" at revision {record.model.revision[:12]}" if record.model.revision else f" ({record.model.origin})")
    ]
    if record.training:
        parts.append(
            f"recipe {record.recipe.name}: learning rate {values['learning_rate']:g}, effective batch size"
            f" {record.training.effective_batch_size}, {record.training.n_steps:,} steps on"
            f" {record.data.train_rows['used']:,} pairs, checkpoint: {record.training.selection}"
        )
        changed = [f"{key}={value}" for key, value in record.recipe.overrides.items()]
        parts += [f"changed from the recipe: {', '.join(changed)}"] if changed else []
    else:
        parts.append("evaluated as it is, without training")
    where = record.data.source + (f" at {record.data.revision[:12]}" if record.data.revision else "")
    parts.append(f"data: {where}")
    commit = f" ({environment.commit[:12]}{', modified' if environment.dirty else ''})" if environment.commit else ""
    versions = environment.versions
    parts.append(
        f"xeval {versions['xeval']}{commit}, torch {versions['torch']}, transformers {versions['transformers']},"
        f" {environment.dtype} on {environment.hardware.get('gpu') or environment.hardware['cpu']}"
    )
    return "; ".join(parts) + "."
