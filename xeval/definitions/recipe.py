"""A recipe: how an encoder is fine-tuned, as its file describes it."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from xeval.definitions.toml import Frozen, HubId, Name, Text

Selection = Literal["english-dev", "english-dev-loss", "last"]
Pooling = Literal["mean", "first token"]
Adaptation = Literal["full", "lora", "frozen"]
LoraTargets = Literal["query-value", "all-linear"]

# Placeholders for the training values of a recipe that trains nothing.
_NO_TRAINING = {"learning_rate": 1.0, "batch_size": 1, "epochs": 0.0}
_WITHOUT_TRAINING = {"name", "description", "source_url", "max_length", "pooling", "layer", "layer_by_depth", "seed"}
NOT_OF_TRAINING = {
    "name", "description", "source_url", "seed", "learning_rate_by_model", "pooling", "layer", "layer_by_depth",
}  # fmt: skip
LORA_KEYS = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets")


class Recipe(Frozen):
    """How an encoder is fine-tuned. Each value can be replaced on the command line, and the record lists which were.

    A recipe with a `pooling` trains nothing. It says how a pretrained encoder turns sentences into vectors, with
    `max_length` and the layer, and has no other values.
    """

    name: Name
    description: Text
    source_url: str = ""
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    """AdamW's learning rate, after warm-up."""
    learning_rate_by_model: dict[HubId, Annotated[float, Field(gt=0, le=1)]] = {}
    """Learning rates of models that use a different one."""
    batch_size: Annotated[int, Field(gt=0, le=65536)]
    """Effective batch size, in rows per optimizer step; where a long row is several sequences, in sequences."""
    epochs: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Passes over the training rows."""
    max_steps: Annotated[int, Field(gt=0)] | None = None
    """Optimizer steps. If epochs are given too, training ends at whichever comes first."""
    max_length: Annotated[int, Field(ge=4, le=100_000)]
    """Maximum length of a sequence in pieces, special ones included."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of all steps in which the learning rate rises linearly; then it falls linearly to 0."""
    warmup_steps: Annotated[int, Field(gt=0)] | None = None
    """The same as a number of steps, instead of a share."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """AdamW's weight decay; biases and layer norms have none."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay rate of AdamW's mean of gradients."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay rate of AdamW's mean of squared gradients."""
    adam_epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """What AdamW adds to the root of the mean of squared gradients."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """L2 norm to clip larger gradients to."""
    selection: Selection = "english-dev"
    """Which checkpoint is kept: the one with the best score or the lowest loss on the selection split, or the last."""
    selection_rows: Annotated[int, Field(gt=0)] | None = None
    """How many rows of the selection split are used, starting with the first; default: all."""
    evaluate_every_steps: Annotated[int, Field(gt=0)] | None = None
    """Optimizer steps between selections; default: an epoch. There is also one after the last step."""
    patience: Annotated[int, Field(gt=0)] | None = None
    """Selections without improvement before stopping."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """The default of --seed."""

    adaptation: Adaptation = "full"
    """What is trained in addition to the head: the whole encoder, low-rank matrices next to its weights (LoRA, Hu et
    al. 2021), or nothing."""
    layers_frozen: Annotated[int, Field(ge=0, le=1000)] | None = None
    """With adaptation `full`: freeze the embeddings and this many of the lowest layers; 0 freezes only embeddings."""
    lora_rank: Annotated[int, Field(gt=0, le=4096)] = 8
    """Rank of LoRA's matrices."""
    lora_alpha: Annotated[float, Field(gt=0, le=10_000)] = 16
    """The product of LoRA's matrices is scaled by this divided by the rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on the inputs of LoRA's matrices."""
    lora_targets: LoraTargets = "query-value"
    """Which weights get LoRA's matrices: those of queries and values, or of every linear layer of the encoder."""

    pooling: Pooling | None = None
    """What a sentence's vector is made of if nothing is trained: the mean of all its pieces, special ones included, or
    the first."""
    layer: Annotated[int, Field(gt=0)] | None = None
    """The layer whose output is used, counted from 1."""
    layer_by_depth: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}$")], Annotated[int, Field(gt=0)]] = {}
    """The same, by the number of layers that the encoder has."""

    @model_validator(mode="before")
    @classmethod
    def _without_training(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("pooling") is None:
            return values
        strays = [
            key
            for key, value in values.items()
            if key in cls.model_fields
            and key not in _WITHOUT_TRAINING
            and value not in (_NO_TRAINING.get(key), cls.model_fields[key].default)
        ]
        if strays:
            raise ValueError(f"{strays[0]}: a recipe with a pooling trains nothing; leave out one of the two")
        return _NO_TRAINING | values

    @model_validator(mode="after")
    def _layer_of_vectors(self) -> "Recipe":
        if self.pooling is None and (self.layer or self.layer_by_depth):
            raise ValueError(
                "layer: only a recipe with a pooling takes vectors from one; leave it out or add a pooling"
            )
        return self

    @model_validator(mode="after")
    def _one_adaptation(self) -> "Recipe":
        if self.layers_frozen is not None and self.adaptation != "full":
            raise ValueError(f"layers_frozen: with adaptation {self.adaptation} all layers are frozen; leave out one")
        strays = [key for key in LORA_KEYS if getattr(self, key) != type(self).model_fields[key].default]
        if strays and self.adaptation != "lora":
            raise ValueError(f"{strays[0]}: only with adaptation lora, here it is {self.adaptation}; change one")
        return self

    @model_validator(mode="after")
    def _ends(self) -> "Recipe":
        if self.epochs is None and self.max_steps is None:
            raise ValueError("epochs or max_steps must say where training ends")
        return self

    @model_validator(mode="after")
    def _one_warm_up(self) -> "Recipe":
        if self.warmup_share and self.warmup_steps:
            raise ValueError("warmup_share and warmup_steps both say how long the warm-up is; leave one out")
        return self

    def count_warmup_steps(self, n_steps: int) -> int:
        """Return the number of warm-up steps in a training of `n_steps` steps."""
        return self.warmup_steps or math.ceil(self.warmup_share * n_steps)

    def learning_rate_for(self, model_id: str) -> float:
        return self.learning_rate_by_model.get(model_id, self.learning_rate)

    def layer_of(self, n_layers: int) -> int | None:
        """Return the layer to take vectors from, in an encoder of `n_layers`; None if the recipe names none."""
        return self.layer or self.layer_by_depth.get(str(n_layers))
