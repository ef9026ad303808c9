"""Rows as an encoder takes them: token ids laid end to end, with counts of what the tokenizer did to the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from xeval.kinds.tokenization import Tokenization
from xeval.support.text import is_unspaced

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS_PER_CALL = 8192
LOOKED_AT = 300  # texts examined to see whether there are spaces between words
IGNORED = -100  # the target of a token that has no loss, as in torch


@dataclass(frozen=True)
class Encoded:
    """Token ids of S sequences laid end to end, without padding. Most kinds make one sequence of each row."""

    input_ids: np.ndarray  # (total_tokens,) int32
    token_type_ids: np.ndarray  # (total_tokens,) uint8
    offsets: np.ndarray  # (S + 1,) int64: sequence i is input_ids[offsets[i]:offsets[i + 1]]
    row_of: np.ndarray  # (S,) int64: the row that a sequence belongs to; a row may have several
    targets: np.ndarray  # (S, ...), or (total_tokens, ...) with IGNORED for tokens that have none
    tokenization: Tokenization
    characters: np.ndarray | None = None  # for answers, (total_tokens, 2) int32: each token's start and end in its text

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(S,) int64: pieces per sequence, special ones included."""
        return np.diff(self.offsets)

    @property
    def has_target_per_token(self) -> bool:
        return len(self.targets) != len(self)

    def tokens_of(self, sequences: np.ndarray) -> np.ndarray:
        """Return the places of the tokens of these (B,) sequences, one sequence after the other."""
        lengths = self.lengths[sequences]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        places: np.ndarray = np.repeat(self.offsets[sequences], lengths) + within
        return places

    def targets_of(self, sequences: np.ndarray) -> np.ndarray:
        """Return the targets of (B,) sequences: (B, ...), or those of their tokens, one sequence after the other."""
        targets: np.ndarray = self.targets[self.tokens_of(sequences) if self.has_target_per_token else sequences]
        return targets

    def with_rows(self, row_of: np.ndarray) -> Encoded:
        """Return the same sequences, assigned to these (S,) rows."""
        n_rows = len(np.unique(row_of))
        pieces = self.tokenization.pieces_per_row * len(self) / n_rows
        return replace(
            self, row_of=row_of, tokenization=self.tokenization.model_copy(update={"pieces_per_row": pieces})
        )

    def take(self, sequences: np.ndarray) -> Encoded:
        """Return only these (B,) sequences; rows are renumbered from 0 in ascending order."""
        tokens, lengths = self.tokens_of(sequences), self.lengths[sequences]
        return replace(
            self,
            input_ids=self.input_ids[tokens],
            token_type_ids=self.token_type_ids[tokens],
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            row_of=np.unique(self.row_of[sequences], return_inverse=True)[1],
            targets=self.targets_of(sequences),
            characters=self.characters[tokens] if self.characters is not None else None,
        )


def laid_end_to_end(parts: Sequence[Encoded]) -> Encoded:
    """Join the sequences of several encodings of the same rows. The counts about the tokenizer are the first one's."""
    first, starts = parts[0], np.cumsum([0, *(len(part.input_ids) for part in parts)])
    return replace(
        first,
        input_ids=np.concatenate([part.input_ids for part in parts]),
        token_type_ids=np.concatenate([part.token_type_ids for part in parts]),
        offsets=np.concatenate([[0], *(part.offsets[1:] + start for part, start in zip(parts, starts, strict=False))]),
        row_of=np.concatenate([part.row_of for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
    )


def without_words(encoded: Encoded, texts: Sequence[str]) -> Encoded:
    """Leave out pieces per word if `texts`, those counted, have no spaces, since words are counted by white space.

    If there are many texts, a sample of them decides.
    """
    if not is_unspaced(texts[:: max(1, len(texts) // LOOKED_AT)]):
        return encoded
    return replace(encoded, tokenization=encoded.tokenization.model_copy(update={"pieces_per_word": None}))


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    columns: Sequence[Sequence[str]],
    targets: np.ndarray,
    max_length: int,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Encoded:
    """Encode each row as one sequence, made by the tokenizer with truncation from one or two `columns` of texts."""
    n_rows, has_segments = len(columns[0]), hands_over_segments(tokenizer)
    input_ids, token_type_ids, n_truncated = [], [], 0
    lengths: list[int] = []
    for start in range(0, n_rows, ROWS_PER_CALL):
        batch = tokenizer(
            *(list(column[start : start + ROWS_PER_CALL]) for column in columns),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=has_segments,
        )
        input_ids.append(np.fromiter(chain.from_iterable(batch["input_ids"]), dtype=np.int32))
        if has_segments:
            token_type_ids.append(np.fromiter(chain.from_iterable(batch["token_type_ids"]), dtype=np.uint8))
        lengths.extend(map(len, batch["input_ids"]))
        n_truncated += sum(bool(encoding.overflowing) for encoding in batch.encodings)
        on_rows(len(batch["input_ids"]))
    ids = np.concatenate(input_ids)
    n_words = sum(len(text.split()) for column in columns for text in column)
    return Encoded(
        ids,
        np.concatenate(token_type_ids) if has_segments else np.zeros(len(ids), dtype=np.uint8),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.arange(n_rows),
        targets,
        count_pieces(tokenizer, ids, n_rows, n_words, n_truncated / n_rows),
    )


@dataclass(frozen=True)
class PlainCall:
    """What a plain call of a tokenizer returns for some of the sequences that rows are encoded as."""

    batches: Sequence[Mapping[str, Any]]  # tensors by the names of a model's inputs, (B, L) each
    sequences: np.ndarray  # (S,) int64: the numbers of these sequences, in the order of the batches


def plain_call(
    tokenizer: PreTrainedTokenizerBase, columns: Sequence[Sequence[str]], max_length: int, truncation: bool | str = True
) -> list[Mapping[str, Any]]:
    """Return `tokenizer(*columns)`, padded, with every input that it gives; one text per batch if it cannot pad."""
    size = len(columns[0]) if tokenizer.pad_token_id is not None else 1
    return [
        tokenizer(
            *(list(column[start : start + size]) for column in columns),
            truncation=truncation,
            max_length=max_length,
            padding=size > 1,
            return_attention_mask=True,
            return_tensors="pt",
        )
        for start in range(0, len(columns[0]), size)
    ]


def hands_over_segments(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a plain call of the tokenizer says which of two texts each piece belongs to.

    If it does not, an encoder that knows segments sees the first segment throughout, whatever the tokenizer would
    return if it were asked for segments.
    """
    return "token_type_ids" in tokenizer.model_input_names


def count_pieces(
    tokenizer: PreTrainedTokenizerBase, ids: np.ndarray, n_rows: int, n_words: int, truncated_share: float
) -> Tokenization:
    """Return the counts for (total_tokens,) `ids` of `n_rows` rows with `n_words` words, which white space separates.

    Pieces per word: Rust et al. 2021, https://arxiv.org/abs/2012.15613.
    """
    is_unknown = ids == tokenizer.unk_token_id
    n_text_pieces = int((np.isin(ids, tokenizer.all_special_ids, invert=True) | is_unknown).sum())
    return Tokenization(
        truncated_share=truncated_share,
        unknown_piece_share=int(is_unknown.sum()) / max(1, n_text_pieces),
        pieces_per_word=n_text_pieces / max(1, n_words),
        pieces_per_row=len(ids) / n_rows,
    )
