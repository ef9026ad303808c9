"""The nouns that xeval writes: what a run was, what it scored, what it took.

Accuracies are fractions here; percentages exist only in what people read. Times are in seconds (`_s`).
"""

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from xeval.results.findings import Finding

SCHEMA_VERSION: Final = 2  # 2: the file has a checksum of its own, which xeval.results.store writes and checks

Fraction = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Origin = Literal["hub", "local", "embedded"]


class Recorded(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ModelRecord(Recorded):
    id: str  # hub id, embedded model's name, or the folder's name for a local checkpoint
    origin: Origin
    revision: str | None  # commit on the hub; None for what does not come from there
    sha256: Sha256  # over weights, configuration and tokenizer files as they were found
    n_parameters: int | None  # of the encoder, without the classification head; None for a run that failed before
    architecture: str | None
    n_layers: int | None = None  # these three as the checkpoint's configuration has them
    hidden_size: int | None = None
    n_attention_heads: int | None = None


class RecipeRecord(Recorded):
    name: str
    values: dict[str, float | int | str | None]  # as trained with, overrides included
    overrides: dict[str, float | int | str | None]  # the part that the command line changed


class Limits(Recorded):
    max_train: int | None = None  # pairs
    max_eval: int | None = None  # pairs per language and split


class DataRecord(Recorded):
    source: str
    revision: str | None
    sha256: dict[str, dict[str, Sha256]]  # split → language → hash of the rows' content
    train_rows: dict[str, int]  # found, expected by the task file, used


class CellScore(Recorded):
    """The score of one run in one language, and what its tokenizer did to the text."""

    accuracy: Fraction
    n_examples: int
    n_correct: int
    ci95_low: Fraction
    ci95_high: Fraction
    truncated_share: Fraction  # of pairs longer than max_length
    unknown_piece_share: Fraction
    pieces_per_word: float | None  # fertility; None where the script puts no space between words
    pieces_per_pair: float
    predictions_sha256: Sha256  # of the parquet file that this score was made from
    n_most_predicted: int | None = None  # predictions of the label that is predicted most; None in older records


class SelectionPoint(Recorded):
    step: int
    accuracy: Fraction  # on the training language's selection split
    loss: float | None = None  # mean cross-entropy there, where the checkpoint is chosen by it


class TrainingRecord(Recorded):
    n_steps: int
    effective_batch_size: int
    batch_parts: int = 1  # that each batch was computed in at last, because a whole one did not fit into memory
    loss_curve: list[tuple[int, float]]  # (step, mean loss since the point before)
    selection: str
    selection_curve: list[SelectionPoint]
    chosen_step: int
    weights_sha256: Sha256  # of the fine-tuned weights that every language was evaluated with


class CheckpointScore(Recorded):
    """Of one checkpoint on the way of a training, in one language."""

    accuracy: Fraction
    n_examples: int
    rows_sha256: Sha256
    predictions_sha256: Sha256


class CheckpointRecord(Recorded):
    """One checkpoint on the way of a training: what it scored wherever it was evaluated."""

    step: int
    weights_sha256: Sha256  # of the tensors as they were at this step
    scores: dict[str, CheckpointScore]  # by language
    failures: dict[str, str]  # language → why its predictions are of no use


class CheckpointsRecord(Recorded):
    """Every checkpoint at which a training measured its selection accuracy, in order."""

    checkpoints_version: Literal[1] = 1
    weights_sha256: Sha256  # of the fine-tuned weights that the training ended with, as in its `TrainingRecord`
    languages: list[str]  # that every checkpoint was evaluated in
    checkpoints: list[CheckpointRecord]


class Float32Check(Recorded):
    """What float32 said of a sample of rows that the run had computed in another arithmetic."""

    n_examples: int
    n_flips: int  # predictions that differ
    max_logit_difference: float


class Timing(Recorded):
    wall_s: float
    pairs: int
    invocation: str | None = None  # equal for what one process timed: only such speeds are compared

    @property
    def pairs_per_s(self) -> float:
        return self.pairs / self.wall_s if self.wall_s > 0 else 0.0


class Environment(Recorded):
    """Where the run was made. `dtype` is the arithmetic of the forward and backward passes."""

    versions: dict[str, str]
    commit: str | None  # of xeval's own checkout; None where it is installed from a wheel
    dirty: bool | None
    hardware: dict[str, str | int]
    device: str
    dtype: str
    started_at: str  # ISO 8601, UTC


class RunRecord(Recorded):
    """One (task, model, recipe, seed): everything that later rooms need, in one JSON file."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    identity: Sha256
    status: Literal["complete", "incomplete", "failed"]  # complete: every language asked for so far has its score
    failure: str | None = None
    task: str
    task_title: str
    task_note: str  # what every report of this task has to say, for instance that it is a toy
    training_language: str
    model: ModelRecord
    recipe: RecipeRecord
    seed: int
    limits: Limits
    data: DataRecord
    training: TrainingRecord | None  # None for a checkpoint evaluated as it is, or before training has ended
    scores: dict[str, CellScore]
    timing: dict[str, Timing]  # "train", "evaluate/<language>"
    environment: Environment
    float32_checks: dict[str, Float32Check] = {}  # by language; none where float32 is what was computed in
    preflight: list[Finding] = []  # what was found wrong before the run, and did not stop it

    def recipe_in_words(self) -> str:
        """The recipe, what of it the command line changed, and limits: `hf-2019, epochs 3, max train 960`."""
        parts = [self.recipe.name, *(f"{key} {value}" for key, value in self.recipe.overrides.items())]
        parts += [f"{key.replace('_', ' ')} {value:,}" for key, value in self.limits.model_dump().items() if value]
        return ", ".join(parts)

    def configuration(self) -> str:
        """What has to be equal for two runs to be seeds of one and the same thing."""
        parts = [
            self.task,
            self.model.id,
            self.model.sha256,
            self.recipe.name,
            self.recipe.values,
            self.limits.model_dump(),
            self.environment.dtype,
        ]
        return json.dumps(parts, sort_keys=True)
