"""The real SIB-200 in all 22 languages: every prediction matches a plain transformers loop with the same weights.

`XEVAL_REAL_ENCODER=<folder>` also runs it on a pretrained encoder, as for the tables of SIB-200.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import xeval
from tests.conftest import SHARED
from tests.helpers.archives import unpack
from xeval.data.model_files import find_checkpoint
from xeval.definitions.registry import get_task
from xeval.results.predictions import column, load_predictions
from xeval.results.records import RunRecord
from xeval.support.cache import kept_weights

ARCHIVE = SHARED / "data/xtreme/sib200.tar.xz"
PIECES = {"mini-mbert": 128}  # the most that it takes; others as in the recipe
ENCODERS = ["mini-mbert", *filter(None, [os.environ.get("XEVAL_REAL_ENCODER")])]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ARCHIVE.exists(), reason="no SIB-200 here")]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sib200")
    unpack(ARCHIVE, folder)
    return folder / "sib200"


@torch.no_grad()
def plain_predictions(
    weights: Path, tokenizer_of: Path, data: Path, language: str, max_length: int
) -> tuple[list[str], list[str]]:
    """Predicted and correct topics, from padded batches of sixteen rows."""
    rows = pd.read_csv(data / language / "test.tsv", sep="\t", keep_default_na=False)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    model = AutoModelForSequenceClassification.from_pretrained(weights).eval()
    said = []
    for start in range(0, len(rows), 16):
        texts = rows["text"].tolist()[start : start + 16]
        inputs = tokenizer(texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
        said += [model.config.id2label[index] for index in model(**inputs).logits.argmax(dim=1).tolist()]
    return said, rows["category"].tolist()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_prediction_matches_a_plain_loop(data, tmp_path, encoder):
    task = get_task("sib200")
    max_length = PIECES.get(encoder, 164)
    (record,) = xeval.run(
        "sib200",
        [encoder],
        overrides={"max_length": max_length},
        data=data,
        results=tmp_path,
        dtype="float32",
        device="cpu",
    )
    assert record.status == "complete" and record.scores.keys() == set(task.languages)
    [folder] = [path.parent for path in tmp_path.rglob("record.json")]
    n_differences = 0
    for language in task.languages:
        table = load_predictions(folder, language, record.scores[language].predictions_sha256)
        ours = [task.labels[index] for index in column(table, "prediction")]
        said, gold = plain_predictions(weights_of(record), find_checkpoint(encoder).folder, data, language, max_length)
        n_differences += sum(one != other for one, other in zip(ours, said, strict=True))
        right = [one == other for one, other in zip(said, gold, strict=True)]
        assert record.scores[language].value == np.mean(right)
    assert n_differences == 0, f"of {22 * 204}"


def weights_of(record: RunRecord) -> Path:
    kept = kept_weights(record.identity, record.training.weights_sha256)
    assert kept is not None
    return kept
