"""The real XQuAD, MLQA and TyDi QA: the published files are read, and every answer matches a plain loop.

`XEVAL_REAL_ENCODER=<folder>` also runs the loop with a pretrained encoder.
"""

import json
import os
from pathlib import Path

import pytest
import torch

from tests.conftest import SHARED
from tests.helpers.archives import unpack
from tests.helpers.plain_answers import plain_answers
from xeval.data.model_files import find_checkpoint
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.loading import load_pretrained, load_tokenizer
from xeval.engine.prediction import predict
from xeval.judging.comparison.resampling import shared_places
from xeval.kinds.rows import Rows
from xeval.support.errors import DataError

ARCHIVES = {name: SHARED / f"data/xtreme/{name}.tar.xz" for name in ("xquad", "mlqa", "tydiqa")}
ENCODERS = ["mini-mbert", "mini-distilmbert", *filter(None, [os.environ.get("XEVAL_REAL_ENCODER")])]
N_QUESTIONS = int(os.environ.get("XEVAL_REAL_QUESTIONS", "12"))  # of each language
pytestmark = pytest.mark.skipif(not all(path.exists() for path in ARCHIVES.values()), reason="not all data are here")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("xtreme")
    for archive in ARCHIVES.values():
        unpack(archive, folder)
    return folder


def rows_of(data: Path, task: str, language: str, role: str = "test") -> Rows:
    definition = get_task(task)
    if task == "mlqa":
        definition = definition.tested_on("dev")
    return load_rows(open_source(definition, data, definition.languages), language, role)


@pytest.mark.parametrize("task", ["xquad", "mlqa"])
def test_real_files_are_read_in_full(data, task):
    for language in get_task(task).languages:
        rows = rows_of(data, task, language)
        name = f"xquad.{language}.json" if task == "xquad" else f"dev-context-{language}-question-{language}.json"
        (path,) = data.rglob(name)
        paragraphs = [each for one in json.loads(path.read_text("utf-8"))["data"] for each in one["paragraphs"]]
        by_hand = [
            (
                each["context"],
                asked["question"],
                [(answer["answer_start"], answer["text"]) for answer in asked["answers"]],
            )
            for each in paragraphs
            for asked in each["qas"]
        ]
        assert list(zip(rows.texts["context"], rows.texts["question"], rows.gold, strict=True)) == by_hand


def test_task_folder_reads_like_the_whole_download(data):
    assert rows_of(data / "xquad", "xquad", "th").sha256 == rows_of(data, "xquad", "th").sha256
    assert rows_of(data / "mlqa", "mlqa", "hi").sha256 == rows_of(data, "mlqa", "hi").sha256


def test_only_rows_with_answers_are_read(data):
    assert len(rows_of(data, "tydiqa-goldp", "en", "train")) == 3696
    with pytest.raises(DataError, match=r"carry no answers \(XTREME strips them from test files\)"):
        rows_of(data, "tydiqa-goldp", "sw")


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("task", ["xquad", "mlqa"])
def test_every_answer_matches_a_plain_loop(data, task, encoder):
    """With a randomly drawn head, whose answers have all lengths and come from all windows."""
    kind, compute = get_task(task).of_kind, Compute(torch.device("cpu"), torch.float32)
    max_length = 128 if encoder.startswith("mini") else 384
    kind = type(kind)(kind.keys.model_copy(update={"stride": 32})) if max_length == 128 else kind
    checkpoint = find_checkpoint(encoder)
    tokenizer, model = load_tokenizer(checkpoint, max_length), load_pretrained(checkpoint, kind, seed=5).eval()
    n_differences = n_questions = 0
    for language in get_task(task).languages:
        rows = rows_of(data, task, language).first(N_QUESTIONS)
        encoded = encode(kind, tokenizer, rows, max_length)
        ours = kind.answers(predict(model, kind, encoded, compute), encoded, rows)["prediction"].to_pylist()
        plain = list(plain_answers(model, tokenizer, rows, max_length, kind.keys.stride))
        n_differences += sum(one != other for one, other in zip(ours, plain, strict=True))
        n_questions += len(rows)
    assert n_differences == 0, f"of {n_questions}"


def test_languages_of_mlqa_share_some_questions_by_id(data):
    rows = [rows_of(data, "mlqa", language) for language in get_task("mlqa").languages]
    ids, groups = [own.ids for own in rows], [own.groups for own in rows]
    assert {own.n_rows for own in shared_places(ids, groups)} == {len({name for own in ids for name in own})} == {1148}


def test_languages_of_xquad_share_all_questions_in_order(data):
    rows = [rows_of(data, "xquad", language) for language in get_task("xquad").languages]
    ids, groups = [own.ids for own in rows], [own.groups for own in rows]
    assert {len(own) for own in ids} == {1190} and all(own == ids[0] for own in ids)
    assert shared_places(ids, groups) is None  # drawn together row by row
