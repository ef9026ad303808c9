"""What could give a label away without reading: the hypothesis alone, and counts of shared words."""

import numpy as np
import pytest
from bayes import accuracy, ngrams

from xeval.data.microcosm import corpus, lexicon


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("language", lexicon.ALL)
def test_the_hypothesis_alone_is_near_chance(language, split):
    # The task trains in English only, but this classifier gets training rows in its own language.
    train, held_out = ([(ngrams(h), label) for _, h, label in corpus.rows(name, language)] for name in ("train", split))
    assert abs(accuracy(train, held_out) - 1 / 3) <= 0.05


def overlap_features(rows):
    """Counts of all, shared and new words, and whether either side contains a negation or an "and"."""
    features = []
    for premise, hypothesis, _ in rows:
        p, h = (text.lower().rstrip(".").split() for text in (premise, hypothesis))
        shared, new = len(set(p) & set(h)), sum(word not in p for word in h)
        features.append([1, shared, shared / len(set(h)), shared / len(set(p)), new, new == 0, len(p), len(h),
                         len(p) - len(h), "not" in p, "not" in h, ("not" in p) * ("not" in h),
                         new * ("not" in h), new * ("not" in p), "and" in p])  # fmt: skip
    return np.array(features, dtype=float)


def test_overlap_counts_predict_labels_poorly():
    train, test = corpus.rows("train", "en"), corpus.rows("test", "en")
    x, x_test = overlap_features(train), overlap_features(test)
    scale = np.abs(x).max(axis=0)
    x, x_test = x / scale, x_test / scale
    y, y_test = (np.array([label for *_, label in rows]) for rows in (train, test))
    weights = np.zeros((x.shape[1], 3))
    for _ in range(1500):  # logistic regression
        scores = np.exp(x @ weights)
        weights -= 0.5 * x.T @ (scores / scores.sum(1, keepdims=True) - np.eye(3)[y]) / len(y)
    assert ((x_test @ weights).argmax(1) == y_test).mean() <= 0.55


def test_overlap_categories_predict_labels_poorly():
    # Majority label per combination of counts: finds non-linear patterns.
    train, test = corpus.rows("train", "en"), corpus.rows("test", "en")

    def keyed(rows):
        return [(tuple(f[[4, 9, 10, 14]]), label) for f, (*_, label) in zip(overlap_features(rows), rows, strict=True)]

    counts: dict[tuple, list[int]] = {}
    for key, label in keyed(train):
        counts.setdefault(key, [0, 0, 0])[label] += 1
    hits = [int(np.argmax(counts.get(key, [1, 0, 0]))) == label for key, label in keyed(test)]
    assert np.mean(hits) <= 0.55
