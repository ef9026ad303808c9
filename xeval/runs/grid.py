"""A whole invocation: names → definitions, rows and checkpoints → one run for each model and seed."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from xeval.data.corpus import Corpus
from xeval.data.hub import show_bars
from xeval.data.layouts import local_copy
from xeval.data.model_files import Checkpoint, find_checkpoint
from xeval.data.source import DataSource, open_source
from xeval.definitions import registry
from xeval.definitions.model_name import ModelName, PublishedBy
from xeval.definitions.recipe import Recipe
from xeval.definitions.reference import Reference
from xeval.definitions.task import Task
from xeval.engine import devices
from xeval.engine.loading import hidden_size
from xeval.engine.torch_modes import usual_modes
from xeval.judging.power import ChosenSeeds, seeds_to_reproduce
from xeval.results.store import StoredRun, known_runs
from xeval.runs.callbacks import Callback
from xeval.runs.execute import OneRun
from xeval.runs.forecast import forecast
from xeval.runs.loggers import ready
from xeval.runs.objects import Models, Tables, folder_of_data, names_of_models
from xeval.runs.outcome import Runs
from xeval.runs.preflight import examine, stop_on_errors, tried_model
from xeval.runs.spec import Declared, RunSpec, changing, declare, fitting, limits, override, with_layer
from xeval.runs.sweep import Sweep, check_sweep, with_chosen_values
from xeval.support.arguments import checked_arguments
from xeval.support.countdown import count_down
from xeval.support.errors import DefinitionError
from xeval.support.findings import Finding, wrong
from xeval.support.progress import Reporter, Silent
from xeval.support.text import one_line


@checked_arguments
def run(  # noqa: PLR0913  the public call: one parameter for each option
    task: str,
    models: "Models",
    *,
    languages: str | Sequence[str] = (),
    train_language: str | None = None,
    seeds: int | Sequence[int] = (),
    recipe: str | None = None,
    overrides: dict[str, Any] | None = None,
    sweep: Sweep | None = None,
    train: bool = True,
    every_checkpoint: bool = False,
    keep_weights: bool = False,
    seeds_of: str | None = None,
    data: "str | os.PathLike[str] | Tables | None" = None,
    results: str | os.PathLike[str] = "results",
    max_train: int | None = None,
    max_eval: int | None = None,
    test_split: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
    callbacks: "Callback | str | Sequence[Callback | str]" = (),
) -> Runs:
    """Fine-tune each model on the task's training language with each seed and evaluate it in every language.

    Finished work in the results folder is read, not computed again. Returns one record for each (model, seed), in the
    order asked for; several names of the same model share one. Scores in it are fractions, times are seconds. If
    training breaks down, the run has `status == "failed"`; if some languages fail, the run names them in `failures`.
    The other runs continue.

    Args:
        task: a task's name, or the path of a task file.
        models: one or several aliases, hub ids (`id@revision` pins one) or folders; `name=folder` says that a folder
            holds the published model of that name. Or models in memory: `(model, tokenizer)` of transformers, several
            of these, or a mapping to them from the names to use in records.
        languages: one or several, by code or English name; by default, all of the task's. Unlike the command, this does
            not add the training language.
        train_language: train and select on another of the task's languages, if the task has training rows in others.
        seeds: one or several; the recipe's own by default.
        recipe: a recipe's name or path; the task's default by default.
        overrides: values of the recipe to replace, by name.
        sweep: values of the recipe to try, by name, such as `{"learning_rate": [1e-5, 2e-5]}`; for several names, all
            combinations. Each combination is trained once for each model, with seed 1,000,000. The one with the best
            score on the training language's selection split is then run with `seeds`. The record's `sweep` has the
            trials. If all trials of a model fail, they are returned instead, each with `status == "failed"`.
        train: False evaluates fine-tuned checkpoints as they are, with labels matched by name; they have no seeds.
        seeds_of: if nothing is trained, treat the models, trained elsewhere, as seeds of one configuration with this
            name. Their seeds are 1, 2, 3 … in order, or those in `seeds`.
        every_checkpoint: also evaluate the checkpoints that are not chosen, one for each time that the score on the
            selection split is measured. A finished run whose checkpoints are not known is trained again for that.
        keep_weights: keep the fine-tuned weights in the run's folder, not only in the cache.
        data: a local copy of the data (see `xeval.data.layouts`); by default, XEVAL_DATA or the hub's. Or rows in
            memory, as data sets of `datasets` or pandas frames: by language, `{"en": {"train": …, "validation": …,
            "test": …}, "es": …}`, where a table alone is the test rows; or by split with a column `language`.
        results: the folder for records and predictions.
        max_train: train on only this many rows, the first ones.
        max_eval: evaluate only this many test rows of each language, drawn evenly from all of them and always the same.
        test_split: evaluate on this split instead of the task's test split; "dev" is the selection split.
        device: auto, cpu, cuda or cuda:N.
        dtype: auto, float32 or bfloat16.
        tasks_dirs: folders with further task files.
        reporter: receives progress, such as `xeval.support.progress.Lines()`; silent by default.
        callbacks: one or several `xeval.Callback`, which receive steps and scores; "tensorboard", "wandb" and "trackio"
            are built in. Callbacks are not called for the trials of a sweep.

    Raises XevalError, before anything is computed, for names, files or rows that cannot be used.
    """
    assert not isinstance(seeds, int)  # a single seed is a list by now
    names: dict[str, Any] = {"train_language": train_language, "train": train, "test_split": test_split}
    reporter = reporter or Silent()
    data = folder_of_data(data, lambda: define(task, [], tasks_dirs=tasks_dirs, **names).task, reporter)
    runs = run_grid(
        task,
        [(model, recipe) for model in names_of_models(models, reporter)],
        languages=languages,
        train_language=train_language,
        seeds=seeds,
        overrides=overrides,
        sweep=sweep,
        train=train,
        every_checkpoint=every_checkpoint,
        keep_weights=keep_weights,
        seeds_of=seeds_of,
        data=data,
        results=results,
        max_train=max_train,
        max_eval=max_eval,
        test_split=test_split,
        device=device,
        dtype=dtype,
        tasks_dirs=tasks_dirs,
        reporter=reporter,
        callbacks=callbacks,
    )
    return Runs(runs)


@dataclass(frozen=True)
class TaskGrid:
    """The arguments of `run_grid` for one task."""

    pairs: list[tuple[str, str | None]]
    options: dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """Runs that have been checked and can be executed."""

    runs: list[OneRun]
    pairs: list[tuple[str, str | None]]  # the model and recipe requested for each run; none after a sweep
    languages: list[str]
    failed: list[StoredRun]  # trials of models whose trials all failed


def run_grid(task: str, pairs: Sequence[tuple[str, str | None]], **options: Any) -> list[StoredRun]:
    """Execute the runs of each pair of a model and a recipe, as `run` does, and return them with their folders.

    The recipe None is the task's default. Takes the options of `prepare_grid`.
    """
    [runs] = run_grids({task: TaskGrid(list(pairs), options)}, options.get("reporter"))
    return runs


@usual_modes()
def run_grids(grids: Mapping[str, TaskGrid], reporter: Reporter | None = None) -> list[list[StoredRun]]:
    """Execute the runs of each task, as `run_grid` does, after everything is checked; return a list for each task.

    There is a line on overall progress before each run. Trials of models that had only failed ones are added.
    """
    prepared = [prepare_grid(task, grid.pairs, **grid.options) for task, grid in grids.items()]
    todo = [(place, run) for place, grid in enumerate(prepared) for run in grid.runs]
    works = [0 if len(todo) == 1 else _work(run, prepared[place].languages) for place, run in todo]
    by_grid = [list[StoredRun]() for _ in prepared]
    say = (reporter or Silent()).say
    for place, run in count_down(todo, works, lambda entry: entry[1].name, say):
        by_grid[place].append(run.complete(prepared[place].languages))
    return [runs + grid.failed for runs, grid in zip(by_grid, prepared, strict=True)]


def _work(run: OneRun, languages: Sequence[str]) -> int:
    """Return how long the run takes relative to others; 0 if it is finished."""
    return forecast(run, languages).work if run.has_work(languages) else 0


def prepare_grid(  # noqa: PLR0913  what `run` takes
    task: str,
    pairs: Sequence[tuple[str, str | None]],
    *,
    languages: Sequence[str] = (),
    train_language: str | None = None,
    seeds: Sequence[int] = (),
    overrides: dict[str, Any] | None = None,
    sweep: Sweep | None = None,
    train: bool = True,
    every_checkpoint: bool = False,
    keep_weights: bool = False,
    seeds_of: str | None = None,
    data: str | os.PathLike[str] | None = None,
    corpus: Corpus | None = None,
    results: str | os.PathLike[str] = "results",
    max_train: int | None = None,
    max_eval: int | None = None,
    test_split: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
    callbacks: "Callback | str | Sequence[Callback | str]" = (),
) -> Prepared:
    """Read and check everything that the runs of these pairs of a model and a recipe need, without executing them.

    `corpus` has the rows of `data` if they have been read already. The trials of a `sweep` run here.
    """
    reporter, callbacks = reporter or Silent(), ready(callbacks)
    defined = define(
        task,
        pairs,
        languages=languages,
        train_language=train_language,
        overrides=overrides,
        train=train,
        test_split=test_split,
        tasks_dirs=tasks_dirs,
    )
    definition, codes, recipes, changed = defined.task, defined.languages, defined.recipes, defined.changed
    devices.choose(device, dtype)  # refuses unknown words before anything is fetched
    row_limits = limits(max_train, max_eval, definition.test_split)
    if not pairs:
        raise DefinitionError("no model given; name at least one, for instance distilmbert")
    for model, _ in pairs:
        ModelName.parse(model)  # refuses an impossible name before anything is fetched
    declared = check_options(
        defined,
        [model for model, _ in pairs],
        seeds=seeds,
        overrides=overrides,
        sweep=sweep,
        train=train,
        every_checkpoint=every_checkpoint,
        keep_weights=keep_weights,
        seeds_of=seeds_of,
    )
    train = train and definition.of_kind.trains
    show_bars(reporter.draws_bars)
    copy = local_copy(data)
    corpus = corpus or Corpus(open_source(definition, copy, codes, train), row_limits)
    known = known_runs(Path(results), definition.name)
    checkpoints = {name: _known_by_its_files(find_checkpoint(name), known) for name, _ in pairs}
    with reporter.phase("read", len(codes), "languages") as phase:
        for language in codes:
            corpus.test(language)  # all of them now, so that a missing file is found before any work is done
            phase.advance()
    specs: dict[str, RunSpec] = {}
    asked: dict[str, tuple[str, str | None]] = {}
    unchanged: dict[str, Recipe] = {}
    same: dict[str, str] = {}  # model → another one with the same files
    for model, name in pairs:
        checkpoint = checkpoints[model]
        recipe = with_layer(changed[name], checkpoint)
        values = changing(overrides or {}, recipes[name], recipe, checkpoint.known_as, train)
        compute = devices.choose(device, dtype, hidden_size(checkpoint))
        for seed in seeds_to_run(seeds, recipe, train):
            spec = RunSpec(
                task=definition,
                checkpoint=checkpoint,
                recipe=recipe,
                overrides=values,
                seed=seed,
                train=train,
                corpus=corpus,
                compute=compute,
                declared=declared.get(model),
            )
            identity = spec.identity()
            if specs.setdefault(identity, spec).checkpoint != checkpoint:
                same.setdefault(model, specs[identity].checkpoint.id)
            asked.setdefault(identity, (model, name))
            unchanged.setdefault(identity, recipes[name])
    _report_same_files(same, seeds_of, reporter)
    findings = _preflight(specs, unchanged, codes, reporter, bool(sweep))
    specs, unchanged, failed = with_chosen_values(sweep or {}, specs, unchanged, Path(results), reporter)
    findings = _preflight(specs, unchanged, codes, reporter, bool(sweep), findings)
    known = known_runs(Path(results), definition.name)
    _check_declared(specs.values(), known)
    _report_first_rows(specs.values(), known, reporter)
    runs = [
        OneRun(
            spec,
            spec.folder(Path(results), known),
            reporter,
            findings[identity],
            every_checkpoint,
            known,
            keep_weights,
            callbacks,
        )
        for identity, spec in specs.items()
    ]
    _try_out(runs, codes)
    _read_what_may_be_needed(runs, codes, corpus, lambda more: open_source(definition, copy, more, train))
    return Prepared(runs, [asked[identity] for identity in specs if identity in asked], codes, failed)


@dataclass(frozen=True)
class Defined:
    """The definitions that the names of one task's grid stand for."""

    task: Task
    languages: list[str]
    recipes: dict[str | None, Recipe]  # by the given name
    changed: dict[str | None, Recipe]  # the same, with replaced values


def define(  # noqa: PLR0913  the arguments of `run` that are names
    task: str,
    pairs: Sequence[tuple[str, str | None]],
    *,
    languages: Sequence[str] = (),
    train_language: str | None = None,
    overrides: dict[str, Any] | None = None,
    train: bool = True,
    test_split: str | None = None,
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
) -> Defined:
    """Look up the names of a grid. Raises XevalError for an unknown name, and for values that a recipe cannot have."""
    definition = registry.get_task(task, [Path(folder) for folder in tasks_dirs]).tested_on(test_split)
    codes = registry.check_languages(definition, languages)
    if train_language is not None:
        definition = trained_on(definition, train_language, train)
    recipes = {name: registry.get_recipe(name or definition.default_recipe) for _, name in pairs}
    _refuse_equal_names({name or definition.default_recipe: recipe for name, recipe in recipes.items()})
    changed = {name: fitting(definition, override(recipe, overrides or {})) for name, recipe in recipes.items()}
    return Defined(definition, codes, recipes, changed)


def _refuse_equal_names(recipes: Mapping[str, Recipe]) -> None:
    """Raise DefinitionError if two different recipes, each by the name or path it was found by, have one name."""
    found: dict[str, str] = {}
    for place, recipe in recipes.items():
        first = found.setdefault(recipe.name, place)
        if recipe != recipes[first]:
            raise DefinitionError(
                f"{place}: recipe {recipe.name!r} is already defined by {first}; give one of the two another name"
            )


def trained_on(task: Task, language: str, train: bool) -> Task:
    """Return the task with `language` as its training language. Raises XevalError if it cannot be trained on."""
    [code] = registry.check_languages(task, [language])
    if not (train and task.of_kind.trains):
        raise DefinitionError(f"train language {code}: nothing is trained; leave out --train-language")
    return task.trained_on(code)


def seeds_to_run(seeds: Sequence[int], recipe: Recipe, train: bool) -> Sequence[int]:
    """Return the seeds to run a model with: those asked for, or else the recipe's own, as without training."""
    return seeds if train and seeds else [recipe.seed]


def _report_same_files(same: Mapping[str, str], seeds_of: str | None, reporter: Reporter) -> None:
    """Report models with the same files as another. Raises DefinitionError if they were declared to be two seeds."""
    for model, other in same.items():
        if seeds_of is not None:
            raise DefinitionError(
                f"seeds of {seeds_of}: {model} has the same files as {other}, so they are one seed; leave one out"
            )
        reporter.say(one_line(f"{model} has the same files as {other}: one run serves both"))


def _check_declared(specs: Iterable[RunSpec], known: Sequence[StoredRun]) -> None:
    """Refuse a seed number that another checkpoint declared under the same name already has."""
    declared = [(spec, spec.declared) for spec in specs if spec.declared is not None]
    for (spec, own), run in product(declared, known):
        record = run.record
        is_taken = (own.name, own.seed) == (record.model.id, record.seed) and record.declared is not None
        if is_taken and spec.corpus.limits == record.limits and not spec.describes(record):
            raise DefinitionError(
                f"seeds of {own.name}: seed {own.seed} is already {record.declared} ({run.folder}); give"
                f" {spec.checkpoint.id} another number with --seed"
            )


def _known_by_its_files(checkpoint: Checkpoint, known: Sequence[StoredRun]) -> Checkpoint:
    """Return `checkpoint`, marked as published if it is a folder with the files of a published model in `known`.

    If no run there is of a published model itself, what was said of these files before still holds.
    """
    same = [run.record.model for run in known if run.record.model.sha256 == checkpoint.sha256]
    fetched: dict[str, PublishedBy | None] = {model.id: "checksum" for model in same if model.origin != "local"}
    names = fetched or {model.published_as: model.published_by for model in same if model.published_as is not None}
    if checkpoint.origin != "local" or checkpoint.published_as or len(names) != 1:
        return checkpoint
    [(published_as, published_by)] = names.items()
    return replace(checkpoint, published_as=published_as, published_by=published_by)


def _report_first_rows(specs: Iterable[RunSpec], known: Sequence[StoredRun], reporter: Reporter) -> None:
    """Report runs like these that version 0.1.0 evaluated on the first rows; they are kept apart from these."""
    for run in known:
        limits = run.record.limits
        if limits.max_eval and limits.eval_seed is None and any(spec.is_like(run.record) for spec in specs):
            reporter.say(
                one_line(
                    f"{run.folder} was evaluated on the first {limits.max_eval:,} rows, as version 0.1.0 did; now"
                    " they are drawn evenly from all rows, so its scores stay as they are and new ones go into a"
                    " folder of their own"
                )
            )


def _read_what_may_be_needed(
    runs: Sequence[OneRun], codes: Sequence[str], corpus: Corpus, reopen: Callable[[Sequence[str]], DataSource]
) -> None:
    """Read rows of languages that nobody requested, but in which a run must be evaluated again if it is retrained."""
    needed = {run: run.may_read(codes) for run in runs}
    more = list(dict.fromkeys(language for languages in needed.values() for language in languages))
    if set(more) <= set(codes):
        return
    corpus.read_from(reopen(more))
    for run, languages in needed.items():
        run.check_rows(languages)


def check_options(  # noqa: PLR0913  one parameter for each option that others may rule out
    defined: Defined,
    models: Sequence[str],
    *,
    seeds: Sequence[int] = (),
    overrides: dict[str, Any] | None = None,
    sweep: Sweep | None = None,
    train: bool = True,
    every_checkpoint: bool = False,
    keep_weights: bool = False,
    seeds_of: str | None = None,
) -> dict[str, Declared]:
    """Return what the user declares the models to be seeds of.

    Raises XevalError for a sweep that is impossible, and for options that the task or other options rule out.
    """
    task = defined.task
    check_sweep(sweep or {}, task, defined.recipes.values(), overrides or {}, seeds, train)
    train = train and task.of_kind.trains
    declared = declare(seeds_of, seeds, models, train)
    if not train:
        _check_options_without_training(task, seeds, every_checkpoint, keep_weights, seeds_of)
    else:
        _check_selection(task, defined.changed.values(), every_checkpoint)
    return declared


def _check_options_without_training(
    task: Task, seeds: Sequence[int], every_checkpoint: bool, keep_weights: bool, seeds_of: str | None
) -> None:
    if seeds_of is not None and not task.of_kind.trains:
        raise DefinitionError(f"seeds of {seeds_of}: task {task.name} trains nothing; leave out --seeds-of")
    other = " or --no-train" if task.of_kind.trains else f", since task {task.name} trains nothing"
    if seeds and seeds_of is None:
        named = ", or name with --seeds-of what the checkpoints are seeds of" if task.of_kind.trains else ""
        raise DefinitionError(
            f"seed {seeds[0]}: nothing is drawn at random where nothing is trained; leave out --seed{other}{named}"
        )
    if every_checkpoint:
        raise DefinitionError(f"every checkpoint: only a training run has several; leave out --every-checkpoint{other}")
    if keep_weights and task.of_kind.trains:  # otherwise, it may belong to a suite whose other tasks train
        raise DefinitionError("keep weights: nothing is trained; leave out --keep-weights or --no-train")


def _check_selection(task: Task, recipes: Iterable[Recipe], every_checkpoint: bool) -> None:
    if task.has_selection:
        return
    for recipe in recipes:
        if recipe.selection != "last":
            raise DefinitionError(
                f"recipe {recipe.name}: selection is {recipe.selection}, but task {task.name} has no rows to select on;"
                " take the last checkpoint (--selection last)"
            )
    if every_checkpoint:
        raise DefinitionError(
            f"every checkpoint: task {task.name} has no rows to select on; leave out --every-checkpoint"
        )


def _preflight(
    specs: Mapping[str, RunSpec],
    unchanged: Mapping[str, Recipe],
    languages: Sequence[str],
    reporter: Reporter,
    is_swept: bool,
    known: Mapping[str, list[Finding]] | None = None,
) -> dict[str, list[Finding]]:
    """Report and return what is wrong with each run, by identity, before any starts; an error stops them all.

    Runs in `known` are not examined again, and their findings are not reported again.
    """
    known = known or {}
    known_findings = [finding for findings in known.values() for finding in findings]
    findings: dict[tuple[Checkpoint, str], list[Finding]] = {}
    for identity, spec in specs.items():
        key = spec.checkpoint, spec.recipe.name  # seeds make no difference
        if key not in findings and identity not in known:
            findings[key] = wrong(examine(spec, unchanged[identity], languages, is_swept))
    for (checkpoint, _), own in findings.items():
        stop_on_errors(checkpoint.id, own)
        for finding in own:
            if finding not in known_findings:
                reporter.say(one_line(f"{checkpoint.id}: {finding.line}"))
    return {
        identity: known[identity] if identity in known else findings[spec.checkpoint, spec.recipe.name]
        for identity, spec in specs.items()
    }


def _try_out(runs: Sequence[OneRun], languages: Sequence[str]) -> None:
    """Stop all runs if a model that has work to do fails on a few rows, or gives other outputs than it should.

    A single model that is not trained is kept for its run; several would all have to stay in memory.
    """
    tried: set[tuple[Checkpoint, str]] = set()
    at_work = [run for run in runs if run.has_work(languages)]
    for run in at_work:
        spec = run.spec
        if (spec.checkpoint, spec.recipe.name) not in tried:
            tried.add((spec.checkpoint, spec.recipe.name))
            model = tried_model(spec, {language: spec.corpus.test(language) for language in languages})
            if len(at_work) == 1 and not spec.train and spec.task.of_kind.trains:
                run.model_of_trial = model
            del model  # before the next one is read
            spec.compute.free_memory()  # other processes may execute the runs, and one of them on this GPU


@checked_arguments
def reproduce(reference: str, **options: Any) -> Runs:
    """Run every model of a published table on its languages, with the recipe that its file names for the row.

    Takes the options of `run` except `task`, `models`, `recipe` and `languages`. Without `seeds`, uses as many as give
    the table's rows an even chance of being called reproduced if they are true, or three if no number up to ten does.

    Raises XevalError like `run`, and for a table without a row that comes from training in one language.
    """
    reporter = options.get("reporter") or Silent()
    data = folder_of_data(
        options.get("data"), lambda: registry.get_task(registry.get_reference(reference).task), reporter
    )
    return Runs(reproduce_grid(reference, **options | {"data": data}), reference)


def reproduce_grid(reference: str, **options: Any) -> list[StoredRun]:
    """Execute the runs of `reproduce`, and return them with their folders."""
    if options.get("train_language") is not None:
        raise DefinitionError("a published table is for its task's training language; leave out --train-language")
    table, pairs = table_to_reproduce(reference, options.get("test_split"))
    options["seeds"] = options.get("seeds") or seeds_for(table, options).seeds
    return run_grid(table.task, pairs, languages=table.languages, **options)


def seeds_for(table: Reference, options: Mapping[str, Any]) -> ChosenSeeds:
    """Return the seeds to reproduce `table` with if `options` name none; the recipes' own if there is no verdict."""
    if options.get("max_train") or options.get("max_eval"):
        return ChosenSeeds(())
    return seeds_to_reproduce(table, registry.get_task(table.task))


def table_to_reproduce(reference: str, test_split: str | None = None) -> tuple[Reference, list[tuple[str, str | None]]]:
    """Return the published table `reference`, and the models of its rows, each with the recipe that its file names."""
    if test_split is not None:
        raise DefinitionError(
            f"test split {test_split}: a published table is compared only on its own split; leave it out"
        )
    table = registry.get_reference(reference)
    pairs = list(dict.fromkeys((row.model, row.recipe) for row in table.rows if row.is_trained_zero_shot))
    if not pairs:
        raise DefinitionError(f"reference {reference}: none of its rows comes from training in one language alone")
    return table, pairs
