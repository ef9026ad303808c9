"""`xeval list`: the names that the command line knows, and the runs in a results folder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xeval.cli.options import Results, TasksDirs
from xeval.cli.screen import say, screen
from xeval.definitions import registry
from xeval.definitions.model_name import EMBEDDED_MODELS, MODEL_ALIASES, PICKLED
from xeval.definitions.recipe import Recipe
from xeval.judging.ledger import suspicions
from xeval.report.whole_words import fit, print_whole
from xeval.results.configurations import Configuration
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun, load_runs, readable_runs
from xeval.support.text import counted, metric_in_words, one_decimal, one_line, span

LISTED = 15  # languages of a task or a run
N_OF_CONFIGURATION = 3  # first columns of a run's row: task, model, recipe
Listing = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]  # header and rows


class What(StrEnum):
    tasks = "tasks"
    suites = "suites"
    models = "models"
    references = "references"
    tables = "tables"  # what most people call references
    recipes = "recipes"
    runs = "runs"


def list_names(
    what: Annotated[
        What | None, typer.Argument(metavar="WHAT", help="What to list; by default, how many there are of each.")
    ] = None,
    results: Results = Path("results"),
    tasks_dir: TasksDirs = None,
    lint: Annotated[
        bool,
        typer.Option(
            "--lint", metavar="", help="With references: list what is suspicious about the published numbers."
        ),
    ] = False,
) -> None:
    """List tasks by kind, suites, model aliases, published tables, recipes, or the runs of a results folder."""
    if lint:
        return _lint(what)
    if what is What.runs:
        return _list_runs(results)
    listings: dict[What, Callable[[], Listing]] = {
        What.tasks: lambda: _tasks(tasks_dir or []),
        What.suites: _suites,
        What.models: _models,
        What.references: _references,
        What.tables: _references,
        What.recipes: _recipes,
    }
    if what is None:
        return _count(listings, results)
    print_whole(_table(*listings[what]()), screen())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(show_edge=False, box=None, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    return table


def _print_by_configuration(header: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print a line with the task, model and recipe of runs above each table of them, for narrow terminals."""
    groups: dict[tuple[str, ...], list[Sequence[str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[:N_OF_CONFIGURATION]), []).append(row[N_OF_CONFIGURATION:])
    for place, ((task, model, recipe), own) in enumerate(groups.items()):
        if place:
            print()
        say(f"{task}, {model}: {recipe}")
        print_whole(_table(header[N_OF_CONFIGURATION:], own), console)


def _count(listings: Mapping[What, Callable[[], Listing]], results: Path) -> None:
    """Print a line for each thing that can be listed, with how many there are."""
    counts = {what: len({row[0] for row in listing()[1]}) for what, listing in listings.items()}  # a row for each part
    counts[What.runs] = len(load_runs(results))
    for what, n in counts.items():
        if what is not What.tables:
            print(f"xeval list {what.value:10}  {n:3}")


def _lint(what: What | None) -> None:
    """Print a line for each suspicion."""
    if what not in (What.references, What.tables):
        raise typer.BadParameter("--lint: wanted with references; xeval list references --lint")
    lines = suspicions(list(registry.all_references().values()))
    for line in lines:
        say(line)
    say(f"Suspicious: {len(lines)}. A suspicion is a reason to check the source; it proves nothing.")


def _tasks(tasks_dirs: list[Path]) -> Listing:
    rows = [
        (
            task.name,
            task.kind,
            f"{task.training_language} → {_some(task.languages)}",
            _row_counts(task.expected_rows.of("test", language) for language in task.languages),
        )
        for task in sorted(registry.all_tasks(tasks_dirs).values(), key=lambda task: (task.kind, task.name))
    ]
    return ("task", "kind", "languages", "test rows each"), rows


def _some(languages: Sequence[str]) -> str:
    """Return all languages, or as many as XNLI has and how many more; the task's file or the record names them all."""
    shown = " ".join(languages[:LISTED])
    return shown if len(languages) <= LISTED else f"{shown} and {len(languages) - LISTED} more"


def _suites() -> Listing:
    rows = [
        (suite.name, group, " ".join(member.task for member in members))
        for suite in registry.all_suites().values()
        for group, members in suite.groups.items()
    ]
    return ("suite", "group", "tasks"), rows


def _row_counts(counts: Iterable[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return span(known) if known else "depends on the copy"


def _models() -> Listing:
    fetched = [
        (
            name,
            hub_id,
            f"pickled, as far as known; convert it first: xeval convert {name} DIR" if hub_id in PICKLED else "",
        )
        for name, hub_id in MODEL_ALIASES.items()
    ]
    embedded = [(name, "", "comes with xeval, for the tasks whose names end in -mini") for name in EMBEDDED_MODELS]
    return ("name", "hub id", ""), [*fetched, *embedded]


def _references() -> Listing:
    rows = [
        (
            table.name,
            f"{table.task}: {metric_in_words(table.metric)}",
            row.name if row.protocol == "zero-shot" else f"{row.name} ({row.protocol})",
            one_decimal(row.average),
            " ".join(row.cells),
        )
        for table in registry.all_references().values()
        for row in table.rows
    ]
    return ("reference", "task", "row", "mean", "languages"), rows


def _of_training(recipe: Recipe) -> tuple[str, str, str]:
    """Return learning rate, batch size, and length of a recipe's training, in words."""
    if recipe.pooling is not None:
        return "–", "–", "no training"
    until = counted(recipe.max_steps or 0, "steps")
    if recipe.epochs:
        until = f"{recipe.epochs:g} {'epoch' if recipe.epochs == 1 else 'epochs'}"
    return f"{recipe.learning_rate:g}", str(recipe.batch_size), until


def _recipes() -> Listing:
    rows = [
        (
            recipe.name,
            *_of_training(recipe),
            str(recipe.max_length),
            recipe.selection if recipe.pooling is None else "–",
        )
        for recipe in registry.all_recipes().values()
    ]
    return ("recipe", "learning rate", "batch", "until", "max length", "checkpoint"), rows


def _mean(record: RunRecord) -> str:
    values = [score.value for score in record.scores.values()]
    return one_decimal(100 * sum(values) / len(values)) if values else "–"


def _list_runs(results: Path) -> None:
    """Print the runs. Raises StoreError, after printing all others, for a damaged one."""
    runs, damaged = readable_runs(results)
    if damaged and not runs:
        raise next(iter(damaged.values()))
    if not runs:
        return say(f"No runs in {results}. Make one with: xeval run xnli-mini --model mini-mbert")
    unreadable = [(*folder.parts[-3:-1], "–", "–", "damaged", "", "–", folder.name) for folder in damaged]
    header = ("task", "model", "recipe", "seed", "status", "languages", "mean", "folder")
    rows = [*map(_row, runs), *unreadable]
    table, console = _table(header, rows), screen()
    if fit(table, console):
        console.print(table)
    else:
        _print_by_configuration(header, rows, console)
    if damaged:
        raise next(iter(damaged.values()))


def _row(run: StoredRun) -> tuple[str, ...]:
    record = run.record
    return (
        record.task,
        record.model.id,
        Configuration.of(record).in_words,
        str(record.seed) if record.has_seed else "–",
        record.status,
        _some(list(record.scores)),
        _mean(record),
        run.folder.name,
    )
