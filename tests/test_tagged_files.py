"""Files of tagged words are read as XTREME reads them, or refused in one line that says how to fix them."""

import json
import time
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import SHARED
from tests.helpers.archives import unpack
from tests.test_tagging import NAMES, SPEECH
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.definitions.task import Task
from xeval.definitions.toml import read_definition
from xeval.kinds.rows import Rows
from xeval.kinds.tagged_files import read_tagged
from xeval.support.errors import DataError

TASK = """\
name = "own-names"
title = "Own names"
kind = "tagging"
metric = "span_f1"
default_recipe = "mini-tags"
training_language = "en"
languages = ["en", "de"]
labels = ["O", "B-PER", "I-PER"]
licence = "CC0"
citation = "Written for the tests of xeval."
source_url = "https://example.org/own-names"

[expected_rows]
train = 2
selection = 2
test = 2
"""
TWO = "Ada\tB-PER\nLovelace\tI-PER\nwrites\tO\n\nGrace\tB-PER\nsleeps\tO\n"
WORDS = [["Ada", "Lovelace", "writes"], ["Grace", "sleeps"]]
TAGS = [["B-PER", "I-PER", "O"], ["B-PER", "O"]]


@pytest.fixture
def load(tmp_path):
    """`load(files)`: the English test rows of a data folder with these files."""

    def load_from(files: dict[str, str | bytes], task: str = TASK) -> Rows:
        (tmp_path / "own-names.toml").write_text(task)
        for name, content in files.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        own = read_definition(tmp_path / "own-names.toml", Task)
        return load_rows(open_source(own, tmp_path / "data", ["en"]), "en", "test")

    return load_from


# ── read correctly ──


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test-en.tsv", TWO),
        ("en/test.tsv", TWO),
        ("en/test.txt", TWO.replace("\t", " ")),
        ("en/test.conll", TWO.replace("\tB", " NNP _ B").replace("\tI", " NNP _ I").replace("\tO", " VBZ _ O")),
        ("test-en.tsv", "\ufeff" + TWO),
        ("test-en.tsv", TWO.replace("\n", "\r\n")),
        ("test-en.tsv", "\n\n" + TWO.replace("\n\n", "\n\n\n") + "\n\n"),
        ("en/test.txt", "-DOCSTART- O\n\n" + TWO.replace("\t", " ")),
        ("test-en.tsv", "".join(f"en:{line}\n" if line else "\n" for line in TWO.split("\n"))),
    ],
    ids=["XTREME", "hub", "spaces", "CoNLL", "mark of order", "CRLF", "blank lines", "documents", "WikiANN"],
)
def test_word_per_line_formats_are_read(load, name, text):
    rows = load({name: text})
    assert (rows.texts["words"], rows.gold) == (WORDS, TAGS)


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("word", ["1\u00a0000", "a\u3000b", "a\u0085b", "\u200f"])
def test_other_white_space_belongs_to_a_word(load, separator, word):
    """As inside numbers in French: a non-breaking space. The first line tells how many columns there are."""
    for text in (TWO.replace("Ada", word), TWO.replace("Grace", word)):
        rows = load({"en/test.txt": text.replace("\t", separator)})
        assert word in (rows.texts["words"][0][0], rows.texts["words"][1][0]) and rows.gold == TAGS


def test_word_of_white_space_alone_keeps_its_tag(load):
    rows = load({"test-en.tsv": TWO.replace("Ada", "\u00a0")})
    assert (len(rows.texts["words"][0]), rows.gold) == (3, TAGS)


def test_language_prefix_stays_unless_every_word_has_it(load):
    rows = load({"test-en.tsv": TWO.replace("Ada", "en:Ada").replace("sleeps", ":")})
    assert rows.texts["words"][0][0] == "en:Ada"


def test_a_span_may_begin_with_i(load):
    assert load({"test-en.tsv": TWO.replace("B-", "I-")}).gold[0] == ["I-PER", "I-PER", "O"]


def features(names: tuple[str, ...]) -> datasets.Features:
    tags = datasets.Sequence(datasets.ClassLabel(names=list(names)))
    return datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "tags": tags})


@pytest.mark.parametrize("names", [("O", "B-PER", "I-PER"), ("I-PER", "O", "B-PER")], ids=["its order", "another"])
def test_class_labels_in_parquet_are_read(load, tmp_path, names):
    numbers = [[names.index(tag) for tag in row] for row in TAGS]
    schema = features(names).arrow_schema
    pq.write_table(pa.table({"tokens": WORDS, "tags": numbers}, schema=schema), tmp_path / "test.parquet")
    rows = load({"en/test-00000-of-00001.parquet": (tmp_path / "test.parquet").read_bytes()})
    assert (rows.texts["words"], rows.gold) == (WORDS, TAGS)


@pytest.mark.parametrize("as_names", [True, False])
def test_plain_lists_in_parquet_and_json_are_read(load, tmp_path, as_names):
    tags = TAGS if as_names else [[["O", "B-PER", "I-PER"].index(tag) for tag in row] for row in TAGS]
    pq.write_table(pa.table({"tokens": WORDS, "tags": tags}), tmp_path / "test.parquet")
    of_parquet = load({"en/test.parquet": (tmp_path / "test.parquet").read_bytes()})
    lines = [json.dumps({"tokens": words, "tags": own}) for words, own in zip(WORDS, tags, strict=True)]
    (tmp_path / "data/en/test.parquet").unlink()
    of_json = load({"en/test.jsonl": "\n".join(lines)})
    assert of_parquet.gold == of_json.gold == TAGS
    assert of_parquet.sha256 == of_json.sha256 == load({"test-en.tsv": TWO}).sha256


CONLLU = """\
# text = Im Haus
1-2\tIm\t_\t_\t_\t_\t_\t_\t_\t_
1\tIn\tin\tADP\t_\t_\t3\tcase\t_\t_
2\tdem\tder\tDET\t_\t_\t3\tdet\t_\t_
3\tHaus\tHaus\tNOUN\t_\t_\t0\troot\t_\t_
3.1\tist\tsein\tAUX\t_\t_\t_\t_\t_\t_

1-2\tdámelo\t_\t_\t_\t_\t_\t_\t_\t_
1\tda\tdar\tVERB\t_\t_\t0\troot\t_\t_
2\tmelo\tyo\tPRON\t_\t_\t1\tobj\t_\t_
3\t10 000\t10\tNUM\t_\t_\t1\tobj\t_\t_
4\tمی\u200cرود\tx\tX\t_\t_\t1\tdep\t_\t_

1\t_\t_\tNOUN\t_\t_\t0\troot\t_\t_
2\t_\t_\tNOUN\t_\t_\t1\tdep\t_\t_
3\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_

1\tfin\tfin\tNOUN\t_\t_\t0\troot\t_\t_
"""


def test_fused_words_of_conllu_are_read_as_written():
    tagged = read_tagged({"a.conllu": CONLLU})
    assert tagged.words == [["Im", "Haus"], ["dámelo", "10000", "میرود"], ["fin"]], "and none that is withheld"
    assert tagged.tags == [["ADP", "NOUN"], ["VERB", "NUM", "X"], ["NOUN"]]


def test_treebanks_are_joined_in_file_name_order():
    one = "1\ta\t_\tX\t_\t_\t0\troot\t_\t_\n"
    files = {"UD_X-PUD/x_pud-ud-test.conllu": one, "UD_X-abc/x_abc-ud-test.conllu": one.replace("a", "b")}
    assert read_tagged(files).words == [["b"], ["a"]]


# ── refused in one line ──


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"test-en.tsv": TWO.replace("writes\tO", "writes")}, "line 3 has 1 field where others have 2"),
        ({"test-en.tsv": TWO.replace("writes", "")}, "line 3 has 1 field where others have 2; wanted a word and"),
        ({"test-en.tsv": TWO.replace("I-PER", "I-MISC")}, "row 1 has tag 'I-MISC'; wanted one of O, B-PER, I-PER"),
        ({"test-en.tsv": "Ada\nwrites\n\nGrace\n"}, "carry no tags (XTREME's test files have none)"),
        ({"test-en.tsv": TWO + "\nMary\tB-PER\n"}, "wanted 2, found 3"),
        ({"test-en.tsv": "\n\n"}, "wanted 2, found 0"),
        ({"test-en.tsv": b"Ad\xe9\tO\n"}, "line 1 is not UTF-8 (byte 2 of the file)"),
        (
            {"en/test.jsonl": '{"tokens": ["a"], "tags": ["O", "O"]}\n' * 2},
            "2 of 2 rows have 1 word and 2 tags (first row 1)",
        ),
        ({"en/test.jsonl": '{"tokens": [], "tags": []}\n{"tokens": ["a"], "tags": ["O"]}\n'}, "row 1 has no words"),
        (
            {"en/test.jsonl": '{"tokens": "a b", "tags": ["O", "O"]}\n' * 2},
            "rows have 'a b' (first row 1); wanted a list of w",
        ),
        (
            {"en/test.jsonl": '{"tokens": ["a"], "tags": "O"}\n' * 2},
            "rows have 1 word and 'O' (first row 1); wanted on",
        ),
        ({"en/test.jsonl": '{"tokens": ["a"], "tags": [7]}\n' * 2}, "rows have tag 7 (first row 1)"),
        ({"en/test.jsonl": '{"tokens": ["a"], "tags": [true]}\n' * 2}, "rows have tag True (first row 1)"),
        ({"en/test.jsonl": '{"tokens": ["a"], "tags": [["O"]]}\n' * 2}, "rows have tag ['O'] (first row 1)"),
        ({"en/test.jsonl": '{"tokens": ["a", null], "tags": ["O", "O"]}\n' * 2}, "wanted a list of words"),
        ({"en/test.conllu": "1\tAda\tAda\tPROPN\n"}, "line 1 has 4 fields; wanted the 10 of CoNLL-U"),
        ({"en/test.conllu": CONLLU.replace("2\tdem", "5\tdem")}, "line 2 fuses words 1-2"),
        ({"en/test.conllu": "x" + "\t_" * 9 + "\n"}, "line 1 begins with 'x'; wanted the number of a word"),
    ],
)
def test_unusable_files_are_refused_in_one_line(load, files, said):
    with pytest.raises(DataError) as caught:
        load(files)
    message = str(caught.value)
    assert said in message and "\n" not in message and len(message) < 500


def test_uniform_tags_are_refused_as_placeholders(load):
    text = "\n\n".join(["Ada\tO\nwrites\tO"] * 12)
    with pytest.raises(DataError, match="are all tagged 'O', a placeholder; use a copy that carries the tags"):
        load({"test-en.tsv": text}, TASK.replace("test = 2", "test = 12"))


def test_an_alias_is_read_as_its_tag(load):
    aliases = '\n[label_aliases]\nB-DATE = "O"\n'
    rows = load({"test-en.tsv": TWO.replace("writes\tO", "today\tB-DATE")}, TASK + aliases)
    assert rows.gold == TAGS


@pytest.mark.parametrize("what", ["values", "texts"])
def test_decompression_bombs_are_refused(load, tmp_path, monkeypatch, what):
    n = 3_000_000 if what == "values" else 200
    words = ["a" if what == "values" else "a" * 90_000] * n
    quarters = [words[: n // 4]] * 4  # each of them within bounds
    table = pa.table({"tokens": pa.array(quarters, pa.list_(pa.string())), "tags": [["O"] * (n // 4)] * 4})
    pq.write_table(table, tmp_path / "test.parquet", compression="zstd", row_group_size=1)
    assert (tmp_path / "test.parquet").stat().st_size < 1_000_000
    monkeypatch.setattr("xeval.data.tables.MAX_VALUES", 1_000_000)
    monkeypatch.setattr("xeval.data.tables.MAX_FILE_BYTES", 10_000_000)
    with pytest.raises(DataError, match=r"values; wanted at most|unpacks to"):
        load({"en/test.parquet": (tmp_path / "test.parquet").read_bytes()})


# ── tasks that come with xeval, on the real data available ──


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("xtreme")
    for name in ("panx", "udpos"):
        archive = SHARED / "data/xtreme" / f"{name}.tar.xz"
        if not archive.exists():
            pytest.skip("the real data are not in ../shared")
        unpack(archive, folder)
    return folder


@pytest.mark.parametrize("inside", ["", "panx"])
def test_pan_x_is_found_in_a_download_or_in_its_folder(unpacked, inside):
    task = get_task("pan-x").tested_on("dev")
    source = open_source(task, unpacked / inside, ["yo"])
    rows = load_rows(source, "yo", "test")
    assert (len(rows), source.name) == (100, "local copy (authors' layout)")
    assert {tag for row in rows.gold for tag in row} <= set(NAMES)


def test_udpos_is_read_from_its_treebanks(unpacked):
    source = open_source(get_task("udpos"), unpacked, ["de", "en", "th"])
    german, english = load_rows(source, "de", "test"), load_rows(source, "en", "test")
    assert (len(german), sum(map(len, german.gold))) == (1000, 21001)
    assert len(english) == 2077 + 1000, "EWT, then PUD"
    at = german.texts["words"][0].index("am")
    assert german.gold[0][at] == "ADP", "an dem"
    assert {tag for row in german.gold for tag in row} <= set(SPEECH)


def test_missing_test_files_are_named(unpacked):
    with pytest.raises(DataError, match=r"no panx/test-de\.tsv or test-de\.tsv .* which the test rows of 'de'"):
        load_rows(open_source(get_task("pan-x"), unpacked, ["de"]), "de", "test")


# ── fused words in three languages ──

CLITIC = """\
1-2\thaberse\t_\t_\t_\t_\t_\t_\t_\t_
1\thaber\thaber\tAUX\t_\t_\t3\taux\t_\t_
2\tse\tél\tPRON\t_\t_\t3\tobj\t_\t_
3\tido\tir\tVERB\t_\t_\t0\troot\t_\t_
"""


@pytest.mark.parametrize(("language", "tag"), [("es", "AUX"), ("it", "AUX"), ("fr", "AUX"), ("pt", "PRON")])
def test_tag_of_auxiliary_and_clitic_by_language(language, tag):
    """XTREME's conversion puts AUX before PRON in Spanish, Italian and French, and after it elsewhere."""
    assert read_tagged({f"UD_X/{language}_x-ud-test.conllu": CLITIC}).tags == [[tag, "VERB"]]


def conllu(number: str, head: str = "0") -> str:
    return "\t".join([number, "word", "_", "NOUN", "_", "_", head, "_", "_", "_"]) + "\n"


@pytest.mark.parametrize("number", ["²", "9" * 5000, "1-" + "9" * 5000])
def test_numbers_that_python_cannot_read_are_refused(number):
    with pytest.raises(DataError, match=r"line 1 begins with .*; wanted the number of a word"):
        read_tagged({"x.conllu": conllu(number) + "\n"})


def test_circular_heads_end():
    """20,000 fused words in one sentence, whose heads form one circle."""
    n = 20_000
    words = [conllu(f"{i}-{i}") + conllu(str(i), head=str(i % n + 1)) for i in range(1, n + 1)]
    start = time.process_time()
    assert len(read_tagged({"x.conllu": "".join(words)}).words[0]) == n
    assert time.process_time() - start < 20


@pytest.mark.parametrize("value", ["1" + "0" * 400, "1e400", "-1" + "0" * 400])
def test_tags_beyond_any_number_are_refused(load, value):
    with pytest.raises(DataError, match="wanted one of"):
        load({"en/test.jsonl": f'{{"tokens": ["Ada"], "tags": [{value}]}}\n' * 2})


def test_words_with_unpaired_surrogates_are_refused(load):
    with pytest.raises(DataError, match="an unpaired UTF-16 surrogate in"):
        load({"en/test.jsonl": '{"tokens": ["a\\ud800"], "tags": ["O"]}\n' * 2})
