"""A recipe: how an encoder is fine-tuned, as its file describes it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xeval.definitions.toml import Frozen, HubId, Name, Text

Selection = Literal["english-dev", "last"]


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
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0  # not on biases and layer norms
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0  # longer gradients are clipped to this L2 norm
    selection: Selection = "english-dev"  # the checkpoint best on the selection split, or the last
    evaluate_every_steps: Annotated[int, Field(gt=0)] | None = None  # default: after every epoch
    patience: Annotated[int, Field(gt=0)] | None = None  # selections without improvement before stopping
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42  # what --seed is by default

    @model_validator(mode="after")
    def _ends(self) -> "Recipe":
        if self.epochs is None and self.max_steps is None:
            raise ValueError("epochs or max_steps must say where training ends")
        return self

    def learning_rate_for(self, model_id: str) -> float:
        return self.learning_rate_by_model.get(model_id, self.learning_rate)
