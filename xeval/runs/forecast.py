"""Forecasts of what a run will take: time by this machine's measured speed, memory and disk.

The speed is that of finished runs of the same model on the same hardware if the results folder has any. Otherwise, the
model takes a few steps and predicts a few rows, which takes seconds, and the measured speed is kept in the cache.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from xeval.checks.before.machine_checks import BYTES_PER_WEIGHT, SNAPSHOT_COPIES, SNAPSHOTS
from xeval.definitions.recipe import Recipe
from xeval.definitions.toml import Frozen
from xeval.engine import environment
from xeval.engine.adaptation import adapt
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.loading import brings_pooler, load_tokenizer
from xeval.engine.prediction import predict
from xeval.engine.training import count_steps, fine_tune
from xeval.results.records import Invocation, RunRecord, Timing
from xeval.results.store import known_runs
from xeval.runs.execute import OneRun
from xeval.runs.preflight import count_checkpoint_weights, load_model
from xeval.runs.spec import RunSpec
from xeval.support.cache import cache_home
from xeval.support.errors import StoreError
from xeval.support.files import read_ordinary, write_atomically
from xeval.support.progress import Reporter
from xeval.support.text import counted, one_line

CALIBRATED_ROWS = 256  # at most, to train on
PREDICTED_ROWS = 64
LEAST_ROWS = 1_000  # of finished runs, to take their speed
LEAST_S, MOST_STEPS = 2.0, 50  # timing ends after either; the first training step is not timed
PREDICTION_BYTES = 24  # of one row, measured on XNLI and Tatoeba
_MAX_SPEED_BYTES = 10_000
_OF_SPEED = ("max_length", "batch_size", "adaptation", "layers_frozen")  # the recipe's values that speed depends on

Seconds = Annotated[float, Field(ge=0)]


class Speed(Frozen):
    """Seconds for each row of a task, for one model on one machine."""

    trained_s: Seconds
    evaluated_s: Seconds
    measured_by: Literal["finished runs", "a calibration"]


class Forecast(Frozen):
    """What is left to do of a run, and what that takes."""

    rows_trained: int
    """Training rows, each counted as often as it is seen."""
    rows_evaluated: int
    """Rows of the test and selection splits."""
    n_weights: int
    """How many numbers the checkpoint's files hold."""
    is_training: bool
    predictions_bytes: int
    """Bytes that the results grow by."""
    trains_all_weights: bool = True
    """False if part or all of the encoder is frozen, as with LoRA."""
    speed: Speed | None = None
    hardware: str = ""
    """What the speed was measured on."""

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do."""
        return bool(self.rows_trained or self.rows_evaluated)

    @property
    def seconds(self) -> float | None:
        """Time on one device; None if no speed is known."""
        if self.speed is None:
            return None if self.is_open else 0.0
        return self.rows_trained * self.speed.trained_s + self.rows_evaluated * self.speed.evaluated_s

    @property
    def work(self) -> int:
        """Relative length, to order runs if no speed is known; a backward pass counts as two forward passes."""
        return self.n_weights * (3 * self.rows_trained + self.rows_evaluated)

    @property
    def weights_bytes(self) -> int:
        """Size of the fine-tuned weights, which are kept in the cache."""
        return self.n_weights * BYTES_PER_WEIGHT if self.is_training else 0

    @property
    def snapshots_bytes(self) -> int:
        """Largest size of the snapshots that a training run in progress keeps to resume from."""
        return self.weights_bytes * SNAPSHOT_COPIES * SNAPSHOTS

    @property
    def memory_bytes(self) -> int:
        """Least memory needed: the weights and, if all are trained, their gradients and AdamW's two moments."""
        return self.n_weights * BYTES_PER_WEIGHT * (4 if self.is_training and self.trains_all_weights else 1)


def forecast(run: OneRun, languages: Sequence[str]) -> Forecast:
    """Return what is left to do of `run` in `languages`, without a speed."""
    spec = run.spec
    training = _rows_of_training(spec)
    record = run.disk.newest()
    missing = list(languages) if run.every_checkpoint else list(run.disk.unfinished(record, languages))
    if not run.has_work(languages):
        missing = []
    is_training = run.needs_training(languages)
    n_tested = sum(len(spec.corpus.test(language)) for language in missing)
    n_tested *= 1 + training.n_checkpoints * run.every_checkpoint
    return Forecast(
        rows_trained=training.n_trained if is_training else 0,
        rows_evaluated=n_tested + (training.n_predicted if is_training else 0),
        n_weights=count_checkpoint_weights(spec.checkpoint),
        is_training=is_training,
        predictions_bytes=PREDICTION_BYTES * n_tested,
        trains_all_weights=spec.recipe.adaptation == "full" and spec.recipe.layers_frozen is None,
    )


class RowsOfTraining(NamedTuple):
    """The rows that go through the encoder in a training run, and the checkpoints that it measures."""

    n_trained: int = 0  # each counted as often as it is seen
    n_predicted: int = 0  # forward passes alone: to choose a checkpoint or, if the encoder is frozen, to remember
    n_checkpoints: int = 0


def _rows_of_training(spec: RunSpec) -> RowsOfTraining:
    """Return `rows_of_training` for the rows of the run's corpus."""
    if not spec.train:
        return RowsOfTraining()
    selected_on = spec.corpus.selection.first(spec.recipe.selection_rows) if spec.task.has_selection else ()
    return rows_of_training(spec.recipe, len(spec.corpus.train), len(selected_on))


def rows_of_training(recipe: Recipe, n_rows: int, n_selection: int) -> RowsOfTraining:
    """Count what a training run on `n_rows` reads, with `n_selection` rows to select on.

    Patience may end a training run sooner.
    """
    n_steps = count_steps(recipe, n_rows)
    every = recipe.evaluate_every_steps or math.ceil(n_rows / recipe.batch_size)  # steps of an epoch
    n_checkpoints = math.ceil(n_steps / every)
    if recipe.adaptation == "frozen":  # the encoder runs once for each row, and what follows costs next to nothing
        return RowsOfTraining(0, n_rows + n_selection, n_checkpoints)
    return RowsOfTraining(n_steps * recipe.batch_size, n_selection * n_checkpoints, n_checkpoints)


class Speeds:
    """The speed of models on this machine, each measured once."""

    def __init__(self, results: Path, reporter: Reporter) -> None:
        self._results, self._reporter = results, reporter
        self._known: dict[str, Speed] = {}

    def add_to(self, known: Forecast, spec: RunSpec) -> Forecast:
        """Return `known`, the forecast of the run `spec`, with its speed if there is anything to do."""
        if not known.is_open:
            return known
        return known.model_copy(update={"speed": self._of(spec), "hardware": _hardware_in_words(spec)})

    def _of(self, spec: RunSpec) -> Speed:
        """Return the speed of runs that differ from `spec` only in their seed."""
        values, configuration = spec.recipe_record().values, spec.checkpoint.configuration()
        key = speed_key(spec.task.name, configuration, values, spec.train, spec.compute)
        if key not in self._known:
            records = [run.record for run in known_runs(self._results, spec.task.name)]
            same = [record for record in records if record.model.sha256 == spec.checkpoint.sha256]
            finished = speed_of_runs(same, values, spec.train, spec.compute)
            self._known[key] = finished or kept_speed(key) or self._calibrate(spec, key)
        return self._known[key]

    def _calibrate(self, spec: RunSpec, key: str) -> Speed:
        self._reporter.say(one_line(f"{spec.in_words}: measuring its speed on {_hardware_in_words(spec)}"))
        speed = calibrate(spec)
        try:
            write_atomically(_path(key), speed.model_dump_json().encode())
        except StoreError as error:
            self._reporter.say(f"the speed could not be kept for the next plan ({error})")
        return speed


def calibrate(spec: RunSpec) -> Speed:
    """Measure the speed of the model of `spec` on rows of its task, by seconds of training and a few predictions."""
    kind, recipe, compute = spec.task.of_kind, spec.recipe, spec.compute
    tokenizer = load_tokenizer(spec.checkpoint, recipe.max_length)
    model = load_model(spec.checkpoint, spec.task, recipe, spec.train)
    if spec.train:
        adapt(model, recipe, spec.seed, brings_pooler(spec.checkpoint), spec.checkpoint.id)
    model = model.to(compute.device)
    language = min(spec.corpus.read_languages)
    some = encode(kind, tokenizer, spec.corpus.test(language).sample(PREDICTED_ROWS), recipe.max_length)
    predict(model, kind, some, compute)  # the first is slower
    started = time.monotonic()
    predict(model, kind, some, compute)
    evaluated_s = (time.monotonic() - started) / (len(some) / kind.sequences_together)
    if not spec.train or recipe.adaptation == "frozen":
        return Speed(trained_s=0, evaluated_s=evaluated_s, measured_by="a calibration")
    rows = encode(kind, tokenizer, spec.corpus.train.sample(CALIBRATED_ROWS), recipe.max_length)
    step_s = _step_s(spec, model, rows)
    return Speed(trained_s=step_s / recipe.batch_size, evaluated_s=evaluated_s, measured_by="a calibration")


class _TimedEnoughError(Exception):
    """Enough steps have been timed."""


def _step_s(spec: RunSpec, model: Any, rows: Any) -> float:
    """Return how many seconds one optimizer step takes."""
    n_rows = len(rows) // spec.task.of_kind.sequences_together
    batch_size = min(spec.recipe.batch_size, n_rows)
    brief = {"max_steps": MOST_STEPS, "epochs": None, "batch_size": batch_size, "selection": "last", "patience": None}
    recipe = spec.recipe.model_copy(update=brief)
    ends: list[float] = []

    def note(loss: float, learning_rate: float) -> None:
        ends.append(time.monotonic())
        if len(ends) > 1 and ends[-1] - ends[0] >= LEAST_S:
            raise _TimedEnoughError

    with suppress(_TimedEnoughError):
        fine_tune(spec.task.of_kind, model, rows, recipe, 1e-9, spec.seed, spec.compute, None, note)
    return (ends[-1] - ends[0]) / (len(ends) - 1) * spec.recipe.batch_size / batch_size


def speed_of_runs(
    records: Iterable[RunRecord], values: Mapping[str, Any], train: bool, compute: Compute
) -> Speed | None:
    """Return the mean speed of a model's runs on this hardware with the recipe's `values`; None for too few rows."""
    hardware = environment.describe(compute).hardware
    timings: dict[bool, list[Timing]] = {True: [], False: []}  # by whether they are of training
    for record in records:
        if record.dtype != compute.dtype_name:
            continue
        if any(record.recipe.values.get(key) != values.get(key) for key in _OF_SPEED):
            continue
        for phase, timing in record.timing.items():
            if _was_here(timing, record.invocations, hardware):
                timings[phase == "train"].append(timing)
    trained_s, evaluated_s = _mean_s(timings[True]), _mean_s(timings[False])
    if evaluated_s is None or (train and trained_s is None):
        return None
    return Speed(trained_s=trained_s or 0.0, evaluated_s=evaluated_s, measured_by="finished runs")


def _mean_s(timings: Sequence[Timing]) -> float | None:
    """Return seconds per row; None if there are too few rows to tell, since the first ones are slow."""
    n_rows = sum(timing.rows for timing in timings)
    return sum(timing.wall_s for timing in timings) / n_rows if n_rows >= LEAST_ROWS else None


def _was_here(timing: Timing, invocations: dict[str, Invocation], hardware: dict[str, str | int]) -> bool:
    invocation = invocations.get(timing.invocation or "")
    return invocation is not None and invocation.environment.hardware == hardware


def speed_key(
    task: str, configuration: Mapping[str, Any], values: Mapping[str, Any], train: bool, compute: Compute
) -> str:
    """Return a hash of what a speed depends on: hardware, arithmetic, the model's shape, task, and recipe values."""
    parts = {
        "hardware": environment.describe(compute).hardware,
        "device": compute.device.type,
        "dtype": compute.dtype_name,
        "model": configuration,
        "task": task,
        "train": train,
        **{key: values.get(key) for key in _OF_SPEED},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _path(key: str) -> Path:
    return cache_home() / "speeds" / f"{key}.json"


def kept_speed(key: str) -> Speed | None:
    """Return the speed kept under this key; None if there is none that can be read."""
    try:
        return Speed.model_validate_json(read_ordinary(_path(key), _MAX_SPEED_BYTES))
    except (OSError, ValidationError):
        return None


def _hardware_in_words(spec: RunSpec) -> str:
    hardware = environment.describe(spec.compute).hardware
    if "gpu" in hardware:
        return f"{hardware['gpu']}, {spec.compute.dtype_name}"
    return f"{hardware['cpu']}, {counted(int(hardware['threads']), 'threads')}, {spec.compute.dtype_name}"
