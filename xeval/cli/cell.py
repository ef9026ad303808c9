"""`xeval cell`: every published value of one number."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from xeval.cli.options import TasksDirs
from xeval.cli.screen import say, screen
from xeval.definitions.model_name import ModelName
from xeval.definitions.registry import all_references, check_languages, get_task
from xeval.judging.ledger import Entry, entries
from xeval.report.whole_words import print_whole
from xeval.results.adaptations import in_words, settings_of
from xeval.support.text import metric_in_words, one_line


def cell(
    task: Annotated[str, typer.Argument(help="Name or path of a task.")],
    model: Annotated[str, typer.Argument(help="Alias or hub id.")],
    language: Annotated[str, typer.Argument(help="Language code, such as de.")],
    tasks_dir: TasksDirs = None,
) -> None:
    """List every published value of a model in a language, with its source, recipe, selection and seeds."""
    definition = get_task(task, tasks_dir or ())
    [code] = check_languages(definition, [language])
    name = ModelName.parse(model).id
    values = entries(all_references().values(), definition.name, name, code)
    if not values:
        say(f"The {definition.name} tables have no value for {name} in {code}; xeval list references lists the tables.")
        raise typer.Exit(1)
    table = Table(show_edge=False, box=None, pad_edge=False)
    table.add_column("in %", justify="right")
    for header in ("metric", "row", "protocol", "recipe", "selection", "seeds", "reference"):
        table.add_column(header, overflow="fold")
    for entry in values:
        table.add_row(*(Text(one_line(text)) for text in _row(entry)))
    print_whole(table, screen())
    for source in dict.fromkeys(f"{entry.table.name}: {entry.table.source_url}" for entry in values):
        say(source)


def _row(entry: Entry) -> list[str]:
    row, spread = entry.row, "" if entry.spread is None else f" ±{entry.spread:g}"
    recipe, values = row.recipe or "–", row.model_dump()
    return [
        f"{entry.value:.{entry.decimals}f}{spread}",
        metric_in_words(entry.table.metric),
        f"{row.name} ({row.how})",
        ", ".join([row.protocol, *([in_words(values)] if settings_of(values) else [])]),
        recipe if row.recipe_published else f"{recipe} (not published)" if row.recipe else recipe,
        row.selection,
        str(row.n_seeds or "not published"),
        entry.table.name,
    ]
