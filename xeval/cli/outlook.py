"""The plan in two to five lines, which `xeval run` and `xeval reproduce` print before they fetch or train anything."""

import textwrap
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from xeval.cli.options import OutcomeFormat
from xeval.definitions.model_name import ModelName
from xeval.definitions.recipe import Recipe
from xeval.definitions.reference import ReferenceRow
from xeval.definitions.registry import get_reference
from xeval.definitions.task import Task
from xeval.judging.verdict import why_other_numbers
from xeval.results.adaptations import settings_of
from xeval.support.cache import cache_home, free_bytes
from xeval.support.text import counted, duration, numbered, one_line, size

if TYPE_CHECKING:
    from xeval.runs.outlook import NamedRun, Outlook
    from xeval.runs.plan import Plan
    from xeval.support.progress import Reporter

WIDTH = 80


def refuse_records_of_plan(dry_run: bool, output_format: OutcomeFormat) -> None:
    """Raise for --dry-run with --format json, which is of records: a program would be given sentences instead."""
    if dry_run and output_format is OutcomeFormat.json:
        raise typer.BadParameter(
            "--format json prints the records of runs, and --dry-run makes none; leave out one of the two. A plan as"
            " JSON is written by xeval plan --output FILE"
        )


def announce(outlook: "Outlook", reporter: "Reporter", is_all: bool) -> None:
    """Tell `reporter` what is going to be run; if it `is_all` that the user wants, print it and exit with 0."""
    _say(list(_lines(outlook)), reporter, is_all)


def announce_plan(plan: "Plan", reporter: "Reporter", is_all: bool) -> None:
    """Do the same for a plan made earlier."""
    n_finished = sum(run.is_finished for run in plan.runs)
    _say([f"Plan: {_counts(len(plan.runs), n_finished)}, as of the time it was made."], reporter, is_all)


def _say(lines: list[str], reporter: "Reporter", is_all: bool) -> None:
    for line in map(one_line, lines):
        if is_all:
            print(folded(line))
        else:
            reporter.say(line)
    if is_all:
        raise typer.Exit


def folded(line: str) -> str:
    """Wrap `line` at WIDTH, keeping names and paths whole."""
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _lines(outlook: "Outlook") -> Iterator[str]:
    n_finished = len(outlook.runs) - len(outlook.to_do)
    lacking = "; tasks without rows will be left out" if outlook.may_lack_tasks else ""
    yield f"Plan: {_counts(len(outlook.runs), n_finished)}{_in_words(outlook)}{lacking}."
    if not outlook.to_do:
        return
    if space := list(_space(outlook)):
        yield " ".join(space)
    yield f"Time: {_time(outlook)}."
    if verdicts := _verdicts(outlook):
        yield f"Verdicts: {verdicts}."


def _counts(n_runs: int, n_finished: int) -> str:
    if n_finished == n_runs:
        return f"{counted(n_runs, 'runs')}, already finished"
    return counted(n_runs, "runs") + (f", {n_finished} of them finished" if n_finished else "")


def _in_words(outlook: "Outlook") -> str:
    """Return the tasks, models, seeds and languages of the runs, in words."""
    models = list(dict.fromkeys(run.model.id.rsplit("/", 1)[-1] for run in outlook.runs))
    tasks = list(dict.fromkeys(run.task.name for run in outlook.runs))
    seeds = sorted({run.seed for run in outlook.runs if run.seed is not None})
    languages = {run.languages for run in outlook.runs}
    parts = [
        _names(tasks, "tasks"),
        _names(models, "models"),
        *([_numbers(seeds) + (f", {outlook.why_seeds}" if outlook.why_seeds else "")] if seeds else []),
        *([counted(len(min(languages)), "languages")] if len(languages) == 1 else []),
    ]
    trials = f", after {counted(outlook.n_trials, 'trials')} for each model" if outlook.n_trials else ""
    return f" ({'; '.join(parts)}){trials}"


def _numbers(seeds: list[int]) -> str:
    """Return seeds in words, such as "seeds 1 to 5"."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return numbered("seeds", seeds) if len(seeds) <= 10 else counted(len(seeds), "seeds")


def _names(names: list[str], things: str) -> str:
    return ", ".join(names) if len(names) <= 3 else counted(len(names), things)


def _space(outlook: "Outlook") -> Iterator[str]:
    """Yield lines on what must be downloaded, and on what training runs leave on the disk."""
    if outlook.downloads:
        known = sum(n_bytes or 0 for n_bytes in outlook.downloads.values())
        unknown = [what for what, n_bytes in outlook.downloads.items() if n_bytes is None]
        parts = [size(known)] if known else []
        parts += [f"{_names(unknown, 'models and data sets')} of unknown size"] if unknown else []
        yield f"Downloads: {' and '.join(parts)}."
    from xeval.checks.before.machine_checks import BYTES_PER_WEIGHT  # torch

    weights = [run.trained_weights for run in outlook.to_do]
    total = sum(n or 0 for n in weights) * BYTES_PER_WEIGHT
    if total:
        at_least = "at least " if None in weights else ""
        cache = cache_home()
        yield (
            f"Disk: {at_least}{size(total)} of fine-tuned weights in {cache}, which has {size(free_bytes(cache))} free."
        )


def _time(outlook: "Outlook") -> str:
    if outlook.seconds is not None:
        several = "" if len(outlook.to_do) == 1 else f" for {counted(len(outlook.to_do), 'runs')}"
        return f"about {duration(outlook.seconds)}{several} on one device like this one"
    if outlook.n_trials:
        return "not known before the trials"
    known = [run.seconds for run in outlook.to_do if run.seconds is not None]
    if known:
        rest = counted(len(outlook.to_do) - len(known), "runs")
        return f"about {duration(sum(known))} for {counted(len(known), 'runs')}; not known yet for {rest}"
    return "not known here yet" + ("" if outlook.table else "; xeval plan measures it in seconds")


# ── verdicts that this many seeds can reach ──


def _verdicts(outlook: "Outlook") -> str:
    if not outlook.is_on_all_rows:
        return "none, since these runs use only part of the rows, or another split"
    from xeval.judging.power import EVEN, MOST_SEEDS, chance_of  # numpy

    compared = list(_compared(outlook))
    if not compared:
        return _of_other_numbers(outlook)
    chances = [(each.n_seeds, chance_of(each.row, each.task, [each.n_seeds])) for each in compared if each.is_whole]
    if not chances:
        return _without_mean(max(compared, key=lambda each: each.n_languages))
    by_number = Counter(n for n, _ in chances)
    n_seeds = by_number.most_common(1)[0][0]
    shares = [chance.by_seeds[n] for n, chance in chances if n == n_seeds]
    with_them = "one seed" if n_seeds == 1 else f"{n_seeds} seeds"
    sentence = f"with {with_them} a published mean can be shown wrong, {_right(min(shares), max(shares))}"
    if max(shares) >= EVEN:
        return sentence
    enough = [chance.even_from for _, chance in chances if chance.even_from is not None]
    if enough:
        which = "it" if len(enough) == len(chances) else "some of them"
        return f"{sentence}; {min(enough)} seeds show {which} right in about half of the cases if true"
    most = max(share for _, chance in chances for share in chance.by_seeds.values())
    if most < 0.01:
        even = "not even" if max(shares) == 0 else "even"
        return f"{sentence}, {even} with {MOST_SEEDS}: training runs like the published one differ too much"
    return f"{sentence}; no number of seeds up to {MOST_SEEDS} shows it right in more than {_of_100(most)} of 100 cases"


def _right(low: float, high: float) -> str:
    if high == 0:
        return "but not right"
    share = _of_100(high) if _of_100(low) == _of_100(high) else f"{_of_100(low)} to {_of_100(high)}"
    return f"and right in {share} of 100 cases if it is true"


def _of_100(share: float) -> str:
    return "none" if share == 0 else "less than 1" if share < 0.01 else f"{100 * share:.0f}"


def _of_other_numbers(outlook: "Outlook") -> str:
    """Say why the table to reproduce is not compared with runs of its task; "" if it is, or there is no such table."""
    if outlook.table is None or not outlook.runs:
        return ""
    table, task = get_reference(outlook.table), outlook.runs[0].task
    other = why_other_numbers(table, task.name, task.metric, task)
    return f"none, since {other}" if other else ""


def _without_mean(compared: "Compared") -> str:
    """Say what is judged if the runs lack some languages of every published mean."""
    if not compared.n_languages:
        return "none, since the published rows of these models are in other languages"
    of = counted(len(compared.row.cells), "languages")
    return f"in each language alone; the published mean is over {of}, of which these runs have {compared.n_languages}"


@dataclass(frozen=True)
class Compared:
    """A published row, and the seeds that are compared with it."""

    row: ReferenceRow
    task: Task
    n_seeds: int
    n_languages: int  # of the row, in which the runs are evaluated

    @property
    def is_whole(self) -> bool:
        """Whether the mean over the row's languages can be judged."""
        return self.n_languages == len(self.row.cells)


def _compared(outlook: "Outlook") -> Iterator[Compared]:
    """Yield each published row of a model that is trained."""
    runs: dict[tuple[str, str, str], list[NamedRun]] = {}
    for run in outlook.runs:
        if run.seed is not None:
            runs.setdefault((run.task.name, run.model.id, run.recipe.name), []).append(run)
    for seeds in runs.values():
        run = seeds[0]
        yield from compared_with(run.model, run.task, run.recipe, run.languages, len(seeds), outlook.table)


def compared_with(
    model: ModelName, task: Task, recipe: Recipe, languages: Collection[str], n_seeds: int, table: str | None
) -> list[Compared]:
    """Return the rows of `table`, or else the task's own, on which such runs can give a verdict."""
    name = table or task.default_reference
    if name is None or task.trained_instead is not None:
        return []
    published = model.published_as or (model.id if model.origin != "local" else None)
    settings, reference = settings_of(recipe.model_dump()), get_reference(name)
    if why_other_numbers(reference, task.name, task.metric, task):
        return []
    rows = [row for row in reference.rows if row.model == published and row.protocol == "zero-shot"]
    rows = [row for row in rows if settings_of(row.model_dump()) == settings]
    evaluated = {*languages, task.training_language}
    return [Compared(row, task, n_seeds, len(evaluated & row.cells.keys())) for row in rows]
