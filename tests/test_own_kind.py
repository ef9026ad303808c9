"""A kind of task in a distribution of its own, found by its entry point: trained, scored, judged, gated and reported.

Nothing of xeval knows it: its rows have a tag for every word, its metric is no share of rows, and its head reads every
token.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import BertTokenizer

from tests.helpers.checkpoints import tiny_model

ROOT = Path(__file__).parents[1]
LANGUAGES = ("en", "es", "ar")
COUNTS = {"train": 96, "selection": 24, "test": 40}
NOUNS, VERBS, OTHERS = (
    {"en": ["cat", "dog", "house"], "es": ["gato", "perro", "casa"], "ar": ["قط", "كلب", "بيت"]},
    {"en": ["sees", "has"], "es": ["ve", "tiene"], "ar": ["يرى", "لديه"]},
    {"en": ["the", "a"], "es": ["el", "un"], "ar": ["هذا", "ذلك"]},
)
TASK = f"""\
name = "toy-tagging"
title = "Toy tagging"
kind = "toy-tags"
metric = "tag_accuracy"
default_recipe = "hf-2019"
training_language = "en"
languages = {list(LANGUAGES)}
tags = ["NOUN", "VERB", "OTHER"]
licence = "CC0"
citation = "Written for the tests of xeval."
source_url = "https://example.org/toy-tagging"

[expected_rows]
train = {COUNTS["train"]}
selection = {COUNTS["selection"]}
test = {COUNTS["test"]}
"""
RECIPE = """\
name = "brief"
description = "Enough for the toy task"
learning_rate = 5e-3
batch_size = 16
epochs = 4
max_length = 32
selection = "english-dev"
seed = 1
"""
TABLE = """\
name = "toy-table"
title = "A table of the toy task"
task = "toy-tagging"
split = "test"
source_url = "https://example.org/toy-table"
languages = ["en", "es"]

[[rows]]
name = "Toy encoder"
model = "toy-encoder"
how = "made up"
recipe = "brief"
cells = { en = 99.0, es = 10.0 }
"""


def write_rows(folder: Path) -> None:
    """Words and their tags, one sentence a row; a quarter of the words are English in every language."""
    for language, role in [("en", "train"), ("en", "selection"), *((language, "test") for language in LANGUAGES)]:
        rng, lines = random.Random(f"{language} {role}"), ["words\ttags"]
        for _ in range(COUNTS[role]):
            words, tags = [], []
            for _ in range(rng.randint(3, 9)):
                tag, all_words = rng.choice([("NOUN", NOUNS), ("VERB", VERBS), ("OTHER", OTHERS)])
                words.append(rng.choice(all_words["en" if rng.random() < 0.25 else language]))
                tags.append(tag)
            lines.append(f"{' '.join(words)}\t{' '.join(tags)}")
        path = folder / language / f"{'validation' if role == 'selection' else role}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_encoder(folder: Path) -> None:
    words = sorted({word for some in (NOUNS, VERBS, OTHERS) for own in some.values() for word in own})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    model = tiny_model("bert", len(pieces), hidden_dropout_prob=0.0, initializer_range=0.1)
    model.base_model.save_pretrained(folder)
    BertTokenizer(vocab={piece: n for n, piece in enumerate(pieces)}, do_lower_case=False).save_pretrained(folder)


def install(site: Path) -> None:
    """What pip leaves of a distribution: its module, and a folder that names its entry points."""
    site.mkdir()
    shutil.copy(ROOT / "tests/helpers/toy_kind/toy_tags.py", site)
    information = site / "xeval_toy_tags-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: xeval-toy-tags\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[xeval.kinds]\ntoy-tags = toy_tags:ToyTags\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Everything that a user of the kind has: the distribution, a task file, rows, an encoder, a published table."""
    folder = tmp_path_factory.mktemp("own-kind")
    install(folder / "site")
    for name, text in {"tasks/toy-tagging.toml": TASK, "brief.toml": RECIPE, "toy-table.toml": TABLE}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("'", '"'))
    write_rows(folder / "data")
    write_encoder(folder / "toy-encoder")
    return folder


@pytest.fixture(scope="module")
def xeval(place):
    """`xeval(words…)`: the command line in a process of its own, which sees the distribution."""

    def command(*words: str, exits: int = 0) -> str:
        path = os.pathsep.join([str(place / "site"), str(ROOT)])
        settings = {"PYTHONPATH": path, "XEVAL_CACHE": str(place / "cache"), "XEVAL_TASKS": str(place / "tasks")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "xeval", *words],
            capture_output=True,
            text=True,
            cwd=place,
            env=os.environ | settings | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )
        assert done.returncode == exits, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return command


RUN = ("run", "toy-tagging", "--model", "./toy-encoder", "--recipe", "brief.toml", "--data", "data")


@pytest.fixture(scope="module")
def ran(xeval) -> None:
    xeval(*RUN, "--seed", "1,2", "--dtype", "float32", "--device", "cpu")


def test_the_kind_is_under_a_hundred_lines():
    assert len((ROOT / "tests/helpers/toy_kind/toy_tags.py").read_text().splitlines()) < 100


def test_without_the_distribution_its_task_is_refused_in_one_line(place):
    settings = {"PYTHONPATH": str(ROOT), "XEVAL_CACHE": str(place / "cache"), "XEVAL_TASKS": str(place / "tasks")}
    command = [sys.executable, "-m", "xeval", *RUN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, env=os.environ | settings)
    assert done.returncode == 2
    assert "kind: unknown kind of task 'toy-tags': did you mean" in done.stderr


def test_a_key_that_the_kind_does_not_have_is_refused(place, xeval):
    faulty = place / "faulty.toml"
    faulty.write_text(TASK.replace("'", '"').replace("tags =", "labels ="))
    said = xeval("run", "./faulty.toml", *RUN[2:], exits=2)
    assert "tags: Field required (and 1 more)" in said


def records_of(place: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(place.glob("results/*/*/*/record.json"))]


def test_it_is_trained_and_scored(place, ran):
    records = records_of(place)
    assert [record["seed"] for record in records] == [1, 2]
    for record in records:
        assert record["scores"].keys() == set(LANGUAGES)
        print(json.dumps(record["scores"]["en"], indent=1))


def test_it_is_reported(place, ran, xeval):
    said = xeval("report", "--format", "markdown")
    print(said)
