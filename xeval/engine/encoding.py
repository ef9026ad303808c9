"""Rows → token ids, encoded as their kind of task does, with counts of what the tokenizer did to the text."""

import hashlib
import json
from collections.abc import Callable, Mapping

import tokenizers
from transformers import PreTrainedTokenizerBase

from xeval.kinds.encoded import LOOKED_AT, Encoded, hands_over_segments, without_words
from xeval.kinds.kind import Kind
from xeval.kinds.rows import Rows
from xeval.support.garbage import without_collection


def encoding_keys(
    kind: Kind, tokenizer: PreTrainedTokenizerBase, rows_sha256: Mapping[str, str], max_length: int
) -> dict[str, str]:
    """Return a cache key for each name in `rows_sha256`.

    It is a hash of everything that the encoded rows, and the counts that come with them, depend on.
    """
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
    """Return a tokenizer as JSON without the settings that its last call left in it; the next call sets them anew."""
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
    """Encode `rows` as their kind of task does, without pieces per word if there are no spaces between words.

    `on_rows` receives the number of rows done.
    """
    with without_collection():
        encoded = kind.encode(tokenizer, rows, max_length, on_rows)
    return without_words(encoded, list(rows.sample(LOOKED_AT).strings()))
