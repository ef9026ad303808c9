"""Merging a PEFT adapter into a loaded model: products of two matrices are added to weights, others replace them.

W + scale · B A (Hu et al. 2021, https://arxiv.org/abs/2106.09685), which is what PEFT's own merging computes.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import PreTrainedModel

from xeval.data.peft_adapter import Adapter
from xeval.engine.weights import Stored, headers, is_known, is_of_encoder, read_tensors, refuse_whole_numbers
from xeval.support.errors import ModelError
from xeval.support.text import one_line

_INSIDE = re.compile(r"\.(?:modules_to_save(?:\.default)?|base_layer)(?=\.)")  # in names of modules trained whole
_MATRIX = re.compile(r"^(.+)\.lora_([AB])(?:\.default)?\.weight$")


@torch.no_grad()
def merge_adapter(
    model_name: str,
    adapter: Adapter,
    model: PreTrainedModel,
    with_head: bool,
    checksum_of: Mapping[Path, str],
) -> set[str]:
    """Merge `adapter` into `model`, into its head only if `with_head`; return the names of the head's merged tensors.

    Raise ModelError for tensors that do not belong to LoRA, or that the model has no place for, or no place of that
    size.
    """
    stored = headers(model_name, [adapter.weights])
    refuse_whole_numbers(model_name, stored)
    whole, products = _sorted(model_name, adapter, stored)
    tensors = model.state_dict()
    places = {name: _place(name, tensors, model) for name in (*whole.values(), *products)}
    strays = [name for name, place in places.items() if place is None and not is_known(name, model)]
    if strays:
        raise ModelError(
            f"model {model_name}: PEFT adapter of {one_line(adapter.base)[:120]}: {len(strays)} of its tensors have no"
            f" place in a {type(model).__name__} (first {one_line(strays[0])[:100]}); it was trained with another base"
        )
    of_head: set[str] = set()
    own = read_tensors(model_name, [adapter.weights], checksum_of)
    for key, name in whole.items():
        place = places[name]
        is_of_head = place is None or not is_of_encoder(place, model)
        if place is None or (is_of_head and not (with_head and stored[key].shape == tuple(tensors[place].shape))):
            continue  # belongs to another task's head, or to a head that is drawn anew
        _refuse_shape(model_name, name, stored[key].shape, tensors[place])
        tensors[place].copy_(own[key])
        of_head |= {place} if is_of_head else set()
    for name, (key_a, key_b) in products.items():
        place = places[name]
        if place is None or not (with_head or is_of_encoder(place, model)):
            continue
        (rank, n_in), (n_out, rank_b) = stored[key_a].shape, stored[key_b].shape
        shape = (n_out, n_in) if rank == rank_b else (n_out, rank_b, rank, n_in)
        _refuse_shape(model_name, name, shape, tensors[place])
        product = own[key_b].float() @ own[key_a].float()
        tensors[place].add_(product * adapter.scale(name.removesuffix(".weight"), rank))
    return of_head


def _sorted(
    model_name: str, adapter: Adapter, stored: Mapping[str, Stored]
) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Sort the adapter's tensors into whole ones and pairs of matrices.

    Return whole tensors as key in the file → name in the model, and pairs as name of the weights → keys of A and B.
    """
    whole: dict[str, str] = {}
    matrices: dict[str, dict[str, str]] = {}
    for key in stored:
        name = key.removeprefix("base_model.model.")
        if match := _MATRIX.match(name):
            matrices.setdefault(f"{match[1]}.weight", {})[match[2]] = key
        else:
            whole[key] = _INSIDE.sub("", name)
    alone = [next(iter(keys.values())) for keys in matrices.values() if set(keys) != {"A", "B"}]
    flat = [key for keys in matrices.values() for key in keys.values() if len(stored[key].shape) != 2]
    if alone or flat or not matrices:
        which = one_line((alone + flat)[0])[:100] if alone or flat else "none in it"
        raise ModelError(
            f"model {model_name}: PEFT adapter of {one_line(adapter.base)[:120]}: {adapter.weights.name} wants pairs of"
            f" matrices lora_A and lora_B, got {which}; fetch it again"
        )
    return whole, {name: (keys["A"], keys["B"]) for name, keys in matrices.items()}


def _place(name: str, tensors: Mapping[str, torch.Tensor], model: PreTrainedModel) -> str | None:
    """Return where a tensor belongs in `model`; the adapter's or the model's names may lack the encoder's prefix."""
    prefix = model.base_model_prefix + "."
    return next((own for own in (name, prefix + name, name.removeprefix(prefix)) if own in tensors), None)


def _refuse_shape(model_name: str, name: str, shape: tuple[int, ...], tensor: torch.Tensor) -> None:
    if shape != tuple(tensor.shape):
        sizes, expected = (" × ".join(f"{size:,}" for size in each) for each in (shape, tensor.shape))
        raise ModelError(
            f"model {model_name}: its adapter is for {one_line(name)[:100]} of {sizes}, the base has {expected}; it was"
            " trained with another base"
        )
