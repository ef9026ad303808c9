"""What snapshots cost for a model of DistilmBERT's size."""

import time
from functools import partial

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from xeval.engine.fast_path.compact_vocabulary import CompactVocabulary
from xeval.engine.snapshots import SHARE_OF_TIME, Snapshots
from xeval.engine.training_progress import Choice, Outcome, Progress
from xeval.kinds.encoded import Encoded


@pytest.mark.slow
@pytest.mark.parametrize("keep_best", [False, True], ids=["last", "english-dev"])
def test_saving_stays_within_its_share_of_the_time(tmp_path, figure, monkeypatch, keep_best):
    """Six layers of 768, 119,547 word pieces of which the training pairs use 25,000; random weights."""
    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=119_547, num_labels=3))
    ids = np.arange(1000, 26_000, dtype=np.int32)
    pairs = Encoded(
        input_ids=ids,
        offsets=np.array([0, len(ids)]),
        **{field: None for field in Encoded.__dataclass_fields__ if field not in ("input_ids", "offsets")},
    )
    with CompactVocabulary(model, pairs) as vocabulary:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        optimizer.step()
        choice = Choice(model, keep_best)
        with vocabulary.expanded():
            choice.see(1, 0.5)
        progress = Progress(model, vocabulary, optimizer, schedule, choice, Outcome(10, step=1))
        checkpoints = Snapshots(tmp_path)
        started_s = time.monotonic()
        assert checkpoints.save(progress.snapshot())
        due_s = time.monotonic()
    wall_s = due_s - started_s
    while not checkpoints.is_due():
        due_s += 0.5
        monkeypatch.setattr("xeval.engine.snapshots.time.monotonic", partial(float, due_s))
    interval_s = due_s - started_s
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    kept = "best weights kept" if keep_best else "last weights kept"
    figure(
        f"a snapshot of DistilmBERT, {kept}",
        f"{size / 1e6:,.0f} MB in {wall_s:.1f} s, one every {interval_s:.0f} s: {wall_s / interval_s:.1%} of the time",
    )
    assert wall_s / interval_s <= SHARE_OF_TIME
