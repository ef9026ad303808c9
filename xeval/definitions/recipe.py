"""A recipe: how an encoder is fine-tuned, as its file describes it."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xeval.definitions.toml import Frozen, HubId, Name, Text

Selection = Literal["english-dev", "english-dev-loss", "last"]


class Recipe(Frozen):
    """How an encoder is fine-tuned. Each value can be replaced on the command line, and the record lists which were."""

    name: Name
    description: Text
    source_url: str = ""
    learning_rate: Annotated[float, Field(gt=0, le=1)]  # AdamW's, after warm-up
    learning_rate_by_model: dict[HubId, Annotated[float, Field(gt=0, le=1)]] = {}  # for these models, another one
    batch_size: Annotated[int, Field(gt=0, le=65536)]  # pairs per optimizer step: the effective one
    epochs: Annotated[float, Field(ge=0, le=1000)] | None = None  # passes over the training pairs
    max_steps: Annotated[int, Field(gt=0)] | None = None  # the earlier of the two ends training
    max_length: Annotated[int, Field(ge=4, le=100_000)]  # pieces per pair, special ones included
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of all steps, linearly; linear decay to 0 follows
    warmup_steps: Annotated[int, Field(gt=0)] | None = None  # the same as a number of steps, in place of a share
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0  # not on biases and layer norms
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9  # how slowly AdamW's mean of gradients moves
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999  # how slowly its mean of squared gradients does
    adam_epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8  # added to the root of that
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0  # longer gradients are clipped to this L2 norm
    selection: Selection = "english-dev"  # the checkpoint of best accuracy, or of least loss, there; or the last
    selection_rows: Annotated[int, Field(gt=0)] | None = None  # the first so many of the selection split, not all
    evaluate_every_steps: Annotated[int, Field(gt=0)] | None = None  # default: after every epoch
    patience: Annotated[int, Field(gt=0)] | None = None  # selections without improvement before stopping
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42  # what --seed is by default

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
        """Of a training of `n_steps`."""
        return self.warmup_steps or math.ceil(self.warmup_share * n_steps)

    def learning_rate_for(self, model_id: str) -> float:
        return self.learning_rate_by_model.get(model_id, self.learning_rate)
