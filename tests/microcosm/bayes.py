"""A multinomial naive Bayes classifier that looks for artefacts."""

from collections import Counter
from itertools import pairwise
from math import log


def ngrams(text: str) -> list[str]:
    """Words and pairs of adjacent words; in languages without spaces, characters stand for words."""
    words = text.lower().rstrip(".。").split()
    if len(words) <= 1:
        words = list(text)
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


def accuracy(train: list[tuple[list[str], int]], test: list[tuple[list[str], int]]) -> float:
    """Accuracy on ``test`` of naive Bayes with add-one smoothing trained on ``train``."""
    counts: dict[int, Counter] = {label: Counter() for label in (0, 1, 2)}
    priors: Counter = Counter()
    for features, label in train:
        counts[label].update(features)
        priors[label] += 1
    vocabulary = {f for c in counts.values() for f in c}
    totals = {label: sum(c.values()) + len(vocabulary) for label, c in counts.items()}

    def score(features: list[str], label: int) -> float:
        return log(priors[label]) + sum(log((counts[label][f] + 1) / totals[label]) for f in features)

    hits = sum(max(counts, key=lambda c: score(features, c)) == label for features, label in test)
    return hits / len(test)
