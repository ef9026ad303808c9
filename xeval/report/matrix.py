"""The comparison matrix: published rows with ours directly below them, as plain numbers in percent.

Every format is rendered from this one object, so no two of them can disagree.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from xeval.checks.after.record_signatures import FEW_ROWS
from xeval.definitions.languages import describe
from xeval.definitions.reference import Reference, ReferenceRow
from xeval.definitions.task import Task
from xeval.judging.claims import ClaimVerdict, check
from xeval.judging.health import collapse
from xeval.judging.verdict import (
    RowVerdict,
    Tolerance,
    judge,
    row_of,
    why_none,
    why_other_numbers,
    why_partial,
)
from xeval.report import footnotes
from xeval.results.adaptations import in_words, settings_of
from xeval.results.configurations import Configuration, by_configuration, names_of_runs
from xeval.results.records import ELSEWHERE, NO_TRAINING, RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.findings import Finding
from xeval.support.text import metric_in_words, printed_difference, span


@dataclass(frozen=True)
class Row:
    """One line of the matrix. Numbers are percentages; None means that there is no number."""

    name: str
    published: bool
    cells: dict[str, float]
    mean_reference: float | None  # over the reference's languages; None if one of them is missing
    mean_all: float | None  # over every language shown; None if one of them is missing
    gap: float | None  # training language minus the mean of the others among the reference's languages
    n_examples: str
    seeds: str
    printed_gap: float | None  # the gap, to be shown
    verdict: RowVerdict | None = None  # on ours, against the published row above it
    more_verdicts: tuple[RowVerdict, ...] = ()  # against other published rows of the same model
    beside: ReferenceRow | None = None  # the published row above ours
    runs: tuple[StoredRun, ...] = ()  # the seeds that ours is the mean of
    why_partial: str | None = None  # why our runs do not cover all rows of the task, if they do not
    why_no_verdict: str = ""  # why ours has no verdict, if it has none


@dataclass(frozen=True)
class Matrix:
    task: str
    title: str
    languages: list[str]  # the training language, those of the reference that were evaluated, then the others
    n_reference_languages: int
    rows: list[Row]
    footer: list[str]
    note: str = ""  # shown in every report of the task
    training_language: str = "en"
    metric: str = "accuracy"  # of all numbers
    reference: Reference | None = None
    runs: list[StoredRun] = field(default_factory=list)  # of the task, failed ones included
    findings: list[Finding] = field(default_factory=list)  # of the diagnosis of these runs
    n_causes: int = 0  # causes that the diagnosis has checked; 0 if it was not run
    made: str = ""  # when and by which command the report was made
    without_verdict: list[str] = field(default_factory=list)  # why rows of ours have none; in the footer too

    @property
    def metric_in_words(self) -> str:
        return metric_in_words(self.metric)

    @property
    def how(self) -> str:
        """How our numbers were made, as part of a sentence."""
        if all(run.record.computed_elsewhere for row in self.ours for run in row.runs):
            return f"predictions that others computed, scored on the {self.split} split"
        trained = {not run.record.is_as_it_was for row in self.ours for run in row.runs}
        if trained == {False}:
            return f"checkpoints evaluated as they are, without training, on the {self.split} split"
        aside = f" (rows of {NO_TRAINING}: evaluated as they are)" if len(trained) > 1 else ""
        if any(run.record.computed_elsewhere for row in self.ours for run in row.runs):
            aside += f" (rows of {ELSEWHERE}: computed by others)"
        training = ", or on ".join(describe(language).name for language in self.sources)
        return f"zero-shot: fine-tuned on {training}{aside}, evaluated on the {self.split} split"

    @property
    def setting(self) -> str:
        """How our numbers were made, in a word or two; empty if that is not known of all."""
        if any(run.record.computed_elsewhere for run in self.runs):
            return ""
        return "without training" if all(run.record.is_as_it_was for run in self.runs) else "zero-shot"

    @property
    def split(self) -> str:
        """The split evaluated on. If rows differ, it is "test", and the names of rows on other splits say so."""
        splits = {run.record.limits.test_split or "test" for row in self.ours for run in row.runs}
        return splits.pop() if len(splits) == 1 else "test"

    @property
    def ours(self) -> list[Row]:
        return [row for row in self.rows if not row.published]

    @property
    def verdicts(self) -> list[RowVerdict]:
        return [verdict for row in self.rows if row.verdict for verdict in (*row.more_verdicts, row.verdict)]

    @property
    def sources(self) -> list[str]:
        """The languages that our rows were trained on, the task's training language first."""
        records = [row.runs[0].record for row in self.ours]
        known = {record.training_language for record in records}
        return sorted(known, key=lambda language: (language != self.training_language, language))

    def home_of(self, row: Row) -> str:
        """Return the language that `row` was trained on: for a published row, the task's training language."""
        return row.runs[0].record.training_language if row.runs else self.training_language

    @property
    def home_in_words(self) -> str:
        """The language that all rows were trained on, in words."""
        homes = {self.home_of(row) for row in self.rows}
        return describe(homes.pop()).name if len(homes) == 1 else "the language trained on"

    @property
    def about_gap(self) -> str:
        """What the gap of a row is. Empty if no row has one."""
        if all(row.gap is None for row in self.rows):
            return ""
        return f"gap: {self.home_in_words} minus the mean of the other languages in the first mean."

    @property
    def checked(self) -> str:
        """A statement that the diagnosis found nothing. Empty if it found something, or was not run."""
        if self.findings or not self.n_causes:
            return ""
        none = f"{self.n_causes} known causes of wrong numbers checked, none found"
        most_rows = max((score.n_rows for run in self.runs for score in run.record.scores.values()), default=FEW_ROWS)
        return f"{none}, but most do not show in fewer than {FEW_ROWS} test rows" if most_rows < FEW_ROWS else none

    @property
    def by_transfer(self) -> list[str]:
        """The languages trained on, then the others from the best to the worst in our first row."""
        first = self.ours[0].cells if self.ours else {}
        home = [language for language in self.sources if language in self.languages]
        return sorted(
            self.languages,
            key=lambda language: (home.index(language) if language in home else len(home), -first.get(language, 0.0)),
        )

    @property
    def budgets(self) -> list[str]:
        """The footnotes on what was tried before recipe values were chosen."""
        return footnotes.budgets(by_configuration(self.runs))

    @property
    def left_out(self) -> list[str]:
        """The footnotes on collapsed runs that are left out of the averages."""
        shown = [run for row in self.ours for run in row.runs]
        return [line for run, line in _collapsed(self.runs, shown) if run not in shown]

    @property
    def claims(self) -> list[ClaimVerdict]:
        """The verdicts on other claims that the published table's source makes about the models."""
        return check([run.record for run in self.runs], self.reference) if self.reference else []


def build(
    stored: list[StoredRun],
    task: str,
    reference: Reference | None,
    tolerance: Tolerance | None = None,
    known: Task | None = None,
) -> Matrix:
    """Build the matrix of `task` from `stored` runs, with the rows of `reference` if one is given.

    `known` is the task registered under the name `task`; only runs on all of its rows get verdicts.

    Collapsed runs are left out of averages and named in the footer. Our rows have verdicts against the published
    ones, within `tolerance`.

    Raises StoreError if the runs have no score for the task, are scored by several metrics, or include one seed of a
    configuration twice.
    """
    runs = [run for run in stored if run.record.task == task]
    everything = by_configuration(runs)
    scored = [run for run in runs if run.record.scores]
    if not scored:
        raise StoreError(f"no results for task {task} there yet; make some with: xeval run {task} --model distilmbert")
    example = scored[0].record
    metrics = sorted({run.record.metric for run in scored})
    if len(metrics) > 1:
        raise StoreError(f"the runs of task {task} are scored by {' and by '.join(metrics)}; report them separately")
    english = _home(scored, known)
    evaluated = sorted({language for run in scored for language in run.record.scores})
    first = [english] * (english in evaluated)
    if reference:  # languages that nobody evaluated would give columns of dashes, and no means of ours
        known_here = [language for language in reference.languages if language in evaluated]
        first = known_here or list(reference.languages)
    first.sort(key=lambda language: language != english)  # training language first, the others in their order
    languages = first + [language for language in evaluated if language not in first]
    columns = _Columns(english, first if reference else languages, languages)
    groups = _shown(everything)
    verdicts = judge(runs, reference, tolerance, task=known) if reference else []
    verdicts_on: dict[Configuration, list[RowVerdict]] = {}
    for verdict in verdicts:
        verdicts_on.setdefault(verdict.configuration, []).append(verdict)

    rows: list[Row] = []
    unplaced = dict(groups)
    row_of_group = {key: row_of(key.example, reference) for key in groups} if reference else {}
    for published in reference.rows if reference else ():
        name = f"{published.name}, published{_how_published(published, reference, example.metric)}"
        rows.append(columns.row(name, True, published.cells, seeds=published.n_seeds or ""))
        for key in [key for key, row in row_of_group.items() if row is published]:
            ours_below = _our_row(key, unplaced.pop(key), groups, columns)
            on_it = verdicts_on.get(key, [])
            last = on_it[-1] if on_it else None
            rows.append(replace(ours_below, verdict=last, more_verdicts=tuple(on_it[:-1]), beside=published))
    rows += [_our_row(key, group, groups, columns) for key, group in unplaced.items()]
    rows = [
        replace(row, why_no_verdict=_why_none(row, reference, known), why_partial=_why_partial(row, known))
        for row in rows
    ]
    n_reference = len(first) if reference else 0
    shown = [run for group in groups.values() for run in group]
    footer = footnotes.of(everything, reference) + [line for _, line in _collapsed(runs, shown)]
    footer += footnotes.means(groups)
    without_verdict = _without_verdict(rows, reference, example, known) if reference else []
    footer += without_verdict
    built = Matrix(
        task,
        example.task_title,
        languages,
        n_reference,
        rows,
        footer,
        example.task_note,
        english,
        example.metric,
        reference,
        runs,
        without_verdict=without_verdict,
    )
    return built if built.split == "test" else replace(built, title=f"{built.title} ({built.split})")


def _home(scored: Sequence[StoredRun], known: Task | None) -> str:
    """Return the task's training language, even if some runs were trained on another one."""
    usual = [run.record.training_language for run in scored if run.record.trained_instead is None]
    return usual[0] if usual else known.training_language if known else scored[0].record.training_language


def _why_none(row: Row, reference: Reference | None, known: Task | None) -> str:
    return "" if row.published or row.verdict else why_none(row.runs[0].record, reference, known)


def _why_partial(row: Row, known: Task | None) -> str | None:
    return next((why for run in row.runs if (why := why_partial(run.record, known))), None)


def _without_verdict(rows: Sequence[Row], reference: Reference, example: RunRecord, known: Task | None) -> list[str]:
    """Return why there are no verdicts at all, or a sentence on each row of ours that has none."""
    if other := why_other_numbers(reference, example.task, example.metric, known):
        return [f"No verdicts: {other}."]
    return [f"No verdict on {row.name}: {row.why_no_verdict}." for row in rows if row.why_no_verdict]


def _how_published(row: ReferenceRow, reference: Reference | None, metric: str) -> str:
    """Return how a published row differs from ours: not zero-shot, not fully fine-tuned, or by another metric."""
    protocol: list[str] = [] if row.protocol == "zero-shot" else [row.protocol]
    protocol += [in_words(row.model_dump())] if settings_of(row.model_dump()) else []
    other = [metric_in_words(reference.metric)] if reference and reference.metric != metric else []
    return "".join(f", {part}" for part in protocol + other)


def _shown(groups: Mapping[Configuration, list[StoredRun]]) -> dict[Configuration, list[StoredRun]]:
    """Return the runs with scores, without collapsed ones unless a configuration has no others."""
    scored = {key: [run for run in group if run.record.scores] for key, group in groups.items()}
    healthy = {key: [run for run in group if not collapse(run.record)] for key, group in scored.items()}
    return {key: healthy[key] or group for key, group in scored.items() if group}


@dataclass(frozen=True)
class _Columns:
    """The languages in which the rows of one matrix are shown, and over which they are averaged."""

    english: str  # the training language
    shared: list[str]  # languages of the first mean and of the gap
    languages: list[str]  # all that are shown

    def row(
        self,
        name: str,
        published: bool,
        cells: dict[str, float],
        n_examples: str = "",
        seeds: int | str = "",
        home: str = "",
    ) -> Row:
        home = home or self.english
        others = [language for language in self.shared if language != home]
        rest = _mean(cells, others)
        gap = printed_gap = cells[home] - rest if home in cells and rest is not None else None
        if gap is not None and len(others) == 1:  # both scores are shown, and a reader may subtract them
            printed_gap = printed_difference(cells[home], cells[others[0]])
        means = _mean(cells, self.shared), _mean(cells, self.languages)
        return Row(name, published, cells, *means, gap, n_examples, str(seeds), printed_gap)


def _mean(cells: dict[str, float], languages: list[str]) -> float | None:
    if not languages or any(language not in cells for language in languages):
        return None
    return sum(cells[language] for language in languages) / len(languages)


def _our_row(
    configuration: Configuration, group: list[StoredRun], others: Collection[Configuration], columns: _Columns
) -> Row:
    cells, n_seeds, n_examples = {}, set(), set()
    for language in columns.languages:
        scores = [run.record.scores[language] for run in group if language in run.record.scores]
        if scores:
            cells[language] = 100 * sum(score.value for score in scores) / len(scores)
            n_seeds.add(len(scores))
            n_examples |= {score.n_rows for score in scores}
    name = configuration.name(others)
    seeds = span(n_seeds) if configuration.example.has_seed else "–"
    home = configuration.example.training_language
    row = columns.row(name, False, cells, span(n_examples), seeds, home)
    return replace(
        row,
        mean_reference=_mean_of_seeds(group, columns.shared),
        mean_all=_mean_of_seeds(group, columns.languages),
        runs=tuple(group),
    )


def _mean_of_seeds(group: Sequence[StoredRun], languages: list[str]) -> float | None:
    """Return the mean over `languages` of the seeds that have all of them, as verdicts take it, or None without one.

    The mean of cells from different seeds would be a number that no verdict is about.
    """
    seeds = [{language: 100 * score.value for language, score in run.record.scores.items()} for run in group]
    means = [mean for own in seeds if (mean := _mean(own, languages)) is not None]
    return sum(means) / len(means) if means else None


def _collapsed(runs: Sequence[StoredRun], shown: Sequence[StoredRun]) -> Iterator[tuple[StoredRun, str]]:
    """Yield each run whose training collapsed, with a footnote on why and on whether it is among those `shown`."""
    reasons = [(run, reason) for run in runs if run.record.scores and (reason := collapse(run.record))]
    among = {Configuration.of(run.record) for run in runs} if reasons else ()
    for run, reason in reasons:
        alone = "shown, since there is no other seed" if run.record.has_seed else "shown"
        fate = alone if run in shown else "left out of the averages"
        yield run, f"Collapsed: {names_of_runs([run.record], among)}: {reason}; {fate}."
