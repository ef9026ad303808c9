"""Two lists of runs → their answers side by side on the same test rows, or an error that says why that cannot be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from xeval.judging.comparison.named_runs import names_of
from xeval.judging.comparison.paired_metrics import PairedTallies, values
from xeval.judging.comparison.resampling import PairedRows
from xeval.judging.health import collapse
from xeval.kinds.kind import Kind
from xeval.kinds.metric import Measure
from xeval.kinds.registry import get_kind
from xeval.results.predictions import column, groups_of, has_labels, ids_of, tally_of
from xeval.results.records import ANSWERS_ALONE, RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import DataError, StoreError
from xeval.support.text import counted


@dataclass(frozen=True)
class PairedLanguage:
    """Both sides' answers to the same N rows of one language."""

    language: str
    sha256: str  # of the rows
    measure: Measure
    groups: np.ndarray  # (N,); rows with the same number depend on each other; one per row if the files have none
    tallies_a: np.ndarray  # (S_a, N, K), a tally per seed
    tallies_b: np.ndarray  # (S_b, N, K)
    labels: np.ndarray  # (N,) gold; zeros for a kind of task without labels
    predictions_a: np.ndarray | None  # (S_a, N) labels; None for a kind of task without labels
    predictions_b: np.ndarray | None  # (S_b, N)
    has_groups: bool
    files_a: Sequence[pa.Table] = ()  # the prediction files, one per seed
    files_b: Sequence[pa.Table] = ()
    ids: Sequence[str] | None = None  # N names of the rows, which other languages may share

    @property
    def places(self) -> np.ndarray:
        """The (N,) positions of the rows in the split."""
        return column(self.files_a[0], "row") if self.files_a else np.arange(len(self.groups))

    @property
    def is_share_of_rows(self) -> bool:
        """Whether rows are right or wrong and the metric is the share of right ones."""
        return self.measure.metric.is_share_of_rows

    @property
    def right_a(self) -> np.ndarray:
        """(S_a, N) bool: which rows are right, for a metric that is a share of rows."""
        return self.measure.right(self.tallies_a)

    @property
    def right_b(self) -> np.ndarray:
        """(S_b, N) bool, as `right_a`."""
        return self.measure.right(self.tallies_b)

    @property
    def values_a(self) -> np.ndarray:
        """(S_a,) values of the metric."""
        return self.right_a.mean(axis=1) if self.is_share_of_rows else values(self.measure, self.tallies_a)

    @property
    def values_b(self) -> np.ndarray:
        """(S_b,) values of the metric."""
        return self.right_b.mean(axis=1) if self.is_share_of_rows else values(self.measure, self.tallies_b)

    @property
    def means(self) -> tuple[float, float]:
        """The metric's values for A and B, each the mean over its seeds."""
        sides = (self.right_a, self.right_b) if self.is_share_of_rows else (self.values_a, self.values_b)
        return float(sides[0].mean()), float(sides[1].mean())

    @property
    def rows(self) -> PairedRows:
        """Correctness row by row, averaged over seeds, for a metric that is a share of rows."""
        return PairedRows(self.right_a.mean(axis=0), self.right_b.mean(axis=0), self.groups, self.labels)

    @property
    def tallies(self) -> PairedTallies:
        return PairedTallies(self.measure, self.tallies_a, self.tallies_b, self.groups, self.ids)


@dataclass(frozen=True)
class PairedRuns:
    """Everything that is compared, with notes on what is left out."""

    task: str
    title: str
    name_a: str
    name_b: str
    seeds_a: list[int]
    seeds_b: list[int]
    languages: list[PairedLanguage]
    notes: list[str]
    labels: Sequence[str] = ()  # names by index; empty if the records do not have them
    metric: str = "accuracy"
    unit: str = "pairs"  # what rows are called
    grouped_by: str = "premises"  # what groups of dependent rows are called
    kind: str = ""
    trains_nothing: bool = False  # if so, seeds mean nothing

    @property
    def paired_by_seed(self) -> bool:
        return self.seeds_a == self.seeds_b


def pair(a: list[StoredRun], b: list[StoredRun]) -> PairedRuns:
    """Pair the runs of one configuration with those of another.

    Seeds that both sides have are compared with each other. If they share none, each side is averaged over its own
    seeds. Failed and collapsed runs are left out, and the notes name them. If a side has nothing but collapsed runs,
    they are compared anyway.

    Raises StoreError if there is nothing to compare, and DataError if the test rows differ.
    """
    both = {run.folder.resolve() for run in a} & {run.folder.resolve() for run in b}
    if both:
        raise StoreError(f"{min(both)} is on both sides; name different runs for A and B")
    tasks = a[0].record.task, b[0].record.task
    if tasks[0] != tasks[1]:
        raise StoreError(f"A is of task {tasks[0]} and B of task {tasks[1]}; compare runs of the same task")
    metrics = a[0].record.metric, b[0].record.metric
    if metrics[0] != metrics[1]:
        raise StoreError(f"A is scored by {metrics[0]} and B by {metrics[1]}; compare runs of the same metric")
    name_a, name_b = names_of(a, b)
    notes: list[str] = []
    a, b = usable("A: ", a, notes), usable("B: ", b, notes)
    a, b = _same_seeds(a, b, notes)
    languages = [_language(language, a, b) for language in _shared_languages(a, b, notes)]
    without = [paired.language for paired in languages if not paired.has_groups]
    if without:
        notes.append(
            f"The predictions in {' '.join(without)} date from before premises were stored with them: their rows are"
            " treated as independent draws, so those intervals are too narrow. Evaluate again to fix that."
        )
    seeds_a, seeds_b = ([run.record.seed for run in runs] for runs in (a, b))
    first, kind = a[0].record, get_kind(a[0].record.kind)
    return PairedRuns(
        task=first.task,
        title=first.task_title,
        name_a=name_a,
        name_b=name_b,
        seeds_a=seeds_a,
        seeds_b=seeds_b,
        languages=languages,
        notes=notes,
        labels=first.labels or (),
        metric=first.metric,
        unit=kind.unit,
        grouped_by=grouped_by(first),
        kind=kind.name,
        trains_nothing=all(run.record.trains_nothing for run in (*a, *b)),
    )


def usable(side: str, runs: list[StoredRun], notes: list[str]) -> list[StoredRun]:
    """Return those of `runs` that did not fail or collapse, or all with scores if every training collapsed.

    Notes on the others are added to `notes`; each begins with `side`. Raises StoreError if no run has scores.
    """
    scored = [run for run in runs if run.record.scores]
    for record in (run.record for run in runs):
        if record.status == "failed":
            notes.append(f"{side}seed {record.seed} is left out because it failed: {record.failure}.")
    if not scored:
        raise StoreError(f"{side}none of its runs has scores ({runs[0].folder}); finish one with xeval run")
    reasons = {run.record.seed: collapse(run.record) for run in scored}
    healthy = [run for run in scored if reasons[run.record.seed] is None]
    fate = "is left out" if healthy else "is compared anyway, since there is no other"
    if runs[0].record.has_seed:
        notes += [f"{side}seed {seed} {fate}; its training collapsed: {why}." for seed, why in reasons.items() if why]
    else:
        notes += [f"{side}this checkpoint is compared anyway; it collapsed: {why}." for why in reasons.values() if why]
    return healthy or scored


def _same_seeds(a: list[StoredRun], b: list[StoredRun], notes: list[str]) -> tuple[list[StoredRun], list[StoredRun]]:
    shared = {run.record.seed for run in a} & {run.record.seed for run in b}
    if not shared:
        if len(a) + len(b) > 2:
            notes.append("A and B have no seed in common, so each side is averaged over its own.")
        return a, b
    for side, runs in (("A", a), ("B", b)):
        extra = [str(run.record.seed) for run in runs if run.record.seed not in shared]
        if extra:
            notes.append(f"{side}: seeds that the other side lacks are left out: {', '.join(extra)}.")
    return [run for run in a if run.record.seed in shared], [run for run in b if run.record.seed in shared]


def _shared_languages(a: list[StoredRun], b: list[StoredRun], notes: list[str]) -> list[str]:
    records = [run.record for run in (*a, *b)]
    shared = [language for language in records[0].scores if all(language in record.scores for record in records)]
    if not shared:
        raise StoreError("A and B have no language in common; evaluate both in the same one with xeval run --language")
    rest = sorted({language for record in records for language in record.scores} - set(shared))
    if rest:
        notes.append(f"Languages that some runs lack are left out: {' '.join(rest)}.")
    return shared


def _language(language: str, a: list[StoredRun], b: list[StoredRun]) -> PairedLanguage:
    sha256 = shared_rows(language, [run.record for run in (*a, *b)])
    tables_a, tables_b = ([run.predictions(language) for run in runs] for runs in (a, b))
    measure = get_kind(a[0].record.kind).measure(a[0].record.metric)
    return beside(language, sha256, measure, tables_a, tables_b, [run.folder for run in (*a, *b)])


def grouped_by(record: RunRecord) -> str:
    """Return what groups of dependent rows are called: "rows" where the right answers alone do not tell any."""
    each_alone = all(score.n_groups == score.n_rows for score in record.scores.values())
    kind = Kind if record.data.source == ANSWERS_ALONE and each_alone else get_kind(record.kind)
    return kind.grouped_by


def rows_of(record: RunRecord, language: str) -> tuple[str, int]:
    """Return the hash of the rows of `language` that `record` was scored on, and their number."""
    return record.data.sha256.get("test", {}).get(language, "unknown"), record.scores[language].n_rows


def shared_rows(language: str, records: Iterable[RunRecord]) -> str:
    """Return the hash of the rows of `language` that all of `records` were scored on, or raise DataError."""
    records = list(records)
    rows = {rows_of(record, language) for record in records}
    if len(rows) > 1:
        got = " and ".join(sorted(f"{counted(n, 'rows')} with hash {sha256[:8]}" for sha256, n in rows))
        limits = {(record.limits.max_eval, record.limits.eval_seed) for record in records}
        fix = "evaluate both sides on the same data"
        if len({n for n, _ in limits} - {None}) == 1 and len({seed for n, seed in limits if n}) > 1:
            fix = (
                "version 0.1.0 took the first rows for --max-eval, but later versions draw them evenly from all rows;"
                " evaluate the older side again"
            )
        raise DataError(f"{language}: not evaluated on the same rows: {got}; {fix}")
    [(sha256, _)] = rows
    return sha256


def beside(
    language: str,
    sha256: str,
    measure: Measure,
    tables_a: list[pa.Table],
    tables_b: list[pa.Table],
    folders: list[Path],
) -> PairedLanguage:
    """Pair prediction tables of the same rows, one per seed. `folders` are theirs, in order, for the error message.

    Raises DataError if the gold labels are not the same in all tables.
    """
    tables = [*tables_a, *tables_b]
    known = next((own for own in map(groups_of, tables) if own is not None), None)
    groups = np.arange(len(tables[0])) if known is None else known
    tallies = [np.stack([tally_of(table) for table in side]) for side in (tables_a, tables_b)]
    labels = np.zeros(len(groups), np.int32)
    predictions_a = predictions_b = None
    if has_labels(tables[0]):
        labels = _shared_labels(language, tables, folders)
        predictions_a, predictions_b = (
            np.stack([column(table, "prediction") for table in side]) for side in (tables_a, tables_b)
        )
    return PairedLanguage(
        language=language,
        sha256=sha256,
        measure=measure,
        groups=groups,
        tallies_a=tallies[0],
        tallies_b=tallies[1],
        labels=labels,
        predictions_a=predictions_a,
        predictions_b=predictions_b,
        has_groups=known is not None,
        files_a=tables_a,
        files_b=tables_b,
        ids=next((own for own in map(ids_of, tables) if own is not None), None),
    )


def _shared_labels(language: str, tables: list[pa.Table], folders: list[Path]) -> np.ndarray:
    """Return the (N,) gold labels. Raises DataError if they are not the same in all tables."""
    labels = column(tables[0], "label")
    for folder, table in zip(folders, tables, strict=True):
        if not np.array_equal(column(table, "label"), labels):
            raise DataError(
                f"{folder}: its gold labels in {language} differ from those of {folders[0]}; evaluate again"
            )
    return labels
