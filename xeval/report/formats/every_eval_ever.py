"""Runs → Every Eval Ever, a format for exchanging evaluations between tools.

The schema is version 0.3.0, `every_eval_ever/schemas/eval.schema.json` of https://github.com/evaleval/every_eval_ever,
as in the package every-eval-ever 0.3.0. Each run is one file, whose name depends only on its content:
`data/<benchmark>/<developer>/<model>/<uuid>.json`.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from xeval.definitions.task import Task
from xeval.results.records import Environment, RunRecord, Score
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.files import safe_name
from xeval.support.text import metric_in_words, one_line

SCHEMA_VERSION = "0.3.0"
NO_DEVELOPER = "unknown"


def files(runs: Sequence[StoredRun], task: Task | None, organisation: str) -> dict[PurePosixPath, str]:
    """Return a file for each of `runs`, by its path in the datastore.

    `organisation` is who submits them. `task`, if known, says where the rows come from. Raises StoreError for a run
    without a score.
    """
    return dict(_file(run.record, task, organisation) for run in runs)


def _file(record: RunRecord, task: Task | None, organisation: str) -> tuple[PurePosixPath, str]:
    if not record.scores:
        raise StoreError(f"{record.name_of_run}: has no score to export; finish it with xeval run")
    text = json.dumps(_log(record, task, organisation), indent=2, allow_nan=False) + "\n"
    developer, _, model = _model_id(record).rpartition("/")
    digest = hashlib.sha256(text.encode()).digest()
    name = f"{uuid.UUID(bytes=digest[:16], version=4)}.json"
    return PurePosixPath("data", safe_name(record.task), safe_name(developer), safe_name(model), name), text


def _log(record: RunRecord, task: Task | None, organisation: str) -> dict[str, Any]:
    last = max(record.environments, key=lambda environment: environment.started_at, default=None)
    made_at = _epoch(last)
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": one_line(f"{record.task}/{_model_id(record)}/{made_at}-{record.identity[:8]}"),
        **({"evaluation_timestamp": last.started_at} if last else {}),
        "retrieved_timestamp": made_at,
        "source_metadata": {
            "source_name": "xeval",
            "source_type": "evaluation_run",
            "source_organization_name": one_line(organisation),
            "evaluator_relationship": _relationship(record, organisation),
        },
        "eval_library": {"name": "xeval", "version": _version(last, "xeval")},
        "model_info": _model_info(record, last),
        "evaluation_results": [
            result for language, score in record.scores.items() for result in _results(record, task, language, score)
        ],
    }


def _epoch(environment: Environment | None) -> str:
    """Return when the record was made, in seconds since 1970, or "0" if that is not known."""
    try:
        return f"{datetime.fromisoformat(environment.started_at).timestamp():.0f}" if environment else "0"
    except ValueError:  # records from elsewhere may hold anything
        return "0"


def _version(environment: Environment | None, of: str) -> str:
    return one_line(environment.versions.get(of, "unknown")) if environment else "unknown"


# ── the model ──


def _model_id(record: RunRecord) -> str:
    """Return `developer/model`, as the hub calls the model if it is there."""
    name = one_line(record.model.published_id or record.model.id)
    return name if "/" in name else f"{NO_DEVELOPER}/{name}"


def _relationship(record: RunRecord, organisation: str) -> str:
    developer = _model_id(record).partition("/")[0]
    if developer == NO_DEVELOPER:
        return "other"
    return "first_party" if developer.casefold() == organisation.casefold() else "third_party"


def _model_info(record: RunRecord, last: Environment | None) -> dict[str, Any]:
    model, model_id = record.model, _model_id(record)
    details = {
        "deployment_type": "unknown" if record.computed_elsewhere else "self_deployed",
        "model_availability": "unknown" if model.origin == "local" else "open_weights",
        "revision": model.revision,
        "architecture": model.architecture,
        "encoder_parameters": model.n_parameters,
        "files_sha256": None if record.computed_elsewhere else model.sha256,
    }
    info: dict[str, Any] = {"name": one_line(model.id), "id": model_id, "additional_details": _strings(details)}
    developer = model_id.partition("/")[0]
    if developer != NO_DEVELOPER:
        info["developer"] = developer
    if not record.computed_elsewhere:
        info["inference_engine"] = {"name": "transformers", "version": _version(last, "transformers")}
    return info


# ── the scores ──


def _results(record: RunRecord, task: Task | None, language: str, score: Score) -> list[dict[str, Any]]:
    """Return one result for each metric, the main one first and with its interval."""
    common = {
        "evaluation_name": one_line(f"{record.task}/{language}"),
        "source_data": _source(record, task, language, score),
        "generation_config": {"additional_details": _how(record)},
    }
    low, high = score.ci95
    interval = {"lower": low, "upper": high, "confidence_level": 0.95, "method": "over the draw of test rows"}
    main = {"score": score.value, "uncertainty": {"confidence_interval": interval, "num_samples": score.n_rows}}
    if record.chance is not None:
        main["details"] = {"chance": f"{record.chance:.6g}"}
    numbers = {record.metric: main} | {name: {"score": value} for name, value in score.more.items()}
    return [
        {
            "evaluation_result_id": one_line(f"{record.task}/{language}/{metric}"),
            **common,
            "metric_config": _metric(record, language, metric),
            "score_details": details,
        }
        for metric, details in numbers.items()
    ]


def _metric(record: RunRecord, language: str, metric: str) -> dict[str, Any]:
    words = metric_in_words(metric)
    return {
        "evaluation_description": one_line(f"{words} on {record.task_title} in {language}, {_setting(record)}"),
        "metric_id": one_line(metric),
        "metric_name": one_line(words),
        "metric_kind": next((kind for kind in ("accuracy", "f1", "exact_match") if metric.endswith(kind)), "other"),
        "metric_unit": "proportion",
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": 0.0,
        "max_score": 1.0,
    }


def _setting(record: RunRecord) -> str:
    if record.computed_elsewhere:
        return "from predictions that others computed"
    if record.is_as_it_was:
        return "without training"
    return f"zero-shot: fine-tuned on {record.training_language}"


def _source(record: RunRecord, task: Task | None, language: str, score: Score) -> dict[str, Any]:
    """Describe the rows: from a data set on the hub, or from a copy with a known hash."""
    details = {
        "language": language,
        "source": record.data.source,
        "revision": record.data.revision,
        "rows_sha256": record.data.sha256.get("test", {}).get(language),
        "part_of_the_rows": record.departure,
    }
    own = {"dataset_name": one_line(record.task_title), "additional_details": _strings(details)}
    if task is None or task.hub is None or record.data.source != task.hub.id:
        return {**own, "source_type": "other"}
    split = record.limits.test_split or task.splits.test
    return {
        **own,
        "source_type": "hf_dataset",
        "hf_repo": task.hub.id,
        "hf_split": split,
        "samples_number": score.n_rows,
    }


def _how(record: RunRecord) -> dict[str, str]:
    """Describe how the answers were made: all values of the recipe, and how checkpoint and values were chosen."""
    sweep = record.sweep.in_words if record.sweep else None
    values = {f"recipe_{key}": value for key, value in record.recipe.values.items()}
    return _strings(
        {
            "recipe": record.recipe.name,
            **values,
            "seed": record.seed if record.has_seed else None,
            "training_language": None if record.is_as_it_was or record.computed_elsewhere else record.training_language,
            "selection": record.training.selection if record.training else None,
            "sweep": sweep,
            "arithmetic": record.dtype,
        }
    )


def _strings(details: Mapping[str, Any]) -> dict[str, str]:
    """Return details in the form of the schema: as texts, without those that are not known."""
    return {one_line(key): one_line(value) for key, value in details.items() if value is not None}
