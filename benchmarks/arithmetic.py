"""The fewest floating-point operations that the work takes, and the most that the machine can do."""

import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import PretrainedConfig

from xeval.engine.devices import onednn_is_exact
from xeval.kinds.kind import Reads

# Rows, columns and inner size: a batch's tokens through a feed-forward block of these models, and larger shapes.
SHAPES = ((1_312, 3_072, 768), (4_096, 3_072, 768), (4_096, 768, 3_072), (2_048, 2_048, 2_048))
LARGE = (8_192, 8_192, 8_192)  # large enough to fill a GPU


def needed_flops(config: PretrainedConfig, lengths: np.ndarray, training: bool, reads: Reads = "first token") -> float:
    """Return the operations for rows of these lengths without padding; the last layer is for what the head reads.

    Training takes three times as many. Only matrix products count, with two operations for each multiplication and
    addition; embeddings and the optimizer do not.
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or config.hidden_dim
    tokens, squares, pairs = lengths.sum(), (lengths**2).sum(), len(lengths)
    block, attention = 4 * width**2 + 2 * width * inner, 2 * width  # multiplications per token, and per pair of tokens
    layer = tokens * block + squares * attention
    if reads == "every token":  # their heads are too small to count
        return 2.0 * float(layers * layer) * (3 if training else 1)
    whole = (layers - 1) * layer
    last = tokens * 2 * width**2 + pairs * (2 * width**2 + 2 * width * inner) + tokens * attention
    head = pairs * width**2
    return 2.0 * float(whole + last + head) * (3 if training else 1)


def gemm_peak(dtype: torch.dtype, seconds: float = 0.5, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return operations per second of the fastest matrix product here, over several shapes and ways to compute it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # "medium" selects a faster library on some processors, and bfloat16 on others, with AMX.
    is_exact = dtype == torch.float32 and device.type == "cpu" and onednn_is_exact()
    precisions = ("highest", "medium") if is_exact else ("highest",)
    usual, best = torch.get_float32_matmul_precision(), 0.0
    for precision in precisions:
        torch.set_float32_matmul_precision(precision)
        for rows, columns, inner in SHAPES if device.type == "cpu" else (*SHAPES, LARGE):
            some = torch.randn(rows, inner, dtype=dtype, device=device)
            other = torch.randn(columns, inner, dtype=dtype, device=device)
            best = max(best, 2.0 * rows * columns * inner / _quickest(some, other, seconds / len(SHAPES), clock))
    torch.set_float32_matmul_precision(usual)
    return best


def _quickest(some: torch.Tensor, other: torch.Tensor, seconds: float, clock: Callable[[], float]) -> float:
    """Return the seconds of the quickest product, repeated for `seconds`."""
    quickest, ends = float("inf"), clock() + seconds
    while clock() < ends or quickest == float("inf"):
        if some.is_cuda:
            torch.cuda.synchronize()
        started = clock()
        torch.nn.functional.linear(some, other)
        if some.is_cuda:
            torch.cuda.synchronize()
        quickest = min(quickest, clock() - started)
    return quickest
