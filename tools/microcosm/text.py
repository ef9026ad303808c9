"""Multilingual text → batches: translation pairs, restatements and single sentences to fill in, and pairs to compare.

The amount of text differs by language as it does in the world, so that transfer differs by language too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from tools.microcosm.neighbours import Neighbours
from tools.microcosm.pretraining_text import pretraining_statements, sentences
from tools.microcosm.restatements import restatements

N_STATEMENTS = 60_000
TWO_FACTS = 0.1  # of all statements; a single fact is shorter and shows more plainly which words belong together

# Share of the statements that exists in each language. The ranks follow the sizes of the Wikipedias.
TEXT_SHARE = {
    "en": 1.0,
    "de": 0.8,
    "fr": 0.8,
    "es": 0.7,
    "ru": 0.7,
    "zh": 0.6,
    "vi": 0.5,
    "ar": 0.45,
    "tr": 0.4,
    "bg": 0.3,
    "el": 0.25,
    "th": 0.2,
    "hi": 0.15,
    "ur": 0.1,
    "sw": 0.08,
}
# Shares of all examples; the rest are single sentences.
TRANSLATION_PAIRS, RESTATEMENTS, COMPARISONS = 0.6, 0.2, 0.15
NOT_ASKED = -100  # a target that the loss ignores
MASKED_SHARE = 0.15  # if both sentences of an example are masked alike
MASKED_SHARE_ONE_SIDED = 0.5  # if only one sentence of a pair is masked, so that the other must help


@dataclass(frozen=True)
class Batch:
    """Inputs, each (B, L) int64; `targets` (B, L) has the original piece where one is to be predicted.

    `same_meaning` (B,) is 1 where the two sentences say the same, and 0 where they do not. Targets not asked are -100.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray
    targets: np.ndarray
    same_meaning: np.ndarray


@dataclass(frozen=True)
class Example:
    """Token ids, where the second sentence begins, the share of each to mask, and whether both say the same."""

    ids: list[int]
    boundary: int
    masked_shares: tuple[float, float]
    same_meaning: int = NOT_ASKED


class MultilingualText:
    """The statements in every language that has them, as token ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, languages: tuple[str, ...], seed: int) -> None:
        self._tokenizer, self._seed = tokenizer, seed
        statements = pretraining_statements(N_STATEMENTS, seed, double=TWO_FACTS)
        self._neighbours = Neighbours(statements)
        restated = restatements(statements, seed)
        self._ids: list[list[list[int]]] = []
        self._restated_ids: list[list[list[int]]] = []
        for language in languages:
            n = int(TEXT_SHARE[language] * len(statements))
            for ids, said in ((self._ids, statements), (self._restated_ids, restated)):
                ids.append(tokenizer(sentences(said[:n], language), add_special_tokens=False)["input_ids"])
        amounts = np.array([len(ids) for ids in self._ids], dtype=np.float64)
        self.n_sentences = int(amounts.sum())
        # Smoothed, as XLM's text was (https://arxiv.org/abs/1901.07291), so that rare languages are not drowned.
        self._frequency = np.sqrt(amounts) / np.sqrt(amounts).sum()

    def batches(self, batch_size: int, group: int = 32) -> Iterator[Batch]:
        """Yield endless batches, the same each time; in each `group` of batches, examples are sorted by length."""
        self._rng = np.random.default_rng(self._seed)
        while True:
            examples = [self._example() for _ in range(batch_size * group)]
            examples.sort(key=lambda example: len(example.ids))
            for index in self._rng.permutation(group):
                yield self._collate(examples[index * batch_size : (index + 1) * batch_size])

    def _example(self) -> Example:
        shares = (TRANSLATION_PAIRS, RESTATEMENTS, COMPARISONS)
        kind = int(np.searchsorted(np.cumsum(shares), self._rng.random(), side="right"))
        return (self._translation_pair, self._restatement, self._comparison, self._single)[kind]()

    def _single(self) -> Example:
        ids = self._ids[self._language()]
        first = self._first(ids[self._rng.integers(len(ids))])
        return Example(first, len(first), (MASKED_SHARE, 0.0))

    def _translation_pair(self) -> Example:
        one, other = self._rng.choice(len(self._ids), size=2, replace=False, p=self._frequency)
        row = self._rng.integers(min(len(self._ids[one]), len(self._ids[other])))
        shares = ((MASKED_SHARE, MASKED_SHARE), (MASKED_SHARE_ONE_SIDED, 0.0), (0.0, MASKED_SHARE_ONE_SIDED))
        return self._pair(self._ids[one][row], self._ids[other][row], shares[self._rng.choice(3, p=(0.4, 0.3, 0.3))])

    def _restatement(self) -> Example:
        """Draw a sentence and another one, in the same or another language, that says a part of it again."""
        one, other = self._language(), self._language()
        row = int(self._rng.integers(min(len(self._ids[one]), len(self._ids[other]))))
        shares = ((MASKED_SHARE, MASKED_SHARE), (0.0, MASKED_SHARE_ONE_SIDED))
        return self._pair(self._ids[one][row], self._restated_ids[other][row], shares[self._rng.integers(2)])

    def _comparison(self) -> Example:
        """Draw two sentences, in one or two languages, that say the same or (half the time) differ in one place."""
        one, other = self._language(), self._language()
        row = int(self._rng.integers(min(len(self._ids[one]), len(self._ids[other]))))
        same = bool(self._rng.random() < 0.5)
        second = row if same else self._neighbours.of(row, len(self._ids[other]), self._rng)
        return self._pair(self._ids[one][row], self._ids[other][second], (0.0, 0.0), int(same))

    def _language(self) -> int:
        return int(self._rng.choice(len(self._ids), p=self._frequency))

    def _first(self, ids: list[int]) -> list[int]:
        return [self._tokenizer.cls_token_id, *ids, self._tokenizer.sep_token_id]

    def _pair(
        self, ids: list[int], other_ids: list[int], shares: tuple[float, float], same: int = NOT_ASKED
    ) -> Example:
        first = self._first(ids)
        return Example([*first, *other_ids, self._tokenizer.sep_token_id], len(first), shares, same)

    def _collate(self, examples: list[Example]) -> Batch:
        shape = (len(examples), max(len(example.ids) for example in examples))
        ids = np.full(shape, self._tokenizer.pad_token_id, dtype=np.int64)
        types, attention = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        share = np.zeros(shape)
        for row, example in enumerate(examples):
            length, boundary = len(example.ids), example.boundary
            ids[row, :length] = example.ids
            attention[row, :length] = 1
            types[row, boundary:length] = 1
            share[row, :boundary], share[row, boundary:length] = example.masked_shares
        share[np.isin(ids, self._tokenizer.all_special_ids)] = 0.0
        chosen = self._rng.random(shape) < share
        targets = np.where(chosen, ids, NOT_ASKED)
        fate = self._rng.random(shape)
        masked = np.where(chosen & (fate < 0.8), self._tokenizer.mask_token_id, ids)
        random_pieces = self._rng.integers(len(self._tokenizer), size=shape)
        masked = np.where(chosen & (fate >= 0.9), random_pieces, masked)
        return Batch(masked, types, attention, targets, np.array([example.same_meaning for example in examples]))
