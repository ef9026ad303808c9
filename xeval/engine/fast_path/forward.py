"""Encoded rows → logits: packed if the architecture is known, padded otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.fast_path import own_attention, packed_attention
from xeval.engine.fast_path.cls_only import compute_first_tokens_only, give_first_tokens_only
from xeval.engine.fast_path.dropout import faster_dropout
from xeval.engine.fast_path.own_attention import packing_own_attention
from xeval.engine.fast_path.packing import pack
from xeval.engine.fast_path.padded_heads import show_padded
from xeval.engine.remembered import Remembered, head_outputs
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Reads

# Types of encoder whose packed computation is tested. Those built like BERT, whose last layer can be computed for first
# tokens only, are listed with the path of their layers.
_AS_BERT = {
    "bert": "encoder.layer",
    "camembert": "encoder.layer",
    "deberta-v2": "encoder.layer",
    "distilbert": "transformer.layer",
    "electra": "encoder.layer",
    "ernie": "encoder.layer",
    "rembert": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
}
_OTHERS = frozenset({"albert", "eurobert", "gte", "jina_embeddings_v3", "modernbert", "nomic_bert", "xlm-roberta-xl"})
PACKED_TYPES = frozenset({*_AS_BERT, *_OTHERS})
# DeBERTa's attention is computed length by length, and gte has not been tried on GPUs.
_ON_GPU = PACKED_TYPES - {"deberta-v2", "gte"}


def can_pack(model: PreTrainedModel) -> bool:
    """Return whether the packed computation of this encoder is known, by tests, to equal the padded one."""
    config = model.config
    is_plain = not getattr(config, "is_decoder", False) and not getattr(config, "chunk_size_feed_forward", 0)
    if config.model_type == "deberta-v2":  # DeBERTa v2 XL and XXL also have a convolution
        is_plain = is_plain and config.relative_attention and not getattr(config, "conv_kernel_size", 0)
    is_tested = config.model_type in (_ON_GPU if model.device.type == "cuda" else PACKED_TYPES)
    return is_tested and is_plain


def is_packed(model: PreTrainedModel) -> bool:
    """Return whether `model` computes on packed input now."""
    attention: str = model.config._attn_implementation
    return attention == packed_attention.NAME


def layers_of(model: PreTrainedModel) -> torch.nn.ModuleList | None:
    """Return the layers of an encoder built like BERT, whose last output is the last hidden state; otherwise None."""
    path = _AS_BERT.get(model.config.model_type)
    layers = model.base_model.get_submodule(path) if path else None
    return layers if isinstance(layers, torch.nn.ModuleList) else None


@contextmanager
def packed(model: PreTrainedModel, reads: Reads = "first token", pairs: Encoded | None = None) -> Iterator[None]:
    """While this lasts, `logits_of` computes on packed input; otherwise, and for models that cannot, on padded input.

    If the head `reads` first tokens only, the last layer computes no others. If the states of `pairs` are remembered,
    there is nothing to pack.
    """
    if not can_pack(model) or is_packed(model) or isinstance(pairs, Remembered):
        yield
        return
    usual, layers, hooks = model.config._attn_implementation, layers_of(model), list[RemovableHandle]()
    if model.config.model_type in own_attention.TYPES:
        assert layers is not None
        with packing_own_attention(model, layers, reads == "first token"), faster_dropout(model):
            yield
        return
    model.set_attn_implementation(packed_attention.NAME)
    if reads == "first token":
        hooks = _for_first_tokens(model, layers)
    try:
        with faster_dropout(model):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        model.set_attn_implementation(usual)


def _for_first_tokens(model: PreTrainedModel, layers: torch.nn.ModuleList | None) -> list[RemovableHandle]:
    """Show the head of `model` the tokens that it reads; the handles undo it."""
    if layers is not None:
        return compute_first_tokens_only(layers[-1])
    if model.config.model_type == "albert":
        layers_of_all: Any = model.base_model.encoder
        return give_first_tokens_only(layers_of_all)
    return show_padded(model)


def layers_of_one_input(model: PreTrainedModel, reads: Reads) -> list[tuple[torch.nn.Linear, ...]]:
    """Return, for each attention, the layers that compute queries, keys and values.

    If the head reads first tokens only, the last attention's group is just keys and values: its queries have other
    input. There are no groups in DeBERTa, which projects distances with the same layers, nor under LoRA.
    """
    if not can_pack(model):
        return []
    groups = []
    for layer in layers_of(model) or ():
        linear = {
            name.rpartition(".")[2]: each for name, each in layer.named_modules() if isinstance(each, torch.nn.Linear)
        }
        names = ("q_lin", "k_lin", "v_lin") if "q_lin" in linear else ("query", "key", "value")
        if not all(name in linear for name in names):
            return []
        groups.append(tuple(linear[name] for name in names))
    return [*groups[:-1], groups[-1][1:]] if groups and reads == "first token" else groups


def logits_of(model: PreTrainedModel, pairs: Encoded, rows: np.ndarray, compute: Compute) -> torch.Tensor:
    """Return the logits, (B, C), in the order of `rows`.

    If the head gives an output for every token, return (tokens, C), row after row.
    """
    config = model.config
    if isinstance(pairs, Remembered):
        outputs = logits_in(head_outputs(model, pairs.states_of(rows).to(compute.device)))
        return outputs[0] if pairs.of_tokens else outputs
    if is_packed(model):
        inputs, sequences = pack(pairs, rows, config, compute.device, compute.token_granule())
        logits = logits_in(model(**inputs, sequences=sequences))
        return logits[sequences.places] if logits.ndim == 2 else logits[0, sequences.tokens_in_place()]
    padded = collate(pairs, rows, config, compute.device)
    of_padded = logits_in(model(**padded))
    return of_padded if of_padded.ndim == 2 else of_padded[padded["attention_mask"].bool()]


def logits_in(output: Any) -> torch.Tensor:
    """Return the logits, (..., C), in a model's output; for a head for answers, those of the start and of the end."""
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    logits: torch.Tensor = output.logits
    return logits
