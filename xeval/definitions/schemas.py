"""JSON schemas of the files that people write, for editors: made of the models that xeval reads them with."""

import json
from typing import Any

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
    """The JSON schema of a file of that noun. A task's has the keys of each kind where `kind` names it."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= NOUNS[noun].model_json_schema()
    if noun == "task":
        schema["allOf"] = [_keys_of_kind(name, schema["$defs"]) for name in all_kinds()]
    if noun == "recipe":  # one with a pooling trains nothing
        of_training = [key for key in schema["required"] if key in ("learning_rate", "batch_size")]
        schema["required"] = [key for key in schema["required"] if key not in of_training]
        schema |= {"if": {"required": ["pooling"]}, "else": {"required": of_training}}
    return json.dumps(schema, indent=1, ensure_ascii=False, default=str) + "\n"


def _keys_of_kind(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    keys = get_kind(name).keys_model.model_json_schema()
    definitions |= keys.get("$defs", {})
    then = {key: keys[key] for key in ("properties", "required") if key in keys}
    return {"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": then}
