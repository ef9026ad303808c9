"""The encoder under a new head: what is loaded as it is, and what is drawn from the seed."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.helpers.checkpoints import ARCHITECTURES, LABELS
from tests.helpers.tiny import Mini, make_checkpoint
from xeval.data.model_files import find_checkpoint
from xeval.engine.loading import load_pretrained

HEADS = {
    "the task's own": LABELS,
    "the task's in another order": LABELS[::-1],
    "sentiment": ("negative", "neutral", "positive"),
    "of two labels": ("no", "yes"),
}


@pytest.fixture(params=ARCHITECTURES)
def architecture(request) -> str:
    return request.param


def weights_from(folder: Path, mini: Mini, seed: int) -> dict[str, torch.Tensor]:
    model = load_pretrained(find_checkpoint(str(folder)), mini.task.of_kind, seed)
    assert model.config.id2label == dict(enumerate(LABELS))
    return model.state_dict()


@pytest.mark.parametrize("labels", HEADS.values(), ids=HEADS)
def test_a_head_that_the_checkpoint_brings_along_is_drawn_anew(tmp_path, mini, architecture, labels):
    """Everything is what it would be if the checkpoint had never had a head."""
    with_head = make_checkpoint(tmp_path / "with", architecture, labels)
    without = tmp_path / "without"
    AutoModelForSequenceClassification.from_pretrained(with_head).base_model.save_pretrained(without)
    for seed in (1, 2):
        drawn, expected = weights_from(with_head, mini, seed), weights_from(without, mini, seed)
        assert [name for name in expected if not torch.equal(drawn[name], expected[name])] == []


def test_seeds_draw_different_heads_over_the_same_encoder(tmp_path, mini, architecture):
    folder = make_checkpoint(tmp_path / "with", architecture, LABELS)
    one, other = weights_from(folder, mini, 1), weights_from(folder, mini, 2)
    differ = {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}
    heads = {"bert": {"classifier"}, "distilbert": {"pre_classifier", "classifier"}, "xlm-roberta": {"classifier"}}
    assert differ == heads[architecture]
