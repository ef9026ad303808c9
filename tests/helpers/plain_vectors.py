"""Finds translations in a plain loop: one text at a time is embedded, and all pairs are compared one by one."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoModel, PreTrainedTokenizerBase

from tests.helpers.checkpoints import tiny_config

N_LAYERS = 3


def tiny_encoder(architecture: str, vocabulary: int) -> torch.nn.Module:
    """Without a head, with random weights, large enough to distinguish texts."""
    depth = "n_layers" if architecture == "distilbert" else "num_hidden_layers"
    config = tiny_config(architecture, vocabulary, max_position_embeddings=130, **{depth: N_LAYERS})
    torch.manual_seed(0)
    return AutoModel.from_config(config).eval()


@torch.no_grad()
def plain_vectors(
    model, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], layer: int, pooling: str
) -> np.ndarray:
    """(N, hidden), pooled from transformers' hidden states, one text at a time."""
    vectors = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states[layer][0]
        vectors.append((states.mean(dim=0) if pooling == "mean" else states[0]).numpy())
    return np.stack(vectors)


def nearest_of(queries: np.ndarray, texts: np.ndarray) -> list[int]:
    """For each of the (Q, hidden) `queries`, the number of the nearest of the (N, hidden) `texts`, at unit length."""
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (queries, texts)]
    return [int(np.argmin(((unit[1] - query) ** 2).sum(axis=1))) for query in unit[0]]


def slow_pairs(x: np.ndarray, y: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of unit vectors and their margins, best first, as `xeval.kinds.mining.best_pairs` finds them."""

    def nearest(vector, others):
        order = sorted(range(len(others)), key=lambda other: -float(vector @ others[other]))[:4]
        return order, float(np.mean([vector @ others[other] for other in order]))

    of_x, of_y = [nearest(vector, y) for vector in x], [nearest(vector, x) for vector in y]

    def margin(i, j):
        return float(x[i] @ y[j]) / ((of_x[i][1] + of_y[j][1]) / 2)

    candidates = []
    for i in range(len(x)):
        best = max(of_x[i][0], key=lambda j: margin(i, j))
        candidates.append((margin(i, best), i, best))
    for j in range(len(y)):
        best = max(of_y[j][0], key=lambda i: margin(i, j))
        candidates.append((margin(best, j), best, j))
    taken_x, taken_y, pairs = set(), set(), []
    for value, i, j in sorted(candidates, key=lambda pair: -pair[0]):
        if i not in taken_x and j not in taken_y:
            taken_x.add(i)
            taken_y.add(j)
            pairs.append((i, j, value))
    return pairs
