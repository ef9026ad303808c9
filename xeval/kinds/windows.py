"""Questions on long texts: windows over the text that an encoder can take, and the best answer in all of them.

This follows XTREME (`squad_convert_examples_to_features` and `compute_predictions_logits` of transformers, see
https://github.com/google-research/xtreme): the window moves on by `stride` pieces, and an answer may begin with a piece
only in the window that shows most of the text around that piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xeval.kinds.encoded import hands_over_segments

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALL = 1_000_000_000  # more pieces than any text has
NOWHERE = -1  # the characters of a piece outside the context
LENGTH_COUNTS = 0.01  # weight of a piece of the window's length relative to one around the answer


class Pieces(NamedTuple):
    """The pieces that a tokenizer makes of one text, without special pieces."""

    ids: np.ndarray  # (n,) int32
    characters: np.ndarray  # (n, 2) int32: each piece's start and end in the text


def cut_into_pieces(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Pieces]:
    batch = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
        truncation=True,  # otherwise it warns about texts longer than the encoder takes at once
        max_length=ALL,
    )
    both = zip(batch["input_ids"], batch["offset_mapping"], strict=True)
    return [
        Pieces(np.array(ids, dtype=np.int32), np.array(places, dtype=np.int32).reshape(-1, 2)) for ids, places in both
    ]


@dataclass(frozen=True)
class Frame:
    """The special pieces that a tokenizer puts around two texts, each (2, n): ids, and segment ids."""

    before: np.ndarray
    between: np.ndarray
    after: np.ndarray
    types: tuple[int, int]  # of the first and of the second text

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Frame:
        pair = tokenizer("a", "a", return_token_type_ids=True)
        which = pair.sequence_ids()  # None for special pieces
        first, second = which.index(0), which.index(1)
        end_of_first = len(which) - which[::-1].index(0)
        end = len(which) - which[::-1].index(1)
        segments = pair["token_type_ids"] if hands_over_segments(tokenizer) else [0] * len(which)
        both = np.array([pair["input_ids"], segments], dtype=np.int32)  # (2, L)
        types = int(both[1, first]), int(both[1, second])
        return cls(both[:, :first], both[:, end_of_first:second], both[:, end:], types)

    def __len__(self) -> int:
        return int(self.before.shape[1] + self.between.shape[1] + self.after.shape[1])

    def around(self, question: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of a whole sequence, and their segment ids."""
        texts = [
            np.stack([ids, np.full_like(ids, of_type)])
            for ids, of_type in zip((question, text), self.types, strict=True)
        ]
        ids, types = np.concatenate([self.before, texts[0], self.between, texts[1], self.after], axis=1)
        return ids, types.astype(np.uint8)


def starts_of_windows(n_pieces: int, room: int, stride: int) -> list[int]:
    """Return where windows of `room` pieces begin in `n_pieces`; no piece is left out even if `stride` is longer."""
    step = min(stride, room)
    n_more = -(-max(0, n_pieces - room) // step)
    return [number * step for number in range(n_more + 1)]


def shows_most(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return whether each window shows most around each piece of the text, (W, n) bool; of two, the earlier does.

    `starts` and `lengths`, (W,), describe windows over a text of n pieces.
    """
    pieces = np.arange(int((starts + lengths).max()))  # (n,)
    left, right = pieces - starts[:, None], (starts + lengths - 1)[:, None] - pieces  # (W, n)
    around = np.minimum(left, right)
    shown = np.where(around >= 0, around + LENGTH_COUNTS * lengths[:, None], -np.inf)
    chosen: np.ndarray = shown.argmax(axis=0) == np.arange(len(starts))[:, None]
    return chosen


def target_pieces(characters: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """Return the first and the last of the pieces, (n, 2) `characters`, that cover the text from `start` to `end`."""
    if not len(characters):
        return -1, -1
    first = int(np.searchsorted(characters[:, 0], start, side="right")) - 1
    last = int(np.searchsorted(characters[:, 1], end, side="left"))
    first = max(0, first)
    return first, max(first, min(len(characters) - 1, last))  # a piece without characters may come before the first


class Best(NamedTuple):
    """The best answer of a window: the sum of its two logits, and the characters where it begins and ends."""

    logit: float
    start: int
    end: int


def best_answer(
    outputs: np.ndarray, characters: np.ndarray, may_begin: np.ndarray, n_best: int, most_pieces: int
) -> Best | None:
    """Return the best answer that begins and ends at the `n_best` pieces for each; None if none is in the context.

    `outputs` are the (L, 2) logits of a window's pieces, `characters` are (L, 2), and `may_begin` is (L,) bool.
    """
    starts, ends = (np.argsort(-outputs[:, side], kind="stable")[:n_best] for side in (0, 1))
    n_pieces = ends[None, :] - starts[:, None] + 1  # (n_best, n_best)
    is_answer = may_begin[starts][:, None] & (characters[ends, 0] != NOWHERE)[None, :]
    is_answer &= (n_pieces >= 1) & (n_pieces <= most_pieces)
    if not is_answer.any():
        return None
    logits = outputs.astype(np.float64)
    sums = np.where(is_answer, logits[starts, 0][:, None] + logits[ends, 1][None, :], -np.inf)
    start, end = np.unravel_index(int(sums.argmax()), sums.shape)
    return Best(float(sums[start, end]), int(characters[starts[start], 0]), int(characters[ends[end], 1]))
