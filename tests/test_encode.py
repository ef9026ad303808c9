"""Encoding in bulk gives what the tokenizer gives row by row, and its counts are what a slow count gives."""

import numpy as np
import pytest

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    UNKNOWN_CHARACTER,
    WORDS,
    labelled_pairs,
    make_pairs,
    tiny_tokenizer,
)
from xeval.engine.encoded_cache import encoded_once
from xeval.engine.encoding import encode, encoding_key
from xeval.kinds.pairs import EncodedPairs, LabelledPairs
from xeval.support.cache import cache_home

MAX_LENGTH = 40


def rows_in(language: str) -> LabelledPairs:
    """Rows that fit, rows that are cut, rows that hold a character which no vocabulary has."""
    rows = make_pairs(language, 21)
    rows[3] = (f"{rows[3][0]} {UNKNOWN_CHARACTER}", f"{UNKNOWN_CHARACTER} {rows[3][1]}", 0)
    return labelled_pairs(language, rows)


@pytest.fixture(params=ARCHITECTURES)
def tokenizer(request):
    return tiny_tokenizer(request.param)


@pytest.fixture(params=WORDS)
def pairs(request):
    return rows_in(request.param)


def row(encoded: EncodedPairs, number: int) -> tuple[list[int], list[int]]:
    place = slice(encoded.offsets[number], encoded.offsets[number + 1])
    return encoded.input_ids[place].tolist(), encoded.token_type_ids[place].tolist()


def test_every_row_is_what_the_tokenizer_makes_of_it_alone(tokenizer, pairs):
    encoded = encode(tokenizer, pairs, MAX_LENGTH)
    assert len(encoded) == len(pairs)
    for number, (premise, hypothesis) in enumerate(zip(pairs.premises, pairs.hypotheses, strict=True)):
        alone = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_token_type_ids=True)
        assert row(encoded, number) == (alone["input_ids"], alone["token_type_ids"])
        assert encoded.lengths[number] == len(alone["input_ids"]) <= MAX_LENGTH
    np.testing.assert_array_equal(encoded.labels, pairs.labels)


def test_the_truncated_share_counts_the_pairs_longer_than_max_length(tokenizer, pairs):
    full = [
        len(tokenizer(premise, hypothesis)["input_ids"])
        for premise, hypothesis in zip(pairs.premises, pairs.hypotheses, strict=True)
    ]
    for max_length in (MAX_LENGTH, max(full), max(full) - 1):
        truncated = sum(length > max_length for length in full)
        assert encode(tokenizer, pairs, max_length).truncated_share == pytest.approx(truncated / len(pairs))


def test_the_unknown_piece_share_is_of_the_pieces_that_stand_for_text(tokenizer, pairs):
    n_unknown = n_text = 0
    for premise, hypothesis in zip(pairs.premises, pairs.hypotheses, strict=True):
        marks = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_special_tokens_mask=True)
        for piece, is_special in zip(marks["input_ids"], marks["special_tokens_mask"], strict=True):
            is_unknown = piece == tokenizer.unk_token_id
            n_unknown += is_unknown
            n_text += is_unknown or not is_special
    assert n_unknown > 0
    assert encode(tokenizer, pairs, MAX_LENGTH).unknown_piece_share == pytest.approx(n_unknown / n_text)


def test_pieces_per_pair_is_the_mean_length_with_special_pieces(tokenizer, pairs):
    encoded = encode(tokenizer, pairs, MAX_LENGTH)
    assert encoded.pieces_per_pair == pytest.approx(np.mean(encoded.lengths))


@pytest.mark.parametrize("language", [code for code in WORDS if code not in ("th", "zh")])
def test_fertility_is_pieces_per_word_where_no_row_is_cut(tokenizer, language):
    pairs = rows_in(language)
    texts = [*pairs.premises, *pairs.hypotheses]
    pieces, words = (
        sum(len(tokenizer.tokenize(text)) for text in texts),
        sum(len(text.split()) for text in texts),
    )
    assert encode(tokenizer, pairs, 10_000).pieces_per_word == pytest.approx(pieces / words)


@pytest.mark.parametrize("language", ["th", "zh"])
def test_fertility_is_left_open_where_writing_puts_no_space_between_words(tokenizer, language):
    assert encode(tokenizer, rows_in(language), MAX_LENGTH).pieces_per_word is None


def test_rows_beyond_one_call_of_the_tokenizer_are_encoded_alike(tokenizer, pairs, monkeypatch):
    whole, done = encode(tokenizer, pairs, MAX_LENGTH), []
    monkeypatch.setattr("xeval.engine.encoding.ROWS_PER_CALL", 4)
    in_parts = encode(tokenizer, pairs, MAX_LENGTH, done.append)
    assert done == [4, 4, 4, 4, 4, 1]
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(in_parts, name), value)


def test_the_key_of_encoded_rows_is_the_same_before_and_after_the_tokenizer_was_used(tokenizer):
    pairs = rows_in("en")
    key = encoding_key(tokenizer, "en", pairs.sha256(), MAX_LENGTH)
    encode(tokenizer, pairs, MAX_LENGTH)
    assert encoding_key(tokenizer, "en", pairs.sha256(), MAX_LENGTH) == key


def test_the_key_of_encoded_rows_tells_rows_lengths_and_vocabularies_apart():
    tokenizer, pairs = tiny_tokenizer("bert"), rows_in("en")
    keys = {
        encoding_key(tokenizer, "en", pairs.sha256(), MAX_LENGTH),
        encoding_key(tokenizer, "en", rows_in("de").sha256(), MAX_LENGTH),
        encoding_key(tokenizer, "en", pairs.sha256(), MAX_LENGTH + 1),
        encoding_key(tiny_tokenizer("bert", ["abc"]), "en", pairs.sha256(), MAX_LENGTH),
        encoding_key(tiny_tokenizer("xlm-roberta"), "en", pairs.sha256(), MAX_LENGTH),
    }
    assert len(keys) == 5


def test_the_key_tells_apart_what_the_counts_depend_on():
    """The same rows said to be in a language without spaces have no fertility; a piece may be special or not."""
    pairs, plain, special = rows_in("en"), tiny_tokenizer("bert"), tiny_tokenizer("bert")
    special.add_special_tokens({"additional_special_tokens": ["the"]})
    unknown, from_the_left = tiny_tokenizer("bert"), tiny_tokenizer("bert")
    unknown.unk_token = "[MASK]"
    from_the_left.truncation_side = "left"
    keys = [encoding_key(plain, language, pairs.sha256(), MAX_LENGTH) for language in ("en", "th", "de", "zh")]
    assert keys[0] == keys[2] != keys[1] == keys[3]
    others = [encoding_key(other, "en", pairs.sha256(), MAX_LENGTH) for other in (special, unknown, from_the_left)]
    assert len({*keys, *others}) == 5


# ── encoded rows that are kept ──


def many_rows() -> EncodedPairs:
    """As many rows as a test set of XNLI has, so that an array is read in more than one piece."""
    n, rng = 5010, np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 40, n))])
    ids, type_ids = rng.integers(0, 999, offsets[-1]), rng.integers(0, 2, offsets[-1])
    return EncodedPairs(
        ids.astype(np.int32),
        type_ids.astype(np.uint8),
        offsets,
        rng.integers(0, 3, n),
        0.125,
        0.0,
        None,
        21.5,
    )


def assert_same(some: EncodedPairs, other: EncodedPairs) -> None:
    for name, value in vars(some).items():
        np.testing.assert_array_equal(getattr(other, name), value)
        assert getattr(getattr(other, name), "dtype", None) == getattr(value, "dtype", None)


def must_not_encode():
    pytest.fail("the rows are kept already")


def test_kept_rows_come_back_as_they_were_encoded():
    rows = many_rows()
    assert encoded_once("key", lambda: rows, pytest.fail) is rows
    assert_same(rows, encoded_once("key", must_not_encode, pytest.fail))
    assert [path.name for path in (cache_home() / "encoded").iterdir()] == ["key.npz"]


def test_a_flipped_bit_in_kept_rows_is_noticed_and_they_are_encoded_again():
    rows = many_rows()
    encoded_once("key", lambda: rows, pytest.fail)
    path = cache_home() / "encoded" / "key.npz"
    whole = path.read_bytes()
    shape, directory = whole.index(b"(5010,)") + 3, whole.index(b"PK\x01\x02")
    at_random = np.random.default_rng(1).integers(0, len(whole), 40).tolist()
    for place in [shape, *range(directory, directory + 46), len(whole) - 10, *at_random]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert_same(rows, encoded_once("key", lambda: rows, pytest.fail))
    path.write_bytes(whole[: len(whole) // 2])
    assert_same(rows, encoded_once("key", lambda: rows, pytest.fail))


def test_rows_that_cannot_be_kept_are_given_all_the_same_and_that_is_said():
    cache_home().mkdir(parents=True)
    (cache_home() / "encoded").write_text("a file where the folder should be")
    rows, said = many_rows(), []
    assert encoded_once("key", lambda: rows, said.append) is rows
    [line] = said
    assert (
        line.startswith(f"encoded rows are not kept for the next run ({cache_home() / 'encoded'}") and "\n" not in line
    )
