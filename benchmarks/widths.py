"""The hidden size from which bfloat16 is faster, on which the rule in `xeval.engine.devices.choose` is based."""

import time
from statistics import median

import numpy as np
import torch
import transformers
from tabulate import tabulate
from transformers import AutoConfig, AutoModelForSequenceClassification

from benchmarks import inputs
from benchmarks.clock import noting
from benchmarks.ours import recipe
from xeval.engine.devices import Compute, choose
from xeval.engine.prediction import predict_logits
from xeval.engine.training import fine_tune
from xeval.kinds.encoded import Encoded

WIDTHS, N_LAYERS, N_STEPS, N_ROUNDS, N_PAIRS = (128, 160, 192, 256, 384), 4, 6, 3, 256


def widths() -> str:
    """Measure BERT with several hidden sizes and no dropout, like `mini-mbert`, in both arithmetics in turns."""
    pairs = inputs.pairs_of(inputs.typical_lengths(inputs.TRAINING_LENGTHS, N_PAIRS), n_pieces=5_000)
    lines = []
    for width in WIDTHS:
        model = _encoder(width)
        train_s: dict[str, list[float]] = {"float32": [], "bfloat16": []}
        evaluate_s: dict[str, list[float]] = {"float32": [], "bfloat16": []}
        for _ in range(N_ROUNDS):
            for dtype in train_s:
                compute = choose("auto", dtype)
                train_s[dtype] += _step_s(model, pairs, compute)
                started = time.perf_counter()
                predict_logits(model, pairs, compute)
                evaluate_s[dtype].append(time.perf_counter() - started)
        gains = [median(seconds["float32"]) / median(seconds["bfloat16"]) for seconds in (train_s, evaluate_s)]
        lines.append([width, f"{1e3 * median(train_s['float32']):.0f}", *(f"{gain:.2f}" for gain in gains)])
    header = ["hidden size", "training step in float32, ms", "bfloat16, train", "bfloat16, evaluate"]
    return tabulate(lines, header, "pipe", disable_numparse=True, colalign=["right"] * len(header))


def _step_s(model: transformers.PreTrainedModel, pairs: Encoded, compute: Compute) -> list[float]:
    """Return the seconds of each training step except the first."""
    ended: list[float] = []
    fine_tune(inputs.KIND, model, pairs, recipe(N_STEPS), 5e-5, 0, compute, lambda: 0.0, noting(ended))
    return [float(step_s) for step_s in np.diff(ended)]


def _encoder(width: int) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "bert",
        vocab_size=119_547,
        num_labels=inputs.N_LABELS,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=width // 32,
        num_hidden_layers=N_LAYERS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model: transformers.PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return model
