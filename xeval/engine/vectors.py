"""A pretrained encoder without a head → a vector for each sequence: the pooled output of one of its layers."""

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from xeval.definitions.recipe import Pooling
from xeval.engine.fast_path.forward import layers_of
from xeval.engine.fast_path.packing import Sequences
from xeval.engine.remembered import take_mean


class SentenceEncoder(torch.nn.Module):
    """Returns as `logits` the (B, hidden) vectors of B sequences, so that it can be evaluated like a model with a head.

    The layers above `layer`, counted from 1, are removed if the architecture is known; otherwise their output is
    ignored.
    """

    def __init__(self, encoder: PreTrainedModel, layer: int, pooling: Pooling) -> None:
        super().__init__()
        self.encoder, self.layer, self.pooling = encoder, layer, pooling
        layers = layers_of(encoder)
        self.is_cut = layers is not None
        if layers is not None:
            del layers[layer:]
        self.eval()

    @property
    def config(self) -> Any:
        return self.encoder.config

    @property
    def base_model(self) -> PreTrainedModel:
        return self.encoder

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    def set_attn_implementation(self, name: str) -> None:
        self.encoder.set_attn_implementation(name)

    def forward(
        self, attention_mask: torch.Tensor | None = None, sequences: Sequences | None = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        """Encode packed input, (1, total_tokens) with `sequences`, or padded input, (B, L) with `attention_mask`."""
        where = {"attention_mask": attention_mask} if sequences is None else {"sequences": sequences}
        output = self.encoder(**inputs, **where, output_hidden_states=not self.is_cut)
        hidden = output.last_hidden_state if self.is_cut else output.hidden_states[self.layer]
        return SequenceClassifierOutput(logits=self._pool(hidden.float(), attention_mask, sequences))

    def _pool(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None, sequences: Sequences | None
    ) -> torch.Tensor:
        if sequences is not None:
            if self.pooling == "first token":
                return hidden[0, sequences.starts]
            return torch.segment_reduce(hidden[0], "mean", lengths=sequences.offsets.diff().long(), axis=0)
        if self.pooling == "first token":
            return hidden[:, 0]
        assert attention_mask is not None  # padded input always has one
        return take_mean(hidden, attention_mask)
