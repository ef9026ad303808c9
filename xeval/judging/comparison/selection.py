"""How much the choice of checkpoint matters: for one training run, the best on English dev, the last, and the oracle's.

The oracle takes, for each language, the checkpoint that is best on that language's own test rows. It looks at test
labels, so it is NOT zero-shot and not a result, but a bound that no choice among these checkpoints can exceed. Keung et
al. 2020 (https://arxiv.org/abs/2004.15001), who ask for such a bound, choose on the language's development rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from xeval.definitions.languages import describe
from xeval.judging.comparison.compare import RunComparison, compare, difference_of
from xeval.judging.comparison.paired_runs import PairedRuns, beside, shared_rows, usable
from xeval.judging.comparison.resampling import SEED, Interval
from xeval.kinds.metric import Measure
from xeval.kinds.registry import get_kind
from xeval.results.candidates import checkpoints_of
from xeval.results.configurations import Configuration
from xeval.results.predictions import tally_of
from xeval.results.records import CheckpointRecord, SelectionPoint
from xeval.results.store import StoredRun
from xeval.support.errors import DataError, StoreError
from xeval.support.text import capitalised, on_mean_of, one_decimal, printed_difference

_LAST = "last"


@dataclass(frozen=True)
class Choices:
    """The checkpoints of one training run: all steps, the step that English dev chooses, and the last one."""

    seed: int
    steps: list[int]
    dev_step: int
    dev_value: float  # the metric on the training language's development rows
    last_step: int


@dataclass(frozen=True)
class Oracle:
    """The oracle's choice in one language. It looks at the test labels: NOT zero-shot."""

    language: str
    value: float  # the metric, mean over seeds
    difference: float  # minus the value of English dev's choice; never negative
    steps: list[int]  # the chosen step of each seed; the earliest if tied
    values: list[list[float]]  # for each seed, the metric of its checkpoints in order


@dataclass(frozen=True)
class SelectionRuns:
    """Training runs of one configuration, with English dev's checkpoints as A and the last ones as B."""

    pair: PairedRuns
    model: str
    configuration: str  # in words
    training_language: str
    choices: list[Choices]
    oracle: list[Oracle]


@dataclass(frozen=True)
class SelectionComparison:
    model: str
    configuration: str  # in words
    last_minus_dev: RunComparison  # A: English dev, B: last
    training_language: str
    choices: list[Choices]
    oracle: list[Oracle]
    oracle_mean: float  # over languages
    target_mean: Interval | None  # last minus English dev, without the training language; None if that is no other mean

    @property
    def conclusion(self) -> str:
        return _conclusion(self)


def load_selection(runs: list[StoredRun]) -> SelectionRuns:
    """Load the training runs of `runs`, the seeds of one configuration, with the predictions of all their checkpoints.

    Raises StoreError if the checkpoints of a training run are not known, and DataError if rows differ.
    """
    notes: list[str] = []
    runs = usable("", runs, notes)
    if any(run.record.training is None for run in runs):
        raise StoreError(f"{runs[0].folder}: nothing was trained, so there is no checkpoint to choose")
    checkpoints = [run.candidates().checkpoints for run in runs]
    choices = [_choices(run, own) for run, own in zip(runs, checkpoints, strict=True)]
    languages = _languages(runs, checkpoints, notes)
    record, seeds = runs[0].record, [run.record.seed for run in runs]
    kind = get_kind(record.kind)
    measure = kind.measure(record.metric)
    paired, oracle = [], []
    for language in languages:
        sha256 = shared_rows(language, [run.record for run in runs])
        tables = [_tables(run, own, language, sha256) for run, own in zip(runs, checkpoints, strict=True)]
        dev = [own[choice.dev_step] for own, choice in zip(tables, choices, strict=True)]
        last = [own[choice.last_step] for own, choice in zip(tables, choices, strict=True)]
        paired.append(beside(language, sha256, measure, dev, last, [run.folder for run in (*runs, *runs)]))
        oracle.append(_oracle(language, measure, tables, paired[-1].means[0]))
    pair = PairedRuns(
        task=record.task,
        title=record.task_title,
        name_a=_dev_of(record.training_language),
        name_b=_LAST,
        seeds_a=seeds,
        seeds_b=seeds,
        languages=paired,
        notes=notes,
        labels=record.labels or (),
        metric=record.metric,
        unit=kind.unit,
        grouped_by=kind.grouped_by,
        kind=kind.name,
    )
    configuration = Configuration.of(record).in_words
    return SelectionRuns(pair, record.model.id, configuration, record.training_language, choices, oracle)


def compare_selection(runs: SelectionRuns, seed: int = SEED) -> SelectionComparison:
    """Compare the last checkpoints with English dev's as any two sides, and add the oracle.

    `seed` is for the resampling.
    """
    targets = [target for target in runs.pair.languages if target.language != runs.training_language]
    apart = 0 < len(targets) < len(runs.pair.languages)
    return SelectionComparison(
        model=runs.model,
        configuration=runs.configuration,
        last_minus_dev=compare(runs.pair, seed),
        training_language=runs.training_language,
        choices=runs.choices,
        oracle=runs.oracle,
        oracle_mean=float(np.mean([score.value for score in runs.oracle])),
        target_mean=difference_of(targets, seed) if apart else None,
    )


def _choices(run: StoredRun, checkpoints: Sequence[CheckpointRecord]) -> Choices:
    folder, record = run.folder, run.record
    curve = record.training.selection_curve if record.training else []
    steps = [point.step for point in curve]
    if not steps:
        raise StoreError(f"{folder}: its training never measured the metric on development rows")
    if steps != [checkpoint.step for checkpoint in checkpoints]:
        raise StoreError(f"{checkpoints_of(folder)}: not the checkpoints of this training; remove it and run again")
    best = english_dev(curve)
    return Choices(record.seed, steps, best.step, best.value, steps[-1])


def english_dev(curve: Sequence[SelectionPoint]) -> SelectionPoint:
    """Return the best point on the training language's development rows; the earliest if tied."""
    return max(curve, key=lambda point: (point.value, -point.step))


def _languages(
    runs: Sequence[StoredRun], checkpoints: Sequence[Sequence[CheckpointRecord]], notes: list[str]
) -> list[str]:
    every = [checkpoint for own in checkpoints for checkpoint in own]
    known = [
        language for language in runs[0].record.scores if all(language in checkpoint.scores for checkpoint in every)
    ]
    known = [language for language in known if all(language in run.record.scores for run in runs)]
    rest = sorted({language for run in runs for language in run.record.scores} - set(known))
    failed = sorted(
        {
            f"{language} at step {checkpoint.step}: {why}"
            for checkpoint in every
            for language, why in checkpoint.failures.items()
        }
    )
    notes += [f"Left out, since its logits are unusable: {problem}." for problem in failed]
    rest = [language for language in rest if not any(language in checkpoint.failures for checkpoint in every)]
    if rest:
        notes.append(
            f"Languages in which not every checkpoint was evaluated are left out: {' '.join(rest)}. xeval run with"
            " --every-checkpoint trains again to evaluate them."
        )
    if not known:
        raise StoreError(f"{runs[0].folder}: no language in which every checkpoint was evaluated")
    return known


def _tables(
    run: StoredRun, checkpoints: Sequence[CheckpointRecord], language: str, rows_sha256: str
) -> dict[int, pa.Table]:
    """Return step → predictions of that checkpoint in `language`. Raises DataError if it was scored on other rows."""
    for checkpoint in checkpoints:
        if checkpoint.scores[language].rows_sha256 != rows_sha256:
            raise DataError(
                f"{checkpoints_of(run.folder)}: not evaluated on the same {language} rows as the run; remove it and run"
                " again"
            )
    return {
        checkpoint.step: run.candidate_predictions(
            checkpoint.step, language, checkpoint.scores[language].predictions_sha256
        )
        for checkpoint in checkpoints
    }


def _oracle(language: str, measure: Measure, tables: Sequence[dict[int, pa.Table]], dev_value: float) -> Oracle:
    values, chosen = [], []
    for own in tables:
        by_step = {step: measure.over(tally_of(table)) for step, table in own.items()}
        values.append(list(by_step.values()))
        chosen.append(max(by_step, key=lambda step: (by_step[step], -step)))
    value = float(np.mean([max(own) for own in values]))
    return Oracle(language, value, value - dev_value, chosen, values)


def _conclusion(comparison: SelectionComparison) -> str:
    compared, mean = comparison.last_minus_dev, comparison.last_minus_dev.mean
    where = on_mean_of([choice.language for choice in comparison.oracle])
    bounds = f"{mean.name} of the difference {mean.in_points}"
    size = f"{one_decimal(abs(printed_difference(100 * compared.mean_b, 100 * compared.mean_a)))} points"
    dev = _dev_of(comparison.training_language)
    called = {dev: f"{dev}'s checkpoint", _LAST: "the last checkpoint"}
    if all(choice.dev_step == choice.last_step for choice in comparison.choices):
        first = f"{dev} chose the last checkpoint"
    elif mean.excludes_zero:
        ahead, behind = (_LAST, dev) if mean.difference > 0 else (dev, _LAST)
        first = f"{capitalised(called[ahead])} is better than {called[behind]} by {size} {where} ({bounds})"
    else:
        first = (
            f"No difference is shown {where} between {dev}'s checkpoint and the last: they are {size} apart ({bounds})"
        )
    gain = printed_difference(100 * comparison.oracle_mean, 100 * compared.mean_a)
    return (
        f"{first}. No choice among these checkpoints can exceed {dev}'s by more than {one_decimal(gain)} points"
        f" {where}: that is the oracle, which looks at test labels and is not zero-shot."
    )


def _dev_of(training_language: str) -> str:
    """Return what the selection rows are called: "English dev", or "German dev" after training on German."""
    return f"{describe(training_language).name} dev"
