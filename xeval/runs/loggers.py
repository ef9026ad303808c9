"""Ready-made callbacks: TensorBoard, Weights & Biases, trackio. Each needs a package, an extra of the same name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from xeval.results.records import RunRecord, Score
from xeval.runs.callbacks import Callback, RunBegun
from xeval.support.errors import DefinitionError, UnknownNameError, XevalError

PROJECT = "xeval"


class TensorBoard(Callback):
    """Write event files for `tensorboard --logdir tensorboard`, in a folder for each run."""

    def __init__(self, folder: str | Path = "tensorboard") -> None:
        self._module = _imported("torch.utils.tensorboard", "tensorboard")
        self._folder = Path(folder)
        self._writer: Any = None
        self._step = 0

    def on_begin(self, run: RunBegun) -> None:
        self._step, task_model_run = 0, run.folder.parts[-3:]
        self._writer = self._module.SummaryWriter(self._folder.joinpath(*task_model_run))
        self._writer.add_text("run", f"```json\n{json.dumps(_config(run), indent=1)}\n```")

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self._step = step
        self._writer.add_scalar("train/loss", loss, step)
        self._writer.add_scalar("train/learning_rate", learning_rate, step)

    def on_selection(self, step: int, score: float) -> None:
        self._writer.add_scalar("selection/score", score, step)

    def on_score(self, language: str, score: Score) -> None:
        self._writer.add_scalar(f"test/{language}", score.value, self._step)

    def on_end(self, record: RunRecord | None) -> None:
        self._writer.close()


class _Tracked(Callback):
    """What W&B and trackio have in common: a run to which numbers are logged by name."""

    _run: Any = None

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self._run.log({"train/loss": loss, "train/learning_rate": learning_rate}, step=step)

    def on_selection(self, step: int, score: float) -> None:
        self._run.log({"selection/score": score}, step=step)

    def on_score(self, language: str, score: Score) -> None:
        self._run.log({f"test/{language}": score.value})

    def on_end(self, record: RunRecord | None) -> None:
        self._run.finish()


class WandB(_Tracked):
    """Log each run to a project of Weights & Biases. `options` are passed to `wandb.init`, such as `entity`."""

    def __init__(self, project: str = PROJECT, **options: Any) -> None:
        self._module = _imported("wandb", "wandb")
        self._options = {"project": project, "reinit": "create_new"} | options

    def on_begin(self, run: RunBegun) -> None:
        of_run = {"name": run.name, "group": f"{run.task} {run.model}", "config": _config(run)}
        self._run = self._module.init(**of_run | self._options)


class Trackio(_Tracked):
    """Log each run to a project of trackio. `options` are passed to `trackio.init`, such as `space_id`."""

    def __init__(self, project: str = PROJECT, **options: Any) -> None:
        self._module = _imported("trackio", "trackio")
        self._options = {"project": project, "embed": False} | options

    def on_begin(self, run: RunBegun) -> None:
        of_run = {"name": f"{run.name} {run.identity[:8]}", "group": f"{run.task} {run.model}", "config": _config(run)}
        self._run = self._module.init(**{"resume": "allow"} | of_run | self._options)


LOGGERS: Mapping[str, type[Callback]] = {"tensorboard": TensorBoard, "wandb": WandB, "trackio": Trackio}


def ready(callbacks: "Callback | str | Sequence[Callback | str]") -> list[Callback]:
    """Return the callbacks; those given by name are made with their defaults.

    Raises XevalError for anything that is not a callback, and if a package is not installed.
    """
    if isinstance(callbacks, str) or not isinstance(callbacks, Sequence):
        callbacks = [callbacks]
    return [_ready(callback) for callback in callbacks]


def _ready(callback: object) -> Callback:
    if isinstance(callback, Callback):
        return callback
    if not isinstance(callback, str):
        names = ", ".join(LOGGERS)
        got = f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
        raise DefinitionError(f"callbacks: wanted objects of xeval.Callback, or of {names}, got {got}")
    if callback not in LOGGERS:
        raise UnknownNameError("callback", callback, LOGGERS)
    return LOGGERS[callback]()


def _config(run: RunBegun) -> dict[str, Any]:
    return asdict(run) | {"folder": str(run.folder)}


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise XevalError(f"callback {package}: it is not installed: pip install {package}") from error
