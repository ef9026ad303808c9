"""Records and checkpoint lists of version 0.1.0 (schemas 1 and 2) → the current classes.

All of them are about pairs with a label, scored by accuracy, though the record did not say so. Nor did it say where a
score was computed if a later invocation added it, so for those scores that is unknown.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from xeval.definitions.registry import all_tasks
from xeval.kinds.tokenization import Tokenization
from xeval.results.records import (
    CheckpointRecord,
    CheckpointScore,
    CheckpointsRecord,
    DataRecord,
    Environment,
    Failure,
    Float32Check,
    Fraction,
    Invocation,
    Limits,
    ModelRecord,
    RecipeRecord,
    RunRecord,
    Score,
    SelectionPoint,
    Sha256,
    Timing,
    TrainingRecord,
)
from xeval.support.errors import StoreError
from xeval.support.findings import Finding

KIND, ENCODING, METRIC = "pair-classification", "pairs-1", "accuracy"


class _Old(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


class _Score(_Old):
    accuracy: Fraction
    n_examples: Annotated[int, Field(ge=0)]
    n_correct: Annotated[int, Field(ge=0)]
    ci95_low: Fraction
    ci95_high: Fraction
    truncated_share: Fraction
    unknown_piece_share: Fraction
    pieces_per_word: float | None
    pieces_per_pair: float
    predictions_sha256: Sha256
    n_most_predicted: int | None = None

    def today(self, invocation: str | None) -> Score:
        return Score(
            value=self.accuracy,
            ci95=(self.ci95_low, self.ci95_high),
            n_rows=self.n_examples,
            n_groups=None,
            totals={"correct": self.n_correct, "rows": self.n_examples},
            tokenization=Tokenization(
                truncated_share=self.truncated_share,
                unknown_piece_share=self.unknown_piece_share,
                pieces_per_word=self.pieces_per_word,
                pieces_per_row=self.pieces_per_pair,
            ),
            predictions_sha256=self.predictions_sha256,
            invocation=invocation,
            n_most_predicted=self.n_most_predicted,
        )


class _SelectionPoint(_Old):
    step: int
    accuracy: Fraction


class _Training(_Old):
    n_steps: int
    effective_batch_size: int
    batch_parts: int = 1
    loss_curve: list[tuple[int, float]]
    selection: str
    selection_curve: list[_SelectionPoint]
    chosen_step: int
    weights_sha256: Sha256

    def today(self, invocation: str | None) -> TrainingRecord:
        curve = [SelectionPoint(step=point.step, value=point.accuracy) for point in self.selection_curve]
        same = {name: getattr(self, name) for name in _Training.model_fields if name != "selection_curve"}
        return TrainingRecord(**same, selection_curve=curve, invocation=invocation)


class _Float32Check(_Old):
    n_examples: int
    n_flips: int
    max_logit_difference: float

    def today(self) -> Float32Check:
        return Float32Check(
            n_rows=self.n_examples, n_flips=self.n_flips, max_logit_difference=self.max_logit_difference
        )


class _Timing(_Old):
    wall_s: float
    pairs: int
    invocation: str | None = None


class _Environment(_Old):
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    hardware: dict[str, str | int]
    device: str
    dtype: str
    started_at: str

    def today(self) -> Environment:
        return Environment(**self.model_dump(exclude={"dtype"}))


class _Record(_Old):
    schema_version: Literal[1, 2]
    identity: Sha256
    status: Literal["complete", "incomplete", "failed"]
    failure: str | None = None
    task: str
    task_title: str
    task_note: str
    training_language: str
    model: ModelRecord
    recipe: RecipeRecord
    seed: int
    limits: Limits
    data: DataRecord
    training: _Training | None
    scores: dict[str, _Score]
    timing: dict[str, _Timing]
    environment: _Environment
    float32_checks: dict[str, _Float32Check] = Field(default_factory=dict)
    preflight: list[Finding] = Field(default_factory=list)


def read_record(content: bytes, folder: Path) -> RunRecord:
    """Read a record of schema 1 or 2, whose run is in `folder`. Raises pydantic's ValidationError."""
    old = _Record.model_validate_json(content)
    labels, chance = _labels(old, folder)
    first, is_named = _first_invocation(old)
    made_by = {phase: timing.invocation or (None if is_named else first) for phase, timing in old.timing.items()}
    return RunRecord(
        identity=old.identity,
        status="incomplete" if old.status == "failed" and old.scores else old.status,
        failures=_failures(old, first),
        task=old.task,
        task_title=old.task_title,
        task_note=old.task_note,
        kind=KIND,
        encoding=ENCODING,
        metric=METRIC,
        labels=labels,
        chance=chance,
        training_language=old.training_language,
        model=old.model,
        recipe=old.recipe,
        seed=old.seed,
        limits=old.limits,
        dtype=old.environment.dtype,
        data=old.data,
        training=old.training.today(made_by.get("train")) if old.training else None,
        scores={language: score.today(made_by.get(f"evaluate/{language}")) for language, score in old.scores.items()},
        timing={
            phase: Timing(wall_s=timing.wall_s, rows=timing.pairs, invocation=made_by[phase])
            for phase, timing in old.timing.items()
        },
        invocations={first: Invocation(environment=old.environment.today(), preflight=old.preflight)},
        float32_checks={language: check.today() for language, check in old.float32_checks.items()},
    )


def _first_invocation(old: _Record) -> tuple[str, bool]:
    """Return the invocation that the environment describes, and whether it had a name.

    It is the one that trained, or else the one that evaluated first.
    """
    timing = old.timing.get("train") or next(iter(old.timing.values()), None)
    if timing and timing.invocation:
        return timing.invocation, True
    return f"unnamed-{old.identity[:32]}", False  # unique, so that speeds of two records never seem to be of one


def _failures(old: _Record, first: str) -> dict[str, Failure]:
    """Return what failed. The reason began with the language if it was an evaluation."""
    if old.status != "failed":
        return {}
    reason = old.failure or "no reason was recorded"
    language = reason.partition(": ")[0]
    evaluated = old.training is not None and language != reason and " " not in language
    phase = f"evaluate/{language}" if evaluated else "train"
    return {phase: Failure(reason=reason, invocation=None if old.scores else first)}


def _labels(old: _Record, folder: Path) -> tuple[list[str] | None, float | None]:
    """Return the labels' names, if the task of this name has as many as the predictions, and 1 over their number."""
    known = all_tasks(()).get(old.task)
    n_labels = _count_labels(old, folder) or (len(known.labels) if known else None)
    names = list(known.labels) if known and len(known.labels) == n_labels else None
    return names, 1 / n_labels if n_labels else None


def _count_labels(old: _Record, folder: Path) -> int | None:
    """Return how many labels the predictions choose among; None if no predictions can be read."""
    from xeval.results.predictions import load_predictions  # pyarrow

    for language, score in old.scores.items():
        try:
            table = load_predictions(folder, language, score.predictions_sha256)
        except StoreError:
            continue
        return int(table.schema.field("logits").type.list_size)
    return None


class _CheckpointScore(_Old):
    accuracy: Fraction
    n_examples: int
    rows_sha256: Sha256
    predictions_sha256: Sha256

    def today(self) -> CheckpointScore:
        return CheckpointScore(
            value=self.accuracy,
            n_rows=self.n_examples,
            rows_sha256=self.rows_sha256,
            predictions_sha256=self.predictions_sha256,
        )


class _Checkpoint(_Old):
    step: int
    weights_sha256: Sha256
    scores: dict[str, _CheckpointScore]
    failures: dict[str, str]


class _Checkpoints(_Old):
    checkpoints_version: Literal[1] = 1
    weights_sha256: Sha256
    languages: list[str]
    checkpoints: list[_Checkpoint]


def read_checkpoints(content: bytes) -> CheckpointsRecord:
    """Read a checkpoint list of version 1. Raises pydantic's ValidationError."""
    old = _Checkpoints.model_validate_json(content)
    return CheckpointsRecord(
        weights_sha256=old.weights_sha256,
        languages=old.languages,
        checkpoints=[
            CheckpointRecord(
                step=checkpoint.step,
                weights_sha256=checkpoint.weights_sha256,
                scores={language: score.today() for language, score in checkpoint.scores.items()},
                failures=checkpoint.failures,
            )
            for checkpoint in old.checkpoints
        ],
    )
