"""Measures whether bfloat16 changes what a trained model predicts, with xeval's small encoder after training."""

import os
import tempfile

import numpy as np
from tabulate import tabulate

import xeval
from xeval.data.model_files import find_checkpoint
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.engine.devices import choose
from xeval.engine.encoding import encode
from xeval.engine.loading import load_fine_tuned, load_tokenizer
from xeval.engine.prediction import predict_logits
from xeval.support.cache import kept_weights

TASK, MODEL, ROWS_PER_LANGUAGE = "xnli-mini", "mini-mbert", 100


def flips() -> str:
    """Return a Markdown table that compares one set of weights' predictions in both arithmetics."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XEVAL_CACHE"] = f"{folder}/cache"
        (record,) = xeval.run(TASK, [MODEL], results=f"{folder}/results", max_eval=ROWS_PER_LANGUAGE)
        assert record.training is not None
        checkpoint, task = find_checkpoint(MODEL), get_task(TASK)
        model = load_fine_tuned(checkpoint, task.of_kind, kept_weights(record.identity, record.training.weights_sha256))
    max_length = record.recipe.values["max_length"]
    assert isinstance(max_length, int)
    tokenizer, source = load_tokenizer(checkpoint, max_length), open_source(task, None, task.languages)
    logits: dict[str, list[np.ndarray]] = {"float32": [], "bfloat16": []}
    labels = []
    for language in task.languages:
        rows = load_rows(source, language, "test").first(ROWS_PER_LANGUAGE)
        pairs = encode(task.of_kind, tokenizer, rows, max_length)
        labels.append(rows.gold)
        for dtype, outputs in logits.items():
            outputs.append(predict_logits(model, pairs, choose("auto", dtype)))
    in_float32, in_bfloat16 = (np.concatenate(logits[dtype]) for dtype in ("float32", "bfloat16"))
    gold = np.concatenate(labels)
    n_flips = int((in_float32.argmax(1) != in_bfloat16.argmax(1)).sum())
    accuracies = [f"{100 * (outputs.argmax(1) == gold).mean():.2f}" for outputs in (in_float32, in_bfloat16)]
    largest = f"{np.abs(in_float32 - in_bfloat16).max():.3f}"
    row = [f"{len(gold):,}", n_flips, largest, *accuracies]
    header = ["rows", "predictions that differ", "largest logit difference", "accuracy, float32", "accuracy, bfloat16"]
    return tabulate([row], header, "pipe", disable_numparse=True, colalign=["right"] * len(row))
