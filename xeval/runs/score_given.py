"""A run whose predictions others computed: read, matched with the rows, scored and stored. Nothing is trained."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xeval.data.corpus import Corpus
from xeval.data.given_files import read_given, read_key
from xeval.data.layouts import local_copy
from xeval.data.source import DataSource, open_source
from xeval.definitions import registry
from xeval.definitions.model_name import ModelName
from xeval.definitions.task import Task
from xeval.engine import devices, environment
from xeval.judging.score import Judged, judged_of, score_of
from xeval.kinds.rows import Rows
from xeval.results.identity import identity, ingredients_of
from xeval.results.predictions import are_stored, as_parquet, save_predictions
from xeval.results.records import (
    ANSWERS_ALONE,
    ELSEWHERE,
    DataRecord,
    Invocation,
    Limits,
    ModelRecord,
    RecipeRecord,
    RunRecord,
)
from xeval.results.store import StoredRun, known_runs, load_record, run_folder, save_record
from xeval.runs.objects import folder_of_data
from xeval.runs.provenance import check_labels, check_metric, check_same_rows, said_of_task, seeds_of
from xeval.support.arguments import checked_arguments
from xeval.support.errors import DefinitionError, StoreError, UnknownNameError
from xeval.support.locks import locked
from xeval.support.progress import Reporter, Silent

NOT_KNOWN = "not known"  # the arithmetic of predictions computed elsewhere
EITHER = "data and labels: wanted one of the two, since both have the right answers"
PathLike = str | os.PathLike[str]


@checked_arguments
def score(task: str, predictions: PathLike, *, model: str, **options: Any) -> RunRecord:
    """Score predictions computed elsewhere, as a run like any other: for reports, comparisons, verdicts and the gate.

    Rows are matched by id if both predictions and data have ids, by number if the predictions number their rows, and
    otherwise by order, if there are as many predictions as rows. Languages can be added to the same model and seed
    later.

    Args:
        task: a task's name, or the path of a task file.
        predictions: a file, or a folder with a file for each language (see `xeval.data.given_files`).
        model: which model made them: an alias or hub id, to be compared with published rows, or any name.
        seed: which of several training runs made them.
        languages: codes; by default, all that have predictions.
        data: a local copy of the data (see `xeval.data.layouts`), or objects, as for `xeval.run`; XEVAL_DATA or the
            hub's by default.
        labels: instead of `data`, the right answers alone, in the form of predictions.
        results: the folder for the record and the predictions.
        test_split: the split that they are for, instead of the task's test split.
        tasks_dirs: folders with further task files.
        reporter: receives progress; silent by default.

    Raises XevalError, before anything is written, for predictions that are not one for each row.
    """
    reporter, folders = options.get("reporter") or Silent(), map(Path, options.get("tasks_dirs", ()))
    options["data"] = folder_of_data(
        options.get("data"),
        lambda: registry.get_task(task, list(folders)).tested_on(options.get("test_split")),
        reporter,
    )
    return score_given(task, predictions, model=model, **options).record


def score_given(  # noqa: PLR0913  what `score` takes
    task: str,
    predictions: PathLike,
    *,
    model: str,
    seed: int = 0,
    languages: Sequence[str] = (),
    data: PathLike | None = None,
    labels: PathLike | None = None,
    results: PathLike = "results",
    test_split: str | None = None,
    tasks_dirs: Sequence[PathLike] = (),
    reporter: Reporter | None = None,
) -> StoredRun:
    """Do what `score` does, and return the run with its folder."""
    reporter = reporter or Silent()
    definition = registry.get_task(task, [Path(folder) for folder in tasks_dirs]).tested_on(test_split)
    codes = registry.check_languages(definition, languages) if languages else ()
    if data and labels:
        raise DefinitionError(EITHER)
    name = _named(model)
    given = read_given(Path(predictions), definition, codes)
    source = None
    if labels is None:
        source = open_source(definition, local_copy(data), list(given), training=False)
        corpus = Corpus(source, Limits(test_split=definition.test_split))
        with reporter.phase("read", len(given), "languages") as phase:
            rows = {}
            for language in given:
                rows[language] = corpus.test(language)
                phase.advance()
    else:
        rows = read_key(Path(labels), definition, given)
    kind = definition.of_kind
    judged = {each: judged_of(kind, kind.answers_given(own, rows[each]), rows[each]) for each, own in given.items()}
    record = _record(definition, name, seed, source, rows)
    _check_seeds(definition, record, known_runs(Path(results), record.task), rows)
    folder = run_folder(Path(results), record.task, record.model.id, ELSEWHERE, seed, record.identity)
    with locked(folder, reporter.say):
        return _add(definition, folder, load_record(folder) or record, judged, rows)


def _check_seeds(task: Task, record: RunRecord, known: Iterable[StoredRun], rows: Mapping[str, Rows]) -> None:
    """Raise XevalError if `known` runs are of the configuration of `record`, but by other labels or on other rows."""
    seeds = seeds_of(record, known)
    check_labels(task, seeds)
    # The same rows have another hash without their texts. `_add` compares those of the run itself.
    is_alone = record.data.source == ANSWERS_ALONE
    others = [run for run in seeds if run.record.seed != record.seed]
    alike = [run for run in others if (run.record.data.source == ANSWERS_ALONE) == is_alone]
    check_same_rows({language: own.sha256 for language, own in rows.items()}, alike)


def _named(model: str) -> ModelName:
    """Return the model that the predictions are said to be of; a word that is no known name becomes a local name.

    A published model's name stands for that model even where a folder is called so, which may hold its predictions.
    """
    if not model.strip():
        raise DefinitionError("model: wanted the name of the model that made the predictions, got an empty one")
    if (published := ModelName.published(model)) is not None:
        return published
    try:
        return ModelName.parse(model)
    except UnknownNameError:
        return ModelName(model, "local")


def _record(task: Task, name: ModelName, seed: int, source: DataSource | None, rows: Mapping[str, Rows]) -> RunRecord:
    """Return the record of the run, without scores."""
    called = f"{ELSEWHERE} of {name.id}@{name.revision}" if name.revision else f"{ELSEWHERE} of {name.id}"
    expected = {language: task.expected_rows.of("test", language) for language in rows}
    is_part = any(len(own) < (expected[language] or 0) for language, own in rows.items())
    limits = Limits(max_eval=max(map(len, rows.values())) if is_part else None, test_split=task.test_split)
    record = RunRecord(
        identity="0" * 64,
        status="complete",
        **said_of_task(task),
        model=ModelRecord(
            id=name.id,
            origin=name.origin or "local",
            revision=name.revision,
            sha256=hashlib.sha256(called.encode()).hexdigest(),
            n_parameters=None,
            architecture=None,
            published_as=name.published_as,
            published_by="word" if name.published_as else None,
        ),
        recipe=RecipeRecord(name=ELSEWHERE, values={}, overrides={}),
        seed=seed,
        limits=limits,
        dtype=NOT_KNOWN,
        data=DataRecord(
            source=source.name if source else ANSWERS_ALONE,
            revision=source.revision if source else None,
            sha256={"test": {}},
            train_rows={},
        ),
        training=None,
        scores={},
        timing={},
        invocations={},
    )
    return record.model_copy(update={"identity": identity(ingredients_of(record), seed)})


def _add(
    task: Task, folder: Path, record: RunRecord, judged: Mapping[str, Judged], rows: Mapping[str, Rows]
) -> StoredRun:
    """Add languages to the run in `folder`. Raises StoreError if its metric, rows or predictions differ."""
    check_metric(record, task, folder)
    scores, hashes = dict(record.scores), dict(record.data.sha256["test"])
    invocation = environment.INVOCATION
    for language, own in judged.items():
        sha256 = rows[language].sha256
        if hashes.get(language, sha256) != sha256:
            raise StoreError(
                f"test rows of {language!r} differ from those that {folder} was scored on; use another"
                " --results folder, or remove that one"
            )
        hashes[language] = sha256
        if language not in scores:
            continue
        content = as_parquet(own.answers, own.tally, own.groups)
        if not are_stored(folder, language, scores[language].predictions_sha256, content):
            raise StoreError(
                f"other predictions for {language!r} were scored as {record.name_of_run} before; give another"
                f" --seed or --model, or remove {folder}"
            )
    for language, own in judged.items():
        written = _intact(StoredRun(folder, record), language)
        written = written or save_predictions(folder, language, own.answers, own.tally, own.groups)
        scores[language] = score_of(task.of_kind, task.metric, own, None, written, invocation)
    limits = record.limits
    if limits.max_eval is not None:
        limits = limits.model_copy(update={"max_eval": max(score.n_rows for score in scores.values())})
    where = Invocation(environment=environment.describe(devices.choose("cpu", "float32")))
    record = record.model_copy(
        update={
            "scores": scores,
            "limits": limits,
            "data": record.data.model_copy(update={"sha256": {"test": hashes}}),
            "invocations": record.invocations | {invocation: where},
        }
    ).without_idle_invocations()
    save_record(folder, record)
    return StoredRun(folder, record)


def _intact(run: StoredRun, language: str) -> str | None:
    """Return the hash of the predictions of `run` in `language`; None if it has none, or their file is damaged."""
    if language not in run.record.scores:
        return None
    try:
        run.check_predictions(language)
    except StoreError:
        return None
    return run.record.scores[language].predictions_sha256
