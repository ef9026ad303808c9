"""Tasks whose corpus xeval makes itself, in task files of the user's own."""

import pytest

from xeval.data.source import open_source
from xeval.definitions.registry import get_task
from xeval.kinds.rows import Rows
from xeval.support.errors import DataError


def rows_of(task, language: str) -> Rows:
    source = open_source(task, None, task.languages)
    return task.of_kind.read(source.read(task, source.folder, language, "test"))


def test_file_with_fewer_languages_leaves_the_task_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path))
    whole = get_task("retrieval-mini")
    part = whole.model_copy(update={"languages": ("de",)})
    german = rows_of(part, "de")
    assert [len(rows_of(whole, language)) for language in ("de", "zh")] == [len(german)] * 2
    assert rows_of(whole, "de").sha256 == german.sha256


def test_language_that_the_corpus_lacks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path))
    task = get_task("tags-mini").model_copy(update={"languages": ("en", "ja")})
    with pytest.raises(DataError, match=r"^task tags-mini: the embedded corpora have ar, .*, not ja; remove it from"):
        open_source(task, None, task.languages)
