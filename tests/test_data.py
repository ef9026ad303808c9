"""Rows are checked before anything is computed: labels match by name, no row is missing, every text is a string."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers import tiny
from xeval.data.corpus import Corpus
from xeval.data.source import open_source
from xeval.results.records import Limits
from xeval.support.errors import DataError

ORDERS = [
    ("entailment", "neutral", "contradiction"),
    ("contradiction", "neutral", "entailment"),
    ("neutral", "contradiction", "entailment"),
    ("contradictory", "entailment", "neutral"),
]


@pytest.fixture
def hub_copy(tmp_path) -> Path:
    """A copy of mini-pairs in the hub's layout, which a test may change."""
    return tiny.write_hub_layout(tmp_path / "copy", tiny.mini_rows())


@pytest.fixture
def with_labels(hub_copy):
    """`with_labels(values)` gives the Spanish test rows these labels and returns the folder."""

    def replace(values: Sequence, schema: pa.Schema | None = None) -> Path:
        path = hub_file(hub_copy)
        premises, hypotheses, _ = tiny.columns(tiny.mini_rows()["test", "es"])
        table = {"premise": premises, "hypothesis": hypotheses, "label": values}
        pq.write_table(pa.table(table, schema=schema), path)
        return hub_copy

    return replace


def hub_file(folder: Path, language: str = "es", split: str = "test") -> Path:
    [path] = (folder / language).glob(f"{split}-*.parquet")
    return path


def refusal(mini: tiny.Mini, folder: Path, role: str = "test", language: str = "es") -> str:
    with pytest.raises(DataError) as caught:
        mini.load(language, role, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ── what is read ──


def test_unrequested_columns_are_not_read(mini, hub_copy):
    """Here, an embedding of each row that decompresses to garbage, so that reading it fails."""
    path = hub_file(hub_copy)
    table = pq.read_table(path)
    extra = pa.array([[float(number)] * 99 for number in range(len(table))])
    pq.write_table(table.append_column("embedding", extra), path, compression="zstd", use_dictionary=False)
    column = pq.read_metadata(path).row_group(0).column(3)
    assert column.path_in_schema.startswith("embedding")
    content = bytearray(path.read_bytes())
    start = column.data_page_offset + 40
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"(?i)zstd|decompress|corrupt|page"):
        pq.read_table(path)
    assert mini.load("es", folder=hub_copy).sha256 == mini.load("es").sha256


def test_size_limit_counts_only_the_columns_read(mini, hub_copy, monkeypatch):
    path = hub_file(hub_copy)
    table = pq.read_table(path)
    wide = table.append_column("embedding", pa.array([[0.0] * 9999] * len(table)))
    pq.write_table(wide, path, compression="zstd", use_dictionary=False)
    monkeypatch.setattr("xeval.data.tables.MAX_FILE_BYTES", 50_000)
    assert path.stat().st_size < 50_000
    assert len(mini.load("es", folder=hub_copy)) == len(table)


def test_limited_rows_are_computed_once(mini):
    corpus = Corpus(open_source(mini.task, mini.data, ["es"]), Limits(max_train=5, max_eval=4))
    for read in (lambda: corpus.train, lambda: corpus.selection, lambda: corpus.test("es")):
        assert read() is read()
    assert (len(corpus.train), len(corpus.selection), len(corpus.test("es"))) == (5, 12, 4)


# ── labels ──


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_labels_are_matched_by_name_in_any_order(mini, tmp_path, order):
    rows = tiny.mini_rows()
    if "contradictory" in order:
        rows = {
            split: [(p, h, "contradictory" if label == "contradiction" else label) for p, h, label in kept]
            for split, kept in rows.items()
        }
    pairs = mini.load("es", folder=tiny.write_hub_layout(tmp_path, rows, order))
    assert pairs.gold.tolist() == [0, 1, 2] * 4
    assert pairs.sha256 == mini.load("es").sha256


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 2] * 4,
        ["entailment", "neutral", "contradiction"] * 4,
        ["entailment", "neutral", "contradictory"] * 4,
    ],
    ids=["numbers", "names", "other names"],
)
def test_labels_without_schema_are_names_or_task_numbers(mini, with_labels, values):
    assert mini.load("es", folder=with_labels(values)).gold.tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize("values", [[-1] * 12, [None] * 12, ["-"] * 12, [""] * 12, ["-1"] * 12, [None, -1] * 6])
def test_rows_without_labels_are_refused(mini, with_labels, values):
    message = refusal(mini, with_labels(pa.array(values)))
    assert "test rows of 'es' carry no labels (XTREME and some mirrors strip them)" in message
    assert "use a copy that has them, such as the hub's" in message


def test_file_without_label_column_is_refused(mini, hub_copy):
    path = hub_file(hub_copy)
    pq.write_table(pq.read_table(path).drop_columns(["label"]), path)
    assert f"{path}: test rows of 'es' carry no labels" in refusal(mini, hub_copy)


def test_unlabelled_xtreme_test_files_are_refused(mini, tmp_path):
    tiny.write_xtreme_layout(tmp_path, tiny.mini_rows(), test_labels=False)
    message = refusal(mini, tmp_path)
    assert message.startswith(f"{tmp_path / 'test-es.tsv'}: test rows of 'es' carry no labels (XTREME")
    assert mini.load("en", "selection", tmp_path).gold.tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize("value", [0, 1, 2, "entailment"])
def test_one_label_for_all_rows_is_a_placeholder(mini, with_labels, value):
    message = refusal(mini, with_labels([value] * 12))
    assert f"test rows of 'es' are all labelled {value!r}, a placeholder" in message


@pytest.mark.parametrize("stray", [3, -1, "maybe", "Entailments", None], ids=repr)
def test_unknown_label_is_reported_with_its_row(mini, with_labels, stray):
    names_or_numbers = [0, 1, 2] * 4 if isinstance(stray, int | None) else list(mini.task.labels) * 4
    names_or_numbers[7] = stray
    message = refusal(mini, with_labels(pa.array(names_or_numbers)))
    assert f"row 8 has label {stray!r}; wanted one of entailment, neutral, contradiction" in message


def test_schema_with_other_label_names_is_refused(mini, with_labels):
    folder = with_labels([0, 1, 2] * 4, tiny.hub_schema(("yes", "maybe", "no")))
    message = refusal(mini, folder)
    assert "12 of 12 rows cannot be used: 4 have label 0 ('yes' by the file) (first row 1), 4 have label 1" in message
    assert "; wanted one of entailment, neutral, contradiction, or other names that [label_aliases] in" in message


def test_labels_that_are_lists_are_refused(mini, with_labels):
    message = refusal(mini, with_labels([[0], [1], [2]] * 4))
    assert "12 of 12 rows cannot be used: 4 have label [0] (first row 1), 4 have label [1]" in message
    assert "; wanted one of entailment, neutral, contradiction" in message


# ── rows ──


@pytest.mark.parametrize("n_rows", [0, 11, 13])
@pytest.mark.parametrize(("role", "language"), [("selection", "en"), ("test", "en"), ("test", "es")])
def test_a_wrong_number_of_evaluation_rows_is_refused(mini, tmp_path, role, language, n_rows):
    rows = {**tiny.mini_rows(), (role, language): tiny.make_rows(language, 15)}
    folder = tiny.write_hub_layout(tmp_path, rows)
    path = hub_file(folder, language, tiny.hub_split(role))
    pq.write_table(pq.read_table(path).slice(0, n_rows), path)
    message = refusal(mini, folder, role, language)
    assert message.startswith(f"{path}: {tiny.hub_split(role)} rows of {language!r}: wanted 12, found {n_rows}")


@pytest.mark.parametrize("n_rows", [1, 23, 30])
def test_a_training_split_may_be_a_sample(mini, tmp_path, n_rows):
    folder = tiny.write_hub_layout(tmp_path, {("train", "en"): tiny.make_rows("en", 30)[:n_rows]})
    assert len(mini.load("en", "train", folder)) == n_rows


def test_an_empty_training_split_is_refused(mini, hub_copy):
    path = hub_file(hub_copy, "en", "train")
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert "train rows of 'en': wanted 24, found 0" in refusal(mini, hub_copy, "train", "en")


@pytest.mark.parametrize("column", ["premise", "hypothesis"])
def test_a_row_without_text_is_named(mini, hub_copy, column):
    path = hub_file(hub_copy)
    table = pq.read_table(path)
    texts = table[column].to_pylist()
    texts[4] = None
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(texts)), path)
    said = f"row 5 has no text in {column!r}; {tiny.REMEDY}"
    assert refusal(mini, hub_copy) == f"{path}: test rows of 'es': {said}"


def test_non_text_column_is_refused(mini, hub_copy):
    path = hub_file(hub_copy)
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "premise", pa.array([{"es": "hola"}] * 12)), path)
    assert "12 of 12 rows have {'es': 'hola'} in 'premise' (first row 1); wanted text;" in refusal(mini, hub_copy)


# ── the real thing ──

XNLI_LANGUAGES = ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]


@pytest.mark.parametrize("language", XNLI_LANGUAGES)
def test_real_xnli_has_all_rows_and_balanced_labels(shared, language):
    xnli = tiny.Mini(Path(__file__).parents[1] / "tasks" / "xnli.toml", shared / "data" / "xnli")
    pairs = xnli.load(language)
    assert len(pairs) == 5010
    assert [int((pairs.gold == label).sum()) for label in range(3)] == [1670] * 3


# ── the hash of rows ──


def test_different_rows_have_different_hashes(mini):
    splits = list(tiny.mini_rows())
    assert len({mini.load(language, role).sha256 for role, language in splits}) == len(splits)


@pytest.mark.parametrize("change", ["premise", "hypothesis", "label", "order", "border between the texts"])
def test_hash_detects_each_change(mini, tmp_path, change):
    rows = tiny.mini_rows()
    split = rows["test", "es"]
    (premise, hypothesis, label), second = split[:2]
    split[:2] = {
        "premise": [(premise + "!", hypothesis, label), second],
        "hypothesis": [(premise, hypothesis + "!", label), second],
        "label": [(premise, hypothesis, "neutral"), second],
        "order": [second, (premise, hypothesis, label)],
        "border between the texts": [(premise + hypothesis[0], hypothesis[1:], label), second],
    }[change]
    changed = mini.load("es", "test", tiny.write_hub_layout(tmp_path, rows))
    assert changed.sha256 != mini.load("es", "test").sha256


def test_ids_name_rows_only_if_each_row_has_one(mini, hub_copy):
    premises, hypotheses, labels = tiny.columns(tiny.mini_rows()["test", "es"])
    columns = {"premise": premises, "hypothesis": hypotheses, "label": labels}
    numbers = [f"row {number}" for number in range(len(labels))]
    for ids, expected in ((numbers, numbers), ([*numbers[:-1], None], None), (["", *numbers[1:]], None)):
        pq.write_table(pa.table(columns | {"id": ids}), hub_file(hub_copy))
        assert mini.load("es", "test", hub_copy).ids == expected


def test_rows_drawn_to_test_have_their_own_hash(mini):
    limits = Limits(max_train=6, max_eval=6, test_split="train")
    corpus = Corpus(open_source(mini.task.tested_on("train"), mini.data, ["en"]), limits)
    assert corpus.train.sha256 != corpus.test("en").sha256
