"""The real Tatoeba and BUCC: in every language here, what is found matches a plain loop, in float32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import ARCHITECTURES, tiny_tokenizer
from tests.helpers.plain_vectors import nearest_of, plain_vectors, slow_pairs, tiny_encoder
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.engine.devices import Compute
from xeval.engine.prediction import predict
from xeval.engine.vectors import SentenceEncoder
from xeval.kinds.rows import Rows, Table

pytestmark = pytest.mark.slow
CPU = Compute(torch.device("cpu"), torch.float32)
LAYER, POOLING = 2, "mean"  # of three
N_SENTENCES = 16  # of each language of Tatoeba
N_OF_A_SIDE = 100  # sentences of either language of BUCC


def outputs_of(task: str, architecture: str, rows: Rows, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Our vectors of `rows` and plain ones of `texts`, from one encoder whose tokenizer knows their characters."""
    tokenizer = tiny_tokenizer(architecture, texts)
    model, kind = tiny_encoder(architecture, len(tokenizer)), get_task(task).of_kind
    plain = plain_vectors(model, tokenizer, texts, LAYER, POOLING)
    encoded = kind.encode(tokenizer, rows, 128, lambda n: None)
    return predict(SentenceEncoder(model, LAYER, POOLING), kind, encoded, CPU), plain


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:N_SENTENCES]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nearest_sentences_match_a_plain_loop(unpacked, architecture):
    """In the copy here the English side is sorted separately, so lines do not translate each other."""
    task, n_differences = get_task("tatoeba"), 0
    for language in task.languages:
        sides = [lines(unpacked("tatoeba") / f"{language}-en.{suffix}") for suffix in ("en", language)]
        columns = dict(zip(("english", "text"), sides, strict=True)) | {"label": list(range(N_SENTENCES))}
        rows = task.of_kind.read(Table(language, "test", language, columns, {}))
        texts, queries = list(rows.texts["text"]), list(rows.texts["query"])
        outputs, plain = outputs_of("tatoeba", architecture, rows, texts + queries)
        np.testing.assert_allclose(outputs, plain, rtol=0, atol=1e-5)
        said = task.of_kind.answers(outputs, None, rows)["prediction"].to_pylist()
        nearest = [texts.index(texts[place]) for place in nearest_of(plain[len(texts) :], plain[: len(texts)])]
        n_differences += sum(one != other for one, other in zip(said, nearest, strict=True))
    assert n_differences == 0, f"of {len(task.languages) * N_SENTENCES}"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mined_pairs_match_a_plain_loop(unpacked, architecture):
    """A randomly drawn encoder finds no translations, so every third pair that it finds is declared right."""
    task = get_task("bucc2018")
    whole = load_rows(open_source(task, unpacked("bucc2018"), ["zh"]), "zh", "test")
    rows = whole.take(some_of(whole))
    outputs, plain = outputs_of("bucc2018", architecture, rows, list(rows.texts["text"]))
    unit = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    foreign, english = (np.flatnonzero([gold[1] == side for gold in rows.gold]) for side in ("foreign", "english"))
    pairs = [(int(foreign[i]), int(english[j]), margin) for i, j, margin in slow_pairs(unit[foreign], unit[english])]
    right = {i: rows.gold[j][2] for i, j, _ in pairs[::3]}
    gold = [(*own[:3], [right[row]] if row in right else []) for row, own in enumerate(rows.gold)]

    answers = task.of_kind.answers(outputs, None, replace(rows, gold=gold))
    f1 = [2 * -(-n // 3) / (n + len(right)) for n in range(1, len(pairs) + 1)]
    taken = {i: rows.gold[j][2] for i, j, _ in pairs[: int(np.argmax(f1)) + 1]}
    margins = {i: margin for i, _, margin in pairs}
    said = answers["prediction"].to_pylist()
    assert sum(one != taken.get(row, "") for row, one in enumerate(said)) == 0, f"of {len(rows)}"
    assert len(taken) > 1
    expected = [margins.get(row, 0.0) for row in range(len(rows))]
    np.testing.assert_allclose(answers["margin"].to_numpy(), expected, rtol=1e-4)


def some_of(rows: Rows) -> np.ndarray:
    """The numbers of the first rows of each side, each text once."""
    first = {text: row for row, text in reversed(list(enumerate(rows.texts["text"])))}
    own = sorted(first.values())
    sides = [[row for row in own if rows.gold[row][1] == side][:N_OF_A_SIDE] for side in ("foreign", "english")]
    return np.sort(np.concatenate(sides))
