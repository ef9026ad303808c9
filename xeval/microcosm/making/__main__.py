"""`python -m xeval.microcosm.making DIR`: vocabulary, teacher, student, in this order, with a log beside them.

One machine with the same libraries gives the same bytes each time. `--teacher-steps` and `--student-steps` shorten the
schedule for trials and tests.
"""

import copy
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import transformers
import typer

from xeval.microcosm.corpus import SEED
from xeval.microcosm.lexicon import ALL
from xeval.microcosm.making.distil import distillation, student_of
from xeval.microcosm.making.pretrain import new_teacher, pretraining_loss, train
from xeval.microcosm.making.text import MultilingualText
from xeval.microcosm.making.vocabulary import train_tokenizer

TEACHER, STUDENT = "mini-mbert", "mini-distilmbert"
STUDENT_LEARNING_RATE = 1e-3


def make(
    folder: Annotated[Path, typer.Argument(help="Where the two models go.")],
    teacher_steps: int = 10_000,
    student_steps: int = 4_000,
    threads: int = 1,
) -> None:
    """Make the microcosm's teacher and student."""
    torch.set_num_threads(threads)  # the sums of another number of threads round differently
    torch.use_deterministic_algorithms(True)
    transformers.logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "making.log").open("w", encoding="utf-8") as file:

        def log(line: str) -> None:
            print(line, file=sys.stderr, flush=True)
            print(line, file=file, flush=True)

        started = time.monotonic()
        log(f"seed {SEED}, {threads} threads, torch {torch.__version__}, transformers {transformers.__version__}")
        log(f"python {platform.python_version()}, {platform.machine()}")
        tokenizer = train_tokenizer(ALL, SEED)
        text = MultilingualText(tokenizer, ALL, SEED)
        log(f"vocabulary of {len(tokenizer):,} pieces; {text.n_sentences:,} sentences in {len(ALL)} languages")

        teacher = new_teacher(len(tokenizer), SEED)
        log(f"{TEACHER}: {sum(p.numel() for p in teacher.bert.parameters()):,} parameters")
        train(teacher, text, teacher_steps, pretraining_loss(teacher), log)
        _save(teacher, tokenizer, folder / TEACHER)

        student = student_of(teacher)
        log(f"{STUDENT}: {sum(p.numel() for p in student.distilbert.parameters()):,} parameters")
        train(student, text, student_steps, distillation(teacher, student), log, STUDENT_LEARNING_RATE)
        _save(student, tokenizer, folder / STUDENT)
        log(f"made in {(time.monotonic() - started) / 60:.1f} minutes")


def _save(model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, folder: Path) -> None:
    """The encoder alone, in half precision, which is what ships."""
    shutil.rmtree(folder, ignore_errors=True)
    encoder = copy.deepcopy(model.base_model)
    encoder.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    typer.run(make)
