"""Multilingual text → masked batches: translation pairs for the most part, single sentences for the rest.

How much there is of a language differs as it does in the world, so that transfer differs by language too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from xeval.microcosm.pretraining_text import pretraining_statements, sentences

N_STATEMENTS = 60_000
TWO_FACTS = 0.3  # of all statements; one fact is shorter, and shows which words belong together more plainly

# Of the statements, the share that exists in each language. The ranks follow the sizes of the Wikipedias.
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
TRANSLATION_PAIRS = 0.9  # of all examples; the rest are single sentences
MASKED_SHARE = 0.15  # where both sentences of an example are masked alike
MASKED_SHARE_ONE_SIDED = 0.5  # where only one sentence of a pair is, so that the other one has to tell


@dataclass(frozen=True)
class Batch:
    """Masked inputs, each (B, L) int64; `targets` holds the original piece where one is to be predicted, else -100."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray
    targets: np.ndarray


class MultilingualText:
    """The statements in every language that has them, as token ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, languages: tuple[str, ...], seed: int) -> None:
        self._tokenizer, self._rng = tokenizer, np.random.default_rng(seed)
        statements = pretraining_statements(N_STATEMENTS, seed, double=TWO_FACTS)
        self._languages = languages
        self._ids: list[list[list[int]]] = []
        for language in languages:
            there = statements[: int(TEXT_SHARE[language] * len(statements))]
            self._ids.append(tokenizer(sentences(there, language), add_special_tokens=False)["input_ids"])
        amounts = np.array([len(ids) for ids in self._ids], dtype=np.float64)
        self.n_sentences = int(amounts.sum())
        # Smoothed, as XLM's text was (https://arxiv.org/abs/1901.07291), so that rare languages are not drowned.
        self._frequency = np.sqrt(amounts) / np.sqrt(amounts).sum()

    def batches(self, batch_size: int, group: int = 8) -> Iterator[Batch]:
        """Endless batches; examples of like length are drawn together, `group` batches at a time."""
        while True:
            examples = [self._example() for _ in range(batch_size * group)]
            examples.sort(key=lambda example: len(example[0]))
            for index in self._rng.permutation(group):
                yield self._collate(examples[index * batch_size : (index + 1) * batch_size])

    def _example(self) -> tuple[list[int], int, int]:
        """Token ids, where the second sentence begins, and what to mask: 0 both, 1 the first, 2 the second."""
        begin, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        rng = self._rng
        if rng.random() >= TRANSLATION_PAIRS:
            ids = self._ids[rng.choice(len(self._languages), p=self._frequency)]
            first = [begin, *ids[rng.integers(len(ids))], end]
            return first, len(first), 0
        one, other = rng.choice(len(self._languages), size=2, replace=False, p=self._frequency)
        row = rng.integers(min(len(self._ids[one]), len(self._ids[other])))
        first = [begin, *self._ids[one][row], end]
        return [*first, *self._ids[other][row], end], len(first), int(rng.choice((0, 1, 2), p=(0.4, 0.3, 0.3)))

    def _collate(self, examples: list[tuple[list[int], int, int]]) -> Batch:
        width = max(len(ids) for ids, _, _ in examples)
        shape = (len(examples), width)
        ids = np.full(shape, self._tokenizer.pad_token_id, dtype=np.int64)
        types, attention = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        share = np.zeros(shape)
        for row, (pieces, boundary, side) in enumerate(examples):
            ids[row, : len(pieces)] = pieces
            attention[row, : len(pieces)] = 1
            types[row, boundary : len(pieces)] = 1
            if side == 0:
                share[row, : len(pieces)] = MASKED_SHARE
            else:
                share[row, slice(0, boundary) if side == 1 else slice(boundary, len(pieces))] = MASKED_SHARE_ONE_SIDED
        share[np.isin(ids, self._tokenizer.all_special_ids)] = 0.0
        chosen = self._rng.random(shape) < share
        targets = np.where(chosen, ids, -100)
        fate = self._rng.random(shape)
        masked = np.where(chosen & (fate < 0.8), self._tokenizer.mask_token_id, ids)
        random_pieces = self._rng.integers(len(self._tokenizer), size=shape)
        masked = np.where(chosen & (fate >= 0.9), random_pieces, masked)
        return Batch(masked, types, attention, targets)
