"""The real PAN-X in 47 languages: every prediction matches a plain transformers loop with the same weights.

`XEVAL_REAL_ENCODER=<folder>` also runs it on a pretrained encoder.
"""

import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

import xeval
from tests.conftest import SHARED
from tests.helpers.archives import unpack
from xeval.data.model_files import find_checkpoint
from xeval.definitions.registry import get_task
from xeval.results.predictions import load_predictions
from xeval.support.cache import kept_weights

ARCHIVE = SHARED / "data/xtreme/panx.tar.xz"
ENCODERS = ["mini-mbert", *filter(None, [os.environ.get("XEVAL_REAL_ENCODER")])]
LANGUAGES = [language for language in get_task("pan-x").languages if language != "th"]  # no copy of it here
MOST_ROWS, MAX_LENGTH = 200, 64
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ARCHIVE.exists(), reason="no PAN-X here")]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("panx")
    unpack(ARCHIVE, folder)
    return folder


def sentences(path: Path) -> list[list[tuple[str, str]]]:
    """The sentences of a file as (word, tag) pairs."""
    found: list[list[tuple[str, str]]] = [[]]
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            word, tag = line.split("\t")
            found[-1].append((word, tag))
        elif found[-1]:
            found.append([])
    return [sentence for sentence in found if sentence]


@torch.no_grad()
def plain_predictions(model, tokenizer, rows: list[list[tuple[str, str]]]) -> list[list[str]]:
    """As run_ner.py predicts on XTREME's preprocessed files: padded batches, the tag of a word's first piece."""
    first, last = tokenizer("")["input_ids"]
    made = []
    for row, sentence in enumerate(rows):
        pieces, begins = [], []
        for word, _ in sentence:
            own = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))
            if not 0 < len(own) <= MAX_LENGTH - 2:
                own = [tokenizer.unk_token_id]
            if len(pieces) + len(own) > MAX_LENGTH - 2:
                made.append((row, pieces, begins))
                pieces, begins = [], []
            begins.append(len(pieces) + 1)
            pieces = pieces + own
        made.append((row, pieces, begins))
    said: list[list[str]] = [[] for _ in rows]
    for start in range(0, len(made), 16):
        batch = made[start : start + 16]
        longest = max(len(pieces) for _, pieces, _ in batch)
        padding = [[tokenizer.pad_token_id] * (longest - len(pieces)) for _, pieces, _ in batch]
        ids = [[first, *own, last, *pad] for (_, own, _), pad in zip(batch, padding, strict=True)]
        mask = [[1] * (len(own) + 2) + [0] * len(pad) for (_, own, _), pad in zip(batch, padding, strict=True)]
        tags = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.argmax(dim=-1).tolist()
        for (row, _, begins), own in zip(batch, tags, strict=True):
            said[row] += [model.config.id2label[own[place]] for place in begins]
    return said


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_prediction_matches_a_plain_loop(data, tmp_path, encoder):
    changed = {"max_length": MAX_LENGTH, "epochs": 1, "learning_rate": 3e-4, "selection": "last"}
    (record,) = xeval.run(
        "pan-x",
        [encoder],
        languages=LANGUAGES,
        data=data,
        test_split="dev",
        results=tmp_path,
        dtype="float32",
        device="cpu",
        max_train=960,
        max_eval=MOST_ROWS,
        overrides=changed,
    )
    assert record.status == "complete" and record.scores.keys() == set(LANGUAGES)
    [folder] = [path.parent for path in tmp_path.rglob("record.json")]
    weights, labels = kept_weights(record.identity, record.training.weights_sha256), get_task("pan-x").labels
    model = AutoModelForTokenClassification.from_pretrained(weights).eval()
    tokenizer = AutoTokenizer.from_pretrained(find_checkpoint(encoder).folder)
    n_words = n_differences = 0
    for language in LANGUAGES:
        table = load_predictions(folder, language, record.scores[language].predictions_sha256)
        of_file = sentences(next(data.rglob(f"dev-{language}.tsv")))
        rows = [of_file[row] for row in table["row"].to_pylist()]
        assert len(rows) == min(MOST_ROWS, len(of_file))
        ours = [[labels[tag] for tag in row] for row in table["prediction"].to_pylist()]
        gold = [[labels[tag] for tag in row] for row in table["label"].to_pylist()]
        assert gold == [[tag for _, tag in sentence] for sentence in rows]
        for one, other in zip(ours, plain_predictions(model, tokenizer, rows), strict=True):
            assert len(one) == len(other)
            n_words += len(one)
            n_differences += sum(a != b for a, b in zip(one, other, strict=True))
    assert n_differences == 0, f"of {n_words} words"
