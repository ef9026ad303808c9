"""Sentences → pseudo-log-likelihoods: the log probabilities that a masked language model gives to hidden pieces.

Salazar et al. 2020, https://aclanthology.org/2020.acl-main.240, mask one piece at a time. The pieces of one word then
give each other away, so a language whose words are split into many pieces looks easy. Kauf and Ivanova 2023,
https://aclanthology.org/2023.acl-short.80, also mask the pieces that follow in the word, which is the default here.
"""

import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xeval.engine.batches import collate, even_batches, within_memory
from xeval.engine.devices import Compute
from xeval.engine.fast_path import own_attention
from xeval.engine.fast_path.blocked_weights import blocked_weights
from xeval.engine.fast_path.cls_only import compute_first_tokens_only
from xeval.engine.fast_path.forward import is_packed, layers_of, packed
from xeval.engine.fast_path.packing import pack
from xeval.kinds.encoded import Encoded, count_pieces, hands_over_segments
from xeval.support.errors import ModelError, PredictionError

_LOGITS_PER_BATCH = 2**26  # a quarter of a gigabyte in float32; a vocabulary may have 250,000 pieces


class Masking(StrEnum):
    """Which pieces are hidden from the model when it predicts a piece."""

    word_l2r = "word-l2r"  # the piece and those after it in its word
    piece = "piece"  # only the piece


@dataclass(frozen=True)
class Pieces:
    """Sentences as pieces, with the word that each piece belongs to."""

    encoded: Encoded
    is_text: np.ndarray  # (total_tokens,) bool: not a special token
    words: np.ndarray  # (total_tokens,) int64: pieces of the same word of a sentence have the same number
    n_characters: np.ndarray  # (S,) int64
    n_words: np.ndarray  # (S,) int64, separated by white space

    def take(self, sentences: np.ndarray) -> "Pieces":
        """Return only these (B,) sentences."""
        tokens = self.encoded.tokens_of(sentences)
        return Pieces(
            self.encoded.take(sentences),
            self.is_text[tokens],
            self.words[tokens],
            self.n_characters[sentences],
            self.n_words[sentences],
        )

    @property
    def n_text_pieces(self) -> np.ndarray:
        """(S,) int64: how many pieces of each sentence are predicted."""
        ends = np.concatenate([[0], np.cumsum(self.is_text)])
        counts: np.ndarray = np.diff(ends[self.encoded.offsets])
        return counts

    def mask_ends(self, masking: Masking) -> np.ndarray:
        """Return, for a mask that begins at each token, the token before which it ends, (total_tokens,) int64."""
        places = np.arange(len(self.words))
        if masking is Masking.piece:
            return places + 1
        sentences = np.repeat(np.arange(len(self.encoded)), self.encoded.lengths)
        begins = np.ones(len(places) + 1, dtype=bool)  # (total_tokens + 1,) where a new word begins
        same = (np.diff(self.words) == 0) & (np.diff(sentences) == 0) & self.is_text[1:] & self.is_text[:-1]
        begins[1:-1] = ~same
        starts = np.flatnonzero(begins)
        ends: np.ndarray = starts[np.searchsorted(starts, places, side="right")]
        return ends


def pieces_of(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], spaces_between_words: bool) -> Pieces:
    """Split `texts` with the tokenizer, without truncation.

    White space and punctuation separate words. In a script that puts no space between words, each piece is a word.
    """
    has_segments = hands_over_segments(tokenizer)
    batch = tokenizer(
        list(texts),
        truncation=False,
        verbose=False,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
        return_token_type_ids=has_segments,
    )
    ids = np.concatenate([np.array(own, dtype=np.int32) for own in batch["input_ids"]])
    lengths = [len(own) for own in batch["input_ids"]]
    is_text = ~np.concatenate([np.array(own, dtype=bool) for own in batch["special_tokens_mask"]])
    if spaces_between_words:
        pairs = zip(texts, batch["offset_mapping"], strict=True)
        words = np.concatenate([_words_of_pieces(text, spans) for text, spans in pairs])
    else:
        words = np.arange(len(ids))
    n_words = np.array([len(text.split()) for text in texts])
    types = np.concatenate(batch["token_type_ids"]) if has_segments else np.zeros(len(ids))
    encoded = Encoded(
        ids,
        types.astype(np.uint8),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.arange(len(texts)),
        np.zeros(len(texts), dtype=np.int64),
        count_pieces(tokenizer, ids, len(texts), int(n_words.sum()), truncated_share=0.0),
    )
    return Pieces(encoded, is_text, words, np.array([len(text) for text in texts]), n_words)


def _words_of_pieces(text: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the word that each piece begins with, (pieces,) int64, ignoring white space before it."""
    word_at, number, before = np.zeros(len(text) + 1, dtype=np.int64), 0, ""
    for place, character in enumerate(text):
        kind = _kind(character)
        number += kind != before or kind == "P"
        word_at[place], before = number, kind
    for place in range(len(text) - 1, -1, -1):
        if text[place].isspace():
            word_at[place] = word_at[place + 1]
    return word_at[[start for start, _ in spans]]


def _kind(character: str) -> str:
    if character.isspace():
        return " "
    return "P" if unicodedata.category(character)[0] in "PS" else "L"


def mask_id_of(model: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the mask piece. Raise ModelError if the tokenizer has none."""
    if tokenizer.mask_token_id is None:
        raise ModelError(f"model {model}: its tokenizer has no mask piece; wanted a masked language model")
    return int(tokenizer.mask_token_id)


@torch.no_grad()
def pseudo_log_likelihoods(
    model: PreTrainedModel,
    pieces: Pieces,
    mask_id: int,
    masking: Masking,
    compute: Compute,
    on_pieces: Callable[[int], None] = lambda n: None,
) -> np.ndarray:
    """Return, for each sentence, the sum of log p(piece | visible pieces) over its pieces, in nats, (S,) float64.

    Batches that do not fit into a device's memory are halved. Raise PredictionError for a probability that is not
    finite, or if not even one piece fits.
    """
    asked = np.flatnonzero(pieces.is_text)  # (pieces,) their places among all tokens
    sentences = np.searchsorted(pieces.encoded.offsets, asked, side="right") - 1  # (pieces,)
    ends = pieces.mask_ends(masking)[asked]
    at_most = max(1, _LOGITS_PER_BATCH // int(model.config.vocab_size))
    budget = compute.token_budget()
    lengths = np.maximum(pieces.encoded.lengths[sentences], -(-budget // at_most))
    likelihoods = np.empty(len(asked))
    model.eval()
    chosen = _Chosen()

    def likelihoods_of(batch: np.ndarray) -> np.ndarray:  # (b,) float64
        copies = _masked(pieces.encoded, sentences[batch], asked[batch], ends[batch], mask_id)
        within = asked[batch] - pieces.encoded.offsets[sentences[batch]]
        logits = chosen.logits(model, copies, within, compute).float()  # (b, V)
        targets = torch.from_numpy(pieces.encoded.input_ids[asked[batch]].astype(np.int64)).to(logits.device)
        of_targets = logits.gather(1, targets[:, None])[:, 0]
        own: np.ndarray = (of_targets - logits.logsumexp(dim=1)).cpu().double().numpy()
        return own

    with (
        packed(model, "every token"),
        chosen.only(model),
        blocked_weights(model, compute),
        compute.matmuls(),
        compute.autocast(),
    ):
        batches = even_batches(lengths, budget)
        for batch, of_batch in within_memory(likelihoods_of, batches, lengths, compute, at_once=is_packed(model)):
            likelihoods[batch] = of_batch
            on_pieces(len(batch))
    if not np.isfinite(likelihoods).all():
        raise PredictionError(f"{int((~np.isfinite(likelihoods)).sum())} pieces have no finite probability")
    sums: np.ndarray = np.bincount(sentences, weights=likelihoods, minlength=len(pieces.encoded))
    return sums


def _masked(encoded: Encoded, sentences: np.ndarray, begins: np.ndarray, ends: np.ndarray, mask_id: int) -> Encoded:
    """Copy each of the (b,) `sentences`, with its tokens from `begins` up to `ends` masked."""
    copies = encoded.take(sentences)
    shift, lengths = copies.offsets[:-1] - encoded.offsets[sentences], ends - begins
    places = np.repeat(begins + shift - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
    ids = copies.input_ids.copy()
    ids[places] = mask_id
    return replace(copies, input_ids=ids)


class _Chosen(threading.local):
    """Makes a model's head compute one token of each sequence: the vocabulary is most of its work."""

    places: tuple[torch.Tensor | int, torch.Tensor]  # of the chosen tokens in the encoder's output

    @contextmanager
    def only(self, model: PreTrainedModel) -> Iterator[None]:
        """While this lasts, compute the head, and where possible the last layer, for the chosen tokens only."""
        layers = layers_of(model)
        if is_packed(model) and layers is not None and model.config.model_type not in own_attention.TYPES:
            hooks = compute_first_tokens_only(layers[-1])
        else:
            hooks = [model.base_model.register_forward_hook(self._take)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _take(self, encoder: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[self.places][None]  # (1, b, hidden)
        return output

    def logits(self, model: PreTrainedModel, copies: Encoded, within: np.ndarray, compute: Compute) -> torch.Tensor:
        """Return the logits, (b, V), of the token at place `within`, (b,), in each of the (b,) `copies`."""
        config, rows, device = model.config, np.arange(len(copies)), compute.device
        columns = torch.from_numpy(within).to(device)
        if is_packed(model):
            inputs, sequences = pack(copies, rows, config, device, compute.token_granule())
            at = sequences.starts.long()  # (B,) among the packed tokens, where padding may be one more sequence
            at[sequences.places] += columns
            self.places = (0, at)
            logits: torch.Tensor = model(**inputs, sequences=replace(sequences, looked_at=at)).logits
            return logits.flatten(0, 1)[sequences.places]
        self.places = (torch.arange(len(copies), device=device), columns)
        logits = model(**collate(copies, rows, config, device)).logits
        return logits.flatten(0, 1)
