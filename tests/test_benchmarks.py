"""The operations and lengths that the benchmark counts and draws, checked against torch and against real rows."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForSequenceClassification

from benchmarks import inputs, vectors
from benchmarks.arithmetic import needed_flops
from xeval.engine.devices import Compute
from xeval.engine.fast_path.forward import logits_of, packed

CPU = Compute(torch.device("cpu"), torch.float32)
SIZES = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64},
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 64},
}


@pytest.mark.parametrize("architecture", SIZES)
def test_operations_counted_are_those_of_the_packed_model(architecture):
    """Up to the keys and values of first tokens in the last layer, computed twice, and the head's last product."""
    config = AutoConfig.for_model(architecture, vocab_size=119_547, num_labels=3, **SIZES[architecture])
    model = AutoModelForSequenceClassification.from_config(config).eval()
    lengths = np.array([7, 40, 40, 21])
    with torch.no_grad(), packed(model), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        logits_of(model, inputs.pairs_of(lengths), np.arange(4), CPU)
    twice, last = 4 * 2 * 32**2, 4 * 32 * 3
    assert counter.get_total_flops() == needed_flops(config, lengths, training=False) + 2 * (twice + last)


def test_training_is_counted_as_three_forward_passes():
    config, lengths = inputs.ARCHITECTURES["mBERT"], np.array([40, 50])
    assert needed_flops(config, lengths, True) == 3 * needed_flops(config, lengths, False)


@pytest.mark.parametrize(
    ("percentiles", "mean"),
    [(inputs.TRAINING_LENGTHS, 40.8), (inputs.TEST_LENGTHS, 56.5), (vectors.LENGTHS, 11.2)],
    ids=["training", "test", "Tatoeba"],
)
@pytest.mark.parametrize("n", [48, 128, 5010])
def test_lengths_drawn_have_the_mean_of_the_real_ones(percentiles, mean, n):
    assert inputs.typical_lengths(percentiles, n).mean() == pytest.approx(mean, rel=0.02)


def test_timed_steps_train_on_typical_rows():
    pairs, rows = inputs.training_pairs(n_warm=2, n_steps=3)
    assert len(rows) == len(set(rows.tolist())) == (2 + 3) * inputs.BATCH_SIZE
    assert pairs.lengths[rows[2 * inputs.BATCH_SIZE :]].mean() == pytest.approx(40.8, rel=0.02)
    assert len(np.unique(pairs.input_ids)) == inputs.N_TRAINING_PIECES
