"""The options for values of a recipe, which all commands that train have."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

_VALUES: dict[str, tuple[type, str]] = {
    "epochs": (float, "Passes over the training rows."),
    "max_steps": (int, "Optimizer steps, if fewer than the epochs take."),
    "batch_size": (int, "Rows per optimizer step."),
    "learning_rate": (float, "AdamW's learning rate, after warm-up."),
    "warmup_share": (float, "Warm-up, as a share of all steps."),
    "warmup_steps": (int, "Warm-up in steps, instead of a share."),
    "weight_decay": (float, "AdamW's weight decay; biases and layer norms have none."),
    "adam_beta1": (float, "AdamW's decay rate for the mean of gradients."),
    "adam_beta2": (float, "AdamW's decay rate for the mean of squared gradients."),
    "adam_epsilon": (float, "AdamW's epsilon."),
    "max_grad_norm": (float, "Clip gradients to this L2 norm."),
    "max_length": (int, "Maximum length of a sequence, in pieces."),
    "adaptation": (str, "full, lora, or frozen (only the head is trained)."),
    "layers_frozen": (int, "Freeze the embeddings and the lowest N layers."),
    "lora_rank": (int, "Rank of LoRA's matrices."),
    "lora_alpha": (float, "Scale LoRA by this divided by the rank."),
    "lora_dropout": (float, "Dropout on LoRA's inputs."),
    "lora_targets": (str, "query-value or all-linear."),
    "layer": (int, "Layer to take vectors from, if nothing is trained."),
    "pooling": (str, "Pooling: mean or 'first token'."),
    "selection": (str, "english-dev, english-dev-loss or last."),
    "selection_rows": (int, "Select on the first N development rows."),
    "evaluate_every_steps": (int, "Optimizer steps between selections; default: an epoch."),
    "patience": (int, "Selections without improvement before stopping."),
}


_PANEL = "Recipe values"
_SHORT = {"learning_rate": "--lr"}
_METAVARS = {int: "N", float: "NUMBER", str: "NAME"}


def with_recipe_values(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with an option for each value of a recipe; it receives those given as `overrides`, by name."""
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
            annotation=Annotated[kind | None, _option(name, kind, help_text)],
        )
        for name, (kind, help_text) in _VALUES.items()
    ]
    kept = [parameter for name, parameter in own.parameters.items() if name != "overrides"]
    parameters = [*kept, *more]
    with_overrides.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    with_overrides.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_overrides


def _option(name: str, kind: type, help_text: str) -> Any:
    names = [f"--{name.replace('_', '-')}", _SHORT[name]] if name in _SHORT else []
    return typer.Option(*names, metavar=_METAVARS[kind], rich_help_panel=_PANEL, help=help_text)
