"""Runs of a results folder by the name of their model, as people name models."""

from collections.abc import Sequence

from xeval.definitions.model_name import MODEL_ALIASES, ModelName
from xeval.results.store import StoredRun
from xeval.support.errors import ModelError, UnknownNameError


def runs_of_model(runs: Sequence[StoredRun], name: str, kind: str) -> list[StoredRun]:
    """Those of `runs` whose model `name` names: by alias, id, folder or `@revision`, or by the last part of
    an id if it is only one's.

    Raises UnknownNameError, which calls it a `kind`, where there are none.
    """
    ids = sorted({run.record.model.id for run in runs})
    with_that_end = [model_id for model_id in ids if model_id.split("/")[-1].casefold() == name.casefold()]
    if name not in MODEL_ALIASES and len(with_that_end) == 1:
        name = with_that_end[0]
    try:
        model = ModelName.parse(name, ids)
    except (ModelError, UnknownNameError) as error:
        raise UnknownNameError(kind, name, ids) from error
    chosen = [
        run for run in runs if model.is_of(run.record.model.id, run.record.model.origin, run.record.model.revision)
    ]
    if not chosen:
        raise UnknownNameError(kind, name, ids)
    return chosen
