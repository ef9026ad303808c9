"""The runs that a command reads from a results folder."""

from pathlib import Path

from xeval.results.named_models import runs_of_model
from xeval.results.store import StoredRun, load_runs
from xeval.support.errors import StoreError, UnknownNameError


def runs_in(results: Path, task: str | None = None, model: str | None = None) -> list[StoredRun]:
    """The runs in `results`: all of them, or those of one task or of one model.

    Raises StoreError where there are none, UnknownNameError for a task or a model that has none.
    """
    runs = load_runs(results)
    if not runs:
        raise StoreError(f"{results}: no results there yet; make some with: xeval run xnli --model distilmbert")
    tasks = sorted({run.record.task for run in runs})
    if task is not None and task not in tasks:
        raise UnknownNameError(f"task in {results}", task, tasks)
    of_task = [run for run in runs if task in (None, run.record.task)]
    return of_task if model is None else runs_of_model(of_task, model, f"model in {results}")
