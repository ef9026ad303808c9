"""Faulty definition files are refused with file and place, and so are wrong averages."""

from pathlib import Path

import pytest

from tests.helpers import tiny
from xeval.definitions.recipe import Recipe
from xeval.definitions.reference import Reference
from xeval.definitions.registry import get_recipe
from xeval.definitions.task import Task
from xeval.definitions.toml import MAX_FILE_BYTES, read_definition
from xeval.support.errors import DefinitionError

# ── averages ──

TABLE_TOML = """\
name = "table"
title = "A table"
task = "xnli"
split = "test"
source_url = "https://example.org/table"
languages = ["en", "es"]

[[rows]]
name = "a row"
model = "organisation/model"
how = "computed"
recipe = "hf-2019"
cells = { en = 80.0, es = 70.0 }
"""


def read_table(folder: Path, more: str = "", *changes: tuple[str, str]) -> Reference:
    text = TABLE_TOML + more
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "table.toml"
    path.write_text(text, encoding="utf-8")
    return read_definition(path, Reference)


@pytest.mark.parametrize("claimed", [74.9, 75, 75.1])
def test_an_average_that_rounding_explains_is_accepted(tmp_path, claimed):
    [row] = read_table(tmp_path, f"claimed_average = {claimed}").rows
    assert (row.claimed_average, row.average) == (claimed, 75.0)


@pytest.mark.parametrize("claimed", [74.8, 75.2, 57.0])
def test_average_contradicting_the_cells_is_refused(tmp_path, claimed):
    message = refusal(read_table, tmp_path, f"claimed_average = {claimed}")
    assert f"row 'a row' claims an average of {claimed} where its cells give 75.00" in message
    assert "average_note" in message


def test_an_average_that_a_note_explains_is_accepted(tmp_path):
    [row] = read_table(tmp_path, 'claimed_average = 57.0\naverage_note = "printed so"').rows
    assert (row.claimed_average, row.average) == (57.0, 75.0)


# ── faulty files ──


def refusal(read, folder: Path, *arguments) -> str:
    """The one-line refusal, which must name the file."""
    with pytest.raises(DefinitionError) as caught:
        read(folder, *arguments)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(folder))
    return message


def read_task(folder: Path, *changes: tuple[str, str]) -> Task:
    return read_definition(tiny.write_task(folder, *changes), Task)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "[expected_rows]",
            "lisence = 1\n[expected_rows]",
            "label_aliases.lisence: Input should be a valid string",
        ),
        ('licence = "CC0"', 'lisence = "CC0"', "licence: Field required"),
        ('licence = "CC0"', 'licence = "CC0"\nshuffle = 1', "shuffle: Extra inputs are not permitted, got 1"),
        ("test = 12", "test = 12\ndev = 12", "expected_rows.dev: Extra inputs are not permitted, got 12"),
        ("test = 12", 'test = "12"', "expected_rows.test: Input should be a valid integer, got '12'"),
        ("test = 12", "test = 12.5", "expected_rows.test: Input should be a valid integer"),
        ("test = 12", "test = nan", "expected_rows.test: Input should be a valid integer, got nan"),
        ("test = 12", "test = 0", "expected_rows.test: Input should be greater than 0, got 0"),
        ("test = 12", "test = true", "expected_rows.test: Input should be a valid integer, got True"),
        ("test = 12", "test = 1979-05-27", "dates and times are not allowed in a task file"),
        ('licence = "CC0"', "licence = 0", "licence: Input should be a valid string, got 0"),
        ('licence = "CC0"', 'licence = ""', "licence: String should have at least 1 character, got ''"),
        (
            '"pair-classification"',
            '"pair-clasification"',
            "kind: unknown kind of task 'pair-clasification': did you mean 'pair-classification'?",
        ),
        ('["en", "es", "zh"]', '"en"', "languages: Input should be a valid "),
        ('["en", "es", "zh"]', '["en", "es", "es"]', "languages: one is listed twice"),
        ('["en", "es", "zh"]', '["es", "zh"]', "training_language 'en' is not among the languages"),
        ('["en", "es", "zh"]', '["en", "../zh"]', "languages.1: String should match pattern"),
        ('["en", "es", "zh"]', '["en", false]', "languages.1: Input should be a valid string, got False"),
        ('["entailment", "neutral",', '["contradiction", "neutral",', "labels: one is listed twice"),
        (
            'contradictory = "contradiction"',
            'no = "negation"',
            "'no' means 'negation', which is not a label",
        ),
        ('name = "mini-pairs"', 'name = "../mini"', "name: String should match pattern"),
        (
            'licence = "CC0"',
            'licence = "CC0"\nlicence = "MIT"',
            "not readable as TOML: Cannot overwrite a value",
        ),
        ('licence = "CC0"', 'licence = "CC0', "not readable as TOML: Illegal character"),
        ('licence = "CC0"', "licence = " + "[" * 5000, "not readable as TOML: maximum recursion depth"),
        (
            'licence = "CC0"',
            'licence = "CC0"\n"a\\nb\\u001b" = 1',
            r"a b\x1b: Extra inputs are not permitted",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_faulty_task_file_is_refused_with_the_place(tmp_path, old, new, complaint):
    assert complaint in refusal(read_task, tmp_path, (old, new))


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "1" * 5000], ids=["decimal", "hexadecimal"])
def test_a_number_of_thousands_of_digits_is_refused(tmp_path, number):
    assert "mini-pairs.toml" in refusal(read_task, tmp_path, ("test = 12", f"test = {number}"))


@pytest.mark.parametrize("revision", ["main", "b8dd5d7", "B8DD5D7AF51114DBDA02C0E3F6133F332186418E"])
def test_task_must_pin_data_to_a_full_commit_hash(tmp_path, revision):
    hub = f'[hub]\nid = "facebook/xnli"\nrevision = "{revision}"\n\n[expected_rows]'
    assert "hub.revision: String should match pattern" in refusal(read_task, tmp_path, ("[expected_rows]", hub))


@pytest.mark.parametrize(
    ("printed", "decimals"),
    [("82", 0), ("82.0", 1), ("82.00", 2), ("82.3", 1), ("8_2.30", 2), ("82e0", 0), ("8.23e1", 1)],
)
def test_published_number_keeps_its_printed_decimals(tmp_path, printed, decimals):
    [row] = read_table(tmp_path, "", ("en = 80.0, es = 70.0", f"en = {printed}, es = 70")).rows
    assert (row.cells["en"], row.decimals) == (float(printed), decimals)


@pytest.mark.parametrize(("claimed", "is_refused"), [("75", False), ("76", False), ("77", True), ("76.0", True)])
def test_claimed_average_may_differ_by_rounding(tmp_path, claimed, is_refused):
    """The unrounded mean of the cells, 80 and 70, may be anything from 74.5 to 75.5."""
    arguments = f"claimed_average = {claimed}", ("en = 80.0, es = 70.0", "en = 80, es = 70")
    if is_refused:
        assert "claims an average" in refusal(read_table, tmp_path, *arguments)
    else:
        assert read_table(tmp_path, *arguments).rows[0].average == 75


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("es = 70.0", "es = 170.0", "rows.0.cells.es: Input should be less than or equal to 100, got 170.0"),
        ("es = 70.0", "es = nan", "rows.0.cells.es: Input should be a finite number, got nan"),
        ("es = 70.0", 'es = "70.0"', "rows.0.cells.es: Input should be a valid number, got '70.0'"),
        ("es = 70.0", "zh = 70.0", "row 'a row' has a language that the table's list lacks: 'zh'"),
        ("es = 70.0", "en = 70.0", "not readable as TOML: Duplicate inline table key 'en'"),
        ('["en", "es"]', "[]", "languages: Tuple should have at least 1 item"),
        (
            'how = "computed"',
            'how = "computed"\nseeds = 5',
            "rows.0.seeds: Extra inputs are not permitted, got 5",
        ),
        ('"organisation/model"', '"../../etc/passwd"', "rows.0.model: String should match pattern"),
        ('["en", "es"]', '["en", "es", "en"]', "languages: one is listed twice"),
        (
            "[[rows]]",
            "[[rows]]\n" + TABLE_TOML.partition("[[rows]]\n")[2] + "\n[[rows]]",
            "two rows have the same name",
        ),
        (
            'how = "computed"',
            'how = "computed"\nspread = { en = 0.5, es = 0.5 }',
            "row 'a row': a spread between seeds needs n_seeds of at least 2",
        ),
    ],
    ids=lambda value: value[:40],
)
def test_faulty_table_is_refused_with_the_place(tmp_path, old, new, complaint):
    assert complaint in refusal(read_table, tmp_path, "", (old, new))


RECIPE_TOML = """\
name = "mine"
description = "My own"
learning_rate = 2e-5
batch_size = 32
epochs = 3
max_length = 128
"""


def read_recipe(folder: Path, old: str = "", new: str = "") -> Recipe:
    assert old in RECIPE_TOML
    path = folder / "mine.toml"
    path.write_text(RECIPE_TOML.replace(old, new) if old else RECIPE_TOML, encoding="utf-8")
    return read_definition(path, Recipe)


def test_recipe_file_is_read_by_its_path(tmp_path):
    read_recipe(tmp_path)
    assert get_recipe(str(tmp_path / "mine.toml")).learning_rate == 2e-5


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("epochs = 3\n", "", "epochs or max_steps must say where training ends"),
        ("2e-5", "0", "learning_rate: Input should be greater than 0, got 0"),
        ("2e-5", '"2e-5"', "learning_rate: Input should be a valid number, got '2e-5'"),
        ("2e-5", "inf", "learning_rate: "),
        ("batch_size = 32", "batch_size = 32.0", "batch_size: Input should be a valid integer"),
        ("batch_size = 32", "batch = 32", "batch_size: Field required"),
        ("epochs = 3", "epochs = -1", "epochs: Input should be greater than or equal to 0, got -1"),
        (
            "max_length = 128",
            'max_length = 128\nselection = "target-dev"',
            "selection: Input should be 'english-dev'",
        ),
        (
            "max_length = 128",
            "max_length = 128\nwarmup_share = 6",
            "warmup_share: Input should be less than 1, got 6",
        ),
        (
            "max_length = 128",
            "max_length = 128\nwarmup_share = 0.1\nwarmup_steps = 500",
            "warmup_share and warmup_steps both say how long the warm-up is; leave one out",
        ),
        ("epochs = 3", "epochs = 3\nadam_beta2 = 1.0", "adam_beta2: Input should be less than 1, got 1.0"),
        ("epochs = 3", "epochs = 3\nselection_rows = 0", "selection_rows: Input should be greater than 0, got 0"),
    ],
    ids=lambda value: value[:40],
)
def test_faulty_recipe_is_refused_with_the_place(tmp_path, old, new, complaint):
    assert complaint in refusal(read_recipe, tmp_path, old, new)


# ── files that are not definitions ──


def read_bytes(folder: Path, content: bytes) -> Task:
    path = folder / "task.toml"
    path.write_bytes(content)
    return read_definition(path, Task)


def test_non_utf8_file_is_refused_with_the_byte(tmp_path):
    assert "not UTF-8 at byte 8" in refusal(read_bytes, tmp_path, 'title = "é"'.encode("latin-1")[:8] + b"\xe9")


def test_a_file_of_absurd_size_is_not_read(tmp_path):
    assert "it has more than 1,000,000 bytes" in refusal(read_bytes, tmp_path, b"#" * (MAX_FILE_BYTES + 1))


def test_an_empty_file_lacks_its_first_field(tmp_path):
    assert "name: Field required (and " in refusal(read_bytes, tmp_path, b"")


def test_folder_instead_of_a_file_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match="cannot read this task file: Is a directory"):
        read_definition(tmp_path, Task)
