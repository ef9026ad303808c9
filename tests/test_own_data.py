"""People's own data is read as meant where that is certain, else refused in one line that counts rows."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers import tiny
from tests.helpers.tiny import LABELS, REMEDY
from xeval.kinds.labels import LabelMatcher
from xeval.support.errors import DataError

ROWS = tiny.mini_rows()
CAPITALS = [label.capitalize() for label in LABELS]
TURNED = ("contradiction", "entailment", "neutral")


def of_language(language: str) -> list[tiny.Row]:
    return ROWS["test", language]


def frame(rows: list[tiny.Row], to_label: Callable[[str], Any] = lambda label: label) -> pd.DataFrame:
    premises, hypotheses, labels = tiny.columns(rows)
    return pd.DataFrame({"premise": premises, "hypothesis": hypotheses, "label": [to_label(label) for label in labels]})


def number(label: str) -> int:
    return LABELS.index(label)


def write(
    folder: Path, language: str, content: str | bytes | pa.Table | pd.DataFrame, suffix: str = ".parquet"
) -> Path:
    path = folder / language / f"test{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    elif isinstance(content, pd.DataFrame):
        content.to_parquet(path, index=False)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def named(rows: list[tiny.Row], names: tuple[str, ...] | list[str], width: pa.DataType | None = None) -> pa.Table:
    """As datasets writes a ClassLabel; `width` is the type that stores its numbers."""
    folded = [name.casefold() for name in names]
    table = pa.Table.from_pandas(frame(rows, folded.index), schema=tiny.hub_schema(names), preserve_index=False)
    place = table.schema.get_field_index("label")
    return table.set_column(place, pa.field("label", width), table["label"].cast(width)) if width else table


def separated(rows: list[tiny.Row], quoting: int = csv.QUOTE_MINIMAL, delimiter: str = "\t") -> str:
    lines = io.StringIO(newline="")
    csv.writer(lines, delimiter=delimiter, quoting=quoting).writerows([("premise", "hypothesis", "label"), *rows])
    return lines.getvalue()


def plain(rows: list[tiny.Row]) -> str:
    return "".join("\t".join(row) + "\n" for row in [("premise", "hypothesis", "label"), *rows])


def json_lines(rows: list[tiny.Row], to_label: Callable[[str], Any]) -> str:
    keys = ("premise", "hypothesis")
    return "".join(json.dumps(dict(zip(keys, row, strict=False)) | {"label": to_label(row[2])}) + "\n" for row in rows)


def changed(rows: list[tiny.Row], change: Callable[[int, str], str]) -> list[tiny.Row]:
    """The rows with changed premises."""
    return [(change(place, premise), hypothesis, label) for place, (premise, hypothesis, label) in enumerate(rows)]


ES = of_language("es")
SPOKEN = changed(ES, lambda place, text: f'"{text}" dijo' if place % 4 == 0 else text)
OPENED = changed(ES, lambda place, text: f'"{text}' if place in (2, 5, 6, 9) else text)
CLOSED_FAR_AWAY = changed(ES, lambda place, text: f'"{text}' if place == 2 else f'{text}"' if place == 7 else text)
CLOSED_PAGES_LATER = changed(
    CLOSED_FAR_AWAY, lambda place, text: f"{text}{' y así' * 8_000 if place in range(3, 7) else ''}"
)
ACROSS = [(f'"{p}', f'{h}"', label) if place == 2 else (p, h, label) for place, (p, h, label) in enumerate(ES)]
WITHIN = changed(ES, lambda place, text: f'{text} "sí"' if place == 3 else text)
WHOLE = changed(ES, lambda place, text: f'"{text}"' if place in (1, 4) else text)
MIXED = changed(ES, lambda place, text: {1: f'"{text}, dijo"', 3: f'{text} "sí"'}.get(place, text))
WITH_BREAKS = changed(ES, lambda place, text: f'{text}\n"otra"\tcolumna' if place in (2, 5) else text)
WITH_COMMAS = changed(ES, lambda place, text: f'{text}, "dijo", y más' if place in (2, 5) else text)

# The content of the file of Spanish test rows, and the rows that it means.
READ: dict[str, tuple[str, Any, list[tiny.Row]]] = {
    "capitals in text": (".parquet", frame(ES, str.capitalize), ES),
    "capitals in a schema": (".parquet", named(ES, CAPITALS), ES),
    "capitals in a schema of bytes": (".parquet", named(ES, CAPITALS, pa.int8()), ES),
    "another order in a schema of 32 bits": (".parquet", named(ES, TURNED, pa.int32()), ES),
    "an alias in a schema": (
        ".parquet",
        named([(p, h, y.replace("ion", "ory")) for p, h, y in ES], ("entailment", "neutral", "Contradictory")),
        ES,
    ),
    "numbers as names in a schema": (
        ".parquet",
        named([(p, h, str(number(y))) for p, h, y in ES], ["0", "1", "2"]),
        ES,
    ),
    "decimal points": (".parquet", frame(ES, lambda label: float(number(label))), ES),
    "a category": (".parquet", frame(ES).astype({"label": "category"}), ES),
    "digits in a TSV": (".tsv", plain([(p, h, str(number(y))) for p, h, y in ES]), ES),
    "decimal points in a TSV": (".tsv", plain([(p, h, f"{number(y)}.0") for p, h, y in ES]), ES),
    "spaces around labels": (".tsv", plain([(p, h, f" {y.upper()} ") for p, h, y in ES]), ES),
    "digits in JSON": (".jsonl", json_lines(ES, lambda label: str(number(label))), ES),
    "an alias in capitals in JSON": (".jsonl", json_lines(ES, lambda y: "Contradictory" if y == LABELS[2] else y), ES),
    "marks around what was said": (".tsv", plain(SPOKEN), SPOKEN),
    "marks that are not closed": (".tsv", plain(OPENED), OPENED),
    "a mark that is closed five lines on": (".tsv", plain(CLOSED_FAR_AWAY), CLOSED_FAR_AWAY),
    "a mark that is closed pages later": (".tsv", plain(CLOSED_PAGES_LATER), CLOSED_PAGES_LATER),
    "a mark that is closed in the next column": (".tsv", plain(ACROSS), ACROSS),
    "marks inside": (".tsv", plain(WITHIN), WITHIN),
    "marks around whole texts, and none around others": (".tsv", plain(WHOLE), WHOLE),
    "marks around a text with a comma, and inside others": (".tsv", plain(MIXED), MIXED),
    "blank lines": (".tsv", plain(ES).replace("\n", "\n\n", 3) + "\n", ES),
    "csv: tabs, line breaks and marks inside": (".tsv", separated(WITH_BREAKS), WITH_BREAKS),
    "csv: marks around what was said": (".tsv", separated(SPOKEN), SPOKEN),
    "csv: marks that are not closed": (".tsv", separated(OPENED), OPENED),
    "csv: commas": (".csv", separated(WITH_COMMAS, delimiter=","), WITH_COMMAS),
    "csv: all fields quoted": (".csv", separated(ES, csv.QUOTE_ALL, ","), ES),
    "csv: texts quoted": (".tsv", separated([(p, h, number(y)) for p, h, y in ES], csv.QUOTE_NONNUMERIC), ES),  # type: ignore[misc]
    "UTF-16": (".tsv", plain(SPOKEN).encode("utf-16"), SPOKEN),
    "UTF-16, the other way round": (".tsv", "\ufeff".encode("utf-16-be") + plain(ES).encode("utf-16-be"), ES),
    "UTF-16 in JSON": (".jsonl", json_lines(ES, str.upper).encode("utf-16"), ES),
    "line ends of Windows": (".tsv", plain(SPOKEN).replace("\n", "\r\n"), SPOKEN),
}


@pytest.mark.parametrize("name", READ)
def test_rows_are_read_as_they_are_meant(mini, tmp_path, name):
    suffix, content, meant = READ[name]
    write(tmp_path, "es", content, suffix)
    rows = mini.load("es", folder=tmp_path)
    assert list(zip(*rows.texts.values(), (LABELS[label] for label in rows.gold), strict=True)) == meant


def faulty(**columns: dict[int, Any]) -> pd.DataFrame:
    """The rows with values replaced: for each column, new values by row number, counted from 1."""
    table = frame(ES, number).astype(object)
    for column, values in columns.items():
        for row, value in values.items():
            table.loc[row - 1, column] = value
    return table


WANTED = "wanted one of entailment, neutral, contradiction"
REFUSED: dict[str, tuple[str, Any, str]] = {
    "two labels of -1": (
        ".parquet",
        faulty(label={4: -1, 9: -1}),
        f"2 of 12 rows have label -1 (first row 4); {WANTED}; {REMEDY}",
    ),
    "a label that is missing": (
        ".parquet",
        faulty(label={4: float("nan")}).astype({"label": float}),
        f"row 4 has label None; {WANTED}; {REMEDY}",
    ),
    "a text that is missing": (
        ".parquet",
        faulty(hypothesis={4: None}),
        f"row 4 has no text in 'hypothesis'; {REMEDY}",
    ),
    "all at once": (
        ".parquet",
        faulty(label={4: -1, 9: -1, 11: None}, hypothesis={4: None}, premise={1: None}),
        "4 of 12 rows cannot be used: 2 have label -1 (first row 4), 1 has no text in 'premise' (row 1), 1 has no text"
        f" in 'hypothesis' (row 4), 1 has label None (row 11); {WANTED}; {REMEDY}",
    ),
    "more labels than the task has": (
        ".tsv",
        plain([(p, h, str(place % 5)) for place, (p, h, _) in enumerate(ES)]),
        "4 of 12 rows cannot be used: 2 have label '3' (first row 4), 2 have label '4' (first row 5)",
    ),
    "truth values": (".jsonl", json_lines(ES, lambda label: label == LABELS[0]), "4 have label True (first row 1)"),
    "names of a schema that are no labels": (
        ".parquet",
        named(
            [(p, h, {"neutral": "unrelated"}.get(y, y)) for p, h, y in ES], ("entailment", "unrelated", "contradiction")
        ),
        f"4 of 12 rows have label 1 ('unrelated' by the file) (first row 2); {WANTED}, or other names that"
        f" [label_aliases] in the task file has for them; {REMEDY}",
    ),
    "empty cells": (
        ".tsv",
        plain([(p, h, "" if place in (3, 6) else y) for place, (p, h, y) in enumerate(ES)]),
        f"2 of 12 rows have label '' (first row 4); {WANTED}; {REMEDY}",
    ),
    "Latin-1": (".tsv", plain(ES).encode("latin-1"), "is not UTF-8 (byte"),
    "a CSV with a mark that is not closed": (
        ".csv",
        separated(WITH_COMMAS, delimiter=",") + '"no end,b,neutral\n',
        "cannot be read as a table from line 14: an unclosed quotation mark, or text next to one",
    ),
    "a CSV with text beside a quoted field": (
        ".csv",
        separated(WITH_COMMAS, delimiter=",") + '"a, b" c,d,neutral\n',
        "cannot be read as a table from line 14: an unclosed quotation mark, or text next to one",
    ),
    "a row too many": (
        ".tsv",
        plain([*ES, ES[0]]),
        "wanted 12, found 13 (if that is right, say test = { default = 12, es = 13 } under [expected_rows] in the task"
        f" file); {REMEDY}",
    ),
    "a mark that is not closed, and a row too few": (
        ".tsv",
        plain(OPENED[:-1]),
        "wanted 12, found 11 (if that is right",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_rows_are_counted_in_one_line(mini, tmp_path, name):
    suffix, content, said = REFUSED[name]
    path = write(tmp_path, "es", content, suffix)
    with pytest.raises(DataError) as caught:
        mini.load("es", folder=tmp_path)
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message


# ── languages that differ ──


def load_all(mini, folder: Path) -> list[list[int]]:
    """The labels of the test rows of English and Spanish, from one opened copy."""
    from xeval.data.source import load_rows, open_source

    source = open_source(mini.task, folder, ["en", "es"])
    return [load_rows(source, language, "test").gold.tolist() for language in ("en", "es")]


def test_labels_in_different_orders_are_read_by_name(mini, tmp_path):
    write(tmp_path, "en", named(of_language("en"), TURNED))
    write(tmp_path, "es", named(ES, LABELS))
    assert load_all(mini, tmp_path) == [[0, 1, 2] * 4] * 2


@pytest.mark.parametrize("bare", [number, float, str], ids=["numbers", "decimal points", "text"])
def test_unnamed_labels_are_refused_if_orders_differ(mini, tmp_path, bare):
    """Another language's label names are not in the task's order."""
    write(tmp_path, "en", named(of_language("en"), TURNED))
    write(tmp_path, "es", frame(ES, lambda label: bare(number(label)) if bare is not number else number(label)))
    with pytest.raises(DataError, match=r"es/test\.parquet: test rows of 'es' have numbers without names .* have cont"):
        load_all(mini, tmp_path)


def test_unnamed_labels_are_read_if_others_use_the_tasks_order(mini, tmp_path):
    write(tmp_path, "en", named(of_language("en"), CAPITALS))
    write(tmp_path, "es", frame(ES, number))
    assert load_all(mini, tmp_path) == [[0, 1, 2] * 4] * 2


def test_shards_with_different_label_names_are_refused(mini, tmp_path):
    for shard, (rows, names) in enumerate(((ES[:6], LABELS), (ES[6:], TURNED))):
        (tmp_path / "es").mkdir(exist_ok=True)
        pq.write_table(named(rows, names), tmp_path / "es" / f"test-0000{shard}-of-00002.parquet")
    with pytest.raises(DataError, match=r"test-00001-of-00002\.parquet: its schema gives label numbers other names"):
        mini.load("es", folder=tmp_path)


# ── labels that are numbers themselves ──

STARS = LabelMatcher(("1", "2", "3"), {"one star": "1"})


@pytest.mark.parametrize(
    ("cells", "meant"),
    [
        ([1, 2, 3], [0, 1, 2]),
        ([0, 1, 2], [0, 1, 2]),
        (["1", "2", "3"], [0, 1, 2]),
        (["0", "1", "2"], [0, 1, 2]),
        (["1", "2"], [0, 1]),
        ([3.0, 1.0], [2, 0]),
        (["3.0", "1.0"], [2, 0]),
        (["ONE STAR", "3"], [0, 2]),
        ([1, 4], [1, None]),
        ([1, -1, None], [0, None, None]),
    ],
)
def test_number_labels_are_all_names_or_all_positions(cells, meant):
    try:
        found = STARS.of_cells("file", cells, None)
    except DataError as uncertain:
        assert cells == [1, -1, None] and "labels 1 may be names, or numbers that count" in str(uncertain)
    else:
        assert [found.get(cell) for cell in cells] == meant


def test_ambiguous_number_labels_are_refused():
    with pytest.raises(
        DataError, match=r"file: labels 1, 2 may be names, or numbers that count .* from 0; write them as"
    ):
        STARS.of_cells("file", [1, 2, 2], None)


def test_label_minus_one_is_not_taken_as_missing():
    assert LabelMatcher(("-1", "0", "1"), {}).of_cells("file", [-1, 1, 0], None) == {-1: 0, 1: 2, 0: 1}


def test_labels_that_differ_only_in_case_match_exactly():
    matcher = LabelMatcher(("US", "us", "it"), {"Italian": "it"})
    assert [matcher.of_name(name) for name in ("US", "us", "Us", "IT", "italian")] == [0, 1, None, 2, 2]


# ── on the command line ──


def test_the_doctor_counts_unusable_rows(command, mini, tmp_path):
    for language in ("en", "zh"):
        write(tmp_path, language, frame(of_language(language)))
    write(tmp_path, "es", faulty(label={4: -1, 9: -1}))
    code, out, _ = command("doctor", mini.task_file, "--data", tmp_path, "--language", "en,es,zh", "--no-train")
    said = f"2 of 12 rows have label -1 (first row 4); {WANTED}; {REMEDY}"
    assert code == 1 and f"✗ test rows, es: {tmp_path / 'es' / 'test.parquet'}: test rows of 'es': {said}" in out


def test_the_doctor_counts_empty_texts(command, mini, tmp_path):
    for language in ("en", "es"):
        write(tmp_path, language, frame(changed(of_language(language), lambda place, text: text * (place % 5 != 3))))
    code, out, _ = command("doctor", mini.task_file, "--data", tmp_path, "--language", "en,es", "--no-train")
    assert code == 0
    of_both = "en test 2 (first row 4), es test 2 (first row 4)"
    assert f"! empty texts: pairs with one: {of_both}. Correct or remove them" in out


def test_helper_writes_features_as_datasets_does(tmp_path):
    """So the files above are like people's own."""
    features = datasets.Features.from_arrow_schema(named(ES, CAPITALS).schema)
    assert features["label"] == datasets.ClassLabel(names=CAPITALS)


FAULTY = {
    "a key twice": (
        "test.jsonl",
        '{"premise": "a", "hypothesis": "c", "label": "neutral", "label": "entailment"}\n',
        "line 1 is not readable as JSON: names that occur twice: 1, first 'label'",
    ),
    "a column twice": ("test.tsv", "premise\thypothesis\tlabel\tlabel\na\tb\tneutral\tneutral\n", "occurs 2 times"),
    "half a character": (
        "test.jsonl",
        '{"premise": "a\\ud800b", "hypothesis": "c", "label": "neutral"}\n',
        "an unpaired UTF-16 surrogate in 'premise'",
    ),
}


@pytest.mark.parametrize("what", FAULTY)
def test_ambiguous_or_unreadable_tables_are_refused(mini, tmp_path, what):
    name, content, said = FAULTY[what]
    data = Path(shutil.copytree(mini.data, tmp_path / "data"))
    [path] = (data / "es").glob("test*")
    path.unlink()
    (data / "es" / name).write_text(content)
    with pytest.raises(DataError, match=said):
        mini.load(folder=data)


def test_composed_and_decomposed_accents_match():
    composed, decomposed = "idéntico", "ide\u0301ntico"
    for mine, theirs in ((composed, decomposed), (decomposed, composed)):
        matcher = LabelMatcher(("distinto", mine), {})
        assert matcher.of_name(theirs) == matcher.of_name(theirs.upper()) == 1
    matcher = LabelMatcher((composed, decomposed), {})
    assert (matcher.of_name(composed), matcher.of_name(decomposed)) == (0, 1)


def test_label_of_400_digits_is_refused(mini, tmp_path):
    data = Path(shutil.copytree(mini.data, tmp_path / "data"))
    [path] = (data / "es").glob("test*")
    path.unlink()
    row = '{"premise": "a", "hypothesis": "b", "label": %s}\n' % ("1" + "0" * 400)
    (data / "es" / "test.jsonl").write_text(row * tiny.COUNTS["test"])
    with pytest.raises(DataError, match="rows have label 1000"):
        mini.load(folder=data)


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_delimiter_is_taken_from_the_first_line(mini, tmp_path, suffix, delimiter):
    rows = changed(ES, lambda place, text: f'{text}, "sí"; y\tmás' if place in (2, 5) else text)
    write(tmp_path, "es", "\ufeff" + separated(rows, delimiter=delimiter), suffix)
    read = mini.load("es", folder=tmp_path)
    assert list(zip(*read.texts.values(), (LABELS[label] for label in read.gold), strict=True)) == rows


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("column", "other"), [("label", "Label"), ("label", " label"), ("premise", "PREMISE")])
def test_columns_spelt_otherwise_are_named(mini, tmp_path, suffix, column, other):
    table = frame(ES).rename(columns={column: other})
    written = {".csv": table.to_csv(index=False), ".jsonl": table.to_json(orient="records", lines=True)}
    write(tmp_path, "es", written.get(suffix, table), suffix)
    with pytest.raises(DataError, match=f"no column '{column}', but one that is called '{other}'; rename it"):
        mini.load("es", folder=tmp_path)
