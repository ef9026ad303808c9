"""`xeval cell`: every published value of one number."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from xeval.cli.options import TasksDirs
from xeval.cli.screen import say, screen
from xeval.definitions.model_name import ModelName
from xeval.definitions.reference import ReferenceRow
from xeval.definitions.registry import all_references, check_languages, get_task
from xeval.judging.ledger import Entry, entries
from xeval.results.adaptations import in_words, settings_of
from xeval.support.text import metric_in_words, one_line


def cell(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Name or path of a task.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Alias or hub id.")],
    language: Annotated[str, typer.Argument(metavar="LANGUAGE", help="Language code, such as de.")],
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
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for entry in values:
        table.add_row(_value(entry), Text("\n".join(map(one_line, _origin(entry)))))
    screen().print(table)
    for source in dict.fromkeys(f"{entry.table.name}: {entry.table.source_url}" for entry in values):
        say(source)


def _value(entry: Entry) -> str:
    """Return the value in percent."""
    spread = "" if entry.spread is None else f" ±{entry.spread:g}"
    return f"{entry.value:.{entry.decimals}f}{spread}"


def _origin(entry: Entry) -> tuple[str, str]:
    """Return a line on the published row, and one on its training."""
    row, values = entry.row, entry.row.model_dump()
    adaptation = [in_words(values)] if settings_of(values) else []
    training = [
        *_recipe(row),
        f"selection {row.selection}",
        f"seeds {row.n_seeds or 'not published'}",
        *([] if entry.table.split == "test" else [f"on {entry.table.split}"]),
    ]
    return (
        f"{row.name}, {metric_in_words(entry.table.metric)} ({', '.join([row.protocol, *adaptation, row.how])})",
        f"{entry.table.name}: {'; '.join(training)}",
    )


def _recipe(row: ReferenceRow) -> list[str]:
    """Return the recipe in words; none for a row that cannot come from training in one language."""
    if row.recipe is None:
        return []
    return [f"recipe {row.recipe}" + ", chosen by the table's file" * (not row.recipe_published)]
