"""Look-up of a results folder's runs by task and by model, named as people name models."""

from collections.abc import Sequence
from pathlib import Path

from xeval.definitions.model_name import MODEL_ALIASES, ModelName
from xeval.results.configurations import by_configuration
from xeval.results.store import StoredRun, load_runs
from xeval.support.errors import ModelError, StoreError, UnknownNameError


def runs_of_model(runs: Sequence[StoredRun], name: str, kind: str) -> list[StoredRun]:
    """Return the runs of the model called `name`: an alias or id, maybe with `@revision`, a folder, or an id's last
    part if it belongs to only one id.

    Raises UnknownNameError, which calls it a `kind`, if there are none.
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


def runs_in(results: Path, task: str | None = None, model: str | None = None) -> list[StoredRun]:
    """Return the runs in `results`: all of them, or those of one task or one model.

    Raises StoreError if there are none, or if one training is there twice, which would count as two. Raises
    UnknownNameError for a task or a model that has none.
    """
    runs = load_runs(results)
    if not runs:
        raise StoreError(f"{results}: no results there yet; make some with: xeval run xnli --model distilmbert")
    tasks = sorted({run.record.task for run in runs})
    if task is not None and task not in tasks:
        raise UnknownNameError(f"task in {results}", task, tasks)
    of_task = [run for run in runs if task in (None, run.record.task)]
    chosen = of_task if model is None else runs_of_model(of_task, model, f"model in {results}")
    by_configuration(chosen)
    return chosen
