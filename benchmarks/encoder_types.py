"""The gain from packing for each type of encoder: xeval compared with plain padded batches of the same rows.

All encoders have the size of ELECTRA small, so that types can be compared, random weights, and those settings of
published checkpoints that change what is computed. They run on one thread in float32. Times are the process's processor
time, so other work on the machine hardly disturbs them.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from tabulate import tabulate
from transformers import AutoConfig, AutoModelForSequenceClassification

from benchmarks import inputs
from benchmarks.ours import recipe
from xeval.engine.batches import collate, random_batches
from xeval.engine.devices import Compute
from xeval.engine.fast_path.forward import PACKED_TYPES
from xeval.engine.prediction import predict_logits
from xeval.engine.training import fine_tune
from xeval.kinds.encoded import Encoded

N_STEPS, N_TEST_ROWS, TEST_BATCH_SIZE = 1, 16, 8  # the last is the Trainer's default
N_PIECES = 30_000
COMPUTE = Compute(torch.device("cpu"), torch.float32)
SIZE = {"hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 1_024}
PIECES = {
    "pad_token_id": 1,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
    "mask_token_id": 4,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 256,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "distilbert": {"num_hidden_layers": 6, "hidden_dim": 1_024},
    "modernbert": {"reference_compile": False},
    "rembert": {"input_embedding_size": 256},
}


def encoder_types() -> str:
    """Return a Markdown table with a line for each type."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lines = [_line(model_type) for model_type in sorted(PACKED_TYPES)]
    finally:
        torch.set_num_threads(n_threads)
    header = ["type", "train", "evaluate", "train, ms a pair", "evaluate, ms a pair"]
    return tabulate(lines, header, "pipe", disable_numparse=True, colalign=["left"] + ["right"] * 4)


def _line(model_type: str) -> list[str]:
    """Return how many times as fast as plain transformers xeval trains and evaluates, and its own times."""
    model, training = _classifier(model_type), _rows(inputs.TRAINING_LENGTHS, N_STEPS * inputs.BATCH_SIZE)
    test = _rows(inputs.TEST_LENGTHS, N_TEST_ROWS)
    predict_logits(model, test.take(np.arange(2)), COMPUTE)  # set-up that only a first call does
    seconds = [
        (_seconds(lambda: _plain_training(model, training)), _seconds(lambda: _training(model, training))),
        (_seconds(lambda: _plain_evaluation(model, test)), _seconds(lambda: predict_logits(model, test, COMPUTE))),
    ]
    ratios = [f"{plain / ours:.1f}" for plain, ours in seconds]
    ms_of_a_pair = [f"{1e3 * ours / len(rows):.0f}" for (_, ours), rows in zip(seconds, (training, test), strict=True)]
    return [f"`{model_type}`", *ratios, *ms_of_a_pair]


def _rows(percentiles: tuple[int, ...], n: int) -> Encoded:
    """Return rows with pieces from all over a vocabulary of `N_PIECES`."""
    rows = inputs.pairs_of(inputs.typical_lengths(percentiles, n), n_pieces=N_PIECES // 2)
    rows.input_ids[:] %= N_PIECES - 1_000
    rows.input_ids[:] += 1_000
    return rows


def _classifier(model_type: str) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=N_PIECES,
        num_labels=inputs.N_LABELS,
        **(SIZE | PIECES | SETTINGS.get(model_type, {})),
    )
    model: transformers.PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return model


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _training(model: transformers.PreTrainedModel, rows: Encoded) -> None:
    fine_tune(inputs.KIND, model, rows, recipe(N_STEPS), 5e-5, 0, COMPUTE, selection_score=None)


def _plain_training(model: transformers.PreTrainedModel, rows: Encoded) -> None:
    """Train on the same batches, each padded to its longest row."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0, fused=True)
    model.train()
    for batch in random_batches(len(rows), inputs.BATCH_SIZE, seed=0, epoch=0):
        labels = torch.from_numpy(rows.targets_of(batch))
        model(**collate(rows, batch, model.config, COMPUTE.device), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


@torch.no_grad()
def _plain_evaluation(model: transformers.PreTrainedModel, rows: Encoded) -> None:
    model.eval()
    for batch in np.array_split(np.arange(len(rows)), len(rows) // TEST_BATCH_SIZE):
        model(**collate(rows, batch, model.config, COMPUTE.device))
