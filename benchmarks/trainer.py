"""The Trainer of transformers, as run_xnli.py sets it up, and with the flags that make it fastest.

https://github.com/huggingface/transformers/blob/main/examples/pytorch/text-classification/run_xnli.py
"""

import tempfile
import time
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from transformers import Trainer, TrainerCallback, TrainingArguments

from benchmarks import inputs
from benchmarks.clock import FirstForward
from xeval.kinds.answers import END, START
from xeval.kinds.encoded import IGNORED, Encoded

ROWS_THAT_GROUPING_SORTS = 50 * inputs.BATCH_SIZE  # transformers.trainer_pt_utils.get_length_grouped_indices
EVALUATION_BATCH_SIZE = 8  # the default of TrainingArguments, which run_xnli.py does not change


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __init__(self, examples: list[dict[str, torch.Tensor]]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self._examples[index]


class Defaults:
    """Pads as the example script for this kind of task does, and computes in float32, one language at a time."""

    dtype = torch.float32
    arguments: ClassVar[dict[str, Any]] = {"per_device_eval_batch_size": EVALUATION_BATCH_SIZE}

    def __init__(self, name: str, size: inputs.Size) -> None:
        self.workload = inputs.WORKLOADS[name]
        self.model = inputs.model_of(self.workload)
        self.takes_type_ids = self.model.config.model_type == "bert"
        training, rows = self.training_rows(size)
        self.training = self.dataset(training, rows)
        self.n_training_tokens = int(training.lengths[rows[size.n_warm * inputs.BATCH_SIZE :]].sum())
        test = inputs.rows_of(self.workload.kind, self.test_lengths(size.n_rows), 119_547 - 1_000)
        rows, batch_size = np.arange(size.n_rows), self.arguments["per_device_eval_batch_size"]
        self.test, self.n_test_tokens = self.dataset(test, rows, batch_size), int(test.lengths.sum())
        self.stopwatch = _Stopwatch(size.n_warm)
        self.trainer = _trainer(self.model, self.training, self.arguments, self.stopwatch)
        self.clock = FirstForward(self.model)

    def training_rows(self, size: inputs.Size) -> tuple[Encoded, np.ndarray]:
        return inputs.training_pairs(size.n_warm, size.n_steps, self.workload)

    def test_lengths(self, n_rows: int) -> np.ndarray:
        return inputs.typical_lengths(self.workload.test_lengths, n_rows)

    def dataset(self, pairs: Encoded, rows: np.ndarray, batch_size: int = inputs.BATCH_SIZE) -> Rows:
        """Pad to the longest row that is allowed, or to the longest row of each batch."""
        examples = []
        for row, width in zip(rows, self.widths(pairs.lengths[rows], batch_size), strict=True):
            inside, length = slice(*pairs.offsets[row : row + 2]), pairs.lengths[row]
            columns = {"input_ids": pairs.input_ids[inside], "attention_mask": np.ones(length)}
            if self.takes_type_ids:
                columns["token_type_ids"] = pairs.token_type_ids[inside]
            example = {name: _padded(column, width) for name, column in columns.items()}
            examples.append(example | self.labels(pairs, row, width))
        return Rows(examples)

    def labels(self, pairs: Encoded, row: int, width: int) -> dict[str, torch.Tensor]:
        if not pairs.has_target_per_token:
            return {"labels": torch.tensor(pairs.targets[row])}
        targets = pairs.targets[slice(*pairs.offsets[row : row + 2])]
        if targets.ndim == 1:
            return {"labels": _padded(targets, width, IGNORED)}
        names = {"start_positions": START, "end_positions": END}
        return {name: torch.tensor(int(targets[:, column].argmax())) for name, column in names.items()}

    def widths(self, lengths: np.ndarray, batch_size: int) -> np.ndarray:
        if self.workload.pads_to_max_length:
            return np.full(len(lengths), self.workload.max_length)
        return _longest_of_batch(lengths, batch_size)

    def train(self) -> tuple[float, int]:
        """Return seconds and tokens, padding not counted, of the timed optimizer steps."""
        self.trainer.optimizer = None  # a new run has a new one
        self.trainer.train()
        return self.stopwatch.seconds, self.n_training_tokens

    def evaluate(self) -> tuple[float, int]:
        self.clock.reset()
        self.trainer.predict(self.test)
        return time.perf_counter() - self.clock.started, self.n_test_tokens


class TensorFloat32(Defaults):
    """The defaults with the flag that makes a GPU's float32 products faster and less exact."""

    arguments: ClassVar[dict[str, Any]] = Defaults.arguments | {"tf32": True}


class Grouped(Defaults):
    """Dynamic padding, and batches of pairs of similar length, which are not the recipe's batches.

    The batches that grouping makes are worked out here, over as many rows as it sorts at a time, and the Trainer gets a
    few of them, so that a short measurement pads no more than a long training would.
    """

    arguments: ClassVar[dict[str, Any]] = {
        "per_device_eval_batch_size": inputs.BATCH_SIZE,
        "logging_nan_inf_filter": False,  # it makes the host wait for every step's loss
    }

    def training_rows(self, size: inputs.Size) -> tuple[Encoded, np.ndarray]:
        lengths = np.sort(inputs.typical_lengths(self.workload.training_lengths, ROWS_THAT_GROUPING_SORTS))[::-1]
        batches = np.arange(ROWS_THAT_GROUPING_SORTS).reshape(-1, inputs.BATCH_SIZE)
        chosen = ((np.arange(size.n_steps) + 0.5) / size.n_steps * len(batches)).astype(int)
        warm = np.arange(size.n_warm) % len(batches)  # longest pairs first, as grouping does
        rows = inputs.rows_of(self.workload.kind, lengths, self.workload.n_training_pieces)
        return rows, batches[[*warm, *chosen]].ravel()

    def test_lengths(self, n_rows: int) -> np.ndarray:
        return np.sort(super().test_lengths(n_rows))[::-1]

    def widths(self, lengths: np.ndarray, batch_size: int) -> np.ndarray:
        return _longest_of_batch(lengths, batch_size)


class Flags(Grouped):
    """As `Grouped`, in bfloat16."""

    dtype = torch.bfloat16
    arguments: ClassVar[dict[str, Any]] = Grouped.arguments | {"bf16": True}


def _longest_of_batch(lengths: np.ndarray, batch_size: int) -> np.ndarray:
    starts = np.arange(0, len(lengths), batch_size)
    longest = np.maximum.reduceat(lengths, starts)
    widths: np.ndarray = np.repeat(longest, np.diff([*starts, len(lengths)]))
    return widths


def _padded(column: np.ndarray, width: int, filling: int = 0) -> torch.Tensor:
    padded = np.pad(column, (0, width - len(column)), constant_values=filling)
    return torch.from_numpy(padded.astype(np.int64))


class _Stopwatch(TrainerCallback):
    """Times all steps of a training after the first `n_warm`; it waits for the device only at the start and the end."""

    def __init__(self, n_warm: int) -> None:
        self._n_warm, self._started, self.seconds = n_warm, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self._n_warm:
            self._started = _now()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds = _now() - self._started


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _trainer(
    model: transformers.PreTrainedModel, rows: Rows, arguments: dict[str, Any], stopwatch: _Stopwatch
) -> Trainer:
    transformers.logging.set_verbosity_error()
    settings = TrainingArguments(
        per_device_train_batch_size=inputs.BATCH_SIZE,
        num_train_epochs=1,
        learning_rate=5e-5,
        train_sampling_strategy="sequential",  # the rows are already in the order that was drawn
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        output_dir=tempfile.gettempdir(),  # nothing is saved, but the folder is made
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        **arguments,
    )
    trainer = Trainer(model, settings, train_dataset=rows, data_collator=transformers.default_data_collator)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(stopwatch)
    return trainer
