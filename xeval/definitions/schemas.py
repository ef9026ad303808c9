"""JSON schemas, for editors, of the files that people write. They come from the models that xeval reads them with."""

import ast
import inspect
import io
import itertools
import json
import tokenize
from functools import cache
from typing import Any

from pydantic import BaseModel

from xeval.definitions.grid import Grid
from xeval.definitions.recipe import Recipe
from xeval.definitions.reference import Reference
from xeval.definitions.suite import Suite, SuiteTable
from xeval.definitions.task import Task
from xeval.definitions.toml import Frozen
from xeval.kinds.registry import all_kinds, get_kind

NOUNS: dict[str, type[Frozen]] = {
    "task": Task,
    "recipe": Recipe,
    "table": Reference,
    "suite": Suite,
    "suite-table": SuiteTable,
    "grid": Grid,
}


def schema_of(noun: str) -> str:
    """Return the JSON schema of a noun's files. A task's schema has the keys of each kind, if `kind` names it."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= _described(NOUNS[noun])
    if noun == "task":
        schema["allOf"] = [_keys_of_kind(name, schema["$defs"]) for name in all_kinds()]
    if noun == "recipe":  # a recipe with a pooling trains nothing
        of_training = [key for key in schema["required"] if key in ("learning_rate", "batch_size")]
        schema["required"] = [key for key in schema["required"] if key not in of_training]
        schema |= {"if": {"required": ["pooling"]}, "else": {"required": of_training}}
    return json.dumps(schema, indent=1, ensure_ascii=False, default=str) + "\n"


def _keys_of_kind(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    keys = _described(get_kind(name).keys_model)
    definitions |= keys.get("$defs", {})
    then = {key: keys[key] for key in ("properties", "required") if key in keys}
    return {"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": then}


def _described(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of `model`, with the description of each field in the source."""
    schema = model.model_json_schema()
    for name, part in _parts(model).items():
        properties = (schema if part is model else schema["$defs"].get(name, {})).get("properties", {})
        for key, words in words_of_fields(part).items():
            if key in properties:
                properties[key].setdefault("description", words)
    return schema


def _parts(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return `model` and the models that its fields hold, at any depth, by name."""
    parts, queue = dict[str, type[BaseModel]](), [model]
    while queue:
        part = queue.pop()
        if part.__name__ not in parts:
            parts[part.__name__] = part
            queue += [noun for field in part.model_fields.values() for noun in models_in(field.annotation)]
    return parts


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a field with this annotation may hold."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in models_in(part)]


def words_of_fields(model: type[BaseModel]) -> dict[str, str]:
    """Return the description of each field: its docstring, or else the comment after it.

    They are read from the source here, since pydantic would read it every time xeval starts.
    """
    docstrings = {name: text for part in model.__mro__[::-1] for name, text in _docstrings(part).items()}
    return _comments(model) | {name: " ".join(text.split()) for name, text in docstrings.items()}


def _docstrings(noun: type) -> dict[str, str]:
    if noun is BaseModel or not issubclass(noun, BaseModel):
        return {}
    return {
        field.target.id: below.value.value
        for field, below in itertools.pairwise(_body(noun))
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _comments(noun: type[BaseModel]) -> dict[str, str]:
    tokens = tokenize.generate_tokens(io.StringIO(_source(noun)).readline)
    on_line = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    ends = {
        node.target.id: node.end_lineno or 0
        for node in _body(noun)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return {name: on_line[line] for name, line in ends.items() if line in on_line}


@cache
def _source(noun: type) -> str:
    return inspect.getsource(noun)  # slow: it parses the whole file to find one class


@cache
def _body(noun: type) -> list[ast.stmt]:
    [definition] = ast.parse(_source(noun)).body
    assert isinstance(definition, ast.ClassDef)
    return definition.body
