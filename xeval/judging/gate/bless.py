"""Records → Baseline: which runs are seeds of the same configuration, and whether they are fit to be blessed."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from xeval.definitions.toml import first_complaint
from xeval.judging.gate.baseline import ACCURACY, LEAST_SEEDS, Baseline, Blessed, Cell, Phase, Setting, key_of, name_of
from xeval.judging.health import collapse
from xeval.results.configurations import by_configuration
from xeval.results.identity import lasting_values
from xeval.results.records import Environment, RunRecord, Score
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.text import one_line


def group(runs: Iterable[StoredRun]) -> dict[str, list[RunRecord]]:
    """Group runs by configuration, each group in the order of its seeds.

    The model's files and the training rows may differ between the baseline and later runs, so they are not part of the
    key. Within one folder they must be the same. Raises StoreError if they are not.
    """
    groups: dict[str, list[RunRecord]] = {}
    for own in by_configuration(runs).values():
        first = own[0].record
        key = key_of(first.task, first.model.id, settings(first), first.metric)
        if key in groups:
            raise StoreError(
                f"{name_in_words(first)}: the folder has runs that differ in the model's files or in training data; use"
                " a separate results folder for each of them"
            )
        groups[key] = [run.record for run in own]
    return groups


def settings(record: RunRecord) -> dict[str, Setting]:
    """Return what must be equal, apart from task, model and metric, for two runs to be seeds of one configuration."""
    values = {key: record.recipe.values[key] for key in lasting_values(record.recipe.values)}
    named = {"recipe": record.recipe.name, **values, **record.limits.model_dump(), "dtype": record.dtype}
    return {key: value for key, value in named.items() if value is not None}


def overrides(record: RunRecord) -> dict[str, Setting]:
    """Return the settings that the command line changed."""
    return {key: value for key, value in record.recipe.overrides.items() if value is not None}


def name_in_words(record: RunRecord) -> str:
    """Return the configuration of `record` in words, as a baseline has it."""
    return name_of(record.task, record.model.id, settings(record), overrides(record), record.has_seed)


def hardware(environment: Environment) -> dict[str, Setting]:
    """Return what must be equal for speeds to be comparable."""
    named: dict[str, Setting] = {
        key: environment.hardware[key] for key in ("gpu", "cpu", "threads") if key in environment.hardware
    }
    return {"device": environment.device, **named}


@dataclass(frozen=True)
class Throughput:
    """The speed of one phase: rows per second of each run, and the machines that the runs were timed on."""

    rows_per_s: tuple[float, ...]
    machines: list[dict[str, Setting] | None]  # each once; None if the machine of a time is not known

    def is_on(self, machine: Mapping[str, Setting]) -> bool:
        """Return whether all runs were timed on `machine`."""
        return self.machines == [machine]


def throughput(runs: Sequence[RunRecord], languages: Sequence[str]) -> dict[Phase, Throughput]:
    """Return the speeds by phase. A phase without a time in any of `runs` is left out."""
    phases: dict[Phase, list[str]] = {
        "train": ["train"],
        "evaluate": [f"evaluate/{language}" for language in languages],
    }
    timed: dict[Phase, Throughput] = {}
    for phase, names in phases.items():
        if all(name in record.timing for record in runs for name in names):
            times = [[record.timing[name] for name in names] for record in runs]
            wall_s = [sum(part.wall_s for part in parts) for parts in times]
            rows = [sum(part.rows for part in parts) for parts in times]
            if all(0 < s < math.inf for s in wall_s) and all(n > 0 for n in rows):
                speeds = tuple(float(f"{n / s:.4g}") for n, s in zip(rows, wall_s, strict=True))
                timed[phase] = Throughput(speeds, _machines(runs, names))
    return timed


def _machines(runs: Sequence[RunRecord], phases: Sequence[str]) -> list[dict[str, Setting] | None]:
    machines: list[dict[str, Setting] | None] = []
    for record in runs:
        for phase in phases:
            environment = record.environment_of(record.timing[phase].invocation)
            machine = hardware(environment) if environment else None
            if machine not in machines:
                machines.append(machine)
    return machines


def bless(runs: Iterable[StoredRun]) -> Baseline:
    """Make a baseline from complete, healthy runs. Raises StoreError if a run is incomplete or not healthy."""
    try:
        return Baseline(configurations=tuple(_blessed(records) for records in group(runs).values()))
    except ValidationError as error:
        raise StoreError(f"these results cannot become a baseline: {first_complaint(error)}") from error


def _blessed(runs: list[RunRecord]) -> Blessed:
    first, languages, name = runs[0], list(runs[0].scores), name_in_words(runs[0])
    for record in runs:
        _check_healthy(record, f"{name}, seed {record.seed}", first)
    trained = first.trained_weights_sha256 is not None
    if trained and len(runs) < LEAST_SEEDS:
        raise StoreError(
            f"{name}: wanted at least {LEAST_SEEDS} seeds, got one, which cannot tell a drop from chance in training;"
            " run more with --seed (3 to 5 are better)"
        )
    cells = {
        language: _cell(first.metric, [record.scores[language] for record in runs], trained) for language in languages
    }
    means = [statistics.fmean(scores) for scores in zip(*(cell.scores for cell in cells.values()), strict=True)]
    machine = hardware(first.environments[0])
    return Blessed(
        task=first.task,
        metric=first.metric,
        model=first.model.id,
        model_revision=first.model.revision,
        model_sha256=first.model.sha256,
        trained=trained,
        settings=settings(first),
        overrides=overrides(first),
        seeds=tuple(record.seed for record in runs),
        weights_sha256=tuple(sha256 for record in runs if (sha256 := record.trained_weights_sha256) is not None),
        mean_percent=_mean(means),
        mean_seed_sd_points=round(statistics.stdev(means), 2) if trained else None,
        languages=cells,
        throughput_pairs_per_s={
            phase: timed.rows_per_s for phase, timed in throughput(runs, languages).items() if timed.is_on(machine)
        },
        hardware=machine,
        versions=first.environments[0].versions,
        data_sha256=first.data.sha256,
    )


def _check_healthy(record: RunRecord, name: str, first: RunRecord) -> None:
    if record.status != "complete":
        raise StoreError(f"{name}: the run is {record.status}; complete it, or remove its folder, before blessing")
    if not record.scores or any(score.n_rows < 1 for score in record.scores.values()):
        raise StoreError(f"{name}: the record has no scores; complete the run, or remove its folder, before blessing")
    reason = collapse(record)
    if reason:
        raise StoreError(f"{name}: the training collapsed: {one_line(reason)}; a baseline cannot include such a seed")
    if record.scores.keys() != first.scores.keys() or record.data.sha256 != first.data.sha256:
        raise StoreError(f"{name}: languages or data differ from those of seed {first.seed}; complete the runs")
    machine = hardware(first.environments[0])
    if any(hardware(environment) != machine for environment in record.environments):
        raise StoreError(
            f"{name}: was not made on the same hardware as seed {first.seed}; use one machine for a baseline"
        )


def in_percent(metric: str, score: Score) -> float:
    """Return the value in percent as a baseline holds it. For accuracy, it is computed from the count of right rows."""
    return 100 * score.totals["correct"] / score.n_rows if metric == ACCURACY else 100 * score.value


def _cell(metric: str, scores: Sequence[Score], trained: bool) -> Cell:
    points = [in_percent(metric, score) for score in scores]
    low, high = scores[0].ci95
    interval = (round(100 * low, 2), round(100 * high, 2))
    counted = metric == ACCURACY
    return Cell(
        accuracy_percent=_mean(points) if counted else None,
        value_percent=None if counted else _mean(points),
        seed_sd_points=round(statistics.stdev(points), 2) if trained else None,
        ci95_percent=None if trained else interval,
        n_examples=scores[0].n_rows,
        n_correct=tuple(int(score.totals["correct"]) for score in scores) if counted else None,
        values=None if counted else tuple(score.value for score in scores),
    )


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 2)
