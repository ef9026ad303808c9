"""Words → token ids, each word tokenized on its own: no word is cut off, and each is judged by one piece.

A sentence that does not fit is split between words into several sequences. XTREME's scripts do the same
(https://github.com/google-research/xtreme, utils_preprocess.py): they judge a word by its first piece, and give a word
with no pieces, or with more than fit, the unknown piece. They leave room for three special pieces with XLM-R, whose
tokenizer makes two; here, there is room for as many as the tokenizer makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from xeval.kinds.encoded import IGNORED, Encoded, count_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORDS_PER_CALL = 100_000


def encode_words(
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[Sequence[str]],
    targets: np.ndarray,
    max_length: int,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Encoded:
    """Encode each sentence as one or more sequences; the (W,) `targets` of words go to their first pieces."""
    before, after = _special_pieces(tokenizer)
    special = len(before) + len(after)
    room = max_length - special
    pieces, numbers = _pieces(tokenizer, list(chain.from_iterable(sentences)), room)
    n_pieces = np.array([len(own) for own in pieces])[numbers]  # (W,)
    lengths = np.array([len(sentence) for sentence in sentences])
    begins = _begin_sequences(n_pieces, lengths, room)  # (S,) numbers of the words that sequences begin with
    of_word = np.zeros(len(n_pieces), dtype=np.int64)
    of_word[begins[1:]] = 1
    of_word = np.cumsum(of_word)  # (W,) the sequence of each word
    offsets = np.concatenate([[0], np.cumsum(np.add.reduceat(n_pieces, begins) + special)]).astype(np.int64)
    first = np.cumsum(n_pieces) - n_pieces + of_word * special + len(before)  # (W,) where each word's first piece is
    ids = _laid_out(pieces, numbers, first, offsets, (before, after))
    at_pieces = np.full(len(ids), IGNORED, dtype=np.int64)
    at_pieces[first] = targets
    on_rows(len(sentences))
    return Encoded(
        ids,
        np.zeros(len(ids), dtype=np.uint8),
        offsets,
        np.repeat(np.arange(len(lengths)), lengths)[begins],
        at_pieces,
        count_pieces(tokenizer, ids, len(sentences), len(n_pieces), truncated_share=0.0),
    )


def ids_of_words(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> list[list[int]]:
    """Return the ids of each word by itself, as `tokenizer.tokenize(word)` splits it."""
    ids: list[list[int]] = []
    for start in range(0, len(words), WORDS_PER_CALL):
        some = list(words[start : start + WORDS_PER_CALL])
        batch = tokenizer(
            some,
            add_special_tokens=False,
            truncation=False,
            verbose=False,  # a word may be longer than the encoder takes
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids += batch["input_ids"]
    return ids


def share_of_other_pieces(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sequence[str]]) -> float:
    """Return the share of words with other pieces by themselves than in running text, with spaces between words."""
    alone = iter(ids_of_words(tokenizer, list(chain.from_iterable(sentences))))
    texts = [" ".join(words) for words in sentences]
    batch = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)
    n_others = 0
    for words, encoding in zip(sentences, batch.encodings, strict=True):
        running: list[list[int]] = [[] for _ in words]
        word_at = [number for number, word in enumerate(words) for _ in range(len(word) + 1)]  # and the space after it
        for piece, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            at = max(start, end - 1)
            is_space = at + 1 < len(word_at) and word_at[at + 1] != word_at[at]
            running[word_at[at] + is_space].append(piece)
        n_others += sum(next(alone) != own for own in running)
    return n_others / max(1, sum(map(len, sentences)))


def _special_pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids that the tokenizer puts before a text and after it."""
    probe = tokenizer("a", return_special_tokens_mask=True, truncation=False)
    ids, is_special = probe["input_ids"], probe["special_tokens_mask"]
    n_before = is_special.index(0)
    n_after = is_special[::-1].index(0)
    return ids[:n_before], ids[len(ids) - n_after :]


def _pieces(tokenizer: PreTrainedTokenizerBase, words: Sequence[str], room: int) -> tuple[list[list[int]], np.ndarray]:
    """Return the pieces of every distinct word, from one to `room` of them, and each word's index among those, (W,)."""
    numbers: dict[str, int] = {}
    which = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), dtype=np.int64, count=len(words))
    unknown = [tokenizer.unk_token_id if tokenizer.unk_token_id is not None else tokenizer.pad_token_id]
    return [own if 0 < len(own) <= room else unknown for own in ids_of_words(tokenizer, list(numbers))], which


def _begin_sequences(n_pieces: np.ndarray, lengths: np.ndarray, room: int) -> np.ndarray:
    """Return the words that sequences begin with, (S,); each holds as many words of one sentence as fit `room`."""
    ends = np.cumsum(lengths)
    begins = (ends - lengths).tolist()
    too_long = np.flatnonzero(np.add.reduceat(n_pieces, ends - lengths) > room)
    for row in too_long.tolist():
        taken = 0
        for word in range(ends[row] - lengths[row], ends[row]):
            taken += int(n_pieces[word])
            if taken > room:
                begins.append(word)
                taken = int(n_pieces[word])
    return np.sort(np.array(begins, dtype=np.int64))


def _laid_out(
    pieces: Sequence[Sequence[int]],
    numbers: np.ndarray,
    first: np.ndarray,
    offsets: np.ndarray,
    special: tuple[Sequence[int], Sequence[int]],
) -> np.ndarray:
    """Return the pieces of all words, placed from `first` on, between the special pieces, (total_tokens,) int32."""
    ids = np.empty(offsets[-1], dtype=np.int32)
    before, after = special
    for place, piece in enumerate(before):
        ids[offsets[:-1] + place] = piece
    for place, piece in enumerate(after):
        ids[offsets[1:] - len(after) + place] = piece
    flat = np.fromiter(chain.from_iterable(pieces), dtype=np.int32)
    n_of = np.array([len(own) for own in pieces])
    n_pieces, starts = n_of[numbers], (np.cumsum(n_of) - n_of)[numbers]
    within = np.arange(n_pieces.sum()) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    ids[np.repeat(first, n_pieces) + within] = flat[np.repeat(starts, n_pieces) + within]
    return ids
