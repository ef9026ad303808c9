"""Trains a tiny encoder on a few pairs, for the tests of training."""

import math
from collections.abc import Callable

import numpy as np
import torch

from tests.helpers.checkpoints import (
    KIND,
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
)
from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.training import fine_tune

CPU = Compute(torch.device("cpu"), torch.float32)
PAIRS = labelled_pairs("en", make_pairs("en", 22), "train")
MAX_LENGTH = 48


def recipe(**values) -> Recipe:
    """A recipe of three batches per epoch of the 22 pairs, the last with 6."""
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
    pairs = encode(KIND, tiny_tokenizer(model.config.model_type), PAIRS, MAX_LENGTH)
    return fine_tune(KIND, model, pairs, chosen, chosen.learning_rate, seed, CPU, selection, **also)


def into(losses: list[float]) -> Callable[[float, float], None]:
    """A callback for `fine_tune` that adds the loss of each step to `losses`."""
    return lambda loss, learning_rate: losses.append(loss)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(some[name], others[name]) for name in some)


def plain_losses(model, chosen: Recipe, seed: int, n_steps: int) -> list[float]:
    """The usual loop: padded batches, torch's AdamW over all parameters, clipping, linear decay."""
    tokenizer, losses = tiny_tokenizer(model.config.model_type), []
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=chosen.learning_rate, eps=chosen.adam_epsilon, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (n_steps - step) / n_steps)
    model.train()
    for step in range(n_steps):
        epoch, start = divmod(step, math.ceil(len(PAIRS) / chosen.batch_size))
        order = np.random.default_rng((seed, epoch)).permutation(len(PAIRS)).tolist()
        rows = order[start * chosen.batch_size : (start + 1) * chosen.batch_size]
        texts = [[column[row] for row in rows] for column in (PAIRS.texts["premise"], PAIRS.texts["hypothesis"])]
        inputs = tokenizer(
            *texts, truncation=True, max_length=MAX_LENGTH, padding="max_length", return_tensors="pt"
        ).to(model.device)
        loss = model(**inputs, labels=torch.from_numpy(PAIRS.gold[rows]).to(model.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses
