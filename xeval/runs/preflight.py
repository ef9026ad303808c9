"""Checks before a run: rows, tokenizer, and what the run is about to do. They take seconds, whatever the size.

`examine` checks one (task, model, recipe) on rows that have been read; a run calls it and stops at an error. `doctor`
reads the rows itself, goes on past rows that cannot be read, and returns every check's outcome.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from xeval.checks.after.hurt_languages import check_languages
from xeval.checks.before.machine_checks import check_batch, check_device, check_disk
from xeval.checks.before.row_checks import check_choice, check_copies, check_overlap, check_sizes
from xeval.checks.before.tokenizer_checks import (
    check_letters,
    check_pieces,
    check_special_pieces,
    check_vocabulary,
    tokenizer_of,
)
from xeval.data.corpus import Corpus
from xeval.data.layouts import local_copy
from xeval.data.model_files import Checkpoint, find_checkpoint
from xeval.data.model_folder import weight_files
from xeval.data.source import open_source
from xeval.definitions import registry
from xeval.definitions.recipe import Recipe
from xeval.definitions.task import DEV, Task
from xeval.engine import devices, environment
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.loading import (
    failures_named,
    hidden_size,
    label_columns,
    load_encoder,
    load_fine_tuned,
    load_pretrained,
    load_tokenizer,
)
from xeval.engine.training import count_steps
from xeval.engine.trial import Trial
from xeval.engine.vectors import SentenceEncoder
from xeval.engine.weights import count_weights, headers
from xeval.kinds.rows import Rows, strings_in
from xeval.results.records import Limits
from xeval.runs.spec import RunSpec, with_layer
from xeval.support.cache import cache_home
from xeval.support.errors import DataError, ModelError, PreflightError
from xeval.support.findings import Finding, error, fine, warning

SAMPLED_ROWS = 300  # of each language, for the checks that tokenize
TEXTS = 30  # of each column, for the checks of single texts
DATA, MACHINE = "data", "machine"

Findings = list[tuple[str, Finding]]  # what was checked (data, machine or a model's name), what was found


def examine(spec: RunSpec, unchanged: Recipe, languages: Sequence[str], is_swept: bool = False) -> list[Finding]:
    """Check everything before the run `spec` over `languages`, whose rows have been read.

    `unchanged` is the recipe as its file has it. If it `is_swept`, trials choose some of its values. Raises ModelError
    for a tokenizer that cannot be loaded.
    """
    tests = {language: spec.corpus.test(language) for language in languages}
    findings = check_rows(spec.task, spec.corpus, spec.train, tests)
    findings += _check_tokenizer(spec.checkpoint, spec.task, spec.recipe, tests)
    if spec.train:
        findings += _check_training(spec.checkpoint, spec.task, spec.recipe, unchanged, len(spec.corpus.train))
        findings += _check_choice(spec.task, spec.recipe, tests, is_swept)
    return findings


def stop_on_errors(model: str, findings: Sequence[Finding]) -> None:
    """Raise PreflightError for the first error among `findings`."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more; see xeval doctor)" if len(errors) > 1 else ""
        raise PreflightError(f"{model}: {errors[0].sentence}{more}")


def doctor(  # noqa: PLR0913  takes what `run` takes
    task: str | None,
    models: Sequence[str] = (),
    *,
    languages: Sequence[str] = (),
    recipe: str | None = None,
    train: bool = True,
    test_split: str | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
) -> Findings:
    """Check a run before it starts: the machine, the task's rows if there is a task, and each model on them.

    Takes arguments of `xeval.run`. Raises XevalError for unknown names and missing files; rows that cannot be used are
    findings.
    """
    by_subject: Findings = [(MACHINE, _check_machine(device, dtype))]
    if task is None:
        return by_subject
    definition = registry.get_task(task, [Path(folder) for folder in tasks_dirs]).tested_on(test_split)
    codes = registry.check_languages(definition, languages)
    chosen, train = registry.get_recipe(recipe or definition.default_recipe), train and definition.of_kind.trains
    checkpoints = list(dict.fromkeys(find_checkpoint(name) for name in dict.fromkeys(models)))
    corpus = Corpus(open_source(definition, local_copy(data), codes, train), Limits())
    tests, unreadable = _read(corpus, codes, train)
    by_subject += [(DATA, finding) for finding in unreadable]
    readable = train and not any(finding.name.startswith(("train", "selection")) for finding in unreadable)
    by_subject += [(DATA, finding) for finding in check_rows(definition, corpus, readable, tests)]
    if readable:
        by_subject += [(DATA, finding) for finding in _check_choice(definition, chosen, tests)]
    for checkpoint in checkpoints:
        findings = _check_tokenizer(checkpoint, definition, chosen, tests)
        if readable:
            findings += _check_training(checkpoint, definition, chosen, chosen, len(corpus.train))
        if not train and definition.labels:
            findings.append(_check_head(checkpoint, definition))
        if not any(finding.severity == "error" for finding in findings):
            findings += _findings_of_trial(checkpoint, definition, chosen, (device, dtype), train, tests)
        by_subject += [(checkpoint.id, finding) for finding in findings]
    return by_subject


def _check_machine(device: str, dtype: str) -> Finding:
    compute, narrow = devices.choose(device, dtype), devices.choose(device, dtype, hidden_size=1)
    arithmetic = compute.dtype_name
    if narrow.dtype != compute.dtype:
        arithmetic += f" ({narrow.dtype_name} for narrow encoders)"
    hardware = environment.describe(compute).hardware
    return check_device(str(compute.device), arithmetic, hardware, torch.cuda.is_available())


def check_rows(task: Task, corpus: Corpus, train: bool, tests: Mapping[str, Rows]) -> list[Finding]:
    """Check the rows that a run would train on, choose a checkpoint on, and be tested on."""
    if not tests:
        return []
    unit, training = task.of_kind.unit, corpus.training if train else {}
    test = tests.get(task.training_language)
    findings = [
        check_sizes(unit, corpus.train_rows() if train else {}, tests),
        *task.of_kind.row_checks(training, tests),
        check_overlap(unit, training.get("train"), None if task.test_split == DEV else training.get("selection"), test),
        *check_copies(unit, tests),
    ]
    return [finding for finding in findings if finding is not None]


def _check_choice(task: Task, recipe: Recipe, tests: Mapping[str, Rows], is_swept: bool = False) -> list[Finding]:
    """Check whether the checkpoint, or a value of the recipe, is chosen on rows that are also evaluated."""
    is_both = task.test_split == DEV and task.training_language in tests
    finding = check_choice(task.training_language, recipe.selection, is_swept) if is_both else None
    return [finding] if finding else []


def _check_tokenizer(checkpoint: Checkpoint, task: Task, recipe: Recipe, tests: Mapping[str, Rows]) -> list[Finding]:
    """Check a checkpoint's tokenizer on a sample of the rows."""
    tokenizer, config = load_tokenizer(checkpoint, recipe.max_length), checkpoint.configuration()
    kind = task.of_kind
    samples = {language: rows.sample(SAMPLED_ROWS) for language, rows in tests.items()}
    texts = {
        language: list(strings_in(column[:: max(1, len(column) // TEXTS)] for column in rows.texts.values()))
        for language, rows in samples.items()
    }
    with failures_named(checkpoint, "its tokenizer fails on these rows"):
        findings = []
        own = tokenizer_of(checkpoint.tokenizer_folder / "tokenizer.json")
        if own is not None:
            findings.append(check_pieces(tokenizer, own, texts, config.get("model_type")))
            if findings[0].severity == "error":
                return findings
            special = check_special_pieces(tokenizer, own, config.get("model_type"))
            findings += [special] if special else []
        findings.append(check_vocabulary(tokenizer, config.get("vocab_size")))
        findings += check_letters(tokenizer, list(chain.from_iterable(texts.values())))
        findings += kind.tokenizer_checks(tokenizer, samples)
        encoded = {language: encode(kind, tokenizer, rows, recipe.max_length) for language, rows in samples.items()}
    tokenized = {language: some.tokenization for language, some in encoded.items()}
    return findings + check_languages(tokenized, task.training_language, recipe.max_length, kind.unit)


def _check_head(checkpoint: Checkpoint, task: Task) -> Finding:
    """Check that the labels of a checkpoint to be used as it is can be matched by name; otherwise a run refuses it."""
    name, id2label = "labels of the head", checkpoint.configuration().get("id2label") or {}
    try:
        label_columns(checkpoint.id, id2label, task.of_kind)
    except ModelError as problem:
        return error(name, str(problem).removeprefix(f"model {checkpoint.id}: "))
    return fine(name, f"{', '.join(map(str, id2label.values()))}, matched by name")


def load_model(checkpoint: Checkpoint, task: Task, recipe: Recipe, train: bool) -> Any:
    """Load the model as a run begins with it; if it is trained, its head may be any.

    Raises ModelError for weights that are not those of the encoder that config.json describes.
    """
    kind = task.of_kind
    if kind.trains:
        return load_pretrained(checkpoint, kind, seed=0) if train else load_fine_tuned(checkpoint, kind)
    assert recipe.layer and recipe.pooling  # ensured by `with_layer`
    return SentenceEncoder(load_encoder(checkpoint, kind), recipe.layer, recipe.pooling)


def tried_model(spec: RunSpec, tests: Mapping[str, Rows]) -> Any:
    """Load the model as the run `spec` begins with it, and compare it with a plain call on a few of these rows.

    This moves it to its device. Raises PreflightError if a run would give other outputs than a plain call, and
    ModelError for anything that the model or its tokenizer raises.
    """
    model = load_model(spec.checkpoint, spec.task, spec.recipe, spec.train)
    stop_on_errors(spec.checkpoint.id, _try_out(model, spec.checkpoint, spec.task, spec.recipe, spec.compute, tests))
    return model


def _try_out(
    model: Any, checkpoint: Checkpoint, task: Task, recipe: Recipe, compute: Compute, tests: Mapping[str, Rows]
) -> list[Finding]:
    """Check on a few rows that a run gives what a plain call of transformers gives; move `model` to the device.

    Raises ModelError for anything that the model or its tokenizer raises.
    """
    if not tests:
        return []
    tokenizer = load_tokenizer(checkpoint, recipe.max_length)
    with failures_named(checkpoint, "it fails on these rows"):
        trial = Trial(model.to(compute.device), tokenizer, task.of_kind, compute, recipe.max_length)
        difference = trial.difference(tests)
    if not trial.has_numbers:
        return [warning("plain call", "some of its outputs are not numbers", "Look for inf and NaN in its weights.")]
    if difference is None:
        return [fine("plain call", "a few rows give the same outputs in transformers")]
    return [error("plain call", f"model(**tokenizer(...)) gives other results than a run; difference: {difference}")]


def _findings_of_trial(
    checkpoint: Checkpoint,
    task: Task,
    recipe: Recipe,
    names: tuple[str, str],
    train: bool,
    tests: Mapping[str, Rows],
) -> list[Finding]:
    """Compare the model with a plain call, with the device and arithmetic of `names`; a ModelError is a finding too."""
    what = "weights"
    try:
        recipe, compute = with_layer(recipe, checkpoint), devices.choose(*names, hidden_size(checkpoint))
        model = load_model(checkpoint, task, recipe, train)
        what = "plain call"
        return _try_out(model, checkpoint, task, recipe, compute, tests)
    except ModelError as problem:
        return [error(what, str(problem).removeprefix(f"model {checkpoint.id}: "))]


def _check_training(
    checkpoint: Checkpoint, task: Task, recipe: Recipe, unchanged: Recipe, n_rows: int
) -> list[Finding]:
    n_steps, unit = count_steps(recipe, n_rows), task.of_kind.unit
    rates = recipe.learning_rate_for(checkpoint.known_as), unchanged.learning_rate_for(checkpoint.known_as)
    return [
        check_batch(unit, recipe.batch_size, unchanged.batch_size, rates, n_steps, n_rows),
        check_disk(cache_home(), count_checkpoint_weights(checkpoint)),
    ]


def _read(corpus: Corpus, languages: Sequence[str], train: bool) -> tuple[dict[str, Rows], list[Finding]]:
    """Return the test rows that can be used, and an error for each split that cannot."""
    tests, problems = {}, []
    for split in corpus.task.training_roles if train else ():
        try:
            getattr(corpus, split)
        except DataError as problem:
            problems.append(error(f"{split} rows", str(problem)))
    for language in languages:
        try:
            tests[language] = corpus.test(language)
        except DataError as problem:
            problems.append(error(f"test rows, {language}", str(problem)))
    return tests, problems


def count_checkpoint_weights(checkpoint: Checkpoint) -> int:
    """Count the numbers in the checkpoint's safetensors files, by their headers."""
    return count_weights(headers(checkpoint.id, weight_files(checkpoint.folder, checkpoint.id)))
