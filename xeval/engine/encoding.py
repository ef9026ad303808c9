"""Rows → token ids, with counts of what the tokenizer did to the text."""

import hashlib
import json
from collections.abc import Callable
from itertools import chain

import numpy as np
import tokenizers
from transformers import PreTrainedTokenizerBase

from xeval.definitions.languages import describe
from xeval.kinds.pairs import EncodedPairs, LabelledPairs

ROWS_PER_CALL = 8192


def encoding_key(tokenizer: PreTrainedTokenizerBase, language: str, pairs_sha256: str, max_length: int) -> str:
    """A hash of everything that the encoded rows, and the counts that come with them, depend on."""
    vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())
    for left_by_the_last_call in ("truncation", "padding"):
        vocabulary.pop(left_by_the_last_call, None)
    counted = (tokenizer.unk_token_id, sorted(tokenizer.all_special_ids), describe(language).spaces_between_words)
    how = (tokenizer.truncation_side, max_length, *counted)
    parts = (json.dumps(vocabulary), tokenizers.__version__, pairs_sha256, json.dumps(how))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def encode(
    tokenizer: PreTrainedTokenizerBase,
    pairs: LabelledPairs,
    max_length: int,
    on_rows: Callable[[int], None] = lambda n: None,
) -> EncodedPairs:
    """Encode each pair as `tokenizer(premise, hypothesis, truncation=True, max_length=max_length)` does."""
    input_ids, token_type_ids, n_truncated = [], [], 0
    lengths: list[int] = []
    for start in range(0, len(pairs), ROWS_PER_CALL):
        batch = tokenizer(
            list(pairs.premises[start : start + ROWS_PER_CALL]),
            list(pairs.hypotheses[start : start + ROWS_PER_CALL]),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=True,
        )
        input_ids.append(np.fromiter(chain.from_iterable(batch["input_ids"]), dtype=np.int32))
        token_type_ids.append(np.fromiter(chain.from_iterable(batch["token_type_ids"]), dtype=np.uint8))
        lengths.extend(map(len, batch["input_ids"]))
        n_truncated += sum(bool(encoding.overflowing) for encoding in batch.encodings)
        on_rows(len(batch["input_ids"]))
    ids = np.concatenate(input_ids)
    is_unknown = ids == tokenizer.unk_token_id
    n_text_pieces = int((np.isin(ids, tokenizer.all_special_ids, invert=True) | is_unknown).sum())
    return EncodedPairs(
        ids,
        np.concatenate(token_type_ids),
        np.concatenate([[0], np.cumsum(lengths)]),
        pairs.labels,
        truncated_share=n_truncated / len(pairs),
        unknown_piece_share=int(is_unknown.sum()) / max(1, n_text_pieces),
        pieces_per_word=_fertility(pairs, n_text_pieces),
        pieces_per_pair=len(ids) / len(pairs),
    )


def _fertility(pairs: LabelledPairs, n_text_pieces: int) -> float | None:
    """Pieces per word (Rust et al. 2021, https://arxiv.org/abs/2012.15613), words being what white space parts."""
    if not describe(pairs.language).spaces_between_words:
        return None
    n_words = sum(len(text.split()) for column in (pairs.premises, pairs.hypotheses) for text in column)
    return n_text_pieces / max(1, n_words)
