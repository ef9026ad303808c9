"""Packed computation for encoders whose attention does not use transformers' attention interface.

Meanwhile, their attention modules have another `forward`. The arguments of the model's call do not reach them, so
hooks tell them which sequences a batch has and whether queries are of first tokens only.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from xeval.engine.fast_path import packed_attention
from xeval.engine.fast_path.distances import Distances, attend_with_distances
from xeval.engine.fast_path.packing import Sequences


class _Batch(threading.local):
    """What attention needs to know about a thread's current batch."""

    sequences: Sequences
    whole: torch.Tensor | None = None  # (1, total_tokens, hidden) while a layer runs for first tokens only
    distances: torch.Tensor  # (2 L − 1,) int64: places of 1 − L, …, L − 1 in DeBERTa's table of distances

    def __init__(self, config: PretrainedConfig) -> None:
        self._config = config

    def take(self, model: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.sequences, self.whole = options["sequences"], None  # an earlier batch may have run out of memory

    def find_distances(
        self, encoder: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = inputs[0] if inputs else options["input_ids"]
        self.distances = _places_of_distances(self._config, self.sequences.max_length).to(ids.device)
        # The encoder would expand an ordinary mask to (total_tokens, total_tokens), which nothing reads.
        return inputs, options | {"attention_mask": torch.ones_like(ids)[None, None]}

    def find_first_tokens(
        self, layer: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.whole = inputs[0]
        first = inputs[0].index_select(1, self.sequences.starts)  # (1, B, hidden)
        return (first, *inputs[1:]), options

    def give_one_sequence_each(self, layer: torch.nn.Module, inputs: Any, output: tuple[Any, ...]) -> tuple[Any, ...]:
        """(1, B, hidden) → (B, 1, hidden), of which the model's own pooler or head reads the only position."""
        self.whole = None
        return output[0].transpose(0, 1), *output[1:]


def _attend_as_rembert(
    module: Any, batch: _Batch, hidden_states: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    """Attend, for states that are (1, total_tokens, hidden), or (1, B, hidden) of first tokens, as is the result."""
    source = hidden_states if batch.whole is None else batch.whole
    heads = module.num_attention_heads
    query, key, value = (
        layer(states).unflatten(-1, (heads, -1)).transpose(1, 2)
        for layer, states in ((module.query, hidden_states), (module.key, source), (module.value, source))
    )
    dropout = module.dropout.p if module.training else 0.0
    attended = packed_attention.packed_attention(
        module, query, key, value, None, sequences=batch.sequences, dropout=dropout
    )[0]
    return attended.flatten(2), None


def _attend_as_deberta(
    module: Any, batch: _Batch, hidden_states: torch.Tensor, *_: Any, rel_embeddings: torch.Tensor, **__: Any
) -> tuple[torch.Tensor, None]:
    """Attend as `_attend_as_rembert` does; `rel_embeddings` are (distances that the checkpoint knows, hidden)."""
    source = hidden_states if batch.whole is None else batch.whole
    heads, kinds = module.num_attention_heads, module.pos_att_type
    scale = (module.attention_head_size * (1 + len({"c2p", "p2c"} & set(kinds)))) ** -0.5
    query, key, value = (
        layer(states).squeeze(0).unflatten(-1, (heads, -1))  # (tokens, heads, size)
        for layer, states in (
            (module.query_proj, hidden_states), (module.key_proj, source), (module.value_proj, source),
        )
    )  # fmt: skip
    table = module.pos_dropout(rel_embeddings)[batch.distances]  # (2 L − 1, hidden)
    own = ("key_proj", "query_proj") if module.share_att_key else ("pos_key_proj", "pos_query_proj")
    keys, queries = (
        getattr(module, name)(table).unflatten(-1, (heads, -1)) if kind in kinds else None
        for name, kind in zip(own, ("c2p", "p2c"), strict=True)
    )
    distances = Distances(keys, queries if queries is None else queries * scale)
    attended = attend_with_distances(query * scale, key, value, distances, batch.sequences, module.dropout)
    return attended.flatten(1).unsqueeze(0), None


_ATTENTION: dict[str, Callable[..., tuple[torch.Tensor, None]]] = {
    "deberta-v2": _attend_as_deberta,
    "rembert": _attend_as_rembert,
}
TYPES = frozenset(_ATTENTION)


def _places_of_distances(config: PretrainedConfig, longest: int) -> torch.Tensor:
    """Return the places of the distances 1 − L, …, L − 1 in the model's own table, (2 L − 1,) int64."""
    from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

    most = config.max_relative_positions if config.max_relative_positions >= 1 else config.max_position_embeddings
    n_buckets = getattr(config, "position_buckets", -1)
    span = n_buckets if n_buckets > 0 else most
    tokens = torch.empty(longest, 0)
    relative = build_relative_position(tokens, tokens, n_buckets, most)[0]  # (L, L): of query i to key j, i − j
    in_order = torch.cat([relative[0].flip(0), relative[1:, 0]])
    return (in_order + span).clamp(0, 2 * span - 1)


@contextmanager
def packing_own_attention(
    model: PreTrainedModel, layers: torch.nn.ModuleList, first_tokens_alone: bool
) -> Iterator[None]:
    """While this lasts, make `model`, whose layers are `layers`, compute on packed input."""
    config = model.config
    batch, model_type = _Batch(config), config.model_type
    handles = [model.register_forward_pre_hook(batch.take, with_kwargs=True)]
    if model_type == "deberta-v2":
        handles.append(model.base_model.register_forward_pre_hook(batch.find_distances, with_kwargs=True))
    if first_tokens_alone:
        handles.append(layers[-1].register_forward_pre_hook(batch.find_first_tokens, with_kwargs=True))
        handles.append(layers[-1].register_forward_hook(batch.give_one_sequence_each))
    modules = [layer.get_submodule("attention.self") for layer in layers]
    for module in modules:
        setattr(module, "forward", partial(_ATTENTION[model_type], module, batch))  # noqa: B010 - no type allows it
    usual = config._attn_implementation
    config._attn_implementation = packed_attention.NAME
    try:
        yield
    finally:
        config._attn_implementation = usual
        for module in modules:
            del module.forward
        for handle in handles:
            handle.remove()
