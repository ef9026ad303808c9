"""Runs → the content of a leaderboard's pages: a board for each task, with a line for each configuration.

Numbers are those of the comparison matrix, so a report and a leaderboard cannot disagree.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from xeval.definitions.languages import Language, describe
from xeval.definitions.reference import Reference
from xeval.definitions.task import Task
from xeval.judging.comparison.ranked_runs import load_rank_intervals
from xeval.judging.comparison.ranking import ALPHA, RankInterval
from xeval.judging.verdict import same_task
from xeval.report import matrix, verdicts
from xeval.report.matrix import Matrix
from xeval.report.page.heat import LEVELS
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError, XevalError
from xeval.support.files import safe_name
from xeval.support.text import capitalised, metric_in_words, span


@dataclass(frozen=True)
class Entry:
    """The cell of one language: a percentage with its interval and verdict."""

    value: float
    level: int  # of colour
    interval: tuple[float, float] | None = None  # 95 %, over the draw of test rows; None for a published number
    mark: str = ""
    outcome: str = ""  # the mark in words
    seeds_sd: float | None = None  # points


@dataclass(frozen=True)
class Line:
    """A configuration of ours with its seeds, or a published row."""

    name: str
    published: bool
    entries: dict[str, Entry]  # by language
    mean: float | None  # over every language of the board; None if one is missing
    mark: str  # of the verdict on the mean
    outcome: str
    seeds: str
    model: str = ""  # the model whose page shows the line
    page: str = ""  # that page's file; empty for a published row
    notes: list[str] = field(default_factory=list)  # verdicts in sentences, or why there is none
    details: dict[str, str] = field(default_factory=dict)  # how it was made
    ranks: RankInterval | None = None  # best and worst rank; None if it is not ranked

    @property
    def ranks_in_words(self) -> str:
        """The ranks, such as "3" or "1–4". Empty if the line is not ranked."""
        best, worst = self.ranks or (0, 0)
        return "" if self.ranks is None else str(best) if best == worst else f"{best}–{worst}"


@dataclass(frozen=True)
class Board:
    """The table of one task: languages across, configurations down, the best mean first."""

    task: str
    title: str
    metric: str  # in words, capitalised
    note: str
    languages: list[Language]
    lines: list[Line]
    legend: str
    footer: list[str]

    @property
    def ranked(self) -> list[Line]:
        return [line for line in self.lines if line.ranks]

    @property
    def about_ranks(self) -> str:
        """An explanation of the ranks."""
        return (
            f"Ranks: the best and the worst possible among the {len(self.ranked)} rows that were scored on the same"
            " test rows, by the mean over all languages, whichever are shown. They allow for what other test rows and"
            f" other training runs could change; in {100 * (1 - ALPHA):.0f} % of such tables, all of them are"
            " right at once."
        )

    @property
    def ours(self) -> list[Line]:
        return [line for line in self.lines if not line.published]


@dataclass(frozen=True)
class Site:
    boards: list[Board]
    models: dict[str, str]  # model → its page's file
    languages: dict[Language, str]  # language → its page's file
    n_runs: int
    latest: str  # date of the latest run, or empty

    @property
    def scripts(self) -> list[str]:
        return sorted({language.script for language in self.languages})

    @property
    def families(self) -> list[str]:
        return sorted({language.family for language in self.languages})


def build(runs: Sequence[StoredRun], tasks: Mapping[str, Task], tables: Mapping[str, Reference]) -> Site:
    """Build a board for every task and metric that `runs` have scores for, with the published table the task names.

    Copies of a run count once. Raises StoreError if there is no score at all, or if a configuration has a seed twice.
    """
    scored = [run for run in _each_once(runs) if run.record.scores]
    if not scored:
        raise StoreError("no run with a score there; make some with: xeval run xnli-mini --model mini-mbert")
    pages = _pages({run.record.model.id for run in scored}, "models")
    subjects = sorted({(run.record.task, run.record.metric) for run in scored})
    n_metrics = Counter(task for task, _ in subjects)
    boards = []
    for task, metric in subjects:
        of_task = [run for run in scored if (run.record.task, run.record.metric) == (task, metric)]
        known = same_task(tasks.get(task), of_task)
        table = tables.get(known.default_reference or "") if known else None
        built = matrix.build(of_task, task, table, known=known)
        boards.append(_board(built, pages, name_metric=n_metrics[task] > 1))
    languages = sorted(
        {language for board in boards for language in board.languages}, key=lambda own: (own.name, own.code)
    )
    files = _pages([language.code for language in languages], "languages")
    dates = [environment.started_at[:10] for run in scored for environment in run.record.environments]
    return Site(
        boards,
        pages,
        {language: files[language.code] for language in languages},
        len(scored),
        max(dates, default=""),
    )


def _each_once(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return `runs` without copies: the same run may be in several of the folders that are combined."""
    by_content: dict[str, StoredRun] = {}
    for run in runs:
        by_content.setdefault(run.record.model_dump_json(), run)
    return list(by_content.values())


def _pages(names: Iterable[str], folder: str) -> dict[str, str]:
    """Return a page file for each name, which may hold any characters. Names that would share a file are numbered."""
    pages: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names):
        stem = safe_name(name)[:100]
        free = next(
            each for number in count(1) if (each := stem if number == 1 else f"{stem}-{number}").lower() not in taken
        )
        taken.add(free.lower())  # some file systems do not distinguish "A" from "a"
        pages[name] = f"{folder}/{free}.html"
    return pages


def _board(built: Matrix, pages: Mapping[str, str], name_metric: bool) -> Board:
    every = [value for row in built.rows for value in row.cells.values()]
    low, high = min(every), max(every)
    lines = [_line(row, built, pages, low, high) for row in built.rows]
    lines, why_no_ranks = _ranked(lines, built)
    lines.sort(key=lambda line: (line.mean is None, -(line.mean or 0.0), line.name))
    metric = metric_in_words(built.metric)
    return Board(
        task=built.task,
        title=f"{built.title}, {metric}" if name_metric else built.title,
        metric=capitalised(metric),
        note=built.note,
        languages=[describe(language) for language in built.languages],
        lines=lines,
        legend=verdicts.legend(built.verdicts),
        footer=[*built.footer, *why_no_ranks],
    )


def _ranked(lines: Sequence[Line], built: Matrix) -> tuple[list[Line], list[str]]:
    """Add the ranks that `xeval rank` gives on the mean over all languages, or say why there are none."""
    whole = {
        str(place): row.runs
        for place, (line, row) in enumerate(zip(lines, built.rows, strict=True))
        if line.mean is not None and not row.published
    }
    try:
        ranks = load_rank_intervals(whole, built.languages) if len(whole) > 1 else {}
    except XevalError:  # records may be stored without predictions
        return list(lines), ["There are no ranks, since the predictions of some runs cannot be read."]
    return [replace(line, ranks=ranks.get(str(place))) for place, line in enumerate(lines)], []


def _line(row: matrix.Row, built: Matrix, pages: Mapping[str, str], low: float, high: float) -> Line:
    verdict = row.verdict
    entries = {}
    for language, value in row.cells.items():
        seeds = [run.record.scores[language] for run in row.runs if language in run.record.scores]
        bounds = [(100 * seed.ci95[0], 100 * seed.ci95[1]) for seed in seeds]
        values = [100 * seed.value for seed in seeds]
        entries[language] = Entry(
            value,
            level=round(LEVELS * (value - low) / (high - low or 1)),
            interval=tuple(map(statistics.fmean, zip(*bounds, strict=True))) if bounds else None,  # type: ignore[arg-type]
            mark=verdicts.mark(row, language),
            outcome=verdicts.outcome(row, language),
            seeds_sd=statistics.stdev(values) if len(values) > 1 else None,
        )
    model = row.runs[0].record.model.id if row.runs else ""
    return Line(
        name=row.name,
        published=row.published,
        entries=entries,
        mean=row.mean_all,
        mark=verdicts.MARKS.get(verdict.mean.outcome, "") if verdict else "",
        outcome=f"{verdict.mean.what}: {verdict.mean.outcome}" if verdict else "",
        seeds=row.seeds,
        model=model,
        page=pages.get(model, ""),
        notes=_notes(row),
        details=_details(row),
    )


def _notes(row: matrix.Row) -> list[str]:
    if row.published:
        return []
    lines = [line for verdict in (*row.more_verdicts, row.verdict) if verdict for line in verdicts.headlines(verdict)]
    return lines or ([f"No verdict: {row.why_no_verdict}."] if row.why_no_verdict else [])


def _details(row: matrix.Row) -> dict[str, str]:
    """Describe how a row of ours was made."""
    if not row.runs:
        return {}
    record = row.runs[0].record
    values = ", ".join(f"{key} {value}" for key, value in record.recipe.values.items() if value is not None)
    computed_here = [run.record for run in row.runs if not run.record.computed_elsewhere]
    machines = dict.fromkeys(place.processor for own in computed_here for place in own.environments)
    rows = {score.n_rows for run in row.runs for score in run.record.scores.values()}
    details = {
        "recipe": f"{record.recipe.name}: {values}" if values else record.recipe.name,
        "seeds": ", ".join(str(run.record.seed) for run in row.runs) if record.has_seed else "",
        "arithmetic": record.dtype,
        "revision": record.model.revision or "",
        "parameters of the encoder": f"{record.model.n_parameters:,}" if record.model.n_parameters else "",
        "data": f"{record.data.source}{f' @{record.data.revision}' if record.data.revision else ''}",
        "test rows by language": span(rows),
        "computed on": ", ".join(machines),
        "part of the rows": record.departure or "",
    }
    return {name: text for name, text in details.items() if text}
