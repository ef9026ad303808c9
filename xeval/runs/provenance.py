"""A run's first record: what the run is made of, before anything is scored."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from xeval.definitions.task import Task
from xeval.engine.loading import count_encoder_parameters, encoder_shape
from xeval.results.configurations import Configuration
from xeval.results.records import ModelRecord, RunRecord
from xeval.results.store import StoredRun
from xeval.runs.spec import RunSpec
from xeval.support.errors import DataError, StoreError
from xeval.support.text import metric_in_words, one_line


def new_record(spec: RunSpec, model: PreTrainedModel | None) -> RunRecord:
    """Return an incomplete record without training or scores; `model` is None if it could not be loaded."""
    checkpoint, declared = spec.checkpoint, spec.declared
    return RunRecord(
        identity=spec.identity(),
        status="incomplete",
        **said_of_task(spec.task),
        model=ModelRecord(
            id=declared.name if declared else checkpoint.id,
            origin=checkpoint.origin,
            revision=checkpoint.revision,
            sha256=checkpoint.sha256,
            n_parameters=count_encoder_parameters(model) if model is not None else None,
            architecture=model.config.model_type if model is not None else None,
            **encoder_shape(model),
            published_as=checkpoint.published_as,
            published_by=checkpoint.published_by,
        ),
        recipe=spec.recipe_record(),
        seed=declared.seed if declared else spec.seed,
        declared=checkpoint.id if declared else None,
        limits=spec.corpus.limits,
        dtype=spec.compute.dtype_name,
        data=spec.data_record({}),
        training=None,
        scores={},
        timing={},
        invocations={},
    )


def said_of_task(task: Task) -> dict[str, Any]:
    """Return the fields that describe `task` in the record of every run on it."""
    return {
        "task": task.name,
        "task_title": task.title,
        "task_note": task.note,
        "kind": task.kind,
        "encoding": task.of_kind.encoding,
        "metric": task.metric,
        "labels": list(task.labels) or None,
        "chance": task.of_kind.chance,
        "training_language": task.training_language,
        "trained_instead": task.trained_instead,
    }


def check_metric(record: RunRecord, task: Task, folder: Path) -> None:
    """Raise StoreError if the run in `folder` was scored by another metric than that of `task`.

    All scores of a record are in one metric, and its checkpoint may have been chosen by it.
    """
    if record.metric != task.metric and (record.scores or record.training):
        raise StoreError(
            f"{folder} is scored by {metric_in_words(record.metric)}, and task {task.name} now by"
            f" {metric_in_words(task.metric)}; use another --results folder"
        )


def seeds_of(record: RunRecord, known: Iterable[StoredRun]) -> list[StoredRun]:
    """Return the `known` runs of the configuration of `record`: scores of its seeds are averaged."""
    own, model = Configuration.of(record), record.model_of_seeds
    # Models are compared first, since a large grid asks for each of its runs.
    alike = [run for run in known if run.record.model_of_seeds == model]
    return [run for run in alike if Configuration.of(run.record) == own]


def has_other_labels(record: RunRecord, task: Task) -> bool:
    """Return whether `record` has other names of labels than `task`, or another order; some old records have none."""
    return record.labels not in (None, list(task.labels) or None)


def check_labels(task: Task, seeds: Iterable[StoredRun]) -> None:
    """Raise StoreError if one of the `seeds` has other names of labels than `task`, or another order."""
    for run in seeds:
        if has_other_labels(run.record, task):
            raise StoreError(
                f"{run.folder} has the labels {_listed(run.record.labels)}, and task {task.name} now has"
                f" {_listed(task.labels)}; use another --results folder, or remove the runs with the old labels"
            )


def check_same_rows(sha256: Mapping[str, str], runs: Iterable[StoredRun]) -> None:
    """Raise DataError if one of the `runs` was scored on test rows with another hash than `sha256` has by language."""
    for run in runs:
        for language, recorded in run.record.data.sha256.get("test", {}).items():
            if sha256.get(language, recorded) != recorded:
                raise DataError(
                    f"test rows of {language!r} differ from those that {run.folder} was scored on; use another"
                    " --results folder, or remove that one to evaluate again"
                )


def _listed(labels: Sequence[str] | None) -> str:
    return one_line(", ".join(labels or ()))[:100]
