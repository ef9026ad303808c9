"""A training of a tiny encoder on a few pairs, for the tests of it."""

from collections.abc import Callable

import torch

from tests.helpers.checkpoints import (
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
)
from xeval.definitions.schema import Recipe
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.training import fine_tune

CPU = Compute(torch.device("cpu"), torch.float32)
PAIRS = labelled_pairs("en", make_pairs("en", 22), "train")
MAX_LENGTH = 48


def recipe(**values) -> Recipe:
    """Three batches per epoch of the 22 pairs, the last of them with 6."""
    defaults = {
        "name": "r",
        "description": "d",
        "learning_rate": 1e-3,
        "batch_size": 8,
        "max_length": MAX_LENGTH,
    }
    ends = {} if "max_steps" in values else {"epochs": 2.0}
    return Recipe(**(defaults | ends | {"selection": "last"} | values))


def model_of(architecture: str = "bert", **config) -> torch.nn.Module:
    return tiny_model(architecture, len(tiny_tokenizer(architecture)), **config)


def train(model, chosen: Recipe, seed: int = 0, selection: Callable[[], float] = lambda: 0.5, **also):
    pairs = encode(tiny_tokenizer(model.config.model_type), PAIRS, MAX_LENGTH)
    return fine_tune(model, pairs, chosen, chosen.learning_rate, seed, CPU, selection, **also)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(some[name], others[name]) for name in some)
