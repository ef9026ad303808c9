"""The real PAWS-X as XTREME publishes it: only development files have labels, and no English training pairs."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED
from tests.helpers.archives import unpack
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_suite, get_task
from xeval.runs.suite import Wanted, find_rows
from xeval.support.errors import DataError

ARCHIVE = SHARED / "data/xtreme/pawsx.tar.xz"
pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="no PAWS-X here")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The folder of the whole download, with that of PAWS-X in it."""
    folder = tmp_path_factory.mktemp("xtreme")
    unpack(ARCHIVE, folder)
    return folder


def test_each_language_has_2000_pairs_with_their_labels(data):
    task = get_task("paws-x").tested_on("dev")
    source = open_source(task, data / "pawsx", task.languages)
    assert source.name == "local copy (XTREME layout)"
    for language in task.languages:
        rows = load_rows(source, language, "test")
        lines = (data / "pawsx" / f"dev-{language}.tsv").read_text(encoding="utf-8").split("\n")[:-1]
        assert len(rows) == len(lines) == 2000
        assert rows.gold.tolist() == [int(line[-1]) for line in lines]
        assert 0.4 < np.mean(rows.gold) < 0.5


def test_first_english_pair_is_a_paraphrase(data):
    task = get_task("paws-x").tested_on("dev")
    rows = load_rows(open_source(task, data / "pawsx", ["en"]), "en", "test")
    assert task.labels[rows.gold[0]] == "paraphrase"
    assert rows.texts["premise"][0].startswith("From the merger of the Four Rivers Council")


def test_suite_finds_the_folder_but_no_training_rows(data):
    [member] = [member for member in get_suite("xtreme").tasks if member.task == "paws-x"]
    with pytest.raises(DataError, match=r"pawsx: no train-en.tsv, which the train rows of 'en' are read from"):
        find_rows(get_task("paws-x"), member, data, Wanted())
    plan = find_rows(get_task("paws-x"), member, data, Wanted(train=False))
    assert (plan.data, plan.test_split, plan.lacking) == (data / "pawsx", "dev", ())
