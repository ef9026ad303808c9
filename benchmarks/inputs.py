"""Pairs of random pieces with the lengths of real ones, and encoders of real sizes with random weights."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification

from xeval.engine.batches import random_batches
from xeval.kinds.encoded import Encoded
from xeval.kinds.pairs import PairClassification, PairKeys
from xeval.kinds.tokenization import Tokenization

BATCH_SIZE, MAX_LENGTH, N_LABELS = 32, 128, 3

# Pieces per pair at the 0th, 5th, … 100th percentile, with the vocabulary of the models below and at most 128: of
# 10,000 English training pairs of XNLI (mean 40.8), and of its 75,150 test pairs in 15 languages (mean 56.5).
TRAINING_LENGTHS = (5, 16, 19, 22, 24, 27, 29, 31, 33, 36, 38, 40, 43, 45, 48, 51, 55, 59, 65, 76, 128)
TEST_LENGTHS = (5, 25, 30, 33, 36, 39, 42, 45, 48, 50, 53, 56, 59, 62, 65, 69, 74, 79, 87, 101, 128)
N_TRAINING_PAIRS, N_TRAINING_PIECES = 10_000, 16_089  # those pairs, and the distinct pieces in them

KIND = PairClassification(PairKeys(labels=("0", "1", "2")))

ARCHITECTURES = {
    "DistilmBERT": AutoConfig.for_model("distilbert", vocab_size=119_547, num_labels=N_LABELS),
    "mBERT": AutoConfig.for_model("bert", vocab_size=119_547, num_labels=N_LABELS),
}


def classifier(architecture: str, device: torch.device | str = "cpu") -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    model: transformers.PreTrainedModel = AutoModelForSequenceClassification.from_config(ARCHITECTURES[architecture])
    return torch.nn.Module.to(model, device)


def typical_lengths(percentiles: tuple[int, ...], n: int) -> np.ndarray:
    """(n,) int64: one length from the middle of each n-th of the distribution, in random order."""
    places = (np.arange(n) + 0.5) / n
    lengths = np.interp(places, np.linspace(0, 1, len(percentiles)), percentiles).round().astype(np.int64)
    return np.random.default_rng(0).permutation(lengths)


def pairs_of(lengths: np.ndarray, n_pieces: int = N_TRAINING_PIECES) -> Encoded:
    """Pairs of these lengths, of `n_pieces` different pieces from all over the vocabulary."""
    rng = np.random.default_rng(1)
    pieces = rng.choice(np.arange(1_000, 119_547, dtype=np.int32), n_pieces, replace=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = pieces[rng.integers(n_pieces, size=offsets[-1])]
    is_hypothesis = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) > np.repeat(lengths, lengths) * 2 // 3
    labels = rng.integers(N_LABELS, size=len(lengths))
    return Encoded(
        input_ids=ids,
        token_type_ids=is_hypothesis.astype(np.uint8),
        offsets=offsets,
        row_of=np.arange(len(lengths)),
        targets=labels,
        tokenization=Tokenization(
            truncated_share=0.0, unknown_piece_share=0.0, pieces_per_word=None, pieces_per_row=float(lengths.mean())
        ),
    )


@dataclass(frozen=True)
class Size:
    """How much a contender does in a round."""

    n_warm: int  # optimizer steps before those that are timed: they make its state and, on a GPU, xeval's CUDA graphs
    n_steps: int  # that are timed
    n_rows: int  # test pairs


def training_pairs(n_warm: int, n_steps: int) -> tuple[Encoded, np.ndarray]:
    """As many pairs as the pieces were counted in, or more, and the rows of the first `n_warm` + `n_steps` batches.

    Those of the last `n_steps` are of typical lengths together.
    """
    n_batches = n_warm + n_steps
    n_pairs = max(N_TRAINING_PAIRS, n_batches * BATCH_SIZE)
    rows = np.concatenate([*islice(random_batches(n_pairs, BATCH_SIZE, seed=0, epoch=0), n_batches)])
    lengths = typical_lengths(TRAINING_LENGTHS, n_pairs)
    lengths[rows[n_warm * BATCH_SIZE :]] = typical_lengths(TRAINING_LENGTHS, n_steps * BATCH_SIZE)
    return pairs_of(lengths), rows
