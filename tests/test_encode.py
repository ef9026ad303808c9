"""Bulk encoding equals encoding row by row with the tokenizer, and its counts equal a slow count."""

import numpy as np
import pytest

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    KIND,
    UNKNOWN_CHARACTER,
    WORDS,
    labelled_pairs,
    make_pairs,
    tiny_tokenizer,
)
from xeval.engine.encoded_cache import encoded_once
from xeval.engine.encoding import encode, encoding_keys
from xeval.kinds.encoded import Encoded
from xeval.kinds.rows import Rows
from xeval.kinds.sentences import SentenceClassification, SentenceKeys
from xeval.kinds.tokenization import Tokenization
from xeval.support.cache import cache_home

MAX_LENGTH = 40
TOPICS = SentenceClassification(SentenceKeys(labels=("a", "b")))


def rows_in(language: str) -> Rows:
    """Rows that fit, rows that are truncated, and rows with a character that no vocabulary has."""
    rows = make_pairs(language, 21)
    rows[3] = (f"{rows[3][0]} {UNKNOWN_CHARACTER}", f"{UNKNOWN_CHARACTER} {rows[3][1]}", 0)
    return labelled_pairs(language, rows)


@pytest.fixture(params=ARCHITECTURES)
def tokenizer(request):
    return tiny_tokenizer(request.param)


@pytest.fixture(params=WORDS)
def pairs(request):
    return rows_in(request.param)


def row(encoded: Encoded, number: int) -> tuple[list[int], list[int]]:
    place = slice(encoded.offsets[number], encoded.offsets[number + 1])
    return encoded.input_ids[place].tolist(), encoded.token_type_ids[place].tolist()


def test_each_row_equals_the_tokenizers_own_encoding(tokenizer, pairs):
    encoded = encode(KIND, tokenizer, pairs, MAX_LENGTH)
    assert len(encoded) == len(pairs)
    for number, (premise, hypothesis) in enumerate(zip(pairs.texts["premise"], pairs.texts["hypothesis"], strict=True)):
        alone = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_token_type_ids=True)
        assert row(encoded, number) == (alone["input_ids"], alone["token_type_ids"])
        assert encoded.lengths[number] == len(alone["input_ids"]) <= MAX_LENGTH
    np.testing.assert_array_equal(encoded.targets, pairs.gold)


def test_truncated_share_counts_pairs_over_max_length(tokenizer, pairs):
    full = [
        len(tokenizer(premise, hypothesis)["input_ids"])
        for premise, hypothesis in zip(pairs.texts["premise"], pairs.texts["hypothesis"], strict=True)
    ]
    for max_length in (MAX_LENGTH, max(full), max(full) - 1):
        truncated = sum(length > max_length for length in full)
        assert encode(KIND, tokenizer, pairs, max_length).tokenization.truncated_share == pytest.approx(
            truncated / len(pairs)
        )


def test_unknown_share_ignores_special_pieces(tokenizer, pairs):
    n_unknown = n_text = 0
    for premise, hypothesis in zip(pairs.texts["premise"], pairs.texts["hypothesis"], strict=True):
        marks = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_special_tokens_mask=True)
        for piece, is_special in zip(marks["input_ids"], marks["special_tokens_mask"], strict=True):
            is_unknown = piece == tokenizer.unk_token_id
            n_unknown += is_unknown
            n_text += is_unknown or not is_special
    assert n_unknown > 0
    assert encode(KIND, tokenizer, pairs, MAX_LENGTH).tokenization.unknown_piece_share == pytest.approx(
        n_unknown / n_text
    )


def test_pieces_per_row_includes_special_pieces(tokenizer, pairs):
    encoded = encode(KIND, tokenizer, pairs, MAX_LENGTH)
    assert encoded.tokenization.pieces_per_row == pytest.approx(np.mean(encoded.lengths))


@pytest.mark.parametrize("language", [code for code in WORDS if code not in ("th", "zh")])
def test_fertility_is_pieces_per_word(tokenizer, language):
    pairs = rows_in(language)
    texts = [*pairs.texts["premise"], *pairs.texts["hypothesis"]]
    pieces, words = (
        sum(len(tokenizer.tokenize(text)) for text in texts),
        sum(len(text.split()) for text in texts),
    )
    assert encode(KIND, tokenizer, pairs, 10_000).tokenization.pieces_per_word == pytest.approx(pieces / words)


@pytest.mark.parametrize("language", ["th", "zh"])
def test_fertility_is_undefined_for_unspaced_languages(tokenizer, language):
    assert encode(KIND, tokenizer, rows_in(language), MAX_LENGTH).tokenization.pieces_per_word is None


UNSPACED = {
    "ja": "二人の少年が芝生の上で犬と一緒に遊んでいる",
    "zho_Hans": "两个男孩正在草地上和一只狗玩耍",
    "zh-TW": "兩個男孩正在草地上和一隻狗玩耍",
    "lo": "ເດັກຊາຍສອງຄົນກຳລັງຫຼິ້ນຢູ່ໃນສະໜາມຫຍ້າ",
    "khm_Khmr": "ក្មេងប្រុសពីរនាក់កំពុងលេងនៅលើស្មៅ",
    "my": "ကောင်လေးနှစ်ယောက်မြက်ခင်းပေါ်မှာကစားနေတယ်",
    "bo": "བུ་གཉིས་རྩྭ་ཐང་ལ་རྩེད་མོ་རྩེ་བཞིན་འདུག",
    "mine": "เด็กชายสองคนกำลังเล่นอยู่บนสนามหญ้า",  # not a language code
}
SPACED = {"ja_Latn": "futari no shōnen ga asonde iru", "ko": "두 소년이 잔디밭에서 놀고 있다", "th": "two boys play"}


@pytest.mark.parametrize("language", [*UNSPACED, *SPACED])
def test_spacing_is_detected_from_the_text(language):
    text = (UNSPACED | SPACED)[language]
    rows = labelled_pairs(language, [(f"{text} 17", text, 0)] * 3)
    fertility = encode(KIND, tiny_tokenizer("bert"), rows, MAX_LENGTH).tokenization.pieces_per_word
    assert (fertility is None) == (language in UNSPACED)


def test_encoding_in_several_calls_changes_nothing(tokenizer, pairs, monkeypatch):
    whole, done = encode(KIND, tokenizer, pairs, MAX_LENGTH), []
    monkeypatch.setattr("xeval.kinds.encoded.ROWS_PER_CALL", 4)
    in_parts = encode(KIND, tokenizer, pairs, MAX_LENGTH, done.append)
    assert done == [4, 4, 4, 4, 4, 1]
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(in_parts, name), value)


def encoding_key(kind, tokenizer, rows_sha256, max_length):
    return encoding_keys(kind, tokenizer, {"en": rows_sha256}, max_length)["en"]


def test_using_the_tokenizer_keeps_the_cache_key(tokenizer):
    pairs = rows_in("en")
    key = encoding_key(KIND, tokenizer, pairs.sha256, MAX_LENGTH)
    encode(KIND, tokenizer, pairs, MAX_LENGTH)
    assert encoding_key(KIND, tokenizer, pairs.sha256, MAX_LENGTH) == key


def test_cache_key_depends_on_rows_length_and_vocabulary():
    tokenizer, pairs = tiny_tokenizer("bert"), rows_in("en")
    keys = {
        encoding_key(KIND, tokenizer, pairs.sha256, MAX_LENGTH),
        encoding_key(KIND, tokenizer, rows_in("de").sha256, MAX_LENGTH),
        encoding_key(KIND, tokenizer, pairs.sha256, MAX_LENGTH + 1),
        encoding_key(KIND, tiny_tokenizer("bert", ["abc"]), pairs.sha256, MAX_LENGTH),
        encoding_key(KIND, tiny_tokenizer("xlm-roberta"), pairs.sha256, MAX_LENGTH),
    }
    assert len(keys) == 5


def test_cache_key_depends_on_tokenizer_settings():
    """Special pieces, the unknown piece and the truncation side change the counts."""
    pairs, plain, special = rows_in("en"), tiny_tokenizer("bert"), tiny_tokenizer("bert")
    special.add_special_tokens({"additional_special_tokens": ["the"]})
    unknown, from_the_left = tiny_tokenizer("bert"), tiny_tokenizer("bert")
    unknown.unk_token = "[MASK]"
    from_the_left.truncation_side = "left"
    tokenizers = (plain, special, unknown, from_the_left)
    assert len({encoding_key(KIND, each, pairs.sha256, MAX_LENGTH) for each in tokenizers}) == 4


def test_cache_key_depends_on_the_kind_of_task():
    kinds = [KIND, TOPICS, SentenceClassification(SentenceKeys(labels=("b", "a")))]
    assert len({encoding_key(kind, tiny_tokenizer("bert"), "0" * 64, MAX_LENGTH) for kind in kinds}) == 3


def test_sentences_equal_the_tokenizers_own_encoding(tokenizer):
    texts = rows_in("de").texts["premise"]
    rows = Rows("de", "test", {"text": texts}, np.zeros(len(texts), dtype=np.int64), np.arange(len(texts)))
    encoded = encode(TOPICS, tokenizer, rows, 20)
    for number, text in enumerate(texts):
        alone = tokenizer(text, truncation=True, max_length=20, return_token_type_ids=True)
        assert row(encoded, number) == (alone["input_ids"], alone["token_type_ids"])


# ── the cache of encoded rows ──


def many_rows() -> Encoded:
    """As many rows as an XNLI test set, so that arrays are read in more than one chunk."""
    n, rng = 5010, np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 40, n))])
    ids, type_ids = rng.integers(0, 999, offsets[-1]), rng.integers(0, 2, offsets[-1])
    return Encoded(
        ids.astype(np.int32),
        type_ids.astype(np.uint8),
        offsets,
        np.arange(n),
        rng.integers(0, 3, n),
        Tokenization(truncated_share=0.125, unknown_piece_share=0.0, pieces_per_word=None, pieces_per_row=21.5),
    )


def assert_same(some: Encoded, other: Encoded) -> None:
    for name, value in vars(some).items():
        np.testing.assert_array_equal(getattr(other, name), value)
        assert getattr(getattr(other, name), "dtype", None) == getattr(value, "dtype", None)


def must_not_encode():
    pytest.fail("the rows are kept already")


def test_cached_rows_are_read_back_unchanged():
    rows = many_rows()
    assert encoded_once("key", lambda: rows, pytest.fail) is rows
    assert_same(rows, encoded_once("key", must_not_encode, pytest.fail))
    assert [path.name for path in (cache_home() / "encoded").iterdir()] == ["key.npz"]


def test_damaged_cached_rows_are_encoded_again():
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


def test_failure_to_cache_rows_is_only_reported():
    cache_home().mkdir(parents=True)
    (cache_home() / "encoded").write_text("a file where the folder should be")
    rows, said = many_rows(), []
    assert encoded_once("key", lambda: rows, said.append) is rows
    [line] = said
    told = f"encoded rows could not be kept for the next run ({cache_home() / 'encoded'}"
    assert line.startswith(told) and "\n" not in line
