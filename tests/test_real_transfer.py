"""Real XNLI, fine-tuned on the 10,000 English pairs here and evaluated in all 15 languages, against a plain loop.

`XEVAL_REAL_ENCODER=<folder>` also runs it on a pretrained encoder, as for the table in docs/transfer.md: half an hour
on two cores. The test then also expects transfer.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import xeval
from tests.conftest import SHARED
from xeval.data.model_files import find_checkpoint
from xeval.definitions.registry import get_task
from xeval.engine.devices import choose
from xeval.results.predictions import column, load_predictions
from xeval.support.cache import kept_weights

DATA = SHARED / "data/xnli"
REAL = os.environ.get("XEVAL_REAL_ENCODER")
N_ROWS = 300  # of each language
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="no real XNLI here")]


@torch.no_grad()
def plain_predictions(model, tokenizer, language: str, rows: np.ndarray) -> np.ndarray:
    """(N,) indices of the labels predicted for these test rows, in padded batches of sixteen."""
    [path] = sorted((DATA / language).glob("test*.parquet"))
    texts = pq.read_table(path).take(rows)
    premises, hypotheses = (texts[name].to_pylist() for name in ("premise", "hypothesis"))
    said = []
    for start in range(0, len(rows), 16):
        part = slice(start, start + 16)
        inputs = tokenizer(
            premises[part], hypotheses[part], truncation=True, max_length=128, padding=True, return_tensors="pt"
        )
        said += model(**inputs.to(model.device)).logits.argmax(dim=1).tolist()
    return np.array(said)


@pytest.mark.parametrize("encoder", ["mini-mbert", *filter(None, [REAL])])
def test_every_prediction_matches_a_plain_loop(tmp_path, encoder):
    """A pretrained encoder also transfers to every language."""
    (record,) = xeval.run(
        "xnli",
        [encoder],
        seeds=[1],
        overrides={"epochs": 1.0},
        data=DATA,
        results=tmp_path,
        max_eval=N_ROWS,
        dtype="float32",
    )
    languages = get_task("xnli").languages
    assert record.status == "complete" and record.scores.keys() == set(languages)
    [folder] = [path.parent for path in tmp_path.rglob("record.json")]
    weights: Path | None = kept_weights(record.identity, record.training.weights_sha256)
    model = AutoModelForSequenceClassification.from_pretrained(weights).to(choose("auto", "float32").device).eval()
    tokenizer = AutoTokenizer.from_pretrained(find_checkpoint(encoder).folder)
    n_differences = 0
    for language in languages:
        table = load_predictions(folder, language, record.scores[language].predictions_sha256)
        predictions = plain_predictions(model, tokenizer, language, column(table, "row"))
        n_differences += int((predictions != column(table, "prediction")).sum())
        assert record.scores[language].value == np.mean(predictions == column(table, "label"))
    assert n_differences == 0, f"of {len(languages) * N_ROWS}"
    if encoder == REAL:
        values = {language: score.value for language, score in record.scores.items()}
        assert values["en"] > 0.55
        assert min(values.values()) > 1 / 3 + 0.1
