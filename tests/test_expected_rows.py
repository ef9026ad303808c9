"""How many rows a split must have: one number for all languages, or a table by language."""

import pytest

from tests.helpers import tiny
from xeval.definitions.registry import get_task
from xeval.support.errors import DataError, DefinitionError

NUMBER = f"test = {tiny.COUNTS['test']}"


def task_with(folder, test: str):
    return get_task(str(tiny.write_task(folder, (NUMBER, f"test = {test}"))))


def test_table_has_numbers_by_language_and_a_default(tmp_path):
    rows = task_with(tmp_path, "{ default = 750, es = 738 }").expected_rows
    assert [rows.of("test", language) for language in ("en", "es", "zh")] == [750, 738, 750]
    assert rows.of("train", "en") == tiny.COUNTS["train"]


def test_single_number_holds_for_all_languages(tmp_path):
    task = task_with(tmp_path, "12")
    assert {task.expected_rows.of("test", language) for language in task.languages} == {12}
    assert task.expected_rows.test == 12


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("{ en = 12, es = 12 }", "expected_rows.test: no number for 'zh'; add it, or default"),
        ("{ default = 12, fr = 11 }", "expected_rows.test: 'fr' is not among the languages"),
        ("{ default = 12, es = 0 }", "expected_rows.test: Input should be greater than 0"),
        ('{ default = 12, es = "11" }', "expected_rows.test: Input should be a valid integer"),
        ("[12]", "expected_rows.test: Input should be a valid integer, got (12,)"),
    ],
)
def test_faulty_tables_of_expected_rows_are_refused(tmp_path, test, complaint):
    with pytest.raises(DefinitionError) as caught:
        task_with(tmp_path, test)
    assert complaint in str(caught.value)


def test_an_empty_table_leaves_rows_uncounted(tmp_path):
    folder = tiny.write_hub_layout(tmp_path / "data", tiny.mini_rows() | {("test", "es"): tiny.make_rows("es", 9)})
    own = tiny.write_task(tmp_path / "own", (NUMBER, "test = {}"))
    assert len(tiny.Mini(own, folder).load("es")) == 9


def test_row_counts_are_checked_by_language(tmp_path, mini):
    n_rows = tiny.COUNTS["test"]
    folder = tiny.write_hub_layout(tmp_path / "data", tiny.mini_rows() | {("test", "es"): tiny.make_rows("es", 9)})
    own = tiny.write_task(tmp_path / "own", (NUMBER, f"test = {{ default = {n_rows}, es = 9 }}"))
    assert [len(tiny.Mini(own, folder).load(language)) for language in ("en", "es")] == [n_rows, 9]
    with pytest.raises(DataError, match=f"wanted {n_rows}, found 9"):
        tiny.Mini(mini.task_file, folder).load("es")
