"""What a GPU trains on, compared with padded computation on a CPU; tests/test_gpu.py repeats it on a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    KIND,
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
    without_dropout,
)
from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import packed
from xeval.engine.fast_path.resident import ResidentPairs
from xeval.engine.steps import step_on_device
from xeval.kinds.encoded import Encoded

CPU = Compute(torch.device("cpu"), torch.float32)
ROWS = np.array([3, 11, 0, 7, 7])


def encoded_rows(architecture: str) -> Encoded:
    pairs = encode(KIND, tiny_tokenizer(architecture), labelled_pairs("en", make_pairs("en", 14)), 128)
    ids = pairs.input_ids.copy()
    ids[pairs.offsets[3] + 2] = tiny_tokenizer(architecture).pad_token_id  # XLM-R does not count it as a position
    return replace(pairs, input_ids=ids)


def test_rows_lie_end_to_end_before_the_padding():
    pairs = encoded_rows("bert")
    config = tiny_model("bert", len(tiny_tokenizer("bert"))).config
    n_tokens, size = int(pairs.lengths[ROWS].sum()), 640
    inputs, sequences, labels = ResidentPairs(pairs, config, 5, CPU.device).lay_out(torch.from_numpy(ROWS), size)
    assert {tuple(column.shape) for column in inputs.values()} == {(1, size)}
    for place, row in enumerate(ROWS):
        inside, whole = slice(*sequences.offsets[place : place + 2].tolist()), slice(*pairs.offsets[row : row + 2])
        assert inputs["input_ids"][0, inside].tolist() == pairs.input_ids[whole].tolist()
        assert inputs["token_type_ids"][0, inside].tolist() == pairs.token_type_ids[whole].tolist()
        assert inputs["position_ids"][0, inside].tolist() == list(range(pairs.lengths[row]))
    assert sequences.offsets[-2:].tolist() == [n_tokens, size]
    assert set(inputs["input_ids"][0, n_tokens:].tolist()) == {config.pad_token_id}
    assert labels.tolist() == pairs.targets[ROWS].tolist()


@pytest.mark.parametrize("batch_size", [1, 5, 32, 1000])
def test_shapes_fit_their_batch_and_some_padding(batch_size):
    """At least one token of it."""
    pairs = encoded_rows("bert")
    resident = ResidentPairs(pairs, tiny_model("bert", 99).config, batch_size, CPU.device)
    for n in range(1, 15):
        filling = resident.n_tokens(np.arange(n)) - pairs.lengths[:n].sum()
        assert 0 < filling <= resident.max_length


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_and_gradients_match_the_padded_model(architecture):
    """In float64, so that a remaining difference is not just rounding."""
    pairs = encoded_rows(architecture)
    model = (
        tiny_model(architecture, len(tiny_tokenizer(architecture)), **without_dropout(architecture)).double().train()
    )
    padded = collate(pairs, ROWS, model.config, CPU.device)
    expected = model(**padded, labels=torch.from_numpy(pairs.targets[ROWS])).loss
    names, parameters = zip(*model.named_parameters(), strict=True)
    expected_gradients = torch.autograd.grad(expected, parameters)
    with packed(model):
        resident = ResidentPairs(pairs, model.config, len(ROWS), CPU.device)
        loss = step_on_device(KIND, model, resident, torch.from_numpy(ROWS), resident.n_tokens(ROWS), CPU)
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=0, atol=1e-6)
    for name, parameter, gradient in zip(names, parameters, expected_gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-7, msg=name)
