"""The progress of a training run: what has happened, the best weights so far, and both as a snapshot to restore."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import torch
from transformers import PreTrainedModel

from xeval.engine.fast_path.compact_vocabulary import CompactVocabulary
from xeval.engine.snapshots import Snapshot


@dataclass
class Outcome:
    """What happened during training. When `fine_tune` returns, the chosen weights are in the model."""

    n_steps: int
    step: int = 0  # steps taken
    n_pairs: int = 0  # pairs seen in training, repetitions counted
    n_parts: int = 1  # parts that each batch was last computed in, above 1 if a whole one did not fit into memory
    earlier_wall_s: float = 0.0  # time of the processes that were interrupted
    aside_wall_s: float = 0.0  # time of all processes spent evaluating checkpoints, apart from training
    loss_curve: list[tuple[int, float]] = field(default_factory=list)
    selection_curve: list[tuple[int, float]] = field(default_factory=list)  # (step, score)
    selection_losses: list[tuple[int, float]] = field(default_factory=list)  # if the recipe selects by loss
    chosen_step: int = 0
    losses: list[float] = field(default_factory=list)  # of the steps since the last point of the curve

    def count_step(self, n_pairs: int) -> None:
        self.step += 1
        self.n_pairs += n_pairs

    def add_loss_point(self) -> None:
        self.loss_curve.append((self.step, sum(self.losses) / len(self.losses)))
        self.losses.clear()


class Choice:
    """Remembers the weights with the best selection figure; of two equal figures, the earlier counts."""

    def __init__(self, model: PreTrainedModel, keep_best: bool) -> None:
        self._model, self._keep_best = model, keep_best
        self.weights: dict[str, torch.Tensor] = {}  # of the best step, if `keep_best`
        self.best, self.best_step, self.last_step = -math.inf, 0, 0
        self.stale = 0  # selections since the best one

    def see(self, step: int, figure: float) -> None:
        """Record a selection figure; larger is better."""
        self.last_step = step
        if figure <= self.best:
            self.stale += 1
            return
        self.best, self.best_step, self.stale = figure, step, 0
        if self._keep_best:
            frozen = {name for name, parameter in self._model.named_parameters() if not parameter.requires_grad}
            kept = {name: tensor for name, tensor in self._model.state_dict().items() if name not in frozen}
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in kept.items()}

    def take_last(self, step: int) -> None:
        """Record a step of a training run in which nothing measures how good the weights are."""
        self.last_step = step

    def settle(self) -> int:
        """Put the chosen weights into the model and return their step."""
        if not self._keep_best:
            return self.last_step
        if self.best_step != self.last_step and self.weights:
            self._model.load_state_dict(self._model.state_dict() | self.weights)
        return self.best_step


@dataclass
class Progress:
    """Everything that the rest of a training run depends on."""

    model: PreTrainedModel
    vocabulary: CompactVocabulary
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    choice: Choice
    outcome: Outcome

    def __post_init__(self) -> None:
        self._started_s = time.monotonic()

    def snapshot(self) -> Snapshot:
        tensors = {f"model.{name}": parameter.detach() for name, parameter in self._trained()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.choice.weights.items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self._device)
        wall_s = self.outcome.earlier_wall_s + time.monotonic() - self._started_s
        values = {
            "outcome": asdict(self.outcome) | {"earlier_wall_s": wall_s},
            "choice": {name: getattr(self.choice, name) for name in _CHOICE},
            "schedule": self.schedule.state_dict(),
            "rates": [group["lr"] for group in self.optimizer.param_groups],
            "decay_of_unused": self.vocabulary.decay_so_far(),
        }
        return Snapshot(self.outcome.step, {name: tensor.contiguous() for name, tensor in tensors.items()}, values)

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        tensors, values = snapshot.tensors, snapshot.values
        for name, parameter in self._trained():
            parameter.copy_(tensors[f"model.{name}"])
        self.vocabulary.resume_decay(values["decay_of_unused"])
        self.choice.weights = _named(tensors, "best.")
        for name in _CHOICE:
            setattr(self.choice, name, values["choice"][name])
        for name, value in values["outcome"].items():
            setattr(self.outcome, name, value)
        for curve in ("loss_curve", "selection_curve", "selection_losses"):
            setattr(self.outcome, curve, [tuple(point) for point in values["outcome"][curve]])
        state = self.optimizer.state_dict()
        for number in range(sum(len(group["params"]) for group in state["param_groups"])):
            if parameter_state := _named(tensors, f"optimizer.{number}."):
                state["state"][number] = parameter_state
        for group, rate in zip(state["param_groups"], values["rates"], strict=True):
            group["lr"] = rate
        self.optimizer.load_state_dict(state)
        self.schedule.load_state_dict(values["schedule"])
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Return the parameters that training changes; the checkpoint or the seed determines all others."""
        return ((name, each) for name, each in self.model.named_parameters() if each.requires_grad)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


_CHOICE = ("best", "best_step", "last_step", "stale")


def _named(tensors: dict[str, torch.Tensor], start: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
