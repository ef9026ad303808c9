"""The classes of everything that a record holds: what a run was, its scores, and its cost.

Scores are fractions here; percentages exist only in what people read. Times are in seconds (`_s`).
"""

import hashlib
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from xeval.definitions.model_name import Origin, PublishedBy
from xeval.kinds.tokenization import Tokenization
from xeval.support.findings import Finding
from xeval.support.text import counted

ANSWERS_ALONE: Final = "right answers alone"  # the source of data without texts
ELSEWHERE: Final = "predictions"  # the recipe's name for a run whose predictions were computed elsewhere
SCHEMA_VERSION: Final = 3  # `xeval.results.old_records` reads earlier ones
MAX_RECORD_BYTES = 50_000_000  # of a run's record, and of that of its checkpoints

NO_TRAINING: Final = "no-train"  # the recipe's name for a checkpoint that is evaluated without training it

Fraction = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


# More than any run has. Larger numbers would need more memory than any machine has, or overflow, where they are used.
_MOST, _MOST_ROWS = 10**20, 10**8
Integer = Annotated[int, Field(ge=-_MOST, le=_MOST)]
N_BINS: Final = 15  # of confidence, as in the experiments of Guo et al. 2017, arXiv:1706.04599
BinNumber = Annotated[int, Field(ge=0, lt=N_BINS)]
BinRows = Annotated[int, Field(ge=1, le=_MOST_ROWS)]
RowCount = Annotated[int, Field(ge=-_MOST_ROWS, le=_MOST_ROWS)]


def _square(counts: list[list[int]]) -> list[list[int]]:
    if not counts or any(len(line) != len(counts) for line in counts):
        raise ValueError("wanted as many predicted labels as gold ones")
    if sum(map(sum, counts)) > _MOST_ROWS:
        raise ValueError(f"wanted at most {_MOST_ROWS:,} rows")
    return counts


Confusion = Annotated[list[list[Annotated[int, Field(ge=0)]]], AfterValidator(_square)]


class Recorded(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


class ModelRecord(Recorded):
    id: str  # hub id, embedded model's name, folder name of a local checkpoint, or what several are called together
    origin: Origin
    revision: str | None  # commit on the hub; None for a model from elsewhere
    sha256: Sha256
    """Hash of the weights, configuration and tokenizer files as they were found, or, for a model that others ran and of
    which nothing else is known, of its name."""
    n_parameters: Integer | None  # of the encoder, without the classification head; None if the run failed before
    architecture: str | None
    n_layers: Integer | None = None  # this and the next two are from the checkpoint's configuration
    hidden_size: Integer | None = None
    n_attention_heads: Integer | None = None
    published_as: str | None = None  # for a local folder: the id of its model in published tables
    published_by: PublishedBy | None = None  # how that is known

    @property
    def published_id(self) -> str | None:
        """The id that published tables know it by; None for a folder, unless it is known which model that holds."""
        return self.published_as if self.origin == "local" else self.id


class RecipeRecord(Recorded):
    name: str
    values: dict[str, float | Integer | str | None]  # as trained with, overrides included
    overrides: dict[str, float | Integer | str | None]  # those that the command line changed


class Limits(Recorded):
    max_train: Integer | None = None  # training rows
    max_eval: Integer | None = None  # test rows per language
    eval_seed: Integer | None = None  # seed that drew these evenly; None: the first ones, as in version 0.1.0
    test_split: str | None = None  # split evaluated instead of the task's test split


class DataRecord(Recorded):
    source: str
    revision: str | None
    sha256: dict[str, dict[str, Sha256]]  # split → language → hash of the rows' content
    train_rows: dict[str, RowCount]  # number found, expected by the task file, and used


class Majority(Recorded):
    """The label that most rows have. Always answering it is right for `n_rows` rows."""

    label: str
    n_rows: RowCount


class Score(Recorded):
    """The score of one run in one language, and what its tokenizer did to the text."""

    value: Fraction  # value of the record's metric
    ci95: tuple[Fraction, Fraction]
    n_rows: RowCount
    n_groups: (
        Integer | None
    )  # groups of rows that depend on each other; None in records before schema 3, which did not count them
    totals: dict[str, Integer | float]  # sums over the rows, by name, that give the value
    more: dict[str, float] = {}  # other metrics, by name
    tokenization: Tokenization | None  # None if others made the predictions
    predictions_sha256: Sha256  # of the parquet file that this score was made from
    invocation: str | None  # the one that made it; None in older records if that is not known
    n_most_predicted: Integer | None = None  # predictions of the most predicted label, if there are labels
    majority: Majority | None = None  # if each row has one label; None in older records
    confusion: Confusion | None = None  # rows by gold label, then by predicted label; None in older records
    calibration: Annotated[list[tuple[BinNumber, BinRows, Fraction, Fraction]], Field(min_length=1)] | None = None
    """The confidence bins that have rows, all of equal width: (bin number, rows, mean confidence, accuracy). None if
    there are no logits, and in older records."""

    @property
    def of_majority(self) -> float | None:
        """The accuracy of always answering the label that most rows have; None if it is not known."""
        return self.majority.n_rows / self.n_rows if self.majority and self.n_rows else None


class SelectionPoint(Recorded):
    step: Integer
    value: Fraction  # of the metric, on the training language's selection split
    loss: float | None = None  # mean cross-entropy there, if the checkpoint is chosen by it


class TrainingRecord(Recorded):
    n_steps: Integer
    effective_batch_size: Integer
    batch_parts: Integer = 1  # parts that each batch was finally split into, as a whole one did not fit into memory
    loss_curve: list[tuple[Integer, float]]  # (step, mean loss since the previous point)
    selection: str
    selection_curve: list[SelectionPoint]
    chosen_step: Integer
    left_out_head: bool | None = None  # whether a new head replaced the checkpoint's; None in older records
    weights_sha256: Sha256  # of the fine-tuned weights that every language was evaluated with
    invocation: str | None = None  # the one that ended it; None in older records if that is not known


class CheckpointScore(Recorded):
    """The score of one intermediate checkpoint of a training run in one language."""

    value: Fraction
    n_rows: RowCount
    rows_sha256: Sha256
    predictions_sha256: Sha256


class CheckpointRecord(Recorded):
    """One intermediate checkpoint of a training run, with its score in each language it was evaluated in."""

    step: Integer
    weights_sha256: Sha256  # of the tensors at this step
    scores: dict[str, CheckpointScore]  # by language
    failures: dict[str, str]  # language → why its predictions cannot be used


class CheckpointsRecord(Recorded):
    """Every checkpoint at which a training run measured its selection score, in order."""

    checkpoints_version: Literal[2] = 2
    weights_sha256: Sha256  # of the fine-tuned weights that the training ended with, as in its `TrainingRecord`
    languages: list[str]  # languages that every checkpoint was evaluated in
    checkpoints: list[CheckpointRecord]


class TrialRecord(Recorded):
    """One training run of a sweep: the values that it tried, and the outcome."""

    values: dict[str, float | Integer | str]  # of the swept keys
    score: Fraction | None  # the record's metric on the selection split, at the checkpoint kept; None if it failed
    failure: str | None  # why there is no score, or why it does not count
    identity: Sha256  # of the training; its folder's name ends in the first 8 digits
    wall_s: float | None  # of the training; None if it failed


class SweepRecord(Recorded):
    """How recipe values were chosen: by trials, on the training language's selection split alone."""

    values: dict[str, list[float | Integer | str]]  # key → every value that was tried, in the order asked for
    chosen: dict[str, float | Integer | str]  # values of the trial with the best score; the first if tied
    seed: Integer  # seed of every trial, and of no run with the chosen values
    trials: list[TrialRecord]
    n_others: Integer  # trials of this model on these rows in other sweeps, in the same results folder

    @property
    def budget(self) -> int:
        """The number of training runs that were looked at before the values were chosen."""
        return len(self.trials) + self.n_others

    @property
    def in_words(self) -> str:
        """A phrase such as `learning_rate chosen from 3 trials`."""
        others = f" ({self.budget} with those of other sweeps)" if self.n_others else ""
        return f"{' and '.join(self.values)} chosen from {len(self.trials)} trials{others}"


class Float32Check(Recorded):
    """What float32 gave on a sample of the rows that the run computed in another arithmetic."""

    n_rows: RowCount
    n_flips: Integer  # predictions that differ
    max_logit_difference: float


class Timing(Recorded):
    wall_s: float
    rows: Integer  # each counted as often as it was seen
    invocation: str | None = None  # the one that timed all of it; None if training resumed from another's snapshot

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.wall_s if self.wall_s > 0 else 0.0


class Environment(Recorded):
    """Where something was computed."""

    versions: dict[str, str]
    commit: str | None  # of xeval's own checkout; None if it is installed from a wheel
    dirty: bool | None
    hardware: dict[str, str | Integer]
    device: str
    started_at: str  # ISO 8601, UTC
    ranks: Integer = 1  # processes that shared each training and evaluation

    @property
    def processor(self) -> str:
        """The hardware that did the arithmetic: the GPU, or else the CPU."""
        return str(self.hardware.get("gpu") or self.hardware.get("cpu") or "unknown hardware")


class Invocation(Recorded):
    """One process that contributed to a run: where it ran, and what it found wrong beforehand."""

    environment: Environment
    preflight: list[Finding] = []  # findings that did not stop it


class Failure(Recorded):
    reason: str
    invocation: str | None


class RunRecord(Recorded):
    """One (task, model, recipe, seed): everything that later steps need, in one JSON file."""

    schema_version: Literal[3] = SCHEMA_VERSION
    identity: Sha256  # names its folder, and its weights in the cache
    status: Literal[
        "complete", "incomplete", "failed"
    ]  # complete: every language asked for has its score; failed: none
    failures: dict[str, Failure] = {}  # phase, as in `timing` → why it has no result; retried when asked for again
    task: str
    task_title: str
    task_note: str  # what every report of this task must say, for instance that it is a toy
    kind: str
    encoding: str  # how the kind's rows become token ids, with its version
    metric: str  # what `Score.value` is
    labels: list[str] | None  # in the order of the predictions' numbers; None for kinds without labels, or if not known
    chance: Fraction | None  # the score of guessing at random; None if not known
    training_language: str
    trained_instead: Literal["own", "machine-translated"] | None = None
    """If that is not the task's own training language: rows of its own, or machine translations (translate-train)."""
    model: ModelRecord
    recipe: RecipeRecord
    seed: Integer
    declared: str | None = None
    """If several checkpoints were declared to be seeds of one configuration, called `model.id`: which of them this is,
    by hub id or folder name. `seed` is the number that it was given."""
    limits: Limits
    dtype: str  # the arithmetic of the forward and backward passes
    data: DataRecord
    training: TrainingRecord | None  # None for a checkpoint evaluated as it is, or before training has ended
    scores: dict[str, Score]
    timing: dict[str, Timing]  # "train", "evaluate/<language>"
    invocations: dict[str, Invocation]  # those that contributed, in order
    float32_checks: dict[str, Float32Check] = {}  # by language; none if the run computed in float32
    sweep: SweepRecord | None = None  # how recipe values were chosen; None without a sweep

    def __repr__(self) -> str:
        """Return one line, since a record has thousands of numbers; `model_dump` gives them all."""
        values = [score.value for score in self.scores.values()]
        mean = f", mean {self.metric} {sum(values) / len(values):.3f}" if values else ""
        n = counted(len(values), "languages")
        return f"<RunRecord {self.task}: {self.name_of_run}, {self.status}, {n}{mean}>"

    __str__ = __repr__

    @property
    def departure(self) -> str | None:
        """Why its numbers cannot be compared with published ones; None if they come from all rows of the task.

        Selection and test splits with fewer rows than the task has are refused when they are read.
        """
        rows, limits, parts = self.data.train_rows, self.limits, []
        if rows.get("found", 0) < rows.get("expected", 0):
            parts.append(f"its data had {rows['found']:,} training rows instead of the task's {rows['expected']:,}")
        if limits.max_train and not self.is_as_it_was:
            parts.append(f"it was trained on the first {limits.max_train:,} rows alone")
        if limits.max_eval:
            first = "the first " if limits.eval_seed is None and not self.computed_elsewhere else ""
            which = f"{first}{limits.max_eval:,} rows"
            parts.append(f"it was evaluated on {which} of each language")
        if limits.test_split:
            parts.append(f"it was evaluated on {limits.test_split} rows, not on the test split")
        return " and ".join(parts) or None

    @property
    def is_translate_train(self) -> bool:
        """Whether the run was trained on machine translations of the task's training rows."""
        return self.trained_instead == "machine-translated"

    @property
    def computed_elsewhere(self) -> bool:
        """Whether its predictions were computed elsewhere, so that only the name of their model is known."""
        return self.recipe.name == ELSEWHERE

    @property
    def trains_nothing(self) -> bool:
        """Whether a pretrained encoder was evaluated by its vectors, so that there is no seed, whatever `seed` says."""
        return "pooling" in self.recipe.values

    @property
    def model_of_seeds(self) -> str:
        """What seeds of one model share: the hash of its files, or the name given to several checkpoints together."""
        return self.model.sha256 if self.declared is None else self.model.id

    @property
    def trained_weights_sha256(self) -> str | None:
        """Hash of the weights that one training gave, here or elsewhere; None for a checkpoint not declared as such.

        If the predictions were computed elsewhere, their hash stands for that of the weights, which are not there.
        """
        if self.training is not None:
            return self.training.weights_sha256
        if self.computed_elsewhere:
            text = "".join(f"{name}:{self.scores[name].predictions_sha256};" for name in sorted(self.scores))
            return hashlib.sha256(text.encode()).hexdigest()
        return self.model.sha256 if self.declared is not None else None

    @property
    def has_seed(self) -> bool:
        """Whether `seed` means anything: something was drawn at random with it, here or where the model was trained."""
        return not self.is_as_it_was or (self.declared is not None and not self.trains_nothing)

    @property
    def is_as_it_was(self) -> bool:
        """Whether a checkpoint was evaluated without training it here, so that there is no seed either."""
        return self.recipe.name == NO_TRAINING or self.trains_nothing

    @property
    def name_of_run(self) -> str:
        """The run's name in messages: model, recipe and, if something was drawn at random, the seed."""
        name = f"{self.model.id} {self.recipe.name}"
        return f"{name} seed {self.seed}" if self.has_seed else name

    @property
    def failure(self) -> str | None:
        """The reasons for missing results, in one line; None if nothing failed."""
        return "; ".join(failure.reason for failure in self.failures.values()) if self.failures else None

    @property
    def environments(self) -> list[Environment]:
        """The environments that the record's results were computed in, in order."""
        return [invocation.environment for invocation in self.invocations.values()]

    @property
    def preflight(self) -> list[Finding]:
        """What was found wrong before anything was computed, each finding once."""
        every = [finding for invocation in self.invocations.values() for finding in invocation.preflight]
        return [finding for place, finding in enumerate(every) if finding not in every[:place]]

    def environment_of(self, invocation: str | None) -> Environment | None:
        """Return where `invocation` ran; None if that is not known."""
        return self.invocations[invocation].environment if invocation in self.invocations else None

    def without_idle_invocations(self) -> "RunRecord":
        """Return the record without the invocations that nothing in it comes from."""
        named = {part.invocation for parts in (self.scores, self.timing, self.failures) for part in parts.values()}
        named.add(self.training.invocation if self.training else None)
        kept = {name: invocation for name, invocation in self.invocations.items() if name in named}
        return self.model_copy(update={"invocations": kept})
