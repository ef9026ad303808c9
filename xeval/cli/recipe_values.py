"""The options that stand for values of a recipe, which commands that train have in common."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

_VALUES: dict[str, tuple[type, str]] = {
    "epochs": (float, "Passes over the training rows."),
    "max_steps": (int, "Optimizer steps, if these end before the epochs."),
    "batch_size": (int, "Pairs per step."),
    "learning_rate": (float, "AdamW's, after warm-up."),
    "warmup_share": (float, "Of all steps."),
    "warmup_steps": (int, "Steps of warm-up, in place of a share."),
    "weight_decay": (float, "AdamW's, not on biases and layer norms."),
    "adam_beta1": (float, "AdamW's, of the mean of gradients."),
    "adam_beta2": (float, "AdamW's, of the mean of squared gradients."),
    "adam_epsilon": (float, "AdamW's."),
    "max_grad_norm": (float, "Longer gradients are clipped to this L2 norm."),
    "max_length": (int, "Pieces per pair."),
    "adaptation": (str, "full, lora, or frozen: the head alone is trained."),
    "layers_frozen": (int, "Leave the embeddings and so many of the lowest layers as they are."),
    "lora_rank": (int, "Of LoRA's matrices."),
    "lora_alpha": (float, "Divided by the rank, it scales their product."),
    "lora_dropout": (float, "Of what they read."),
    "lora_targets": (str, "query-value or all-linear."),
    "layer": (int, "Layer that vectors are made of, where nothing is trained."),
    "pooling": (str, "Of what in it: mean or 'first token'."),
    "selection": (str, "english-dev, english-dev-loss or last."),
    "selection_rows": (int, "Select on the first so many development rows."),
    "evaluate_every_steps": (int, "Optimizer steps between selections; default: an epoch."),
    "patience": (int, "Selections without improvement before stopping."),
}


_PANEL = "Recipe values"
_SHORT = {"learning_rate": "--lr"}


def with_recipe_values(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with an option for each value of a recipe; those that are given reach it as `overrides`, by name."""
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def with_overrides(**options: Any) -> None:
        values = {name: options.pop(name) for name in _VALUES}
        command(**options, overrides={name: value for name, value in values.items() if value is not None})

    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[kind | None, typer.Option(*_names(name), rich_help_panel=_PANEL, help=help_text)],
        )
        for name, (kind, help_text) in _VALUES.items()
    ]
    kept = [parameter for name, parameter in own.parameters.items() if name != "overrides"]
    parameters = [*kept, *more]
    with_overrides.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    with_overrides.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_overrides


def _names(value: str) -> list[str]:
    """What the option is called, where it has two names."""
    return [f"--{value.replace('_', '-')}", _SHORT[value]] if value in _SHORT else []
