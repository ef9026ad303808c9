"""Rows → token ids, as their kind of task encodes them, with counts of what the tokenizer did to the text."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import tokenizers
from transformers import PreTrainedTokenizerBase

from xeval.kinds.encoded import Encoded, hands_over_segments
from xeval.kinds.kind import Kind
from xeval.kinds.rows import Rows
from xeval.support.garbage import without_collection
from xeval.support.text import is_unspaced

LOOKED_AT = 300  # rows, for whether there are spaces between words


def encoding_keys(
    kind: Kind, tokenizer: PreTrainedTokenizerBase, rows_sha256: Mapping[str, str], max_length: int
) -> dict[str, str]:
    """By name, as in `rows_sha256`, a hash of everything that encoded rows, and the counts that come with them, depend
    on."""
    vocabulary = _without_settings(tokenizer)
    counted = (tokenizer.unk_token_id, sorted(tokenizer.all_special_ids))
    how = (
        kind.name,
        kind.encoding,
        kind.keys.model_dump(),
        tokenizer.truncation_side,
        max_length,
        hands_over_segments(tokenizer),
        *counted,
    )
    of_all = hashlib.sha256("\0".join((vocabulary, tokenizers.__version__, json.dumps(how))).encode())
    keys = {}
    for name, rows in rows_sha256.items():
        digest = of_all.copy()
        digest.update(rows.encode())
        keys[name] = digest.hexdigest()
    return keys


def _without_settings(tokenizer: PreTrainedTokenizerBase) -> str:
    """A tokenizer as JSON without what its last call has left in it, which the next one sets anew."""
    own = tokenizer.backend_tokenizer
    own.no_truncation()
    own.no_padding()
    return str(own.to_str())


def encode(
    kind: Kind,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    max_length: int,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Encoded:
    """Encode `rows` as their kind of task does. `on_rows` is told of rows done.

    Pieces per word are left out where there are no spaces between words: white space is what was counted by.
    """
    with without_collection():
        encoded = kind.encode(tokenizer, rows, max_length, on_rows)
    if not is_unspaced(rows.sample(LOOKED_AT).strings()):
        return encoded
    return replace(encoded, tokenization=encoded.tokenization.model_copy(update={"pieces_per_word": None}))
