"""Sweeps, which try values of the recipe and choose among them by the training language's selection split alone.

A trial trains with one combination of values, and with a seed that no run of the chosen values may have. It reads no
test rows, and its record is stored where nothing that counts runs looks. Finished trials, failed ones included, are
not repeated.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from xeval.definitions.languages import describe
from xeval.definitions.recipe import NOT_OF_TRAINING, Recipe
from xeval.definitions.task import Task
from xeval.judging.health import collapse
from xeval.results.identity import ingredients_of
from xeval.results.records import Failure, RunRecord, SweepRecord, TrialRecord
from xeval.results.store import StoredRun, known_trials, load_trial, save_trial, trial_folder
from xeval.runs.execute import OneRun
from xeval.runs.provenance import check_metric
from xeval.runs.spec import RunSpec, override
from xeval.support.errors import DefinitionError, UnknownNameError
from xeval.support.locks import locked
from xeval.support.progress import Reporter
from xeval.support.text import metric_in_words, one_decimal, one_line

Value = float | int | str
Values = Mapping[str, Value]  # one for each key
Sweep = Mapping[str, Sequence[Value]]  # key → values to try; for several keys, all combinations

TRIAL_SEED = 1_000_000
_NOT_TRIED = {
    "seed": "seeds are averaged over, not chosen from; give them with --seed",
    "selection": "it says how trials are measured, which has to be the same for all; give it with --selection",
    "selection_rows": "it says what trials are measured on, which has to be the same for all; give it with"
    " --selection-rows",
}


def check_sweep(
    sweep: Sweep, task: Task, recipes: Iterable[Recipe], overrides: Values, seeds: Sequence[int], train: bool
) -> None:
    """Raise XevalError, before anything is loaded, for a sweep that is impossible with one of these `recipes`."""
    if not sweep:
        return
    if not (train and task.of_kind.trains):
        why = "with --no-train" if task.of_kind.trains else f"by task {task.name}"
        raise DefinitionError(f"sweep: nothing is trained {why}, so there is nothing to choose; leave out --sweep")
    if not task.has_selection:
        raise DefinitionError(
            f"sweep: task {task.name} has no rows to select on, and values are never chosen on test rows; give one"
            " value of each key instead of --sweep"
        )
    for key, values in sweep.items():
        _check_key(key, values, overrides)
    for recipe in recipes:
        _check_combinations(list(_combinations(sweep, recipe, overrides)), recipe, overrides)
        if TRIAL_SEED in (seeds or [recipe.seed]):
            raise DefinitionError(
                f"seed {TRIAL_SEED}: a sweep's trials use it to choose, and are not scored; use another"
            )


def _check_combinations(combinations: Sequence[Values], recipe: Recipe, overrides: Values) -> None:
    for place, combination in enumerate(combinations):
        if combination in combinations[:place]:
            raise DefinitionError(f"sweep: {_in_words(combination)} is given twice; give each value once")
        if override(recipe, {**overrides, **combination}).epochs == 0:
            raise DefinitionError("sweep: epochs 0 trains nothing, so nothing can be measured; give more than 0")


def _check_key(key: str, values: object, overrides: Values) -> None:
    tried = Recipe.model_fields.keys() - NOT_OF_TRAINING - _NOT_TRIED.keys()
    if key in _NOT_TRIED:
        raise DefinitionError(f"sweep: {key}: {_NOT_TRIED[key]}")
    if key not in tried:
        raise UnknownNameError("value of a recipe to sweep", key, tried)
    if key in overrides:
        raise DefinitionError(f"sweep: {key} is also set to {overrides[key]}; leave out one of the two")
    if not _are_several(values):
        raise DefinitionError(f"sweep: {key}: wanted two or more values to choose from, got {values!r}")


def _are_several(values: object) -> bool:
    if isinstance(values, str) or not isinstance(values, Sequence):
        return False
    return len(values) > 1 and all(isinstance(value, int | float | str) for value in values)


def _combinations(sweep: Sweep, recipe: Recipe, overrides: Values) -> Iterable[Values]:
    """Yield every combination of values, as `recipe` holds them; the last key changes fastest."""
    for values in itertools.product(*sweep.values()):
        changed = override(recipe, {**overrides, **dict(zip(sweep, values, strict=True))})
        yield {key: getattr(changed, key) for key in sweep}


def with_chosen_values(
    sweep: Sweep, specs: Mapping[str, RunSpec], unchanged: Mapping[str, Recipe], results: Path, reporter: Reporter
) -> tuple[dict[str, RunSpec], dict[str, Recipe], list[StoredRun]]:
    """Return `specs` and their `unchanged` recipes, by identity, with the values that the sweep of each model chooses.

    A model whose trials have all failed is left out, and its trials are returned instead. Without a sweep, nothing
    changes.
    """
    if not sweep:
        return dict(specs), dict(unchanged), []
    sweeps: dict[tuple[str, str], OneSweep] = {}
    chosen: dict[str, RunSpec] = {}
    recipes: dict[str, Recipe] = {}
    for identity, spec in specs.items():
        key = spec.checkpoint.sha256, spec.recipe.name  # seeds make no difference
        if key not in sweeps:
            sweeps[key] = OneSweep(sweep, spec, unchanged[identity], results, reporter)
            sweeps[key].run()
        of_values = sweeps[key].best_for(spec)
        if of_values is not None:
            new = of_values.identity()
            chosen[new], recipes[new] = of_values, unchanged[identity]
    failed = [trial for own in sweeps.values() if own.record is None for trial in own.failed_trials()]
    return chosen, recipes, failed


class OneSweep:
    """The sweep of one model; `spec` is one of its runs, before any value is chosen."""

    def __init__(self, sweep: Sweep, spec: RunSpec, unchanged: Recipe, results: Path, reporter: Reporter) -> None:
        self.sweep, self.spec, self.unchanged, self.results, self.reporter = sweep, spec, unchanged, results, reporter
        self.combinations = list(_combinations(sweep, unchanged, spec.overrides))
        self.name = f"{spec.checkpoint.id} {spec.recipe.name}"
        self.trials: list[StoredRun] = []
        self.record: SweepRecord | None = None  # None before `run`, and if every trial has failed

    def run(self) -> None:
        """Run the missing trials, and choose the best values."""
        known = known_trials(self.results, self.spec.task.name)
        for number, values in enumerate(self.combinations, 1):
            self._say(f"trial {number} of {len(self.combinations)}: {_in_words(values)}")
            trial = self._try(replace(self._with(values), seed=TRIAL_SEED), known)
            self.trials.append(trial)
            self._say(f"trial {number}: {self._outcome(trial)}")
        results = [
            _trial_record(values, trial.record) for values, trial in zip(self.combinations, self.trials, strict=True)
        ]
        fine = [result for result in results if result.score is not None]
        if not fine:
            self._say(f"none of {len(results)} trials can be chosen, so nothing is evaluated")
            return
        best = max(fine, key=lambda result: result.score or 0.0)  # the first of equals
        tried = {key: list(dict.fromkeys(values[key] for values in self.combinations)) for key in self.sweep}
        self.record = SweepRecord(
            values=tried,
            chosen=best.values,
            seed=TRIAL_SEED,
            trials=results,
            n_others=self._count_others({result.identity for result in results}),
        )
        self._say(f"chosen from {len(results)} trials: {_in_words(best.values)}")

    def best_for(self, spec: RunSpec) -> RunSpec | None:
        """Return `spec` with the chosen values; None if there are none. Values that equal the recipe's own do not count
        as overrides."""
        if self.record is None:
            return None
        target, kept = self._with(self.record.chosen).recipe_record().values, dict(self.record.chosen)
        for key in self.record.chosen:
            rest = {other: value for other, value in kept.items() if other != key}
            if self._with(rest).recipe_record().values == target:
                kept = rest
        return replace(self._with(kept), seed=spec.seed, sweep=self.record)

    def failed_trials(self) -> list[StoredRun]:
        """Return the failed trials; the reason for each failure names the values that were tried."""
        failed = []
        for values, trial in zip(self.combinations, self.trials, strict=True):
            failures = {
                phase: failure.model_copy(update={"reason": f"trial of {_in_words(values)}: {failure.reason}"})
                for phase, failure in trial.record.failures.items()
            }
            if failures:
                failed.append(replace(trial, record=trial.record.model_copy(update={"failures": failures})))
        return failed

    def _with(self, values: Values) -> RunSpec:
        overrides = {**self.spec.overrides, **values}
        return replace(self.spec, recipe=override(self.unchanged, overrides), overrides=overrides)

    def _try(self, spec: RunSpec, known: Sequence[StoredRun]) -> StoredRun:
        folder = trial_folder(
            self.results, spec.task.name, spec.checkpoint.id, spec.recipe_name, spec.seed, spec.identity()
        )
        same = [trial.folder for trial in known if spec.describes(trial.record)]  # under another name of the model
        if load_trial(folder) is None and same:
            folder = same[0]
        with locked(folder, self._say):
            if load_trial(folder) is None:
                run = OneRun(spec, folder, self.reporter)
                run.train_only(lambda record: save_trial(folder, _without_collapse(record)))
        record = load_trial(folder)
        assert record is not None  # it has just been kept
        check_metric(record, spec.task, folder)
        return StoredRun(folder, record)

    def _outcome(self, trial: StoredRun) -> str:
        if trial.record.failures:
            return f"failed: {trial.record.failure}; to try it again, remove {trial.folder}"
        language, metric = describe(self.spec.task.training_language).name, metric_in_words(self.spec.task.metric)
        return f"{metric} {one_decimal(100 * (_score(trial.record) or 0))} on {language} dev"

    def _count_others(self, own: set[str]) -> int:
        """Count known trials that differ from these only in values of the recipe."""
        alike = _but_for_the_recipe(self.trials[0].record)
        known = known_trials(self.results, self.spec.task.name)
        others = {trial.record.identity for trial in known if _but_for_the_recipe(trial.record) == alike}
        return len(others - own)

    def _say(self, line: str) -> None:
        self.reporter.say(one_line(f"{self.name}: {line}"))


def _without_collapse(record: RunRecord) -> RunRecord:
    """Return `record`, marked as failed if the training learnt nothing."""
    reason = None if record.failures else collapse(record)
    if reason is None or record.training is None:
        return record
    failure = Failure(reason=f"the training collapsed: {reason}", invocation=record.training.invocation)
    return record.model_copy(update={"status": "failed", "failures": {"train": failure}})


def _trial_record(values: Values, record: RunRecord) -> TrialRecord:
    timing = record.timing.get("train")
    return TrialRecord(
        values=dict(values),
        score=_score(record),
        failure=record.failure,
        identity=record.identity,
        wall_s=timing.wall_s if timing else None,
    )


def _score(record: RunRecord) -> float | None:
    """Return the score, on the selection split, of the checkpoint that the recipe keeps; None for a failed trial."""
    if record.failures or record.training is None:
        return None
    [value] = [p.value for p in record.training.selection_curve if p.step == record.training.chosen_step]
    return value


def _but_for_the_recipe(record: RunRecord) -> dict[str, object]:
    return {key: value for key, value in ingredients_of(record).items() if key != "recipe"}


def _in_words(values: Values) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
