"""The same rows are read from all three layouts on disk: the hub's, XNLI-1.0's and XTREME's."""

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import SHARED
from tests.helpers import tiny
from tests.helpers.archives import unpack
from xeval.data.layouts import recognise
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.support.errors import DataError, DefinitionError

WRITERS = {
    "hub": tiny.write_hub_layout,
    "XNLI-1.0": tiny.write_official_layout,
    "XNLI-1.0 as unpacked": lambda folder, rows: tiny.write_official_layout(folder, rows, nested=True),
    "XTREME": tiny.write_xtreme_layout,
}
SPLITS = list(tiny.mini_rows())

# Texts that a table reader may misread.
AWKWARD = {
    "begins with a quotation mark": '"So what?" she said.',
    "ends with a quotation mark": 'She said "So what?"',
    "is quoted as a whole": '"So what?"',
    "has one quotation mark": 'A 5" nail',
    "begins with one quotation mark": '"So what?',
    "has doubled quotation marks": 'He wrote ""so"" twice.',
    "is a quotation mark": '"',
    "has an apostrophe": "It's the dogs' house.",
    "has a backslash": "C:\\new\\table",
    "begins with a space": "  So what? ",
    "has a line separator": "So\u2028what\u0085then?",
    "has a no-break space": "So\u00a0what?",
    "means missing elsewhere": "NA",
    "is a number": "007",
    "begins a comment": "# So what?",
    "has a byte order mark": "\ufeffSo what?",
    "is written decomposed": "man\u0303ana",
    "lies outside the basic plane": "👍🏽 𐍈",
}


def rows_with(text: str) -> tiny.Rows:
    """The rows of mini-pairs with `text` as the second premise and the third hypothesis of every split."""
    rows = tiny.mini_rows()
    for split in rows.values():
        split[1] = (text, *split[1][1:])
        split[2] = (split[2][0], text, split[2][2])
    return rows


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> dict[str, Path]:
    """The rows of mini-pairs in each layout, which tests must not change."""
    return {layout: write(tmp_path_factory.mktemp("copy"), tiny.mini_rows()) for layout, write in WRITERS.items()}


@pytest.fixture
def copy(tmp_path):
    """`copy(layout, rows)`: a folder with mini-pairs in that layout, which a test may change."""

    def write(layout: str, rows: tiny.Rows | None = None) -> Path:
        return WRITERS[layout](tmp_path / layout, tiny.mini_rows() if rows is None else rows)

    return write


def refusal(mini: tiny.Mini, folder: Path, role: str = "test", language: str = "es") -> str:
    with pytest.raises(DataError) as caught:
        mini.load(language, role, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ── the same rows in three layouts ──


@pytest.mark.parametrize(("role", "language"), SPLITS)
@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_rows_that_were_written(mini, copies, layout, role, language):
    premises, hypotheses, labels = tiny.columns(tiny.mini_rows()[role, language])
    pairs = mini.load(language, role, copies[layout])
    assert list(pairs.texts["premise"]) == premises
    assert list(pairs.texts["hypothesis"]) == hypotheses
    assert [mini.task.labels[index] for index in pairs.gold] == labels
    assert (pairs.language, pairs.split) == (language, tiny.hub_split(role))


@pytest.mark.parametrize(("role", "language"), SPLITS)
def test_rows_have_the_same_hash_in_every_layout(mini, copies, role, language):
    assert len({mini.load(language, role, folder).sha256 for folder in copies.values()}) == 1


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize("layout", WRITERS)
def test_awkward_text_survives(mini, copy, layout, text):
    folder = copy(layout, rows_with(text))
    for role, language in SPLITS:
        pairs = mini.load(language, role, folder)
        assert (pairs.texts["premise"][1], pairs.texts["hypothesis"][2]) == (text, text)


@pytest.mark.parametrize("text", ["a\ttab", "two\nlines", "two\r\nlines"], ids=["tab", "line feed", "CR LF"])
@pytest.mark.parametrize("layout", ["hub", "XTREME"])
def test_tabs_and_line_ends_survive_in_hub_and_xtreme(mini, copy, layout, text):
    assert mini.load("es", "test", copy(layout, rows_with(text))).texts["premise"][1] == text


@pytest.mark.parametrize("layout", WRITERS)
def test_source_names_its_layout(mini, copies, layout):
    source = open_source(mini.task, copies[layout], ["es"])
    name = layout.removesuffix(" as unpacked")
    assert (source.name, source.revision) == (f"local copy ({name} layout)", None)


# ── the hub's layout ──


def test_shards_of_a_split_are_read_in_order(mini, copy):
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    table = pq.read_table(path)
    path.unlink()
    for number, (start, end) in enumerate([(0, 5), (5, 12)]):
        pq.write_table(table.slice(start, end - start), path.with_name(f"test-0000{number}-of-00002.parquet"))
    assert mini.load("es", folder=folder).sha256 == mini.load("es").sha256


def test_shards_missing_by_number_are_reported(mini, copy):
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    path.rename(path.with_name("test-00001-of-00003.parquet"))
    told = r"es: wanted 3 files numbered like .*, 2 of them missing \(first number 00000\)"
    with pytest.raises(DataError, match=told):
        mini.load("es", folder=folder)


def test_a_split_in_two_kinds_of_files_is_refused(mini, copy):
    folder = copy("hub")
    (folder / "es" / "test.tsv").write_text("premise\thypothesis\tlabel\nA\tB\tneutral\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"es: test-00000-of-00001.parquet and test.tsv both hold the test rows"):
        mini.load("es", folder=folder)


def test_a_split_in_one_plain_parquet_file_is_read(mini, copy):
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    path.rename(path.with_name("test.parquet"))
    assert mini.load("es", folder=folder).sha256 == mini.load("es").sha256


def test_columns_are_found_by_the_tasks_names(mini, copy, tmp_path):
    task_file = tiny.write_task(
        tmp_path, ("[expected_rows]", '[columns]\npremise = "context"\nlabel = "verdict"\n\n[expected_rows]')
    )
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    pq.write_table(pq.read_table(path).rename_columns(["context", "hypothesis", "verdict"]), path)
    assert tiny.Mini(task_file, folder).load("es").sha256 == mini.load("es").sha256


# ── a folder for each language, with files of other formats ──

SENTENCES = [
    (text, tiny.LABELS[number % 3]) for number, text in enumerate(AWKWARD.values()) if text != "\ufeffSo what?"
]


def write_csv(path: Path, rows: list[tuple[str, ...]], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def write_sentences(folder: Path, suffix: str, rows: list[tuple[str, str]]) -> None:
    """`es/test` and so on, with a column that no task reads."""
    for language, split in (("en", "train"), ("en", "dev"), ("es", "test")):
        path = folder / language / f"{split}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        header, numbered = ("id", "topic", "body"), [(str(n), label, text) for n, (text, label) in enumerate(rows)]
        if suffix == ".parquet":
            pq.write_table(pa.table(dict(zip(header, map(list, zip(*numbered, strict=True)), strict=True))), path)
        elif suffix == ".jsonl":
            lines = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in numbered]
            path.write_text("\n".join(lines) + "\n\n", encoding="utf-8", newline="")
        else:
            write_csv(path, [header, *numbered], "\t" if suffix == ".tsv" else ",")


@pytest.fixture
def sentences(tmp_path) -> Path:
    """The file of a task of single texts, with other names for its columns and its development split."""
    n = len(SENTENCES)
    return tiny.write_task(
        tmp_path / "tasks",
        ("pair-classification", "sentence-classification"),
        *((f"{role} = {tiny.COUNTS[role]}\n", f"{role} = {n}\n") for role in tiny.COUNTS),
        (
            "[expected_rows]",
            '[columns]\ntext = "body"\nlabel = "topic"\n\n[splits]\nselection = "dev"\n\n[expected_rows]',
        ),
        name="topics",
    )


@pytest.mark.parametrize("suffix", [".parquet", ".tsv", ".csv", ".jsonl"])
@pytest.mark.parametrize(("language", "role"), [("en", "train"), ("en", "selection"), ("es", "test")])
def test_language_folders_may_hold_any_format(tmp_path, sentences, suffix, language, role):
    write_sentences(tmp_path / "data", suffix, SENTENCES)
    task = tiny.Mini(sentences, tmp_path / "data")
    rows = task.load(language, role)
    assert rows.texts == {"text": [text for text, _ in SENTENCES]}
    assert [task.task.labels[index] for index in rows.gold] == [label for _, label in SENTENCES]
    assert (rows.language, rows.split) == (language, "dev" if role == "selection" else role)
    assert open_source(task.task, tmp_path / "data", ["es"]).name == "local copy (hub layout)"


def test_sentences_have_the_same_hash_in_every_layout(tmp_path, sentences):
    hashes = set()
    for suffix in (".parquet", ".tsv", ".csv", ".jsonl"):
        write_sentences(tmp_path / suffix, suffix, SENTENCES)
        hashes.add(tiny.Mini(sentences, tmp_path / suffix).load().sha256)
    xtreme = tmp_path / "xtreme"
    xtreme.mkdir()
    write_csv(xtreme / "test-es.tsv", SENTENCES, "\t")
    hashes.add(tiny.Mini(sentences, xtreme).load().sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"body\tlabel\n" + b"a\tneutral\n" * len(SENTENCES), "rows of 'es' carry no labels"),
        (b"topic\tlabel\na\tneutral\n", "no column 'body'; it has topic, label"),
        (b"body\ttopic\na\tneutral\nb\n", "line 3 has 1 field; its first line names 2"),
        (b"", "no column 'body'"),
        (
            b"body\ttopic\n" + b"x" * 200_000 + b"\tneutral\n",
            "read as a table from line 2: field larger than",
        ),
    ],
)
def test_a_faulty_table_is_named_with_its_place(tmp_path, sentences, content, said):
    write_sentences(tmp_path / "data", ".tsv", SENTENCES)
    path = tmp_path / "data" / "es" / "test.tsv"
    path.write_bytes(content)
    message = refusal(tiny.Mini(sentences, tmp_path / "data"), tmp_path / "data")
    assert message.startswith(f"{path}: ")
    assert said in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"body": "a"', "line 2 is not readable as JSON"),
        ('["a", "neutral"]', "line 2 has ['a', 'neutral']; wanted an object with a key per column"),
        ("[" * 100_000, "line 2 is not readable as JSON"),
        (json.dumps({"body": "é" * 60_000, "topic": "neutral"}), "column 'body' has a text of 120,000 bytes"),
        ('{"topic": "neutral"}', "row 2 has no text in 'body'"),
        ('{"body": 7, "topic": "neutral"}', "row 2 has 7 in 'body'; wanted text"),
    ],
)
def test_a_faulty_line_of_json_is_named(tmp_path, sentences, line, said):
    write_sentences(tmp_path / "data", ".jsonl", SENTENCES)
    path = tmp_path / "data" / "es" / "test.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([lines[0], line, *lines[2:]]), encoding="utf-8")
    message = refusal(tiny.Mini(sentences, tmp_path / "data"), tmp_path / "data")
    assert message.startswith(f"{path}: ") and said in message


@pytest.mark.skipif(not (SHARED / "data/xtreme/sib200.tar.xz").exists(), reason="no SIB-200 here")
def test_sib_200_is_read_as_published(tmp_path):
    unpack(SHARED / "data/xtreme/sib200.tar.xz", tmp_path)
    task = get_task("sib200")
    source = open_source(task, tmp_path / "sib200", task.languages)
    assert (len(load_rows(source, "eng_Latn", "train")), len(load_rows(source, "eng_Latn", "selection"))) == (701, 99)
    tests = {language: load_rows(source, language, "test") for language in task.languages}
    assert len(tests) == 22 and {len(rows) for rows in tests.values()} == {204}
    assert all((rows.gold == tests["eng_Latn"].gold).all() for rows in tests.values()), "the tests are parallel"
    by_hand = pd.read_csv(tmp_path / "sib200/yor_Latn/test.tsv", sep="\t", keep_default_na=False)
    assert list(tests["yor_Latn"].texts["text"]) == by_hand["text"].tolist()
    assert [task.labels[index] for index in tests["yor_Latn"].gold] == by_hand["category"].tolist()


def test_americasnli_is_read_in_its_authors_layout(tmp_path):
    """Files named by language in data/anli_final/test, two with fewer rows, next to the English of XNLI."""
    task, n_rows = get_task("americasnli"), {"nah": 738, "oto": 748}
    folder = tmp_path / "data" / "anli_final" / "test"
    folder.mkdir(parents=True)
    for language in task.languages:
        rows = [
            {"id": i, "language": language, "premise": f'{language} "{i // 3}"', "hypothesis": f"{i}", "label": label}
            for i, label in zip(range(n_rows.get(language, 750)), list(task.labels) * 250, strict=False)
        ]
        pd.DataFrame(rows).to_csv(folder / f"{language}.tsv", sep="\t", index=False)
    english = [{"premise": f"{i // 3}", "hypothesis": f"{i}", "label": task.labels[i % 3]} for i in range(2490)]
    (tmp_path / "en").mkdir()
    for split in ("train", "validation"):
        pd.DataFrame(english).to_parquet(tmp_path / "en" / f"{split}-00000-of-00001.parquet")
    source = open_source(task, tmp_path, task.languages)
    assert {language: len(load_rows(source, language, "test")) for language in task.languages} == {
        language: n_rows.get(language, 750) for language in task.languages
    }
    assert load_rows(source, "oto", "test").texts["premise"][3] == 'oto "1"'
    assert len(load_rows(source, "en", "train")) == len(load_rows(source, "en", "selection")) == 2490


# ── what is missing or broken ──


def test_missing_folder_is_reported(mini, tmp_path):
    assert "wanted a folder with a copy of mini-pairs, found none" in refusal(mini, tmp_path / "nowhere")


def test_folder_without_a_layout_lists_all_three(mini, tmp_path):
    message = refusal(mini, tmp_path)
    assert all(name in message for name in ("the hub's layout", "XNLI-1.0", "XTREME"))


@pytest.mark.parametrize(
    ("layout", "role", "name"),
    [
        ("hub", "train", "en/train-*.parquet"),
        ("hub", "selection", "en/validation-*.parquet"),
        ("hub", "test", "en/test-*.parquet"),
        ("XNLI-1.0", "train", "multinli.train.en.tsv"),
        ("XNLI-1.0", "selection", "xnli.dev.tsv"),
        ("XNLI-1.0", "test", "xnli.test.tsv"),
        ("XTREME", "train", "train-en.tsv"),
        ("XTREME", "selection", "dev-en.tsv"),
        ("XTREME", "test", "test-en.tsv"),
    ],
)
def test_a_missing_file_is_named(mini, copy, layout, role, name):
    folder = copy(layout)
    for path in folder.glob(name):
        path.unlink()
    assert f"no {name}, which the {role} rows of 'en' are read from" in refusal(mini, folder, role, "en")


def test_language_missing_from_xnli_files_is_reported(mini, copy):
    rows = {split: kept for split, kept in tiny.mini_rows().items() if split != ("test", "es")}
    message = refusal(mini, copy("XNLI-1.0", rows))
    assert "xnli.test.tsv: test rows of 'es': wanted 12, found 0" in message


@pytest.mark.parametrize("column", ["premise", "hypothesis"])
def test_missing_parquet_column_is_named_with_the_others(mini, copy, column):
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    table = pq.read_table(path).drop_columns([column])
    pq.write_table(table, path)
    assert refusal(mini, folder) == f"{path}: no column {column!r}; it has {', '.join(table.column_names)}"


@pytest.mark.parametrize(
    ("role", "name", "column"),
    [
        ("train", "multinli.train.en.tsv", "premise"),
        ("train", "multinli.train.en.tsv", "hypo"),
        ("train", "multinli.train.en.tsv", "label"),
        ("test", "xnli.test.tsv", "sentence1"),
        ("test", "xnli.test.tsv", "sentence2"),
        ("test", "xnli.test.tsv", "gold_label"),
        ("test", "xnli.test.tsv", "language"),
    ],
)
def test_missing_xnli_column_is_named(mini, copy, role, name, column):
    path = copy("XNLI-1.0") / name
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    renamed = ["other" if field == column else field for field in header.split("\t")]
    path.write_text("\n".join(["\t".join(renamed), *lines]), encoding="utf-8")
    said = refusal(mini, path.parent, role, "en")
    assert said == f"{path}: no column {column!r} in its first line; {tiny.REMEDY}"


def test_xnli_line_with_an_extra_tab_is_named(mini, copy):
    rows = tiny.mini_rows()
    rows["train", "en"][4] = ("a\ttab", "So what?", "neutral")
    folder = copy("XNLI-1.0", rows)
    said = f"line 6 has 4 fields; its first line names 3; {tiny.REMEDY}"
    assert refusal(mini, folder, "train", "en") == f"{folder / 'multinli.train.en.tsv'}: {said}"


def test_xtreme_row_with_an_extra_field_is_named(mini, copy):
    path = copy("XTREME") / "test-es.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[4] = lines[4].strip() + "\tmore"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert refusal(mini, path.parent).startswith(f"{path}: line 5 has 4 fields; wanted premise")


@pytest.mark.parametrize(
    ("layout", "name"),
    [("XNLI-1.0", "xnli.test.tsv"), ("XTREME", "test-es.tsv")],
)
def test_non_utf8_text_is_refused_with_its_place(mini, copy, layout, name):
    path = copy(layout) / name
    content = path.read_bytes()
    at = content.index("ó".encode())
    path.write_bytes(content[:at] + b"\xf3" + content[at + 2 :])  # as Latin-1 writes it
    line = content[:at].count(b"\n") + 1
    said = f"line {line} is not UTF-8 (byte {at:,} of the file); save it as UTF-8"
    assert refusal(mini, path.parent) == f"{path}: {said}"


@pytest.mark.parametrize("layout", ["XNLI-1.0", "XTREME"])
def test_empty_xnli_or_xtreme_file_is_refused(mini, copy, layout):
    [path] = copy(layout).glob("*test*es.tsv" if layout == "XTREME" else "xnli.test.tsv")
    path.write_bytes(b"")
    assert str(path) in refusal(mini, path.parent)


@pytest.mark.parametrize("damage", ["cut short", "empty", "another kind of file", "header overwritten"])
def test_a_broken_parquet_file_is_named(mini, copy, damage):
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut short": content[:-20],
            "empty": b"",
            "another kind of file": b"version https://git-lfs.github.com/spec/v1\n",
            "header overwritten": b"\xff" * (len(content) // 2) + content[len(content) // 2 :],
        }[damage]
    )
    message = refusal(mini, folder)
    assert message.startswith(f"{path}: not readable as parquet (") and message.endswith(f"; {tiny.REMEDY}")


def test_non_utf8_text_in_parquet_is_reported(mini, copy):
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content.replace("habitación".encode(), b"habitacio\xff\xff"))
    assert path.read_bytes() != content
    assert refusal(mini, folder).startswith(f"{path}: not readable as parquet (")


@pytest.mark.parametrize(
    "metadata",
    ['{"info": ', '{"info": {"features": {"label": {"_type": "NotKnownHere"}}}}'],
    ids=["cut short", "of a later version of datasets"],
)
def test_parquet_with_invalid_metadata_is_named(mini, copy, metadata):
    folder = copy("hub")
    [path] = (folder / "es").glob("test-*.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": metadata}), path)
    assert refusal(mini, folder).startswith(f"{path}: not readable as parquet (")


def test_a_folder_where_a_file_should_be_is_refused(mini, copy):
    path = copy("XTREME") / "test-es.tsv"
    path.unlink()
    path.mkdir()
    assert "no test-es.tsv" in refusal(mini, path.parent)


def test_xnli_layout_wins_over_the_hubs(mini, copy):
    folder = copy("hub")
    shutil.copytree(copy("XNLI-1.0", rows_with("So what?")), folder, dirs_exist_ok=True)
    assert open_source(mini.task, folder, ["es"]).name == "local copy (XNLI-1.0 layout)"


FILES = """
[files]
train = ["absent/{language}.csv", "mine/{language}-*.csv"]
selection = ["mine/{language}-validation.csv"]
test = ["nowhere/{language}.csv", "mine/tests/{language}.csv"]
"""


@pytest.fixture
def own_layout(mini, tmp_path) -> tuple[Path, Path]:
    """A task file that says where its rows are, and a folder with rows in those places."""
    task_file = tmp_path / "own.toml"
    task_file.write_text(mini.task_file.read_text(encoding="utf-8") + FILES, encoding="utf-8")
    folder = tmp_path / "copy"
    (folder / "mine" / "tests").mkdir(parents=True)
    for language in ("en", "es"):
        table = pq.read_table(next((mini.data / language).glob("test-*.parquet"))).to_pandas()
        table["label"] = table["label"].map(dict(enumerate(mini.task.labels)))
        table.to_csv(folder / "mine" / "tests" / f"{language}.csv", index=False)
    return task_file, folder


def test_rows_are_read_where_the_task_file_says(mini, own_layout):
    task_file, folder = own_layout
    source = open_source(get_task(str(task_file)), folder, ["es"])
    assert source.name == "local copy (authors' layout)"
    assert load_rows(source, "es", "test").sha256 == mini.load().sha256


WRITTEN_AS = {
    "csv": lambda rows, path: rows.to_csv(path, index=False),
    "tsv": lambda rows, path: rows.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda rows, path: rows.to_json(path, orient="records", lines=True, force_ascii=False),
}


@pytest.fixture
def in_two_files(own_layout):
    """`in_two_files(first, second)`: a source whose Spanish test rows are in two files of these formats."""
    task_file, folder = own_layout
    rows = pd.read_csv(folder / "mine" / "tests" / "es.csv", keep_default_na=False)

    def source_of(first: str, second: str, without: str | None = None):
        pattern = f"parts/{{language}}-*.{first if first == second else '*'}"
        text = task_file.read_text(encoding="utf-8").replace("nowhere/{language}.csv", pattern)
        task_file.write_text(text, encoding="utf-8")
        (folder / "parts").mkdir()
        WRITTEN_AS[first](rows[:5], folder / "parts" / f"es-1.{first}")
        second_rows = rows[5:].drop(columns=without) if without else rows[5:]
        WRITTEN_AS[second](second_rows, folder / "parts" / f"es-2.{second}")
        return open_source(get_task(str(task_file)), folder, ["es"])

    return source_of


@pytest.mark.parametrize("suffix", WRITTEN_AS)
def test_matching_files_are_read_in_order_of_name(mini, in_two_files, suffix):
    assert load_rows(in_two_files(suffix, suffix), "es", "test").sha256 == mini.load().sha256


def test_files_of_two_formats_that_match_are_refused(in_two_files):
    with pytest.raises(
        DataError, match=r"es-1\.csv and .*es-2\.tsv: wanted the test rows of 'es' in files of one format"
    ):
        load_rows(in_two_files("csv", "tsv"), "es", "test")


@pytest.mark.parametrize("suffix", WRITTEN_AS)
def test_matching_files_must_have_the_same_columns(in_two_files, suffix):
    with pytest.raises(
        DataError, match=rf"es-2\.{suffix}: wanted columns premise, hypothesis, label as in es-1\.{suffix}"
    ):
        load_rows(in_two_files(suffix, suffix, without="label"), "es", "test")


def test_file_missing_from_the_tasks_path_is_named(own_layout):
    task_file, folder = own_layout
    source = open_source(get_task(str(task_file)), folder, ["es"])
    with pytest.raises(DataError, match=r"no nowhere/de\.csv or mine/tests/de\.csv"):
        load_rows(source, "de", "test")


@pytest.mark.parametrize("pattern", ["../{language}.csv", "/etc/{language}", "a/../b", "{place}.csv", "a//b", ""])
def test_invalid_path_patterns_are_refused(own_layout, pattern):
    task_file, _ = own_layout
    text = task_file.read_text(encoding="utf-8").replace("nowhere/{language}.csv", pattern)
    task_file.write_text(text, encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"files\.test"):
        get_task(str(task_file))


HANDED_OUT = {
    "XTREME-R": "xcopa/{0}.{1}.jsonl",
    "the authors": "data/{1}/{0}.{1}.jsonl",
    "as other tasks": "xcopa/{0}-{1}.jsonl",
}


@pytest.mark.parametrize("names", HANDED_OUT.values(), ids=HANDED_OUT.keys())
def test_xcopa_is_read_as_distributed(tmp_path, names):
    def write(part: str, language: str, n: int) -> None:
        texts = {"premise": "It rained.", "choice1": "It is wet.", "choice2": "It is dry.", "question": "effect"}
        lines = [json.dumps(texts | {"label": number % 2, "idx": number}) for number in range(n)]
        path = tmp_path / names.format(part, language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")

    for part, language, n in [("train", "en", 400), ("val", "en", 100), ("test", "et", 500)]:
        write(part, language, n)
    source = open_source(get_task("xcopa"), tmp_path, ["et"])
    roles = {"train": "en", "selection": "en", "test": "et"}
    assert [len(load_rows(source, language, role)) for role, language in roles.items()] == [400, 100, 500]


PAWS_X = {
    "the authors', and the folder above": ("", "x-final/", ("train", "dev_2k", "test_2k")),
    "the authors'": ("x-final", "x-final/", ("train", "dev_2k", "test_2k")),
    "the hub's, as text": ("", "", ("train", "validation", "test")),
}


@pytest.mark.parametrize(("folder", "above", "names"), PAWS_X.values(), ids=PAWS_X.keys())
def test_paws_x_is_read_as_distributed(tmp_path, folder, above, names):
    for name, language, n in zip(names, ("en", "en", "de"), (40, 2000, 2000), strict=True):
        path = tmp_path / f"{above}{language}/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{number}\tA {number} B\tB {number} A\t{number % 2}" for number in range(n)]
        path.write_text("\n".join(["id\tsentence1\tsentence2\tlabel", *lines]) + "\n", encoding="utf-8")
    source = open_source(get_task("paws-x"), tmp_path / folder, ["de"])
    roles = {"train": "en", "selection": "en", "test": "de"}
    assert [len(load_rows(source, language, role)) for role, language in roles.items()] == [40, 2000, 2000]


# ── as the hub has them ──


def as_converted(folder: Path) -> Path:
    """Rename `<language>/<split>-*.parquet` in `folder` as the hub calls its own conversions (refs/convert/parquet)."""
    for path in list(folder.glob("*/*.parquet")):
        split = path.parent / path.name.partition("-")[0]
        split.mkdir()
        path.rename(split / "0000.parquet")
    return folder


def test_hub_conversions_are_read(mini, copies, tmp_path):
    converted = as_converted(Path(shutil.copytree(copies["hub"], tmp_path / "converted")))
    for language, role in (("en", "train"), ("en", "selection"), ("es", "test")):
        rows = mini.load(language, role, folder=converted)
        assert rows.sha256 == mini.load(language, role, folder=copies["hub"]).sha256
    (converted / "es" / "test" / "._0000.parquet").write_bytes(b"\x00\x05\x16\x07")  # as macOS leaves them
    assert len(mini.load("es", "test", folder=converted)) == len(rows)
    assert open_source(mini.task, converted, ["es"]).name == "local copy (hub layout)"


def test_conversion_is_not_read_as_the_authors_files(tmp_path):
    """WikiANN's authors have files `de/test`, where the conversion has folders of that name."""
    words = {"tokens": [["Ada", "went"]] * 10_000, "ner_tags": [["B-PER", "O"]] * 10_000}
    (tmp_path / "de/test").mkdir(parents=True)
    pq.write_table(pa.table(words), tmp_path / "de/test/0000.parquet")
    source = open_source(get_task("pan-x"), tmp_path, ["de"])
    assert len(load_rows(source, "de", "test")) == 10_000


def test_americasnli_is_read_as_on_the_hub(tmp_path):
    """With development rows in every language, which XNLI's English ones lie beside."""
    task = get_task("americasnli")
    for language, split, n in (("aym", "test", 750), ("aym", "validation", 743), ("en", "validation", 2490)):
        rows = [{"premise": f"{i}", "hypothesis": f"{i}", "label": task.labels[i % 3]} for i in range(n)]
        (tmp_path / language).mkdir(exist_ok=True)
        pd.DataFrame(rows).to_parquet(tmp_path / language / f"{split}-00000-of-00001.parquet")
    source = open_source(task, tmp_path, ["aym"])
    assert len(load_rows(source, "aym", "test")) == 750
    assert len(load_rows(source, "en", "selection")) == 2490


def test_one_file_for_all_languages_is_refused(own_layout):
    task_file, _ = own_layout
    text = task_file.read_text(encoding="utf-8").replace("nowhere/{language}.csv", "mine/tests/all.csv")
    task_file.write_text(text, encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"files\.test: 'mine/tests/all\.csv' is the same for each language"):
        get_task(str(task_file))


@pytest.mark.parametrize("column", ["language", "lang"])
def test_rows_of_another_language_are_refused(copies, mini, tmp_path, column):
    """One file with a column for the language, under each language's name, would be several times the same test."""
    folder = Path(shutil.copytree(copies["hub"], tmp_path / "copy"))
    path = next((folder / "es").glob("test*.parquet"))
    frame = pd.read_parquet(path)
    for own_names in (["es"], ["Spanish"], ["es-MX", "es-ES"]):
        frame.assign(**{column: (own_names * len(frame))[: len(frame)]}).to_parquet(path)
        assert len(mini.load("es", "test", folder=folder)) == len(frame)
    frame.assign(**{column: ["es"] * (len(frame) - 1) + ["en"]}).to_parquet(path)
    with pytest.raises(DataError, match=rf"row {len(frame)} has 'en' in column '{column}'; wanted one language"):
        mini.load("es", "test", folder=folder)


def test_an_edited_xnli_file_is_read_again(mini, copy):
    folder = copy("XNLI-1.0")
    before = mini.load("es", folder=folder)
    rows = tiny.mini_rows()
    rows["test", "es"][0] = ("Otra frase.", *rows["test", "es"][0][1:])
    tiny.write_official_layout(folder, rows)
    after = mini.load("es", folder=folder)
    assert (before.texts["premise"][0], after.texts["premise"][0]) == (
        tiny.mini_rows()["test", "es"][0][0],
        "Otra frase.",
    )


def test_unrecognised_copy_is_refused_with_the_tasks_files(tmp_path):
    """Only XNLI can have the files of XNLI-1.0."""
    said = []
    for name in ("tatoeba", "xnli"):
        with pytest.raises(DataError) as raised:
            open_source(get_task(name), tmp_path, ["de"])
        said.append(str(raised.value).split("work too), ")[1])
    assert said[0] == "tatoeba/<language>-en.* (its authors' layout) or test-<language>.tsv (XTREME)"
    assert said[1] == "xnli.test.tsv (XNLI-1.0) or test-<language>.tsv (XTREME)"


def test_a_tasks_own_files_are_found_beside_xnli(tmp_path):
    """In a folder of several data sets; any task with two texts and a label was read from XNLI's files."""
    tiny.write_official_layout(tmp_path / "XNLI-1.0", tiny.mini_rows())
    (tmp_path / "x-final" / "de").mkdir(parents=True)
    (tmp_path / "x-final" / "de" / "test_2k.tsv").write_text("id\tsentence1\tsentence2\tlabel\n1\tEins.\tZwei.\t1\n")
    names = {task: recognise(tmp_path, get_task(task))[0] for task in ("paws-x", "xnli", "sib200")}
    assert names == {"paws-x": "authors'", "xnli": "XNLI-1.0", "sib200": "hub"}


@pytest.mark.parametrize("newer", [["test-00000-of-00002", "test-00001-of-00002"], ["test-00000-of-00001-b943ea66e"]])
def test_split_downloaded_in_two_versions_is_refused(mini, copy, newer):
    """Every row that both have counted twice."""
    folder = copy("hub")
    older = folder / "es" / "test-00000-of-00001.parquet"
    for name in newer:
        shutil.copy(older, older.with_name(f"{name}.parquet"))
    with pytest.raises(DataError, match=f"es: .*{newer[0]}.* are one part of the split in two versions; keep only"):
        mini.load("es", folder=folder)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], r"no copy of paws-x recognised; wanted <language>/<split>-\*.parquet .*work too\), xnli.test.tsv"),
        (["en/train.tsv"], r"names no files of the split 'odd' under \[files\], .*; leave out --test-split$"),
    ],
)
def test_split_unknown_to_the_authors_layout_is_refused(tmp_path, names, said):
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("id\tsentence1\tsentence2\tlabel\n1\tOne.\tTwo.\t1\n")
    with pytest.raises(DataError, match=said):
        load_rows(open_source(get_task("paws-x").tested_on("odd"), tmp_path, ["de"]), "de", "test")


def test_xtreme_copy_of_development_files_alone_is_read(tmp_path):
    """XTREME's test files have no labels, so there is no use in keeping them."""
    (tmp_path / "dev-de.tsv").write_text("Eins.\tZwei.\t1\n")
    source = open_source(get_task("paws-x").tested_on("dev"), tmp_path, ["de"])
    assert recognise(tmp_path, source.task)[0] == "XTREME"
