"""Heads that read every token: packed computation equals padded computation, in prediction and in training."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForTokenClassification

import xeval.engine.steps
from tests.helpers.checkpoints import ARCHITECTURES, SIZES, tiny_tokenizer, without_dropout
from tests.helpers.tiny_training import into, recipe
from tests.helpers.toy_kind.toy_tags import TagKeys, ToyTags
from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import layers_of_one_input, logits_of, packed
from xeval.engine.fast_path.resident import ResidentPairs
from xeval.engine.prediction import predict, predict_logits
from xeval.engine.steps import step_on_device
from xeval.engine.training import fine_tune
from xeval.kinds.encoded import IGNORED, Encoded
from xeval.kinds.rows import Rows
from xeval.support.errors import PredictionError

CPU = Compute(torch.device("cpu"), torch.float32)
TAGS = ToyTags(TagKeys(tags=("NOUN", "VERB", "OTHER")))
WORDS = ["the", "small", "cat", "sees", "that", "old", "house", "and", "a", "dog", "sleeps", "under", "our", "table"]
ROWS = np.array([3, 9, 0, 7, 7])


def tagged(n: int = 12) -> Rows:
    rng = np.random.default_rng(5)
    words = [rng.choice(WORDS, rng.integers(1, 9)).tolist() for _ in range(n)]
    tags = [[TAGS.labels[len(word) % 3] for word in row] for row in words]
    return Rows("en", "test", {"words": words}, tags, np.arange(n))


def encoded_rows(architecture: str) -> Encoded:
    return encode(TAGS, tiny_tokenizer(architecture), tagged(), 32)


def tagger(architecture: str) -> torch.nn.Module:
    """In float64, so that no difference is due to rounding."""
    settings = SIZES[architecture] | without_dropout(architecture)
    is_roberta = architecture == "xlm-roberta"
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tiny_tokenizer(architecture)),
        max_position_embeddings=66,
        pad_token_id=1 if is_roberta else 0,
        initializer_range=0.3,
        id2label=dict(enumerate(TAGS.labels)),
        **settings,
        **({"type_vocab_size": 1} if is_roberta else {}),
    )
    torch.manual_seed(0)
    return AutoModelForTokenClassification.from_config(config).double().eval()


def plain_logits(model, encoded: Encoded, rows: np.ndarray) -> torch.Tensor:
    """(tokens, C) logits of the rows in order, each row computed alone."""
    alone = [collate(encoded, rows[i : i + 1], model.config, CPU.device) for i in range(len(rows))]
    return torch.cat([model(**inputs).logits[0] for inputs in alone])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_logits_equal_those_of_single_rows(architecture):
    model, encoded = tagger(architecture), encoded_rows(architecture)
    with torch.no_grad():
        expected = plain_logits(model, encoded, ROWS)
        padded = logits_of(model, encoded, ROWS, CPU)
        with packed(model, "every token"):
            got = logits_of(model, encoded, ROWS, CPU)
    assert len(expected) == encoded.lengths[ROWS].sum()
    torch.testing.assert_close(padded, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_first_token_packing_cannot_read_every_token():
    model, encoded = tagger("bert"), encoded_rows("bert")
    with torch.no_grad(), packed(model, "first token"), pytest.raises(IndexError):
        logits_of(model, encoded, ROWS[:1], CPU)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_last_layer_queries_share_input_for_all_tokens(architecture):
    model = tagger(architecture)
    assert [len(group) for group in layers_of_one_input(model, "every token")] == [3, 3]
    assert [len(group) for group in layers_of_one_input(model, "first token")] == [3, 2]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rows", [None, ROWS], ids=["all", "some"])
def test_token_predictions_keep_the_order_of_rows(architecture, rows):
    model, encoded = tagger(architecture).float(), encoded_rows(architecture)
    got = predict_logits(model, encoded if rows is None else encoded.take(rows), CPU, reads="every token")
    with torch.no_grad():
        expected = plain_logits(model, encoded, np.arange(len(encoded)) if rows is None else rows)
    np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-5)


def test_prediction_columns_follow_the_order_of_tags():
    model, encoded = tagger("bert").float(), encoded_rows("bert")
    expected = predict(model, TAGS, encoded, CPU)
    model.config.id2label = {0: "other", 1: "NOUN", 2: "VERB"}
    np.testing.assert_array_equal(predict(model, TAGS, encoded, CPU), expected[:, [1, 2, 0]])


def test_a_token_without_finite_logits_is_noticed():
    model, encoded = tagger("bert").float(), encoded_rows("bert")
    with torch.no_grad():
        model.classifier.bias[1] = torch.nan
    with pytest.raises(PredictionError, match=rf"^{len(encoded.input_ids)} tokens have no finite logits$"):
        predict(model, TAGS, encoded, CPU)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_and_gradients_are_those_of_transformers(architecture):
    model, encoded = tagger(architecture).train(), encoded_rows(architecture)
    inputs = collate(encoded, ROWS, model.config, CPU.device)
    labels = torch.full_like(inputs["input_ids"], IGNORED)
    labels[inputs["attention_mask"].bool()] = torch.from_numpy(encoded.targets_of(ROWS))
    expected = model(**inputs, labels=labels).loss
    names, parameters = zip(*model.named_parameters(), strict=True)
    expected_gradients = torch.autograd.grad(expected, parameters)
    with packed(model, "every token"):
        resident = ResidentPairs(encoded, model.config, len(ROWS), CPU.device)
        loss = step_on_device(TAGS, model, resident, torch.from_numpy(ROWS), resident.n_tokens(ROWS), CPU)
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=0, atol=1e-6)
    for name, parameter, gradient in zip(names, parameters, expected_gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-7, msg=name)


# ── encoded rows ──


def test_targets_belong_to_the_requested_sequences():
    encoded = encoded_rows("bert")
    expected = np.concatenate([encoded.targets[slice(*encoded.offsets[row : row + 2])] for row in ROWS])
    np.testing.assert_array_equal(encoded.targets_of(ROWS), expected)
    of_pairs = Encoded(encoded.input_ids, encoded.token_type_ids, encoded.offsets, encoded.row_of, np.arange(12), None)
    np.testing.assert_array_equal(of_pairs.targets_of(ROWS), ROWS)


def test_taking_sequences_leaves_them_unchanged():
    encoded, some = encoded_rows("bert"), encoded_rows("bert").take(np.array([9, 0]))
    for place, row in enumerate([9, 0]):
        for name in ("input_ids", "token_type_ids", "targets"):
            here, there = slice(*some.offsets[place : place + 2]), slice(*encoded.offsets[row : row + 2])
            np.testing.assert_array_equal(getattr(some, name)[here], getattr(encoded, name)[there])


def test_windows_of_one_row_stay_together():
    windows = Encoded(
        np.arange(8, dtype=np.int32), np.zeros(8, np.uint8), np.arange(0, 9, 2), np.array([0, 1, 1, 2]), None, None
    )
    some = Encoded(**{**vars(windows), "targets": np.arange(4)}).take(np.array([1, 2, 3]))
    assert some.row_of.tolist() == [0, 0, 1]


# ── training ──


def trained(monkeypatch, most_rows: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights and losses of three steps on a machine whose memory holds `most_rows` rows."""
    model, losses = tagger("bert").float(), []

    def limited(model, encoded, rows, compute):
        if len(rows) > most_rows:
            raise MemoryError
        return logits_of(model, encoded, rows, compute)

    monkeypatch.setattr(xeval.engine.steps, "logits_of", limited)
    chosen = recipe(max_steps=3, batch_size=8, learning_rate=1e-3)
    fine_tune(TAGS, model, encoded_rows("bert"), chosen, 1e-3, 1, CPU, lambda: 0.5, into(losses))
    return model.state_dict(), losses


def test_a_batch_in_parts_counts_tokens_not_rows(monkeypatch):
    """Rows have different numbers of words, so a mean of the parts' means would be a different loss."""
    whole, losses = trained(monkeypatch, most_rows=8)
    in_parts, losses_in_parts = trained(monkeypatch, most_rows=2)
    assert losses_in_parts == pytest.approx(losses, rel=1e-6)
    for name in whole.keys() - {name for name in whole if name.endswith("key.bias")}:  # gradients of rounding error
        torch.testing.assert_close(in_parts[name], whole[name], rtol=0, atol=1e-5, msg=name)
