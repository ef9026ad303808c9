"""`python -m tools.microcosm teacher DIR` makes vocabulary and teacher; then, `student DIR` makes the student. In
between, `layers DIR` shows which of the teacher's layers a student should start with.

The same machine and libraries give the same bytes each time. DIR gets a log; `--steps` shortens the schedule for trials
and tests. DIR/pretrained keeps the teacher with its heads, in full precision, for the distillation.
"""

import copy
import platform
import shutil
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import transformers
import typer

from tools.microcosm.distil import distillation, student_of
from tools.microcosm.layers import losses_of_choices
from tools.microcosm.pretrain import BATCH_SIZE, new_teacher, pretraining_loss, train
from tools.microcosm.text import MultilingualText
from tools.microcosm.vocabulary import train_tokenizer
from xeval.data.microcosm.corpus import SEED
from xeval.data.microcosm.lexicon import ALL

TEACHER, STUDENT, PRETRAINED = "mini-mbert", "mini-distilmbert", "pretrained"
STUDENT_LEARNING_RATE = 1e-3
SAMPLED_BATCHES = 4

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Where the two models go.")]


@app.command("teacher")
def make_teacher(folder: Folder, steps: int = 10_000, threads: int = 1) -> None:
    """Train the vocabulary, then pretrain the teacher from scratch."""
    log = _start(folder, threads)
    tokenizer = train_tokenizer(ALL, SEED)
    text = MultilingualText(tokenizer, ALL, SEED)
    log(f"vocabulary of {len(tokenizer):,} pieces; {text.n_sentences:,} sentences in {len(ALL)} languages")
    teacher = new_teacher(len(tokenizer), SEED)
    log(f"{TEACHER}: {sum(p.numel() for p in teacher.bert.parameters()):,} parameters")
    train(teacher, text, steps, pretraining_loss(teacher), log)
    teacher.save_pretrained(folder / PRETRAINED)
    _save(teacher, tokenizer, folder / TEACHER)


@app.command("student")
def make_student(folder: Folder, steps: int = 2_500, threads: int = 1) -> None:
    """Distil the teacher in the folder."""
    log = _start(folder, threads)
    teacher, tokenizer, text = _teacher_in(folder)
    student = student_of(teacher, list(islice(text.batches(BATCH_SIZE), SAMPLED_BATCHES)))
    log(f"{STUDENT}: {sum(p.numel() for p in student.distilbert.parameters()):,} parameters")
    train(student, text, steps, distillation(teacher, student), log, STUDENT_LEARNING_RATE)
    _save(student, tokenizer, folder / STUDENT)


@app.command("layers")
def show_layers(folder: Folder, n_layers: int = 3) -> None:
    """Print the loss of the teacher in the folder, cut down to each choice of its layers."""
    teacher, _, text = _teacher_in(folder)
    batches = list(islice(text.batches(BATCH_SIZE), SAMPLED_BATCHES))
    for choice, loss in losses_of_choices(teacher, batches, n_layers).items():
        print(f"{loss:8.2f}  layers {', '.join(map(str, choice))}")


def _teacher_in(
    folder: Path,
) -> tuple[transformers.BertForPreTraining, transformers.PreTrainedTokenizerBase, MultilingualText]:
    """Load the teacher with its heads and its tokenizer, and make text like that of its training."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / TEACHER)
    teacher = transformers.BertForPreTraining.from_pretrained(folder / PRETRAINED)
    return teacher, tokenizer, MultilingualText(tokenizer, ALL, SEED + 1)  # another draw, mostly of the same statements


def _start(folder: Path, threads: int) -> Callable[[str], None]:
    """Make the arithmetic repeatable, and return a function that writes a line to the terminal and the folder's log."""
    torch.set_num_threads(threads)  # with another number of threads, sums round differently
    torch.use_deterministic_algorithms(True)
    transformers.logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        with (folder / "making.log").open("a", encoding="utf-8") as file:
            print(line, file=file)

    log(f"seed {SEED}, {threads} threads, torch {torch.__version__}, transformers {transformers.__version__}")
    log(f"python {platform.python_version()}, {platform.machine()}")
    return log


def _save(model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, folder: Path) -> None:
    """Save only the encoder, in half precision, as it ships."""
    shutil.rmtree(folder, ignore_errors=True)
    encoder = copy.deepcopy(model.base_model).half()
    assert isinstance(encoder, transformers.PreTrainedModel)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    app()
