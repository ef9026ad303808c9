"""Runs of a results folder by the name of their model, as people name models."""

from collections.abc import Sequence
from pathlib import Path

from xeval.definitions.model_name import ModelName
from xeval.results.records import RunRecord
from xeval.support.errors import ModelError, UnknownNameError

Run = tuple[Path, RunRecord]


def runs_of_model(runs: Sequence[Run], name: str, kind: str) -> list[Run]:
    """Those of `runs` whose model `name` names: by alias, id, folder or `@revision`.

    Raises UnknownNameError, which calls it a `kind`, where there are none.
    """
    ids = sorted({record.model.id for _, record in runs})
    try:
        model = ModelName.parse(name, ids)
    except (ModelError, UnknownNameError) as error:
        raise UnknownNameError(kind, name, ids) from error
    chosen = [run for run in runs if model.is_of(run[1].model.id, run[1].model.origin, run[1].model.revision)]
    if not chosen:
        raise UnknownNameError(kind, name, ids)
    return chosen
