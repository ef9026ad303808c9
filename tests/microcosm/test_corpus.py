"""Splits, parallelism, determinism and files of xnli-mini."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tools.microcosm.pretraining_text import pretraining_statements, sentences
from xeval.data.microcosm import corpus, lexicon, world
from xeval.data.microcosm.pairs import label_of

# Of the triples, before they are put into a language: changes if world.py, pairs.py or corpus.py draws differently.
TRIPLES_SHA256 = "6dd7eb6a4d94db8424d2d362857e2ecbfe48d50a402cfb7ddfd85e1ed21463ee"


def digest(drawn) -> str:
    return hashlib.sha256(repr(sorted(drawn.items())).encode()).hexdigest()


def test_sizes_and_balance():
    assert {name: 3 * len(triples) for name, triples in corpus.splits().items()} == {
        "train": 9000,
        "validation": 600,
        "test": 1200,
    }
    for triples in corpus.splits().values():
        orders = Counter(tuple(label for _, label in t.hypotheses) for t in triples)
        assert all(sorted(order) == [0, 1, 2] for order in orders)
        assert len(orders) == 6


def test_labels_follow_the_inference_relation():
    for triples in corpus.splits().values():
        for triple in triples:
            assert all(label_of(triple.premise, h) == label for h, label in triple.hypotheses)


def test_every_concept_is_trained_on_dozens_of_times():
    seen = Counter()
    for triple in corpus.splits()["train"]:
        for fact in (*triple.premise, *(h for h, _ in triple.hypotheses)):
            seen.update(c for c in (fact.subject, fact.predicate, fact.object, fact.place, fact.time) if c)
    assert min(seen[c] for concepts in world.CONCEPTS.values() for c in concepts) >= 24


def test_no_premise_in_two_splits():
    premises = [t.premise for triples in corpus.splits().values() for t in triples]
    assert len(premises) == len(set(premises))
    texts = {name: {p for p, _, _ in corpus.rows(name, "en")} for name in corpus.SPLITS}
    assert sum(map(len, texts.values())) == len(set().union(*texts.values()))


def test_premises_are_short():
    assert max(len(p.split()) for name in corpus.SPLITS for p, _, _ in corpus.rows(name, "en")) <= 24


@pytest.mark.parametrize("language", lexicon.ALL)
def test_rows_are_parallel(language):
    for split in ("validation", "test"):
        rows, english = corpus.rows(split, language), corpus.rows(split, "en")
        assert [label for *_, label in rows] == [label for *_, label in english]
        assert all(rows[i][0] == rows[i + 1][0] == rows[i + 2][0] for i in range(0, len(rows), 3))
        # Sentences that are equal in English are equal in every language.
        assert len({h for _, h, _ in rows}) == len({h for _, h, _ in english})


@pytest.mark.slow
def test_corpus_is_the_same_in_another_process():
    program = "from tests.microcosm.test_corpus import *; print(digest(corpus.splits()))"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(root)}
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest(corpus.splits()) == TRIPLES_SHA256


@pytest.mark.parametrize(
    "language",
    [
        language if language in ("en", "sw", "zh") else pytest.param(language, marks=pytest.mark.slow)
        for language in lexicon.ALL
    ],
)
def test_pretraining_text_has_no_held_out_sentence(language):
    statements = pretraining_statements(20_000)
    assert len(set(statements)) == 20_000
    held_out = {s for split in ("validation", "test") for p, h, _ in corpus.rows(split, language) for s in (p, h)}
    assert not held_out & set(sentences(statements, language))


def test_longer_pretraining_text_extends_the_shorter():
    assert pretraining_statements(300)[:100] == pretraining_statements(100)


def test_corpus_is_written_in_the_hubs_layout(tmp_path):
    corpus.write_corpus(tmp_path, ("en", "de"))
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    parts = [f"{part}-00000-of-00001.parquet" for part in ("test", "train", "validation")]
    assert files == ["README.md", f"de/{parts[0]}", f"de/{parts[2]}", *(f"en/{p}" for p in parts)]
    table = pq.read_table(tmp_path / "de" / parts[0])
    assert [(f.name, str(f.type)) for f in table.schema] == [
        ("premise", "string"),
        ("hypothesis", "string"),
        ("label", "int64"),
    ]
    assert [tuple(row.values()) for row in table.to_pylist()] == corpus.rows("test", "de")
    assert (tmp_path / "README.md").read_text(encoding="utf-8").startswith("---\n")


def test_corpus_needs_neither_torch_nor_the_harness():
    program = (
        "import sys, xeval; package = set(sys.modules); import tools.microcosm.pretraining_text; "
        "print([m for m in set(sys.modules) - package if m in ('torch', 'transformers')"
        " or m.startswith('xeval.') and m != 'xeval.data' and not m.startswith('xeval.data.microcosm')])"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
