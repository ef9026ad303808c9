"""What ranks other than the first do: compute their share of what rank 0 gives them, and nothing else."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel

from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute
from xeval.engine.prediction import Prediction, answer
from xeval.engine.ranks import Ranks, own_device
from xeval.engine.training import Measured, fine_tune
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Kind
from xeval.support.errors import TrainingError


@dataclass(frozen=True)
class Training:
    """A training to take part in: the arguments of `fine_tune`."""

    kind: Kind
    model: PreTrainedModel
    pairs: Encoded
    recipe: Recipe
    learning_rate: float
    seed: int
    compute: Compute
    has_selection: bool


@dataclass(frozen=True)
class Evaluation:
    """The model that the following predictions use."""

    model: Any
    compute: Compute


def give_to_followers(ranks: Ranks, work: Training | Evaluation) -> None:
    """Let the other ranks, if there are any, do `work` together with this one."""
    if ranks.size == 1:
        return
    model: Any = work.model
    model.cpu()  # tensors sent from a GPU would arrive on that same GPU
    ranks.give(work)
    model.to(work.compute.device)


def follow(ranks: Ranks) -> None:
    """Do the work that rank 0 gives out until it gives None."""
    model: Any = None
    while (work := ranks.give()) is not None:
        if isinstance(work, Prediction):
            answer(work, model, ranks)
            continue
        model = work.model.to(own_device(work.compute.device))
        if isinstance(work, Training):
            _take_part(work, ranks)


def _take_part(training: Training, ranks: Ranks) -> None:
    compute = replace(training.compute, device=own_device(training.compute.device))
    selection = _Selection(training.model, ranks)
    with suppress(TrainingError):  # all ranks fail together, and rank 0 says why
        fine_tune(
            training.kind,
            training.model,
            training.pairs,
            training.recipe,
            training.learning_rate,
            training.seed,
            compute,
            selection.score if training.has_selection else None,
            selection_loss=selection.loss,
            ranks=ranks,
        )


class _Selection:
    """What rank 0 measures on the selection rows, while this rank computes its share of the predictions."""

    def __init__(self, model: PreTrainedModel, ranks: Ranks) -> None:
        self._model, self._ranks = model, ranks
        self._measured = Measured(0.0)

    def score(self) -> float:
        while isinstance(work := self._ranks.give(), Prediction):
            answer(work, self._model, self._ranks)
        if work is None:
            raise TrainingError("rank 0 has abandoned this training")
        self._measured = work
        return self._measured.score

    def loss(self) -> float:
        """Return the loss that came with the latest `score`."""
        assert self._measured.loss is not None  # called only if the recipe selects by loss
        return self._measured.loss
