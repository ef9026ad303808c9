"""Rows that contradict the task file are refused with exit code 2 and one line that names the file."""

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_malformed_files import is_refused

from tests.helpers import tiny

TEST, TRAIN = "es/test-00000-of-00001.parquet", "en/train-00000-of-00001.parquet"
Break = Callable[[Path], None]


def put(content: bytes) -> Break:
    return lambda path: path.write_bytes(content)


def change(edit: Callable[[bytes], bytes]) -> Break:
    return lambda path: path.write_bytes(edit(path.read_bytes()))


def column(name: str, values: list | Callable[[list], list], kind: pa.DataType | None = None) -> Break:
    def rewrite(path: Path) -> None:
        table = pq.read_table(path)
        new = values(table[name].to_pylist()) if callable(values) else values * (table.num_rows // len(values))
        pq.write_table(table.set_column(table.column_names.index(name), name, pa.array(new, kind)), path)

    return rewrite


def rows(edit: Callable[[pa.Table], pa.Table]) -> Break:
    return lambda path: pq.write_table(edit(pq.read_table(path)), path)


def endless(n_rows: int, text: str) -> Break:
    """Rows that take next to nothing on disk and gigabytes in memory."""

    def write(path: Path) -> None:
        label = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, np.int8)), pa.array(["neutral"]))
        texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, np.int8)), pa.array([text]))
        table = pa.table({"premise": texts, "hypothesis": texts, "label": label})
        with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
            for start in range(0, n_rows, 10**6):
                writer.write_table(table.slice(0, min(10**6, n_rows - start)))

    return write


def flipped(seed: int) -> Break:
    """Flip a few bits at the end of the file, where Parquet keeps its metadata."""

    def flip(content: bytes) -> bytes:
        damaged, rng = bytearray(content), random.Random(seed)
        for _ in range(20):
            damaged[rng.randrange(len(damaged) - 200, len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged)

    return change(flip)


TEXTS = [pa.large_string(), pa.string_view(), pa.large_binary(), pa.binary()]
HUB = {
    "empty": put(b""),
    "text": put(b"premise,hypothesis,label\n"),
    "binary": put(bytes(range(256)) * 8),
    "only its magic": put(b"PAR1PAR1"),
    "cut": change(lambda content: content[: len(content) // 2]),
    "without its end": change(lambda content: content[:-1]),
    "without its start": change(lambda content: content[4:]),
    "an HTML page": put(b"<!doctype html>"),
    "a Git LFS pointer": put(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    **{f"bits turned over, {seed}": flipped(seed) for seed in range(6)},
    "no premise": rows(lambda table: table.drop_columns("premise")),
    "no hypothesis": rows(lambda table: table.drop_columns("hypothesis")),
    "no label": rows(lambda table: table.drop_columns("label")),
    "no rows": rows(lambda table: table.slice(0, 0)),
    "too few rows": rows(lambda table: table.slice(1)),
    "too many rows": rows(lambda table: pa.concat_tables([table, table])),
    "numbers for text": column("premise", [7]),
    "nothing for text": column("hypothesis", [None], pa.string()),
    "lists for text": column("premise", [["a"]]),
    "bytes that are no text": column("premise", [b"\xff\xfe"], pa.binary()),
    "a label that is none": column("label", lambda labels: [7, *labels[1:]], pa.int64()),
    "labels below zero": column("label", [-1], pa.int64()),
    "labels as fractions": column("label", [0.5, 1.0]),
    "labels as text that is none": column("label", ["perhaps", "neutral"]),
    "labels as truth": column("label", [True, False]),
    "one label throughout": column("label", [0], pa.int64()),
    "lists as labels": column("label", [[0]]),
    "two hundred million rows": endless(200_000_000, "x"),
    "texts of a megabyte": endless(12, "x" * 1_000_000),
    **{f"texts of a megabyte, {kind}": column("premise", ["x" * 1_000_000], kind) for kind in TEXTS},
}
TRAINING = (
    "empty",
    "cut",
    "no label",
    "no rows",
    "a label that is none",
    "two hundred million rows",
    "texts of a megabyte",
)


@pytest.fixture
def run_on(command, mini, tmp_path):
    """`run_on(data)` runs an encoder that comes with xeval on this folder."""

    def run(data: Path):
        return command(
            "run", mini.task_file, "--model", "mini-mbert", "--quiet", "--data", data, "--results", tmp_path / "results"
        )

    return run


@pytest.mark.parametrize(
    ("file", "what"),
    [
        *((TEST, what) for what in HUB),
        *(
            pytest.param(TRAIN, what, marks=[pytest.mark.slow] if what == "two hundred million rows" else ())
            for what in TRAINING
        ),
    ],
    ids=lambda value: value,
)
def test_a_malformed_parquet_file_is_refused(run_on, mini, tmp_path, file, what):
    data = Path(shutil.copytree(mini.data, tmp_path / "data"))
    HUB[what](data / file)
    answer = run_on(data)
    is_refused(answer, data / file)
    assert list((tmp_path / "results").rglob("record.json")) == []


OFFICIAL = {
    "empty": put(b""),
    "binary": put(bytes(range(256)) * 8),
    "broken UTF-8": change(lambda content: content.replace(b"gato", b"g\xe1to", 1)),
    "half of UTF-16": change(lambda content: content.decode().encode("utf-16")[:-1]),
    "no label column": change(lambda content: content.replace(b"gold_label", b"label_of_gold", 1)),
    "no language column": change(lambda content: content.replace(b"language", b"tongue", 1)),
    "a row too short": change(lambda content: content.rstrip(b"\n").rpartition(b"\t")[0] + b"\n"),
    "a row too long": change(lambda content: content.rstrip(b"\n") + b"\tmore\n"),
    "a label that is none": change(lambda content: content.replace(b"es\tneutral", b"es\tperhaps", 1)),
    "a row less": change(lambda content: re.sub(rb"\nes\t[^\n]*", b"", content, count=1)),
    "a field of a megabyte": change(lambda content: content.replace(b"gato", b"g" * 1_000_000, 1)),
    "a terabyte": lambda path: os.truncate(path, 10**12),
}


@pytest.mark.parametrize("what", OFFICIAL)
def test_a_malformed_table_of_xnli_1_0_is_refused(run_on, tmp_path, what):
    data = tiny.write_official_layout(tmp_path / "data", tiny.mini_rows())
    OFFICIAL[what](data / "xnli.test.tsv")
    is_refused(run_on(data), data / "xnli.test.tsv")


XTREME = {
    "empty": put(b""),
    "binary": put(bytes(range(256)) * 8),
    "broken UTF-8": change(lambda content: content.replace(b"gato", b"g\xe1to", 1)),
    "one field": put(b"only this\n" * 12),
    "four fields": put(b"a\tb\tneutral\tmore\n" * 12),
    "a quotation mark that is never closed": change(lambda content: b'"' + content.replace(b"\t", b"\t\t", 1)),
    "labels that are none": change(lambda content: content.replace(b"neutral", b"perhaps")),
    "no labels": change(lambda content: b"".join(line.rpartition(b"\t")[0] + b"\n" for line in content.splitlines())),
    "a terabyte": lambda path: os.truncate(path, 10**12),
}


@pytest.mark.parametrize("what", XTREME)
def test_a_malformed_table_of_xtreme_is_refused(run_on, tmp_path, what):
    data = tiny.write_xtreme_layout(tmp_path / "data", tiny.mini_rows())
    XTREME[what](data / "test-es.tsv")
    is_refused(run_on(data), data / "test-es.tsv")


def test_there_are_over_60_malformed_files(figure):
    figure("malformed data files", f"{len(HUB) + len(TRAINING)} of Parquet, {len(OFFICIAL) + len(XTREME)} of tables")
    assert len(HUB) + len(TRAINING) + len(OFFICIAL) + len(XTREME) > 60


@pytest.mark.parametrize("what", ["nowhere", "a file", "an empty folder", "a folder of other files", "a pipe in it"])
def test_folder_without_the_data_is_refused(run_on, tmp_path, what):
    data = tmp_path / "data"
    if what == "a file":
        data.write_text("x")
    elif what != "nowhere":
        (data / "es").mkdir(parents=True)
    if what == "a folder of other files":
        (data / "es" / "xnli.py").write_text("raise SystemExit('run')")
    if what == "a pipe in it":
        os.mkfifo(data / "es" / "test-0.parquet")
        os.mkfifo(data / "xnli.test.tsv")
    is_refused(run_on(data), data)
