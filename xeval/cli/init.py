"""`xeval init`: first versions of the files that people write."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import words
from xeval.cli.screen import say
from xeval.definitions import scaffolds
from xeval.definitions.model_name import ModelName
from xeval.definitions.registry import check_languages, check_names, get_task, is_suite
from xeval.definitions.schemas import NOUNS, schema_of
from xeval.definitions.toml import read_definition
from xeval.support.errors import DefinitionError, XevalError
from xeval.support.files import write_atomically


class What(StrEnum):
    task = "task"
    recipe = "recipe"
    table = "table"
    grid = "grid"
    model_card = "model-card"
    ci = "ci"


_OUTPUTS = {What.model_card: "README.md", What.ci: ".github/workflows/xeval.yml"}


def init(
    what: Annotated[What, typer.Argument(metavar="WHAT", help="What to create.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its name; for a model card, the model's name.")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="For a task: its kind.")] = "pair-classification",
    language: Annotated[
        list[str] | None,
        typer.Option(
            "--language",
            "-l",
            metavar="LANGUAGES",
            help="Language codes; a task is trained on the first. Default for a table, a grid or CI: all.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="LABELS", help="For a task: its labels, such as yes,no.")
    ] = None,
    task: Annotated[
        str, typer.Option("--task", metavar="TASK", help="For a table, a grid or CI: name or path of the task.")
    ] = "xnli",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="For a table, a grid or CI: the model; for a model card: what was fine-tuned.",
        ),
    ] = "mbert",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write; default: NAME.toml, README.md or .github/workflows/xeval.yml.",
        ),
    ] = None,
) -> None:
    """Create a working file to start from: a task, a recipe, a published table, a grid, a model card or a workflow.

    On a terminal, asks for what is missing. A TOML file names its JSON schema, which is written next to it, so that
    editors complete and check keys.
    """
    if what is not What.ci:
        name = name or _ask("--name", "What is it called?")
    path = output or Path(_OUTPUTS.get(what, f"{name}.toml"))
    if path.exists():
        raise DefinitionError(f"{path}: already exists; remove it, or give another --output")
    text = _text_of(what, (name or "", _typed(path)), kind, (words(language), words(label)), task, model)
    _write(what, path, text)
    say(f"{path} is written; now fill in your own values")


def _text_of(
    what: What, names: tuple[str, str], kind: str, lists: tuple[list[str], list[str]], task: str, model: str
) -> str:
    """Return the file's text; `names` are its name and its path, `lists` the languages and the labels."""
    languages, labels = lists
    if what is What.task:
        languages = languages or words([_ask("--language", "Languages, starting with the one to train on (en,es)?")])
        if scaffolds.takes_labels(kind):
            labels = labels or words([_ask("--label", "Labels (yes,no)?")])
        return scaffolds.task(*names, kind, languages, labels)
    if what is What.recipe:
        return scaffolds.recipe(*names)
    of_model = ModelName.parse(model)
    if what is What.model_card:
        return scaffolds.model_card(names[0], of_model.id, languages or ["multilingual"])
    if what is What.grid:
        check_names(task, languages=languages)
        trains = is_suite(task) or get_task(task).of_kind.trains
        return scaffolds.grid(names[1], task, model, languages, trains)
    of_task = get_task(task)
    codes = check_languages(of_task, languages)
    if what is What.table:
        return scaffolds.table(*names, of_task, of_model.id, codes)
    return scaffolds.ci(task, model, codes if languages else [], of_task.of_kind.trains)


def _typed(path: Path) -> str:
    """Return `path` as it is typed in a shell, in a form that commands take for a path, not a name."""
    return shlex.quote(str(path) if path.is_absolute() or path.parent != Path() else f"./{path}")


def _ask(option: str, question: str) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{option} is missing, and there is no terminal on which to ask for it")
    answer: str = typer.prompt(question)
    return answer


def _write(what: What, path: Path, text: str) -> None:
    """Write `text` to `path`, and its schema to a folder next to it. Raises and leaves nothing if `text` is invalid."""
    new_folders = [folder for folder in path.parents if not folder.exists()]
    write_atomically(path, text.encode())
    noun = NOUNS.get(what.value)
    if noun is None:
        return
    try:
        read_definition(path, noun)
    except XevalError:
        path.unlink()
        for folder in new_folders:
            folder.rmdir()
        raise
    schema = path.parent / scaffolds.SCHEMA_FOLDER / f"{what.value}.json"
    write_atomically(schema, schema_of(what.value).encode())
