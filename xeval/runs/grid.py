"""A whole invocation: names → definitions, rows and checkpoints → one run for each model and seed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xeval.data.corpus import Corpus
from xeval.data.hub import show_bars
from xeval.data.model_files import Checkpoint, find_checkpoint
from xeval.data.source import open_source
from xeval.definitions import registry
from xeval.definitions.model_name import ModelName
from xeval.definitions.recipe import Recipe
from xeval.engine import devices
from xeval.engine.loading import hidden_size
from xeval.results.findings import Finding, wrong
from xeval.results.records import RunRecord
from xeval.runs.execute import OneRun
from xeval.runs.preflight import examine, stop_on_errors
from xeval.runs.spec import RunSpec, limits, override
from xeval.support.errors import DefinitionError
from xeval.support.progress import Reporter, Silent
from xeval.support.text import one_line


def run(  # noqa: PLR0913  the public call: one parameter for each option
    task: str,
    models: Sequence[str],
    *,
    languages: Sequence[str] = (),
    seeds: Sequence[int] = (),
    recipe: str | None = None,
    overrides: dict[str, Any] | None = None,
    train: bool = True,
    every_checkpoint: bool = False,
    data: str | os.PathLike[str] | None = None,
    results: str | os.PathLike[str] = "results",
    max_train: int | None = None,
    max_eval: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
) -> list[RunRecord]:
    """Fine-tune each model on the task's training language with each seed and evaluate it in every language.

    What is finished in the results folder is read, not computed again. One record per (model, seed) comes back, in
    the order asked for; accuracies in it are fractions, times are seconds. A run whose training broke down has
    `status == "failed"` and the others go on.

    Args:
        task: a task's name, or the path of a task file.
        models: aliases, hub ids (`id@revision` pins one) or folders.
        languages: codes; all of the task's by default.
        seeds: the recipe's own by default.
        recipe: a recipe's name or path; the task's default by default.
        overrides: values of the recipe to replace, by name.
        train: False evaluates fine-tuned checkpoints as they are, their labels matched by name; they have no seeds.
        every_checkpoint: evaluate the training's other checkpoints too, each time it measures English development
            accuracy. A finished run whose checkpoints are not known is trained again for that.
        data: a local copy of the data (see `xeval.data.xnli_copies`); the hub's by default, or XEVAL_DATA.
        results: the folder that records and predictions go to.
        max_train, max_eval: use the first so many pairs, of training and of each evaluated split.
        device: auto, cpu, cuda or cuda:N.
        dtype: auto, float32 or bfloat16.
        tasks_dirs: folders with further task files.
        reporter: told of progress; silent by default.

    Raises XevalError, before anything is computed, for names, files or rows that cannot be used.
    """
    reporter = reporter or Silent()
    definition = registry.get_task(task, [Path(folder) for folder in tasks_dirs])
    wanted = registry.check_languages(definition, languages)
    unchanged = registry.get_recipe(recipe or definition.default_recipe)
    chosen = override(unchanged, overrides or {})
    devices.choose(device, dtype)  # words that mean nothing are refused before anything is fetched
    row_limits = limits(max_train, max_eval)
    if not models:
        raise DefinitionError("no model given; name at least one, for instance distilmbert")
    for name in models:
        ModelName.parse(name)  # one that can be none is refused before anything is fetched
    if not train:
        _check_options_without_training(seeds, every_checkpoint)
    show_bars(reporter.draws_bars)
    data = data or os.environ.get("XEVAL_DATA") or None
    source = open_source(definition, Path(data) if data else None, wanted, train)
    corpus = Corpus(source, row_limits)
    checkpoints = list(dict.fromkeys(find_checkpoint(name) for name in dict.fromkeys(models)))  # an id and its alias
    compute = {found: devices.choose(device, dtype, hidden_size(found)) for found in checkpoints}
    with reporter.phase("read", len(wanted), "languages") as phase:
        for language in wanted:
            corpus.test(language)  # all of them now, so that a missing file costs nothing finished
            phase.advance()
    specs = [
        RunSpec(definition, checkpoint, chosen, overrides or {}, seed, train, corpus, compute[checkpoint])
        for checkpoint in checkpoints
        for seed in (dict.fromkeys(seeds) if seeds else [chosen.seed])
    ]
    found = _preflight(specs, unchanged, wanted, reporter)
    return [
        OneRun(spec, Path(results), reporter, found[spec.checkpoint], every_checkpoint).complete(wanted)
        for spec in specs
    ]


def _check_options_without_training(seeds: Sequence[int], every_checkpoint: bool) -> None:
    if seeds:
        raise DefinitionError(
            f"seed {seeds[0]}: nothing is drawn at random where nothing is trained; leave out --seed or --no-train"
        )
    if every_checkpoint:
        raise DefinitionError(
            "every checkpoint: only a training has several; leave out --every-checkpoint or --no-train"
        )


def _preflight(
    specs: Sequence[RunSpec], unchanged: Recipe, languages: Sequence[str], reporter: Reporter
) -> dict[Checkpoint, list[Finding]]:
    """What is wrong with the runs on each checkpoint, said before any of them starts; an error stops them all."""
    spec_of = {spec.checkpoint: spec for spec in specs}  # seeds make no difference
    found = {checkpoint: wrong(examine(spec, unchanged, languages)) for checkpoint, spec in spec_of.items()}
    for checkpoint, findings in found.items():
        stop_on_errors(checkpoint.id, findings)
        for finding in findings:
            reporter.say(one_line(f"{checkpoint.id}: {finding.line}"))
    return found


def reproduce(reference: str, **options: Any) -> list[RunRecord]:
    """Run every model of a published table, on its languages, by the recipe that its file names for the row.

    Takes the options of `run` except `task`, `models`, `recipe` and `languages`.
    """
    table = registry.get_reference(reference)
    pairs = dict.fromkeys((row.model, row.recipe) for row in table.rows)
    return [
        record
        for model, recipe in pairs
        for record in run(table.task, [model], recipe=recipe, languages=table.languages, **options)
    ]
