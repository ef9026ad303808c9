"""Rows of random pieces with realistic lengths, and encoders of realistic sizes with random weights."""

from copy import deepcopy
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import transformers
from transformers import AutoConfig

from xeval.engine.batches import random_batches
from xeval.kinds.answers import END, FIRST, START, AnswerKeys, Answers
from xeval.kinds.encoded import IGNORED, Encoded
from xeval.kinds.kind import Kind
from xeval.kinds.pairs import PairClassification, PairKeys
from xeval.kinds.tags import Tagging, TagKeys
from xeval.kinds.tokenization import Tokenization

BATCH_SIZE, MAX_LENGTH, N_LABELS = 32, 128, 3

# Pieces per pair at the 0th, 5th, … 100th percentile, with the vocabulary of the models below and at most 128: of
# 10,000 English training pairs of XNLI (mean 40.8), and of its 75,150 test pairs in 15 languages (mean 56.5).
TRAINING_LENGTHS = (5, 16, 19, 22, 24, 27, 29, 31, 33, 36, 38, 40, 43, 45, 48, 51, 55, 59, 65, 76, 128)
TEST_LENGTHS = (5, 25, 30, 33, 36, 39, 42, 45, 48, 50, 53, 56, 59, 62, 65, 69, 74, 79, 87, 101, 128)
N_TRAINING_PAIRS, N_TRAINING_PIECES = 10_000, 16_089  # those pairs, and the distinct pieces in them

# The same for PAN-X: 20,000 English training sentences (mean 13.0), 15,091 development ones in 15 languages (17.6).
TRAINING_TAG_LENGTHS = (5, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 12, 12, 13, 14, 15, 17, 18, 21, 25, 128)
TEST_TAG_LENGTHS = (4, 7, 8, 9, 9, 10, 11, 11, 12, 13, 14, 15, 15, 16, 18, 19, 21, 24, 30, 40, 128)

# The same for windows of 384 pieces: TyDi QA's 3,696 English training questions (mean 158), and XQuAD's first 300
# questions in each of 12 languages (231).
TRAINING_WINDOW_LENGTHS = (
    *(21, 56, 69, 79, 90, 99, 107, 115, 124, 132, 141, 149, 158, 169, 182, 194, 214, 240, 281, 365, 384),
)
TEST_WINDOW_LENGTHS = (
    *(44, 83, 105, 126, 141, 153, 168, 180, 192, 203, 216, 232, 255, 274, 290, 310, 339, 366, 384, 384, 384),
)

KIND = PairClassification(PairKeys(labels=("0", "1", "2")))

ARCHITECTURES = {
    "DistilmBERT": AutoConfig.for_model("distilbert", vocab_size=119_547, num_labels=N_LABELS),
    "mBERT": AutoConfig.for_model("bert", vocab_size=119_547, num_labels=N_LABELS),
}


@dataclass(frozen=True)
class Workload:
    """An encoder, and rows for one kind of task with typical lengths."""

    architecture: str
    kind: Kind
    training_lengths: tuple[int, ...] = TRAINING_LENGTHS
    test_lengths: tuple[int, ...] = TEST_LENGTHS
    max_length: int = MAX_LENGTH
    n_training_rows: int = N_TRAINING_PAIRS
    n_training_pieces: int = N_TRAINING_PIECES
    pads_to_max_length: bool = True  # the default of transformers' example script for this kind of task

    @property
    def config(self) -> transformers.PretrainedConfig:
        config = deepcopy(ARCHITECTURES[self.architecture])
        config.num_labels = len(self.kind.labels) or 2
        return config


WORKLOADS = {
    "DistilmBERT": Workload("DistilmBERT", KIND),
    "mBERT": Workload("mBERT", KIND),
    "DistilmBERT, tags": Workload(
        "DistilmBERT",
        Tagging(TagKeys(labels=("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"))),
        TRAINING_TAG_LENGTHS,
        TEST_TAG_LENGTHS,
        n_training_rows=20_000,
        n_training_pieces=20_967,
        pads_to_max_length=False,  # run_ner.py
    ),
    "DistilmBERT, answers": Workload(
        "DistilmBERT",
        Answers(AnswerKeys()),
        TRAINING_WINDOW_LENGTHS,
        TEST_WINDOW_LENGTHS,
        max_length=384,
        n_training_rows=3_862,
        n_training_pieces=24_016,  # run_qa.py
    ),
}


def classifier(architecture: str, device: torch.device | str = "cpu") -> transformers.PreTrainedModel:
    return model_of(Workload(architecture, KIND), device)


def model_of(workload: Workload, device: torch.device | str = "cpu") -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    model: transformers.PreTrainedModel = getattr(transformers, workload.kind.head).from_config(workload.config)
    return torch.nn.Module.to(model, device)


def typical_lengths(percentiles: tuple[int, ...], n: int) -> np.ndarray:
    """Return the median length of each of n equal parts of the distribution, (n,) int64, in random order."""
    places = (np.arange(n) + 0.5) / n
    lengths = np.interp(places, np.linspace(0, 1, len(percentiles)), percentiles).round().astype(np.int64)
    return np.random.default_rng(0).permutation(lengths)


def pairs_of(lengths: np.ndarray, n_pieces: int = N_TRAINING_PIECES) -> Encoded:
    return rows_of(KIND, lengths, n_pieces)


def rows_of(kind: Kind, lengths: np.ndarray, n_pieces: int) -> Encoded:
    """Return rows of these lengths, with `n_pieces` different pieces from all over the vocabulary."""
    rng = np.random.default_rng(1)
    pieces = rng.choice(np.arange(1_000, 119_547, dtype=np.int32), n_pieces, replace=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = pieces[rng.integers(n_pieces, size=offsets[-1])]
    is_hypothesis = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) > np.repeat(lengths, lengths) * 2 // 3
    return Encoded(
        input_ids=ids,
        token_type_ids=is_hypothesis.astype(np.uint8),
        offsets=offsets,
        row_of=np.arange(len(lengths)),
        targets=_targets(kind, offsets, rng),
        tokenization=Tokenization(
            truncated_share=0.0, unknown_piece_share=0.0, pieces_per_word=None, pieces_per_row=float(lengths.mean())
        ),
    )


def _targets(kind: Kind, offsets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make up targets: a label for each row or for each token, or the place where an answer begins and ends."""
    n_rows, n_tokens = len(offsets) - 1, int(offsets[-1])
    if isinstance(kind, Answers):
        marks = np.zeros((n_tokens, 3), dtype=np.int8)
        begins = offsets[:-1] + rng.integers(np.diff(offsets))
        for column, places in ((FIRST, offsets[:-1]), (START, begins), (END, begins)):
            marks[places, column] = 1
        return marks
    if kind.reads == "every token":
        tags = rng.integers(len(kind.labels), size=n_tokens)
        tags[rng.random(n_tokens) < 0.3] = IGNORED  # later pieces of words
        tags[[*offsets[:-1], *(offsets[1:] - 1)]] = IGNORED  # special pieces
        return tags
    return rng.integers(len(kind.labels), size=n_rows)


@dataclass(frozen=True)
class Size:
    """How much a contender does in a round."""

    n_warm: int  # optimizer steps before the timed ones, which set up its state and, on a GPU, xeval's CUDA graphs
    n_steps: int  # timed steps
    n_rows: int  # test rows


def training_pairs(
    n_warm: int, n_steps: int, workload: Workload = WORKLOADS["DistilmBERT"]
) -> tuple[Encoded, np.ndarray]:
    """Return at least as many rows as the pieces were counted in, and the row numbers of the first batches.

    There are `n_warm` + `n_steps` batches; the rows of the last `n_steps` have typical lengths as a whole.
    """
    n_batches = n_warm + n_steps
    n_pairs = max(workload.n_training_rows, n_batches * BATCH_SIZE)
    rows = np.concatenate([*islice(random_batches(n_pairs, BATCH_SIZE, seed=0, epoch=0), n_batches)])
    lengths = typical_lengths(workload.training_lengths, n_pairs)
    lengths[rows[n_warm * BATCH_SIZE :]] = typical_lengths(workload.training_lengths, n_steps * BATCH_SIZE)
    return rows_of(workload.kind, lengths, workload.n_training_pieces), rows
