"""A task that xeval does not ship, its rows in three languages, and tiny but real checkpoints to run on them."""

import csv
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.checkpoints import LABELS, tiny_model, tiny_tokenizer
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.definitions.task import Task
from xeval.kinds.rows import Rows as CheckedRows

Row = tuple[str, str, str]  # premise, hypothesis, label
Rows = dict[tuple[str, str], list[Row]]  # (role, language) → rows in file order

LANGUAGES = ("en", "es", "zh")
ROLES = ("train", "selection", "test")
COUNTS = {"train": 24, "selection": 12, "test": 12}

# Premise, then an entailment, a neutral hypothesis and a contradiction. {n} makes any number of rows.
SENTENCES = {
    "en": [
        (
            "The cat sleeps in room {n}.",
            "An animal is in room {n}.",
            "The cat is old.",
            "The cat runs about.",
        ),
        ("Anna reads book {n} aloud.", "Someone is reading.", "Anna likes book {n}.", "Nobody is reading."),
        (
            "The train to town {n} is late.",
            "A train is late.",
            "It rains in town {n}.",
            "The train is early.",
        ),
    ],
    "es": [
        (
            "El gato duerme en la habitación {n}.",
            "Un animal está en la habitación {n}.",
            "El gato es viejo.",
            "El gato corre de un lado a otro.",
        ),
        ("Ana lee el libro {n} en voz alta.", "Alguien lee.", "A Ana le gusta el libro {n}.", "Nadie lee."),
        (
            "El tren a la ciudad {n} llega tarde.",
            "Un tren llega tarde.",
            "Llueve en la ciudad {n}.",
            "El tren llega antes de hora.",
        ),
    ],
    "zh": [
        ("猫在{n}号房间里睡觉。", "{n}号房间里有一只动物。", "这只猫很老。", "猫跑来跑去。"),
        ("安娜大声读第{n}本书。", "有人在读书。", "安娜喜欢第{n}本书。", "没有人在读书。"),
        ("去{n}号城的火车晚点了。", "有一列火车晚点了。", "{n}号城在下雨。", "火车提前到了。"),
    ],
}


def make_rows(language: str, n_rows: int, start: int = 0) -> list[Row]:
    """The same pairs in every language; three consecutive rows share a premise, as in XNLI."""
    rows: list[Row] = []
    for number in range(start, start + -(-n_rows // len(LABELS))):
        sentences = SENTENCES[language][number % len(SENTENCES[language])]
        premise, *hypotheses = (sentence.format(n=number) for sentence in sentences)
        rows += [(premise, hypothesis, label) for hypothesis, label in zip(hypotheses, LABELS, strict=True)]
    return rows[:n_rows]


def mini_rows() -> Rows:
    """The rows of a zero-shot run on mini-pairs: English for training and selection, tests in every language."""
    return {
        ("train", "en"): make_rows("en", COUNTS["train"]),
        ("selection", "en"): make_rows("en", COUNTS["selection"], start=100),
        **{("test", language): make_rows(language, COUNTS["test"], start=200) for language in LANGUAGES},
    }


# ── the task ──

REMEDY = "correct the file, or fetch it again if it was downloaded"  # how messages about a user's own copy end

TASK_TOML = f"""\
name = "mini-pairs"
title = "Mini pairs"
kind = "pair-classification"
metric = "accuracy"
default_recipe = "hf-2019"
training_language = "en"
languages = ["en", "es", "zh"]
labels = ["entailment", "neutral", "contradiction"]
licence = "CC0"
citation = "Written for the tests of xeval."
source_url = "https://example.org/mini-pairs"

[label_aliases]
contradictory = "contradiction"

[expected_rows]
train = {COUNTS["train"]}
selection = {COUNTS["selection"]}
test = {COUNTS["test"]}
"""


def write_task(folder: Path, *changes: tuple[str, str], name: str = "mini-pairs") -> Path:
    """The task file of mini-pairs in `folder`, with each (old, new) text replaced."""
    text = TASK_TOML.replace('"mini-pairs"', f'"{name}"')
    for old, new in changes:
        assert old in text, f"the task file has no {old!r} to replace"
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


# ── layouts of data on disk ──


def write_hub_layout(folder: Path, rows: Rows, label_names: Sequence[str] = LABELS) -> Path:
    """`<language>/<split>-00000-of-00001.parquet` with a ClassLabel whose names are in the order of `label_names`."""
    schema = hub_schema(label_names)
    for (role, language), split_rows in rows.items():
        path = folder / language / f"{hub_split(role)}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        premises, hypotheses, labels = columns(split_rows)
        numbers = [label_names.index(label) for label in labels]
        table = {"premise": premises, "hypothesis": hypotheses, "label": numbers}
        pq.write_table(pa.table(table, schema=schema), path)
    return folder


def hub_schema(label_names: Sequence[str] = LABELS) -> pa.Schema:
    """The schema that the `datasets` library writes, with the names of the labels in its metadata."""
    text = datasets.Value("string")
    label = datasets.ClassLabel(names=list(label_names))
    return datasets.Features({"premise": text, "hypothesis": text, "label": label}).arrow_schema


def hub_split(role: str) -> str:
    return "validation" if role == "selection" else role


def columns(rows: Sequence[Row]) -> tuple[list[str], list[str], list[str]]:
    premises, hypotheses, labels = zip(*rows, strict=True)
    return list(premises), list(hypotheses), list(labels)


def write_official_layout(folder: Path, rows: Rows, nested: bool = False) -> Path:
    """XNLI-1.0 and XNLI-MT-1.0: no quoting, all languages in one file, "contradictory" in the training file."""
    evaluation = folder / "XNLI-1.0" if nested else folder
    training = folder / "XNLI-MT-1.0" / "multinli" if nested else folder
    for role, name in (("selection", "xnli.dev.tsv"), ("test", "xnli.test.tsv")):
        lines = ["\t".join(OFFICIAL_COLUMNS)]
        for (row_role, language), split_rows in rows.items():
            if row_role == role:
                lines += [_official_line(language, row, number) for number, row in enumerate(split_rows)]
        _write_lines(evaluation / name, lines)
    for (role, language), split_rows in rows.items():
        if role == "train":
            lines = ["premise\thypo\tlabel", *("\t".join(row) for row in split_rows)]
            lines = [line.replace("\tcontradiction", "\tcontradictory") for line in lines]
            _write_lines(training / f"multinli.train.{language}.tsv", lines)
    return folder


OFFICIAL_COLUMNS = (
    *("language", "gold_label"),
    *("sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"),
    *("sentence1", "sentence2", "promptID", "pairID", "genre"),
    *("label1", "label2", "label3", "label4", "label5"),
    *("sentence1_tokenized", "sentence2_tokenized", "match"),
)


def _official_line(language: str, row: Row, number: int) -> str:
    premise, hypothesis, label = row
    fields = dict.fromkeys(OFFICIAL_COLUMNS, "") | {
        "language": language,
        "gold_label": label,
        "sentence1": premise,
        "sentence2": hypothesis,
        "pairID": str(number),
        "sentence1_tokenized": premise.lower(),
        "sentence2_tokenized": hypothesis.lower(),
    }
    return "\t".join(fields.values())


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")


def write_xtreme_layout(folder: Path, rows: Rows, test_labels: bool = True) -> Path:
    """`train-en.tsv` and so on, by csv.writer as in XTREME's script, which leaves out the labels of test files."""
    folder.mkdir(parents=True, exist_ok=True)
    for (role, language), split_rows in rows.items():
        path = folder / f"{'dev' if role == 'selection' else role}-{language}.tsv"
        n_fields = 3 if test_labels or role != "test" else 2
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows(row[:n_fields] for row in split_rows)
    return folder


# ── checkpoints ──

WIDTHS = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "xlm-roberta": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
}


def make_checkpoint(folder: Path, architecture: str, labels: Sequence[str] | None = None, seed: int = 0) -> Path:
    """Save a checkpoint with random weights and a tokenizer for the rows made here.

    With `labels`, it has a classification head with these labels, in this order; without, only the encoder.
    """
    texts = [text for language in LANGUAGES for row in make_rows(language, 30) for text in row[:2]]
    tokenizer = tiny_tokenizer(architecture, texts)
    sizes = WIDTHS[architecture]
    if labels is None:
        tiny_model(architecture, len(tokenizer), seed, **sizes).base_model.save_pretrained(folder)
    else:
        names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
        tiny_model(architecture, len(tokenizer), seed, **sizes, **names).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Mini:
    """The task mini-pairs with its rows on disk in the hub's layout."""

    task_file: Path
    data: Path

    @property
    def task(self) -> Task:
        return get_task(str(self.task_file))

    def load(self, language: str = "es", role: str = "test", folder: Path | None = None) -> CheckedRows:
        """The rows as a run gets them, from `folder` or from `data`."""
        source = open_source(self.task, folder or self.data, [language])
        return load_rows(source, language, role)


TELLING = {"entailment": "aaaaaa", "neutral": "oooooo", "contradiction": "eeeeee"}  # hypotheses that are quickly learnt


def telling_data(folder: Path, tests: dict[str, str] | None = None) -> Path:
    """Rows that teach a model something in four steps; `tests` replaces labels of test rows."""
    other = {"test": tests or {}}
    rows = {
        (role, language): [(text, TELLING[label], other.get(role, {}).get(label, label)) for text, _, label in split]
        for (role, language), split in mini_rows().items()
    }
    return write_hub_layout(folder, rows)
