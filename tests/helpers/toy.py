"""A task that a tiny encoder learns in seconds, and variants of its data and checkpoint with something wrong.

The label of a pair is in its hypothesis: in most rows as a word, in some only as a capital letter. Where a language
uses the same words as English, learning transfers.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from transformers import BertTokenizer, PreTrainedTokenizerBase

from tests.helpers import tiny
from tests.helpers.checkpoints import LABELS, tiny_model
from xeval.results.records import RunRecord
from xeval.results.store import run_folder
from xeval.runs.grid import run

LANGUAGES = ("en", "es", "ar", "zh")
COUNTS = {"train": 360, "selection": 90, "test": 120}
FILLERS = {
    "en": ["table", "river", "stone", "garden", "window", "letter", "bridge", "basket"],
    "es": ["mesa", "río", "piedra", "jardín", "ventana", "carta", "puente", "cesta"],
    "ar": ["طاولة", "نهر", "حجر", "حديقة", "نافذة", "رسالة", "جسر", "سلة"],
    "zh": ["桌", "河", "石", "园", "窗", "信", "桥", "篮"],
}
SHARED_WORDS = ("certainly", "perhaps", "never")
# Ten words for each label that English does not have: on these, an encoder is at chance.
OWN_WORDS = {
    "es": [[f"{first}{second}ñ" for first in "bcdfglmprs"] for second in ("al", "er", "io")],
    "ar": [[f"{first}{second}" for first in "بتثجحخدذرز"] for second in ("ال", "ين", "ون")],
    "zh": [[chr(0x5000 + 10 * label + number) for number in range(10)] for label in range(3)],
}
CAPITALS = ("Ka", "Lo", "Mi")  # in lower case, these are words for other labels
SMALL = ("lo", "mi", "ka")
ONLY_IN_CAPITALS = 0.2  # of the rows
RECIPE = """\
name = "toy"
description = "Enough for the toy task"
learning_rate = 5e-3
batch_size = 16
epochs = 6
max_length = 24
warmup_share = 0.1
selection = "last"
seed = 1
"""


def make_rows(language: str, n_rows: int, role: str, in_own_words: bool = False) -> list[tiny.Row]:
    """Balanced rows; the labels are in the same order in every language."""
    rng = random.Random(f"{language} {role}")
    rows = []
    for number in range(n_rows):
        label = number % 3
        if in_own_words:
            marker = rng.choice(OWN_WORDS[language][label])
        elif rng.random() < ONLY_IN_CAPITALS:
            marker = CAPITALS[label]
        else:
            marker = f"{SHARED_WORDS[label]} {rng.choice(SMALL)}"
        fillers = rng.choices(FILLERS[language], k=6)
        rows.append((" ".join(fillers), f"{marker} {fillers[0]}", LABELS[label]))
    return rows


def toy_rows(own_words: tuple[str, ...] = ()) -> tiny.Rows:
    """All rows; the test sets of the languages in `own_words` express labels in words that English does not have."""
    rows = {(role, "en"): make_rows("en", COUNTS[role], role) for role in ("train", "selection")}
    for language in LANGUAGES:
        rows["test", language] = make_rows(language, COUNTS["test"], "test", language in own_words)
    return rows


def toy_tokenizer(do_lower_case: bool = False, words_in_lower_case: bool = False) -> PreTrainedTokenizerBase:
    """A tokenizer with a piece for every word; for an uncased vocabulary, all in lower case."""
    words = {*SHARED_WORDS, *CAPITALS, *SMALL, *"abcdefghijklmnopqrstuvwxyz"}
    words |= {word for some in FILLERS.values() for word in some}
    words |= {word for labels in OWN_WORDS.values() for some in labels for word in some}
    if words_in_lower_case:
        words = {word.lower() for word in words}
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]
    return BertTokenizer(vocab={piece: row for row, piece in enumerate(pieces)}, do_lower_case=do_lower_case)


def write_checkpoint(folder: Path, tokenizer: PreTrainedTokenizerBase, rows_of_embedding: int | None = None) -> Path:
    """A pretrained encoder with random weights."""
    model = tiny_model("bert", rows_of_embedding or len(tokenizer), hidden_dropout_prob=0.0, initializer_range=0.1)
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Toy:
    """Task file, data and checkpoint on disk, and a method that runs them."""

    folder: Path
    task_file: Path
    data: Path
    model: Path

    def run(self, results: Path, **changes) -> RunRecord:
        options = {
            "task": str(self.task_file),
            "models": [str(self.model)],
            "recipe": str(self.folder / "toy.toml"),
            "data": self.data,
            "results": results,
            "device": "cpu",
            "dtype": "float32",
        }
        (record,) = run(**(options | changes))
        return record


def folder_of(results: Path, record: RunRecord) -> Path:
    """The folder of the run of `record`."""
    return run_folder(results, record.task, record.model.id, record.recipe.name, record.seed, record.identity)


def write_toy(folder: Path) -> Toy:
    (folder / "toy.toml").write_text(RECIPE)
    task_file = tiny.write_task(
        folder / "tasks",
        ('["en", "es", "zh"]', str(list(LANGUAGES)).replace("'", '"')),
        *((f"{role} = {tiny.COUNTS[role]}\n", f"{role} = {COUNTS[role]}\n") for role in COUNTS),
        name="toy-pairs",
    )
    data = tiny.write_hub_layout(folder / "data", toy_rows())
    return Toy(folder, task_file, data, write_checkpoint(folder / "toy-encoder", toy_tokenizer()))
