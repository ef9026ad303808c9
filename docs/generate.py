"""Write docs/reference/: commands from the command line, keys from the schemas, Python from the docstrings.

    python -m docs.generate

`tests/test_docs.py` checks that these pages are up to date.
"""

import html
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, TypeAdapter
from typer.cli import get_docs_for_click

import xeval
from xeval.cli import app
from xeval.data import bundle
from xeval.definitions import grid, recipe, reference, suite, task, toml
from xeval.definitions.schemas import NOUNS, models_in, schema_of, words_of_fields
from xeval.judging.gate.baseline import Baseline
from xeval.kinds.answers import AnswerKeys
from xeval.kinds.choices import ChoiceKeys
from xeval.kinds.mining import MiningKeys
from xeval.kinds.pairs import PairKeys
from xeval.kinds.retrieval import RetrievalKeys
from xeval.kinds.sentences import SentenceKeys
from xeval.kinds.tags import TagKeys
from xeval.results import records
from xeval.runs import plan
from xeval.support import errors

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py; do not edit. -->\n\n"

FILES: dict[str, type[BaseModel]] = {
    "A task": task.Task,
    "A task of pair-classification": PairKeys,
    "A task of sentence-classification": SentenceKeys,
    "A task of tagging": TagKeys,
    "A task of answers": AnswerKeys,
    "A task of multiple-choice": ChoiceKeys,
    "A task of sentence-retrieval": RetrievalKeys,
    "A task of bitext-mining": MiningKeys,
    "A recipe": recipe.Recipe,
    "A published table": reference.Reference,
    "A suite": suite.Suite,
    "A published table of a suite": suite.SuiteTable,
    "A grid": grid.Grid,
    "A record": records.RunRecord,
    "Intermediate checkpoints": records.CheckpointsRecord,
    "A baseline of the gate": Baseline,
    "What a bundle holds": bundle.Contents,
    "A plan": plan.Plan,
}
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
_PATTERNS = {
    TypeAdapter(kind).json_schema()["pattern"]: name
    for name, kind in {
        "name": toml.Name,
        "language code": toml.LanguageCode,
        "hub id": toml.HubId,
        "SHA-256": records.Sha256,
    }.items()
}
_LIMITS = {
    "minimum": "from {:,}",
    "exclusiveMinimum": "above {:,}",
    "maximum": "to {:,}",
    "exclusiveMaximum": "below {:,}",
}
_WIDE = 10**8  # bounds from here on only prevent overflows, and mean nothing to a reader
_LIMITS |= {"minItems": "at least {}", "maxLength": "at most {:,} characters"}


def pages() -> dict[str, str]:
    """Return the text of every page of docs/reference/, by file name."""
    schemas = {f"schemas/{noun}.json": schema_of(noun) for noun in NOUNS}
    return {name: NOTE + write() for name, write in PAGES.items()} | schemas


# ── the command line ──


def command_line() -> str:
    group = typer.main.get_command(app)
    commands = group.commands.items()
    text = [
        "# Command line",
        "`xeval --help` and `xeval COMMAND --help` show the same text. `--language`, `--seed` and options"
        " described as repeatable can be given several times; the first two also take values separated by commas."
        " The exit codes are: 0, success; 1, the work was done but its outcome is bad; 2, the input was wrong;"
        " 130, interrupted; 143, terminated by SIGTERM, to be started again.",
        "| command | |\n|---|---|\n"
        + "\n".join(f"| [`{name}`](#xeval-{name}) | {_first_line(command.help)} |" for name, command in commands),
    ]
    for name, command in commands:
        context = typer.Context(command, info_name=name)
        text.append(html.unescape(get_docs_for_click(obj=command, ctx=context, indent=1, call_prefix="xeval")).strip())
    return "\n\n".join(text) + "\n"


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


# ── keys of files ──


def keys() -> str:
    text = [
        "# Keys of files",
        "This page lists what each key of a file may hold."
        " [Files that xeval reads and writes](../files.md) explains what the files are for and where they are."
        " Keys that are not listed are refused.",
        "| word | means text that matches |\n|---|---|\n"
        + "\n".join(f"| {name} | `{pattern}` |" for pattern, name in _PATTERNS.items()),
    ]
    shown: set[str] = set()
    for title, noun in FILES.items():
        text.append(f"## {title}")
        for part in _with_parts(noun):
            if part.__name__ in shown:
                continue
            shown.add(part.__name__)
            heading = [] if part is noun else [f"### {part.__name__}"]
            text += [*heading, *_own_docstring(part), _table(part)]
    return "\n\n".join(text) + "\n"


def _with_parts(noun: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield `noun` and the nouns that its fields hold, each once, from the outside in."""
    waiting, found = [noun], [noun]
    while waiting:
        for field in waiting.pop(0).model_fields.values():
            new = [part for part in models_in(field.annotation) if part not in found]
            waiting, found = waiting + new, found + new
    yield from found


def _own_docstring(noun: type[BaseModel]) -> list[str]:
    return [inspect.cleandoc(noun.__doc__)] if noun.__doc__ else []


def _table(noun: type[BaseModel]) -> str:
    described = noun.model_json_schema()
    said, required = words_of_fields(noun), described.get("required", [])
    rows = []
    for key, kind in described["properties"].items():
        default = "required" if key in required else _default(kind.get("default"))
        rows.append(f"| `{key}` | {_words(kind)} | {default} | {_in_json(said.get(key, ''))} |")
    return "\n".join(["| key | holds | default | |", "|---|---|---|---|", *rows])


def _in_json(text: str) -> str:
    """Return what a comment says of a field, with the word for None that the file has."""
    return re.sub(r"\bNone\b", "`null`", text)


def _default(value: Any) -> str:
    if value in (None, "", [], {}) or isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _words(kind: dict[str, Any]) -> str:
    """Return what a JSON schema allows, in words."""
    if "$ref" in kind:
        name = kind["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "prefixItems" in kind:
        return f"({', '.join(_words(part) for part in kind['prefixItems'])})"
    if "anyOf" in kind:
        return " or ".join(_words(part) for part in kind["anyOf"] if part != {"type": "null"})
    if "enum" in kind or "const" in kind:
        return ", ".join(f"`{value}`" for value in kind.get("enum", [kind.get("const")]))
    own = {name: kind[name] for name in _LIMITS if name in kind and abs(kind[name]) < _WIDE}
    limits = [_LIMITS[name].format(_whole(bound)) for name, bound in own.items()]
    return ", ".join([_bare_words(kind), " ".join(limits)]) if limits else _bare_words(kind)


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


def _bare_words(kind: dict[str, Any]) -> str:
    if kind["type"] == "array":
        return f"list: {_words(kind['items'])}"
    if kind["type"] == "object":
        pattern, held = next(iter(kind.get("patternProperties", {}).items()), (None, kind.get("additionalProperties")))
        return f"table: {_PATTERNS.get(pattern, 'text')} → {_words(held)}"
    other = f" like `{kind['pattern']}`" if "pattern" in kind else ""
    return _PATTERNS.get(kind.get("pattern"), _KINDS[kind["type"]] + other)


# ── Python ──


def python() -> str:
    text = [
        "# Python",
        "`import xeval` provides these names. `run` and `reproduce` return [records](keys.md#a-record).",
    ]
    named = [getattr(xeval, name) for name in sorted(xeval.__all__)]
    for function in filter(inspect.isfunction, named):
        text += [f"## `xeval.{function.__name__}`", _signature(function), *_docstring(function)]
    for kind in (each for each in named if inspect.isclass(each) and each is not xeval.XevalError):
        text += [f"## `xeval.{kind.__name__}`", *_class(kind)]
    text += ["## `xeval.XevalError`", *_docstring(xeval.XevalError)]
    text.append("These are its subclasses, in `xeval.support.errors`:")
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__base__ is xeval.XevalError]
    text.append("\n".join(f"- `{kind.__name__}`: {_first_line(kind.__doc__)}" for kind in kinds))
    return "\n\n".join(text) + "\n"


def _signature(function: Callable[..., Any]) -> str:
    parameters = [str(parameter) for parameter in inspect.signature(function).parameters.values()]
    stars = next(
        (n for n, p in enumerate(inspect.signature(function).parameters.values()) if p.kind is p.KEYWORD_ONLY), None
    )
    if stars is not None:
        parameters.insert(stars, "*")
    returned = inspect.formatannotation(inspect.signature(function).return_annotation).strip("'\"")
    lines = "".join(f"    {parameter},\n" for parameter in parameters)
    lines = re.sub(r"^( +\w+): '([^']+)'", r"\1: \2", lines, flags=re.MULTILINE)  # annotations in quotation marks
    plain = _plain(lines + f") -> {returned}")
    return f"```python\nxeval.{function.__name__}(\n{plain}\n```"


def _plain(annotations: str) -> str:
    """Return types by the names that people write; pathlib's module is called otherwise in Python 3.13."""
    named = annotations.replace("pathlib._local.", "pathlib.")
    return re.sub(r"\b(?:collections\.abc|typing|xeval(?:\.\w+)+)\.", "", named)


def _class(kind: type) -> list[str]:
    """Return a class's docstring, and its constructor's signature or, if it has no constructor, its methods."""
    if kind.__init__ is not object.__init__:
        signature = re.sub(r"^\(self, |\) -> None$", "", _plain(str(inspect.signature(kind.__init__))))
        return [f"```python\nxeval.{kind.__name__}({signature})\n```", *_docstring(kind)]
    methods = [method for name, method in vars(kind).items() if not name.startswith("_")]
    shown = [f"{method.__name__}({', '.join(inspect.signature(method).parameters)})" for method in methods]
    lines = [f"- `{call}`: {_first_line(method.__doc__)}" for call, method in zip(shown, methods, strict=True)]
    return [*_docstring(kind), "\n".join(lines)]


def _docstring(thing: Any) -> list[str]:
    """Return the paragraphs of a docstring; its arguments become a Markdown list."""
    paragraphs = inspect.cleandoc(thing.__doc__).split("\n\n")
    return [_arguments(text) if text.startswith("Args:\n") else text for text in paragraphs]


def _arguments(text: str) -> str:
    lines = inspect.cleandoc(text.partition("\n")[2]).splitlines()
    return "\n".join(
        re.sub(r"^([\w, ]+): ", lambda m: "- " + re.sub(r"\w+", r"`\g<0>`", m[1]) + ": ", line) for line in lines
    )


PAGES: dict[str, Callable[[], str]] = {"command-line.md": command_line, "keys.md": keys, "python.md": python}

if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
