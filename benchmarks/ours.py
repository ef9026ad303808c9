"""xeval's own training and evaluation on the same rows."""

import time

import torch

from benchmarks import inputs
from benchmarks.clock import FirstForward, noting
from xeval.definitions.recipe import Recipe
from xeval.engine.devices import choose
from xeval.engine.prediction import predict_logits
from xeval.engine.training import fine_tune
from xeval.support.freed_memory import keep_freed_memory


class Ours:
    def __init__(self, name: str, dtype: str, size: inputs.Size) -> None:
        keep_freed_memory()  # as `xeval run` does
        self.compute = choose("auto", dtype)
        self.dtype = self.compute.dtype
        self.workload = inputs.WORKLOADS[name]
        self.model = inputs.model_of(self.workload, self.compute.device)
        self.training, rows = inputs.training_pairs(size.n_warm, size.n_steps, self.workload)
        self.n_training_tokens = int(self.training.lengths[rows[size.n_warm * inputs.BATCH_SIZE :]].sum())
        lengths = inputs.typical_lengths(self.workload.test_lengths, size.n_rows)
        self.test = inputs.rows_of(self.workload.kind, lengths, 119_547 - 1_000)
        self.size, self.recipe = size, recipe(size.n_warm + size.n_steps)
        self.clock = FirstForward(self.model)

    def train(self) -> tuple[float, int]:
        """Return seconds and tokens of the timed optimizer steps.

        Losses of a GPU are read in groups. A group ends with the last step that is not timed, since it is a point of
        the loss curve.
        """
        ended: list[float] = []
        fine_tune(
            self.workload.kind,
            self.model,
            self.training,
            self.recipe,
            self.recipe.learning_rate,
            0,
            self.compute,
            selection_score=lambda: 0.0,
            on_step=noting(ended),
        )
        return ended[-1] - ended[self.size.n_warm - 1], self.n_training_tokens

    def evaluate(self) -> tuple[float, int]:
        self.clock.reset()
        predict_logits(self.model, self.test, self.compute, reads=self.workload.kind.reads)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - self.clock.started, int(self.test.lengths.sum())


def recipe(n_steps: int) -> Recipe:
    """Return the hyperparameters of run_xnli.py for `n_steps` steps."""
    return Recipe(
        name="benchmark",
        description="hf-2019 cut short",
        learning_rate=5e-5,
        batch_size=inputs.BATCH_SIZE,
        max_length=inputs.MAX_LENGTH,
        max_steps=n_steps,
        selection="last",
    )
