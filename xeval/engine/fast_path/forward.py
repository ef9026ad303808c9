"""Rows of encoded pairs → logits: packed where the architecture is known, padded where it is not."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.fast_path import packed_attention
from xeval.engine.fast_path.cls_only import compute_first_tokens_only
from xeval.engine.fast_path.dropout import faster_dropout
from xeval.engine.fast_path.packing import pack
from xeval.kinds.pairs import EncodedPairs

_LAYERS = {"bert": "encoder.layer", "xlm-roberta": "encoder.layer", "distilbert": "transformer.layer"}


def can_pack(model: PreTrainedModel) -> bool:
    """Whether this is an encoder whose packed computation is known, and tested, to be the padded one."""
    config = model.config
    is_plain = not getattr(config, "is_decoder", False) and not getattr(config, "chunk_size_feed_forward", 0)
    return config.model_type in _LAYERS and is_plain


@contextmanager
def packed(model: PreTrainedModel) -> Iterator[None]:
    """`logits_of` computes on packed input while this lasts; otherwise, and for a model that cannot, on padded."""
    usual = model.config._attn_implementation
    if not can_pack(model) or usual == packed_attention.NAME:
        yield
        return
    model.set_attn_implementation(packed_attention.NAME)
    *_, last_layer = model.base_model.get_submodule(_LAYERS[model.config.model_type]).children()
    hooks = compute_first_tokens_only(last_layer)
    try:
        with faster_dropout(model):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        model.set_attn_implementation(usual)


def layers_of_one_input(model: PreTrainedModel) -> list[tuple[torch.nn.Linear, ...]]:
    """Of each attention, the layers that make queries, keys and values: in the last one, where queries are of first
    tokens alone, keys and values."""
    if not can_pack(model):
        return []
    groups = []
    for layer in model.base_model.get_submodule(_LAYERS[model.config.model_type]).children():
        linear = {
            name.rpartition(".")[2]: each for name, each in layer.named_modules() if type(each) is torch.nn.Linear
        }
        names = ("q_lin", "k_lin", "v_lin") if "q_lin" in linear else ("query", "key", "value")
        groups.append(tuple(linear[name] for name in names))
    return [*groups[:-1], groups[-1][1:]]


def logits_of(model: PreTrainedModel, pairs: EncodedPairs, rows: np.ndarray, compute: Compute) -> torch.Tensor:
    """(B, C), in the order of `rows`."""
    config = model.config
    if config._attn_implementation == packed_attention.NAME:
        inputs, sequences = pack(pairs, rows, config, compute.device)
        logits: torch.Tensor = model(**inputs, sequences=sequences).logits
        return logits[sequences.places]
    takes_type_ids = getattr(config, "type_vocab_size", 0) > 1
    padded: torch.Tensor = model(
        **collate(pairs, rows, config.pad_token_id or 0, takes_type_ids, compute.device)
    ).logits
    return padded
