"""Records → Baseline: which runs are seeds of one thing, and whether they are fit to be blessed."""

import math
import statistics
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from xeval.definitions.toml import first_complaint
from xeval.judging.gate.baseline import LEAST_SEEDS, Baseline, Cell, Configuration, Phase, Setting, key_of
from xeval.judging.verdict import collapse
from xeval.results.records import CellScore, RunRecord
from xeval.support.errors import StoreError
from xeval.support.text import one_line


def group(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Seeds by configuration, in the order of the seeds. The model's files may differ between baseline and now, so
    they are no part of a configuration here; within one group they must not."""
    groups: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.seed):
        groups.setdefault(key_of(record.task, record.model.id, settings(record)), []).append(record)
    for runs in groups.values():
        seeds = [record.seed for record in runs]
        if len(set(seeds)) < len(seeds) or len({record.model.sha256 for record in runs}) > 1:
            raise StoreError(
                f"{one_line(runs[0].model.id)}, recipe {one_line(runs[0].recipe.name)}: the folder has runs that differ"
                " in the model's files or in training data; use a results folder of its own for each of them"
            )
    return groups


def settings(record: RunRecord) -> dict[str, Setting]:
    """What has to be equal, beside task and model, for two runs to be seeds of one and the same thing."""
    limits = record.limits.model_dump()
    values = {"recipe": record.recipe.name, **record.recipe.values, **limits, "dtype": record.environment.dtype}
    return {key: value for key, value in values.items() if value is not None}


def hardware(record: RunRecord) -> dict[str, Setting]:
    """What has to be equal for speeds to be comparable."""
    environment = record.environment
    named: dict[str, Setting] = {
        key: environment.hardware[key] for key in ("gpu", "cpu", "threads") if key in environment.hardware
    }
    return {"device": environment.device, **named}


def throughput(runs: Sequence[RunRecord], languages: Sequence[str]) -> dict[Phase, tuple[float, ...]]:
    """Pairs per second by phase, one for each run; a phase that one of them has no time for is left out."""
    phases: dict[Phase, list[str]] = {
        "train": ["train"],
        "evaluate": [f"evaluate/{language}" for language in languages],
    }
    found: dict[Phase, tuple[float, ...]] = {}
    for phase, names in phases.items():
        if all(name in record.timing for record in runs for name in names):
            times = [[record.timing[name] for name in names] for record in runs]
            wall_s = [sum(part.wall_s for part in parts) for parts in times]
            pairs = [sum(part.pairs for part in parts) for parts in times]
            if all(0 < s < math.inf for s in wall_s) and all(n > 0 for n in pairs):
                found[phase] = tuple(float(f"{n / s:.4g}") for n, s in zip(pairs, wall_s, strict=True))
    return found


def bless(records: Sequence[RunRecord], n_labels: Mapping[str, int]) -> Baseline:
    """The baseline of complete, healthy runs; `n_labels` by task. Raises StoreError for any run that is neither."""
    try:
        return Baseline(configurations=tuple(_blessed(runs, n_labels) for runs in group(records).values()))
    except ValidationError as error:
        raise StoreError(f"these results make no baseline: {first_complaint(error)}") from error


def _blessed(runs: list[RunRecord], n_labels: Mapping[str, int]) -> Configuration:
    first, languages = runs[0], list(runs[0].scores)
    name = f"{one_line(first.model.id)}, recipe {one_line(first.recipe.name)}"
    if first.task not in n_labels:
        raise StoreError(f"{name}: task {one_line(first.task)} is not known here; give its folder with --tasks-dir")
    for record in runs:
        _check_healthy(record, f"{name}, seed {record.seed}", first, n_labels[first.task])
    trained = first.training is not None
    if trained and len(runs) < LEAST_SEEDS:
        raise StoreError(
            f"{name}: wanted at least {LEAST_SEEDS} seeds, got one, which cannot tell a drop from chance in training;"
            " run more with --seed (3 to 5 are better)"
        )
    cells = {language: _cell([record.scores[language] for record in runs], trained) for language in languages}
    means = [statistics.fmean(scores) for scores in zip(*(cell.scores for cell in cells.values()), strict=True)]
    return Configuration(
        task=first.task,
        n_labels=n_labels[first.task],
        model=first.model.id,
        model_revision=first.model.revision,
        model_sha256=first.model.sha256,
        trained=trained,
        settings=settings(first),
        overrides={key: value for key, value in first.recipe.overrides.items() if value is not None},
        seeds=tuple(record.seed for record in runs),
        weights_sha256=tuple(record.training.weights_sha256 for record in runs if record.training),
        mean_percent=_mean(means),
        mean_seed_sd_points=round(statistics.stdev(means), 2) if trained else None,
        languages=cells,
        throughput_pairs_per_s=throughput(runs, languages),
        hardware=hardware(first),
        versions=first.environment.versions,
        data_sha256=first.data.sha256,
    )


def _check_healthy(record: RunRecord, name: str, first: RunRecord, n_labels: int) -> None:
    if record.status != "complete":
        raise StoreError(f"{name}: the run is {record.status}; complete it, or remove its folder, before blessing")
    if not record.scores or any(score.n_examples < 1 for score in record.scores.values()):
        raise StoreError(f"{name}: the record has no scores; complete the run, or remove its folder, before blessing")
    reason = collapse(record, n_labels)
    if reason:
        raise StoreError(f"{name}: the training collapsed: {one_line(reason)}; a baseline takes no such seed")
    if record.scores.keys() != first.scores.keys() or record.data.sha256 != first.data.sha256:
        raise StoreError(f"{name}: languages or data are not those of seed {first.seed}; complete the runs")
    if hardware(record) != hardware(first):
        raise StoreError(f"{name}: was not made on the hardware of seed {first.seed}; use one machine for a baseline")


def _cell(scores: Sequence[CellScore], trained: bool) -> Cell:
    points = [100 * score.n_correct / score.n_examples for score in scores]
    interval = (round(100 * scores[0].ci95_low, 2), round(100 * scores[0].ci95_high, 2))
    return Cell(
        accuracy_percent=_mean(points),
        seed_sd_points=round(statistics.stdev(points), 2) if trained else None,
        ci95_percent=None if trained else interval,
        n_examples=scores[0].n_examples,
        n_correct=tuple(score.n_correct for score in scores),
    )


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 2)
