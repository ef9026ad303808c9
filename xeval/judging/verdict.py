"""Is a published row reproduced? Records and a Reference → a verdict on each cell and on the mean, with a sentence.

Pure functions. `equivalence.py` has the arithmetic, and `docs/statistics.md` describes the method.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from xeval.definitions.languages import describe
from xeval.definitions.reference import Reference, ReferenceRow
from xeval.definitions.task import Task
from xeval.judging import equivalence
from xeval.judging.equivalence import Comparison, Published, Spread, assumed_spread, spread_of_mean
from xeval.judging.health import collapse
from xeval.kinds.kind import WIDE, AssumedSpread
from xeval.kinds.registry import get_kind
from xeval.results.adaptations import in_words, settings_of
from xeval.results.configurations import Configuration, by_configuration, sweep_of
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import XevalError
from xeval.support.text import counted, metric_in_words, numbered, one_decimal, printed_difference, signed

NO_VERDICT = "no verdict"


@dataclass(frozen=True)
class Tolerance:
    """How far our number may lie from the published one, in points, and still count as the same."""

    cell: float = 1.5
    mean: float = 1.0

    def of_mean(self, n_languages: int) -> float:
        """Return the tolerance of a mean over this many languages. That over a single one is its cell."""
        return self.mean if n_languages > 1 else self.cell


@dataclass(frozen=True)
class Verdict:
    """The verdict on one number.

    If there is nothing to compare, `comparison` is None and `outcome` is "no verdict".
    """

    what: str  # a language, or "mean of 6 languages"
    outcome: str
    sentence: str
    published: float
    tolerance: float  # points
    n_seeds: int
    comparison: Comparison | None = None


@dataclass(frozen=True)
class RowVerdict:
    """The verdicts on one published row for one configuration of ours: one per language, and one on their mean."""

    row: str
    configuration: Configuration
    tolerance: Tolerance
    cells: dict[str, Verdict]
    mean: Verdict

    @property
    def not_reproduced(self) -> list[Verdict]:
        """The verdicts that show a number not to be reproduced: the mean first, then the cells."""
        return [verdict for verdict in (self.mean, *self.cells.values()) if verdict.outcome == "not reproduced"]


def judge(
    runs: Iterable[StoredRun],
    reference: Reference,
    tolerance: Tolerance | None = None,
    assumed: AssumedSpread | None = None,
    task: Task | None = None,
) -> list[RowVerdict]:
    """Judge every row of `reference` whose model is in `runs`: one verdict per row and configuration of ours.

    `task` is the task registered under the name of the table's task. A run may come from another file with that name
    and fewer rows.

    Failed runs, collapsed runs and runs on part of the rows are left out of every number, and the sentences say
    so. There are no verdicts on rows that are not zero-shot, on tables of other rows than the task's test rows, nor for
    runs scored by another metric than the table's.
    A row whose encoder was adapted in another way than ours is skipped if the table has one that was adapted as ours
    was. Otherwise it gets "no verdict" with the reason. Raises StoreError if a configuration has a seed twice.
    """
    same = [run for run in runs if not why_other_numbers(reference, run.record.task, run.record.metric, task)]
    groups = by_configuration(same)
    return [
        _Row(
            row,
            configuration,
            [run.record for run in group],
            tolerance or Tolerance(),
            assumed or assumed_of(group[0].record.kind),
            task,
        ).verdict()
        for row in reference.rows
        for configuration, group in groups.items()
        if row.protocol == "zero-shot" and row in _rows_to_judge(group[0].record, reference)
    ]


def assumed_of(kind: str) -> AssumedSpread:
    """Return the assumed spread between seeds for this kind of task, or WIDE if its package is not installed here."""
    try:
        return get_kind(kind).assumed_spread
    except XevalError:
        return WIDE


def rows_of(record: RunRecord, reference: Reference) -> list[ReferenceRow]:
    """Return the rows of `reference` about the record's model: a table may have several, selected in different ways.

    A local folder counts as a published model only if that was declared, never because of its name. The list is empty
    if the model was trained on another language than the task's.
    """
    if record.trained_instead is not None:
        return []
    return [row for row in reference.rows if row.model == record.model.published_id]


def row_of(record: RunRecord, reference: Reference) -> ReferenceRow | None:
    """Return the published row below which a report puts ours: the last of `rows_of`, or None if there is none.

    Zero-shot rows are preferred to others, and among those the rows adapted as ours was.
    """
    rows = rows_of(record, reference)
    best = [row for row in rows if row.protocol == "zero-shot"] or rows
    best = [row for row in best if _is_adapted_as(record, row)] or best
    return best[-1] if best else None


def _rows_to_judge(record: RunRecord, reference: Reference) -> list[ReferenceRow]:
    """Return the model's rows whose encoder was adapted as ours was. If there are none, return all, to explain why."""
    rows = rows_of(record, reference)
    return [row for row in rows if _is_adapted_as(record, row)] or rows


def _is_adapted_as(record: RunRecord, row: ReferenceRow) -> bool:
    """Return whether the same parts of the encoder were trained.

    For a checkpoint that is evaluated as it is, that cannot be known. It has no such settings, so it matches rows
    without them.
    """
    return settings_of(record.recipe.values) == settings_of(row.model_dump())


def same_task(registered: Task | None, runs: Iterable[StoredRun]) -> Task | None:
    """Return the task `registered` under the name of the task of `runs`, or None if their labels are not its own.

    Other labels mean another task, which somebody gave the same name.
    """
    if registered is None or any(run.record.labels not in (None, list(registered.labels)) for run in runs):
        return None
    return registered


def why_partial(record: RunRecord, task: Task | None) -> str | None:
    """Return why the run does not cover all rows of the task, in words, or None if it does as far as is known.

    `task` is the task registered under the run's task name. The file that was run may have stated fewer rows, and the
    run may have found all of those.
    """
    if record.departure or task is None:
        return record.departure
    parts, expected, n_train = [], task.expected_rows, record.data.train_rows.get("found", 0)
    if record.training and n_train < expected.train:
        parts.append(f"its data had {n_train:,} training rows instead of the task's {expected.train:,}")
    for language, score in record.scores.items():
        n_rows = expected.of("test", language)
        if n_rows is not None and score.n_rows < n_rows:
            parts.append(f"it was evaluated on {score.n_rows:,} rows in {language} instead of the task's {n_rows:,}")
    return " and ".join(parts[:2]) or None


def why_other_numbers(reference: Reference, name: str, metric: str, task: Task | None) -> str:
    """Return why `reference` cannot be compared with runs of the task `name` scored by `metric`; "" if it can.

    `task` is the task registered under that name, if there is one.
    """
    if reference.task != name:
        return f"the published table is for task {reference.task}, but these runs are for {name}"
    if reference.split_name != "test" and task is None:
        return (
            f"the published numbers are on split {reference.split}, and the name of the task's test split is unknown"
            " here; give the folder of its task file with --tasks-dir"
        )
    if task is not None and reference.split_name not in ("test", task.splits.test.casefold()):
        return f"the published numbers are not on the task's test split (their split: {reference.split})"
    if reference.metric != metric:
        theirs, ours = metric_in_words(reference.metric), metric_in_words(metric)
        return (
            f"the published numbers are {theirs}, ours {ours}; to compare, run a copy of the task's file with metric ="
            f' "{reference.metric}", into another results folder'
        )
    return ""


def why_none(record: RunRecord, reference: Reference | None, task: Task | None = None) -> str:
    """Return why `judge` gives no verdict on the configuration of `record`, in words, or "" if it gives one."""
    if reference is None:
        return "no published table to compare it with was named; --reference names one"
    if other := why_other_numbers(reference, record.task, record.metric, task):
        return other
    if record.model.published_id is None and record.computed_elsewhere:
        return (
            f"nothing says that {record.model.id} is a published model; if it is one, score its predictions with its"
            " alias or hub id after --model"
        )
    if record.model.published_id is None:
        return (
            f"{record.model.id} is a local folder, and nothing says which published model it holds; if it holds one,"
            " run it with --model NAME=FOLDER"
        )
    if record.trained_instead is not None:
        translated = ", on machine translations (translate-train)" if record.is_translate_train else ""
        return f"it was trained on {describe(record.training_language).name}{translated}, and no published row was"
    rows = rows_of(record, reference)
    if not rows:
        return f"the published table has no row for {record.model.published_id}"
    if all(row.protocol != "zero-shot" for row in rows):
        return f"its published numbers are not zero-shot ({', '.join(sorted({row.protocol for row in rows}))})"
    return ""


def published_cell(row: ReferenceRow, language: str) -> Published:
    """Return the published number of `row` in one language."""
    return Published(row.cells[language], row.n_seeds or 1, _rounding_variance(row), _published_spread(row, language))


def published_mean(row: ReferenceRow) -> Published:
    """Return the published mean of `row` over its languages."""
    return Published(row.average, row.n_seeds or 1, _rounding_variance(row) / len(row.cells))


def expected_spread(
    row: ReferenceRow, assumed: AssumedSpread, language: str, of_training_language: bool, n_rows: int
) -> Spread:
    """Return the spread that the source states for this row and language, or else the assumed one."""
    return _published_spread(row, language) or assumed_spread(assumed, of_training_language, n_rows)


def _published_spread(row: ReferenceRow, language: str) -> Spread | None:
    return Spread(row.spread[language], (row.n_seeds or 1) - 1) if language in row.spread else None


def _rounding_variance(row: ReferenceRow) -> float:
    """Return the variance that rounding to the row's decimals adds: uniform, for 66.3 over 0.05 to either side."""
    return 0.1 ** (2 * row.decimals) / 12


@dataclass(frozen=True)
class _Row:
    """One published row and the seeds of one configuration of ours."""

    row: ReferenceRow
    configuration: Configuration
    records: list[RunRecord]
    tolerance: Tolerance
    assumed: AssumedSpread
    task: Task | None

    def verdict(self) -> RowVerdict:
        cells = {language: self._cell(language) for language in self.row.cells}
        return RowVerdict(self.row.name, self.configuration, self.tolerance, cells, self._mean())

    def _cell(self, language: str) -> Verdict:
        runs = [record for record in self._usable if language in record.scores]
        published = published_cell(self.row, language)
        scores = [100 * record.scores[language].value for record in runs]
        expected = self._expected(language, runs) if runs else None
        verdict = self._verdict_on(language, scores, published, self.tolerance.cell, expected)
        return self._beside_majority(verdict, runs, [language])

    def _mean(self) -> Verdict:
        """Judge the mean over the row's languages, from the seeds that have all of them.

        The mean is taken within each seed, so the spread includes what a training run does to all languages together.
        """
        languages = list(self.row.cells)
        runs = [record for record in self._usable if set(languages) <= record.scores.keys()]
        published = published_mean(self.row)
        scores = [100 * sum(record.scores[lang].value for lang in languages) / len(languages) for record in runs]
        expected = spread_of_mean(self.assumed, [self._expected(lang, runs) for lang in languages]) if runs else None
        what = f"mean of {counted(len(languages), 'languages')}"
        verdict = self._verdict_on(what, scores, published, self.tolerance.of_mean(len(languages)), expected)
        return self._beside_majority(verdict, runs, languages)

    def _beside_majority(self, verdict: Verdict, runs: list[RunRecord], languages: list[str]) -> Verdict:
        """Add a remark to `verdict` if always answering the most frequent label scores at least as much as ours."""
        shares = [runs[0].scores[language].of_majority for language in languages] if runs else []
        known = [100 * share for share in shares if share is not None]
        if verdict.comparison is None or not known or len(known) < len(shares):
            return verdict
        of_majority = sum(known) / len(known)
        if verdict.comparison.ours > of_majority:
            return verdict
        most = one_decimal(of_majority)
        remark = f" Always answering the most frequent label gives {most}, which ours does not exceed."
        return replace(verdict, sentence=verdict.sentence + remark)

    @cached_property
    def _otherwise(self) -> str:
        """Why the two sides are not compared: their encoders were adapted differently. "" if they were not."""
        record = self.records[0]
        if _is_adapted_as(record, self.row):
            return ""
        theirs = f"the published row comes from {in_words(self.row.model_dump())}"
        if record.is_as_it_was or record.computed_elsewhere:
            return f"{theirs}, and how ours was trained is not known, so the two are not comparable"
        return f"{theirs}, ours from {in_words(record.recipe.values)}, so the two are not comparable"

    @cached_property
    def _collapses(self) -> list[str | None]:
        """For each run, why its training counts as collapsed, or None."""
        return [collapse(record) for record in self.records]

    @cached_property
    def _usable(self) -> list[RunRecord]:
        if self._otherwise:
            return []
        return [
            record
            for record, collapsed in zip(self.records, self._collapses, strict=True)
            if record.scores and why_partial(record, self.task) is None and collapsed is None
        ]

    def _expected(self, language: str, runs: list[RunRecord]) -> Spread:
        """Return the spread between seeds expected on the rows of `runs` before our seeds are seen."""
        n_rows = min(record.scores[language].n_rows for record in runs)
        return expected_spread(self.row, self.assumed, language, language == runs[0].training_language, n_rows)

    def _verdict_on(
        self, what: str, scores: list[float], published: Published, tolerance: float, expected: Spread | None
    ) -> Verdict:
        """Return the verdict on `what`, a language or the mean, with a sentence that says all there is to say."""
        if self._otherwise:
            sentence = f"{self._name()}, {what}: {NO_VERDICT}; {self._otherwise}."
            return Verdict(what, NO_VERDICT, sentence, published.value, tolerance, 0)
        left_out = "".join(f" {note}" for note in self._left_out(what))
        if not scores or expected is None:
            sentence = f"{self._name()}, {what}: {NO_VERDICT}; there is no score of ours to compare.{left_out}"
            return Verdict(what, NO_VERDICT, sentence, published.value, tolerance, 0)
        comparison = equivalence.compare(scores, published, tolerance, expected)
        trains_nothing = self.configuration.example.trains_nothing
        if trains_nothing:
            comparison = replace(comparison, seeds_needed=None)
        source = self._source_of_spread(is_mean=what not in self.row.cells)
        if len(scores) > 1:
            source += ", and pooled with what our seeds show"
        basis = (
            f" The standard deviation between {'evaluations' if trains_nothing else 'seeds'},"
            f" {comparison.seed_sd:.2f} points, {source}."
        ) * comparison.assumed
        ours = "one seed" if len(scores) == 1 else f"mean of {len(scores)} seeds"
        if not self.configuration.example.has_seed:
            ours = "evaluated as it is"
        settled_by = "" if trains_nothing else _what_would_settle(comparison, published)
        said = _sentence(comparison, published, tolerance, ours, settled_by)
        sentence = f"{self._name()}, {what}: {said}{basis}{left_out}"
        return Verdict(what, comparison.outcome, sentence, published.value, tolerance, len(scores), comparison)

    def _source_of_spread(self, is_mean: bool) -> str:
        """Say where the expected spread comes from; sources state it by language, and none for their mean."""
        if not self.row.spread:
            return "is assumed, not measured"
        if not is_mean:
            return "is taken from the source"
        correlation = f"{self.assumed.correlation:g}"
        return f"follows from the source's for each language, with an assumed correlation of {correlation}"

    def _name(self) -> str:
        example, sweep = self.configuration.example, sweep_of(self.records)
        is_folder = example.model.origin == "local" and example.declared is None
        parts = [self.configuration.in_words, *([sweep.in_words] if sweep else [])]
        parts += [f"the folder {example.model.id}"] if is_folder else []
        return f"{self.row.name} ({', '.join(parts)})"

    def _left_out(self, what: str) -> Iterable[str]:
        """Yield a sentence on every run left out of the number on `what`, with full reasons only for the mean."""
        with_reason = what not in self.row.cells
        partial = dict[str, list[RunRecord]]()  # those that used part of the rows, by what they used
        for record, reason in zip(self.records, self._collapses, strict=True):
            run = _seed_of(record)
            failed = (
                record.failures if with_reason or not record.scores else record.failures.keys() & {f"evaluate/{what}"}
            )
            if failed:
                yield f"{run} failed" + (f": {record.failure}." if with_reason else ".")
            elif why := why_partial(record, self.task):
                partial.setdefault(why, []).append(record)
            elif reason:
                yield f"{run} is left out because its training collapsed" + (f": {reason}." if with_reason else ".")
        for why, (first, *others) in partial.items():
            yield f"{_seed_of(first)} is left out: {why}."
            if others:
                yield f"So {'is' if len(others) == 1 else 'are'} {numbered('seeds', [each.seed for each in others])}."


def _seed_of(record: RunRecord) -> str:
    return f"Seed {record.seed}" if record.has_seed else "The checkpoint"


def _sentence(comparison: Comparison, published: Published, tolerance: float, counted: str, settled_by: str) -> str:
    """Say how the two numbers compare. `counted` says what our number is the mean of; `settled_by` comes last."""
    ours = f"our {one_decimal(comparison.ours)} ({counted})"
    difference = printed_difference(comparison.ours, published.value)
    side = "above" if difference > 0 else "below"
    far = f"{one_decimal(abs(difference))} points {side} the" if difference else "the same as the"
    places = {"reproduced": "lies inside", "not reproduced": "lies wholly outside"}
    place = places.get(comparison.outcome, "lies partly outside")
    outcome = f"{comparison.outcome} so far" if comparison.outcome in equivalence.UNSETTLED else comparison.outcome
    return (
        f"{outcome}; {ours} is {far} published {one_decimal(published.value)}, and"
        f" the 90 % interval of the difference, {signed(comparison.low)} to {signed(comparison.high)}, {place} the"
        f" tolerance of ±{tolerance}{settled_by}."
    )


def _what_would_settle(comparison: Comparison, published: Published) -> str:
    if comparison.outcome not in equivalence.UNSETTLED:
        return ""
    if comparison.seeds_needed:
        return f". With numbers like these, {comparison.seeds_needed} seeds would settle it"
    seeds = "one seed" if published.n_seeds == 1 else f"{published.n_seeds} seeds"
    return (
        f". With numbers like these, not even {equivalence.MOST_SEEDS} seeds of ours would settle it as long as the"
        f" published side has {seeds}"
    )
