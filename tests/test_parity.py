"""The harness gives the logits that plain transformers gives for one row at a time.

The reference is what one would write by hand: `model(**tokenizer(premise, hypothesis, truncation=True, max_length=128,
padding="max_length"))`. The harness encodes in bulk, sorts, batches and pads differently; none of this may change a
logit.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    KIND,
    LABELS,
    WORDS,
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
)
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.prediction import predict_logits
from xeval.kinds.rows import Rows

SHARED = Path(__file__).parents[2] / "shared"
XNLI = SHARED / "data" / "xnli"
VOCABULARIES = {"bert": "bert-base-multilingual-cased", "distilbert": "distilbert-base-multilingual-cased"}
REAL_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
MAX_LENGTH = 128
CPU = Compute(torch.device("cpu"), torch.float32)

needs_real_data = pytest.mark.skipif(not XNLI.is_dir(), reason="the real XNLI is not in ../shared")


@dataclass(frozen=True)
class WithBudget(Compute):
    """The same arithmetic under another token budget."""

    budget: int = 4096

    def token_budget(self) -> int:
        return self.budget


def made_up_pairs(language: str) -> Rows:
    space = "" if language in ("th", "zh") else " "
    one_word, long = WORDS[language][0], space.join(WORDS[language] * 4)
    both_ends_cut = [(long, one_word, 0), (one_word, long, 1), (long, long, 2)]
    return labelled_pairs(language, [*make_pairs(language, 10), *both_ends_cut])


@cache
def real_pairs(language: str) -> Rows:
    """The first rows and the longest ones."""
    table = pq.read_table(next((XNLI / language).glob("test-*.parquet"))).to_pylist()
    rows = [(row["premise"], row["hypothesis"], row["label"]) for row in table]
    longest = sorted(rows, key=lambda row: len(row[0]) + len(row[1]))[-4:]
    return labelled_pairs(language, rows[:6] + longest)


@cache
def tiny_classifier(architecture: str):
    tokenizer = tiny_tokenizer(architecture)
    return tiny_model(architecture, len(tokenizer)).eval(), tokenizer


@cache
def real_classifier(architecture: str):
    """The real vocabulary and a narrowed real configuration; XLM-R has neither here and gets its kind of tokenizer."""
    if architecture == "xlm-roberta":
        tokenizer = tiny_tokenizer(
            architecture, [t for code in REAL_LANGUAGES for t in real_pairs(code).texts["premise"]]
        )
        return tiny_model(architecture, len(tokenizer)).eval(), tokenizer
    folder = SHARED / "models" / VOCABULARIES[architecture]
    narrow = {
        "bert": {
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 96,
        },
        "distilbert": {"dim": 48, "n_layers": 2, "n_heads": 4, "hidden_dim": 96},
    }[architecture]
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, num_labels=len(LABELS), initializer_range=0.2, **narrow)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def logits_one_row_at_a_time(model, tokenizer, pairs: Rows) -> np.ndarray:
    rows = []
    for premise, hypothesis in zip(pairs.texts["premise"], pairs.texts["hypothesis"], strict=True):
        inputs = tokenizer(
            premise,
            hypothesis,
            truncation=True,
            max_length=MAX_LENGTH,
            padding="max_length",
            return_tensors="pt",
        )
        rows.append(model(**inputs).logits[0].numpy())
    return np.stack(rows)


def assert_parity(model, tokenizer, pairs: Rows) -> None:
    expected = logits_one_row_at_a_time(model, tokenizer, pairs)
    got = predict_logits(model, encode(KIND, tokenizer, pairs, MAX_LENGTH), CPU)
    assert np.ptp(expected, axis=0).max() > 0.05, "the reference should tell the rows apart"
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_agree_with_plain_transformers(architecture, language):
    model, tokenizer = tiny_classifier(architecture)
    assert encode(KIND, tokenizer, made_up_pairs(language), MAX_LENGTH).tokenization.truncated_share > 0
    assert_parity(model, tokenizer, made_up_pairs(language))


@needs_real_data
@pytest.mark.parametrize("language", REAL_LANGUAGES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_agree_with_plain_transformers_on_real_rows(architecture, language):
    model, tokenizer = real_classifier(architecture)
    assert_parity(model, tokenizer, real_pairs(language))


@needs_real_data
@pytest.mark.parametrize("architecture", VOCABULARIES)
def test_the_real_rows_compared_include_truncated_ones(architecture):
    _, tokenizer = real_classifier(architecture)
    assert encode(KIND, tokenizer, real_pairs("th"), MAX_LENGTH).tokenization.truncated_share > 0


@pytest.fixture(params=ARCHITECTURES)
def classifier_and_rows(request):
    model, tokenizer = tiny_classifier(request.param)
    rows = [row for language in WORDS for row in make_pairs(language, 9, seed=5)]
    return model, tokenizer, rows


@pytest.mark.parametrize("budget", [1, 130, 700, 10**9])
def test_logits_do_not_depend_on_the_token_budget(classifier_and_rows, budget):
    model, tokenizer, rows = classifier_and_rows
    encoded = encode(KIND, tokenizer, labelled_pairs("en", rows), MAX_LENGTH)
    other = predict_logits(model, encoded, WithBudget(CPU.device, CPU.dtype, budget))
    np.testing.assert_allclose(other, predict_logits(model, encoded, CPU), rtol=0, atol=1e-5)


def test_logits_do_not_depend_on_order_or_other_rows(classifier_and_rows):
    model, tokenizer, rows = classifier_and_rows

    def logits(chosen: list[int]) -> np.ndarray:
        return predict_logits(
            model, encode(KIND, tokenizer, labelled_pairs("en", [rows[i] for i in chosen]), MAX_LENGTH), CPU
        )

    everything = logits(list(range(len(rows))))
    shuffled = np.random.default_rng(0).permutation(len(rows)).tolist()
    for chosen in (shuffled, shuffled[:7], [shuffled[0]]):
        np.testing.assert_allclose(logits(chosen), everything[chosen], rtol=0, atol=1e-5)


def test_prediction_uses_no_dropout_and_restores_the_mode(classifier_and_rows):
    model, tokenizer, rows = classifier_and_rows
    encoded = encode(KIND, tokenizer, labelled_pairs("en", rows), MAX_LENGTH)
    expected = predict_logits(model, encoded, CPU)
    try:
        model.train()
        np.testing.assert_array_equal(predict_logits(model, encoded, CPU), expected)
        assert model.training
    finally:
        model.eval()


def test_every_row_is_reported_done_once(classifier_and_rows):
    model, tokenizer, rows = classifier_and_rows
    done: list[int] = []
    budget = WithBudget(CPU.device, CPU.dtype, 200)
    predict_logits(model, encode(KIND, tokenizer, labelled_pairs("en", rows), MAX_LENGTH), budget, done.append)
    assert sum(done) == len(rows) and len(done) > 1


def test_rows_missed_by_every_batch_get_nan_logits(classifier_and_rows, monkeypatch):
    model, tokenizer, rows = classifier_and_rows
    encoded = encode(KIND, tokenizer, labelled_pairs("en", rows), MAX_LENGTH)
    monkeypatch.setattr("xeval.engine.prediction.even_batches", lambda lengths, budget: [np.arange(1, len(lengths))])
    logits = predict_logits(model, encoded, CPU)
    assert np.isnan(logits[0]).all() and np.isfinite(logits[1:]).all()
