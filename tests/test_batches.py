"""Batches cover every row, keep to their size, and leave the rows unchanged."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PretrainedConfig

from tests.helpers.checkpoints import KIND, labelled_pairs, make_pairs, tiny_tokenizer
from xeval.engine.batches import collate, even_batches, random_batches
from xeval.engine.encoding import encode

lengths_of_rows = st.lists(st.integers(2, 600), max_size=200).map(lambda lengths: np.array(lengths, dtype=np.int64))


@given(lengths_of_rows, st.integers(1, 5000))
def test_even_batches_cover_all_rows_within_the_budget(lengths, budget):
    batches = even_batches(lengths, budget)
    covered = np.concatenate(batches) if batches else np.array([], dtype=np.int64)
    assert sorted(covered.tolist()) == list(range(len(lengths)))
    for batch in batches:
        padded_size = len(batch) * lengths[batch].max()
        assert padded_size <= budget or len(batch) == 1


@given(lengths_of_rows.filter(len), st.integers(600, 5000))
def test_even_batches_are_as_few_as_longest_first_allows(lengths, budget):
    batches = even_batches(lengths, budget)
    for batch, following in pairwise(batches):
        assert lengths[batch].min() >= lengths[following].max()
        assert (len(batch) + 1) * lengths[batch].max() > budget


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**32 - 1), st.integers(0, 50))
def test_epoch_covers_every_pair_once(n_pairs, batch_size, seed, epoch):
    batches = list(random_batches(n_pairs, batch_size, seed, epoch))
    assert sorted(np.concatenate(batches).tolist()) == list(range(n_pairs))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert 1 <= len(batches[-1]) <= batch_size


def epoch_order(seed: int, epoch: int) -> list[int]:
    return np.concatenate(list(random_batches(50, 8, seed, epoch))).tolist()


def test_order_depends_on_seed_and_epoch():
    assert epoch_order(1, 0) == epoch_order(1, 0)
    orders = {tuple(epoch_order(seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert tuple(range(50)) not in orders


@pytest.fixture
def encoded():
    return encode(KIND, tiny_tokenizer("bert"), labelled_pairs("en", make_pairs("en", 12)), 64)


@pytest.mark.parametrize("rows", [[0], [11, 3, 7], list(range(12)), [5, 5]])
def test_collated_rows_are_padded_on_the_right(encoded, rows):
    config = PretrainedConfig(pad_token_id=9, type_vocab_size=2)
    batch = collate(encoded, np.array(rows), config, torch.device("cpu"))
    width = max(encoded.lengths[rows])
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert {tuple(tensor.shape) for tensor in batch.values()} == {(len(rows), width)}
    for place, row in enumerate(rows):
        inside = slice(encoded.offsets[row], encoded.offsets[row + 1])
        length = encoded.lengths[row]
        assert batch["input_ids"][place].tolist() == encoded.input_ids[inside].tolist() + [9] * (width - length)
        assert batch["token_type_ids"][place].tolist() == encoded.token_type_ids[inside].tolist() + [0] * (
            width - length
        )
        assert batch["attention_mask"][place].tolist() == [1] * length + [0] * (width - length)


def test_type_ids_are_left_out_for_models_that_take_none(encoded):
    batch = collate(encoded, np.array([0, 1]), PretrainedConfig(pad_token_id=0), torch.device("cpu"))
    assert set(batch) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize(("device", "may_return_early"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_only_cuda_copies_batches_asynchronously(encoded, monkeypatch, device, may_return_early):
    """Apple's GPUs would read the batch's memory after it is freed: https://github.com/pytorch/pytorch/issues/189690."""
    copies = []
    monkeypatch.setattr(torch.Tensor, "to", lambda own, device, non_blocking: copies.append(non_blocking) or own)
    collate(encoded, np.array([0, 1]), PretrainedConfig(pad_token_id=0, type_vocab_size=2), torch.device(device))
    assert copies == [may_return_early] * 3
