"""Chooses what is trained besides the head: the whole encoder, its upper layers, low-rank matrices, or nothing else.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) comes from PEFT. Its matrices are added to the encoder's weights
and merged into them when the training has ended, so that an ordinary model is kept and evaluated.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import PreTrainedModel

from xeval.definitions.recipe import Recipe
from xeval.engine.random_numbers import drawn_from
from xeval.support.errors import DefinitionError, ModelError

# Names that architectures give the layers that compute queries and values.
_QUERIES_AND_VALUES = frozenset({
    "query", "value", "q_lin", "v_lin", "query_proj", "value_proj", "q_proj", "v_proj", "q", "v",
})  # fmt: skip


def refuse_without_peft(recipe: Recipe) -> None:
    """Raise DefinitionError if `recipe` needs the package peft and it is not installed."""
    if recipe.adaptation == "lora" and importlib.util.find_spec("peft") is None:
        raise DefinitionError(
            f"recipe {recipe.name}: adaptation lora needs the package peft; install it: pip install peft"
        )


def adapt(model: PreTrainedModel, recipe: Recipe, seed: int, has_pooler: bool, name: str) -> Callable[[], None]:
    """Freeze all that `recipe` does not train; return what makes `model` an ordinary one again after the training.

    A pooler that the checkpoint has (`has_pooler`) is part of the encoder; one that was drawn anew belongs to the head.
    Raise ModelError, about the model called `name`, if the parts of its encoder cannot be identified.
    """
    if recipe.adaptation == "full":
        if recipe.layers_frozen is not None:
            _freeze_layers(model, recipe.layers_frozen, name)
        return lambda: None
    if model.base_model is model:  # T5's model for answers, which keeps its encoder and decoder next to its head
        raise ModelError(
            f"model {name}: {type(model).__name__} does not tell its encoder from its head, which adaptation"
            f" {recipe.adaptation} needs; use adaptation full"
        )
    merge = _add_matrices(model, recipe, seed, name) if recipe.adaptation == "lora" else lambda: None
    of_encoder = model.base_model_prefix + "."
    for key, parameter in model.named_parameters():
        inside = key.removeprefix(of_encoder)
        is_of_head = inside == key or (inside.startswith("pooler.") and not has_pooler)
        parameter.requires_grad_(is_of_head or "lora_" in key)
    return merge


def count_trained(model: torch.nn.Module) -> tuple[int, int]:
    """Return the number of trained parameters of `model` and the number of all of them."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, is_trained in sizes if is_trained), sum(size for size, _ in sizes)


def _freeze_layers(model: PreTrainedModel, n_layers: int, name: str) -> None:
    """Freeze the embeddings and the lowest `n_layers`."""
    encoder = model.base_model
    path, layers = _layers(encoder, model.config.num_hidden_layers, name)
    frozen: list[torch.nn.Module] = [*layers[:n_layers]]
    # Embeddings come before the layers; encoders with relative positions have more of them inside the layers.
    for child, module in encoder.named_children():
        if child == path.partition(".")[0]:
            break
        frozen.append(module)
    frozen += [module for module in encoder.modules() if isinstance(module, torch.nn.Embedding)]
    for module in frozen:
        module.requires_grad_(False)


def _layers(encoder: torch.nn.Module, n_layers: int, name: str) -> tuple[str, torch.nn.ModuleList]:
    """Return the path of the encoder's stack of layers, and the stack."""
    stacks = [
        (path, module)
        for path, module in encoder.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_layers
    ]
    if len(stacks) != 1:
        raise ModelError(
            f"model {name}: layers_frozen needs an encoder that is one stack of {n_layers} layers, which"
            f" {type(encoder).__name__} is not; leave it out"
        )
    return stacks[0]


def _add_matrices(model: PreTrainedModel, recipe: Recipe, seed: int, name: str) -> Callable[[], None]:
    """Add LoRA's matrices to the encoder's layers; return the function that merges them."""
    targets = list(_targets(model, recipe))
    if not targets:
        raise ModelError(
            f"model {name}: LoRA finds no query and value layers in {type(model.base_model).__name__}; use"
            " --lora-targets all-linear"
        )
    from peft import LoraConfig, LoraModel

    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,  # type: ignore[arg-type]  # a fraction works too
        lora_dropout=recipe.lora_dropout,
        target_modules=targets,
    )
    with drawn_from(seed):
        tuner: Any = LoraModel(model, config, "default")

    def merge() -> None:
        tuner.merge_and_unload()
        vars(model).pop("peft_config", None)

    return merge


def _targets(model: PreTrainedModel, recipe: Recipe) -> Iterator[str]:
    """Yield the names in `model` of the layers that get matrices."""
    of_encoder = model.base_model_prefix + "."
    for key, module in model.named_modules():
        is_inside = key.startswith(of_encoder) and not key.startswith(of_encoder + "pooler")
        is_meant = recipe.lora_targets == "all-linear" or key.rpartition(".")[2] in _QUERIES_AND_VALUES
        if is_inside and is_meant and isinstance(module, torch.nn.Linear):
            yield key
