"""Batches computed at the same time on a processor give what they give one after the other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from tests.helpers.checkpoints import KIND, WORDS, labelled_pairs, make_pairs, tiny_model, tiny_tokenizer
from tests.helpers.encoder_types import TYPES, tiny_config
from tests.test_encoder_types import HEADS, PACKED, pooling_of
from xeval.engine.batches import even_batches
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.half_products import half_products
from xeval.engine.masked_lm import Masking, pieces_of, pseudo_log_likelihoods
from xeval.engine.prediction import predict_logits
from xeval.engine.remembered import remember
from xeval.engine.threads import n_at_once, results_at_once
from xeval.engine.vectors import SentenceEncoder
from xeval.kinds.encoded import Encoded
from xeval.support.errors import PredictionError


class InSmallBatches(Compute):
    def token_budget(self) -> int:
        return 400


FLOAT32 = InSmallBatches(torch.device("cpu"), torch.float32)
BFLOAT16 = InSmallBatches(torch.device("cpu"), torch.bfloat16)


@contextmanager
def threads(n: int) -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


@contextmanager
def meeting_in_each_layer(model: torch.nn.Module) -> Iterator[None]:
    """Let no batch enter or leave a module before two batches do, so that they mix as much as they can.

    DeBERTa calls dropout for each length, which batches have different numbers of.
    """
    barrier = threading.Barrier(2, timeout=20)

    def meet(*_: object) -> None:
        barrier.wait()

    modules = [module for module in model.modules() if not isinstance(module, torch.nn.Dropout)]
    handles = [module.register_forward_pre_hook(meet) for module in modules]
    handles += [module.register_forward_hook(meet) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def rows(tokenizer, compute: Compute) -> Encoded:
    """Rows of four batches or more, an even number, so that each finds another to meet."""
    of_all = [row for language in WORDS for row in make_pairs(language, 9)]
    encoded = encode(KIND, tokenizer, labelled_pairs("en", of_all), 96)
    while len(even_batches(encoded.lengths, compute.token_budget())) % 2:
        encoded = encoded.take(np.arange(len(encoded) - 1))
    assert len(even_batches(encoded.lengths, compute.token_budget())) >= 4
    return encoded


def classifier(model_type: str, tokenizer, pooling: str | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    config = tiny_config(model_type, tokenizer, num_labels=3, **pooling_of(pooling))
    return AutoModelForSequenceClassification.from_config(config)


def held_to_one_by_one(model: torch.nn.Module, encoded: Encoded, compute: Compute) -> None:
    one_by_one = predict_logits(model, encoded, compute)
    with threads(2), meeting_in_each_layer(model):
        at_once = predict_logits(model, encoded, compute)
    assert np.ptp(one_by_one, axis=0).max() > 1e-4
    np.testing.assert_array_equal(at_once, one_by_one)


@pytest.mark.parametrize(("model_type", "pooling"), [head for head in HEADS if head[0] in PACKED])
def test_logits_are_the_same(model_type, pooling):
    tokenizer = TYPES[model_type][0]()
    held_to_one_by_one(classifier(model_type, tokenizer, pooling), rows(tokenizer, FLOAT32), FLOAT32)


@pytest.mark.parametrize("model_type", ["bert", "deberta-v2", "distilbert"])
def test_logits_are_the_same_in_bfloat16(model_type):
    tokenizer = TYPES[model_type][0]()
    held_to_one_by_one(classifier(model_type, tokenizer), rows(tokenizer, BFLOAT16), BFLOAT16)


def test_logits_are_the_same_while_training_in_bfloat16():
    tokenizer = tiny_tokenizer("bert")
    model = classifier("bert", tokenizer)
    with half_products(model):
        held_to_one_by_one(model, rows(tokenizer, BFLOAT16), BFLOAT16)


@pytest.mark.parametrize("pooling", ["first token", "mean"])
def test_vectors_of_a_hidden_layer_are_the_same(pooling):
    tokenizer = TYPES["modernbert"][0]()
    encoder = classifier("modernbert", tokenizer).base_model
    held_to_one_by_one(SentenceEncoder(encoder, 1, pooling), rows(tokenizer, FLOAT32), FLOAT32)


@pytest.mark.parametrize("compute", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("model_type", PACKED)
def test_states_of_frozen_encoders_are_the_same(model_type, compute):
    tokenizer = TYPES[model_type][0]()
    model, encoded = classifier(model_type, tokenizer), rows(tokenizer, compute)
    one_by_one = remember(model, encoded, "every token", compute).states
    with threads(2), meeting_in_each_layer(model.base_model):
        at_once = remember(model, encoded, "every token", compute, at_once=True).states
    assert one_by_one.std() > 0.1 and torch.equal(at_once, one_by_one)


@pytest.mark.parametrize("model_type", ["bert", "deberta-v2", "modernbert"])
def test_likelihoods_of_masked_pieces_are_the_same(model_type):
    tokenizer = TYPES[model_type][0]()
    if tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": "<mask>"})
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(tiny_config(model_type, tokenizer)).eval()
    texts = [" ".join(pair[:2]) for language in ("en", "de") for pair in make_pairs(language, 6)]
    pieces = pieces_of(tokenizer, texts, spaces_between_words=True)
    ask = model, pieces, tokenizer.mask_token_id, Masking.piece, FLOAT32
    one_by_one = pseudo_log_likelihoods(*ask)
    with threads(2):
        at_once = pseudo_log_likelihoods(*ask)
    assert np.ptp(one_by_one) > 1
    np.testing.assert_array_equal(at_once, one_by_one)


def test_rows_that_do_not_fit_at_once_are_computed_one_batch_after_the_other():
    tokenizer, told, running, lock = tiny_tokenizer("bert"), list[int](), list[int](), threading.Lock()
    model = tiny_model("bert", len(tokenizer))
    encoded, forward = rows(tokenizer, FLOAT32), model.forward
    whole = predict_logits(model, encoded, FLOAT32)

    def limited(**inputs):
        with lock:
            running.append(1)
            is_too_much = len(told) > 6 and sum(running) > 1
        try:
            if is_too_much:
                raise MemoryError
            return forward(**inputs)
        finally:
            running.pop()

    model.forward = limited
    with threads(2):
        logits = predict_logits(model, encoded, FLOAT32, told.append)
    np.testing.assert_allclose(logits, whole, rtol=0, atol=1e-6)
    assert sum(told) == len(encoded)


def test_single_row_that_does_not_fit_is_an_error():
    tokenizer = tiny_tokenizer("bert")
    model = tiny_model("bert", len(tokenizer))

    def refuse(**_):
        raise MemoryError

    model.forward = refuse
    with threads(2), pytest.raises(PredictionError, match=r"^out of memory with a single sequence; [^\n]+$"):
        predict_logits(model, rows(tokenizer, FLOAT32), FLOAT32)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("n_threads", "n_batches", "n"),
    [(1, 100, 1), (2, 100, 2), (2, 4, 2), (2, 3, 1), (3, 100, 3), (6, 100, 3), (16, 100, 4), (16, 5, 2), (8, 0, 1)],
)
def test_all_threads_are_used_and_each_batch_has_as_many(n_threads, n_batches, n):
    with threads(n_threads):
        assert n_at_once(n_batches) == n


def test_batches_have_the_modes_of_the_caller_and_their_share_of_threads():
    def modes(_: int) -> tuple[bool, bool, torch.dtype, int]:
        grad, autocast = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
        return grad, autocast, torch.get_autocast_dtype("cpu"), torch.get_num_threads()

    with threads(4):
        assert set(results_at_once(modes, range(8), 2)) == {(True, False, torch.bfloat16, 2)}
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
            assert set(results_at_once(modes, range(8), 2)) == {(False, True, torch.float16, 2)}
        assert torch.get_num_threads() == 4


def test_results_are_in_order_and_an_error_ends_them():
    began, first_has_begun = list[int](), threading.Event()

    def squared(number: int) -> int:
        began.append(number)
        first_has_begun.set() if number == 0 else first_has_begun.wait(60)
        if number == 5:
            raise ValueError("five")
        return number**2

    with threads(2):
        results = results_at_once(squared, range(100), 2)
        assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
        with pytest.raises(ValueError, match="five"):
            next(results)
        assert max(began) < 12 and torch.get_num_threads() == 2
