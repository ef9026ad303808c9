"""Whole commands, from start to table: `python -m benchmarks.whole --data XNLI --model DIR --model DIR`.

Fine-tunes each model on as many pairs as XNLI's English training set has, made by repeating those in XNLI, and
evaluates it in 15 languages, by `xeval run`; evaluates again what was fine-tuned, by `xeval run --no-train`; and has
the Trainer do the latter as run_xnli.py sets it up: float32, padded to 128, batches of 8.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tabulate import tabulate

N_TRAIN = 392_702
_EVALUATE_BY_TRAINER = """
import sys, datasets, transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments
folder, data, output, *languages = sys.argv[1:]
model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
settings = TrainingArguments(output_dir=output, report_to=[], disable_tqdm=True)
trainer = Trainer(model, settings, data_collator=transformers.default_data_collator)
def encode(rows):
    return tokenizer(rows["premise"], rows["hypothesis"], padding="max_length", max_length=128, truncation=True)
for language in languages:
    rows = datasets.load_dataset("parquet", data_files=f"{data}/{language}/test-00000-of-00001.parquet", split="train")
    trainer.predict(rows.map(encode, batched=True))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="XNLI in the hub's layout")
    parser.add_argument("--model", action="append", required=True, help="a folder or hub id; can be repeated")
    parser.add_argument("--train-rows", type=int, default=N_TRAIN)
    parser.add_argument(
        "--languages", type=int, default=15, help="for the Trainer, which takes minutes for all of them"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _repeat(options.data, home / "data", options.train_rows)
        languages = sorted(path.name for path in options.data.iterdir() if path.is_dir())[: options.languages]
        models = [word for name in options.model for word in ("--model", name)]
        xnli = ["xeval", "run", "xnli", "--data", str(home / "data")]
        trained = home / "trained"
        run = [*xnli, "--recipe", "hf-2019", *models, "--results", str(trained / "results")]
        lines = [("xeval run, all models", _seconds(run, trained))]
        for number, weights in enumerate(sorted((trained / "weights").iterdir())):
            tuned, own = _with_tokenizer(weights, options.model, home / f"tuned-{number}"), home / f"{number}"
            again = [*xnli, "--no-train", "--model", str(tuned), "--results", str(own / "results")]
            lines.append((f"xeval run --no-train, {tuned.name}", _seconds(again, own)))
            trainer = ["-c", _EVALUATE_BY_TRAINER, str(tuned), str(options.data), str(home / "trainer"), *languages]
            lines.append((f"Trainer, {len(languages)} languages, {tuned.name}", _seconds(trainer, own)))
    print(
        tabulate([(name, f"{seconds:.1f}") for name, seconds in lines], ["command", "s"], "pipe", disable_numparse=True)
    )
    return 0


def _repeat(source: Path, target: Path, n_train: int) -> None:
    """A copy of `source` whose English training rows are repeated until there are `n_train`."""
    shutil.copytree(source, target)
    (path,) = target.glob("en/train-*.parquet")
    table = pq.read_table(path)
    path.chmod(0o644)
    pq.write_table(table.take(pa.array(np.arange(n_train) % len(table))), path)


def _with_tokenizer(weights: Path, models: list[str], target: Path) -> Path:
    """A folder with fine-tuned weights and the tokenizer of the first model, whose vocabulary all of them share."""
    shutil.copytree(weights, target)
    for path in Path(models[0]).iterdir():
        if path.name.startswith(("tokenizer", "vocab")):
            shutil.copy(path, target)
    return target


def _seconds(arguments: list[str], cache: Path) -> float:
    """How long a command takes whose cache, of weights and of encoded rows, is that folder."""
    words = arguments if arguments[0] == "-c" else ["-m", *arguments]
    environment = os.environ | {"XEVAL_CACHE": str(cache)}
    started = time.perf_counter()
    process = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    print(
        f"{' '.join(words)[:150]}: {seconds:.1f} s\n{process.stdout[-1500:]}{process.stderr[-1500:]}",
        file=sys.stderr,
        flush=True,
    )
    if process.returncode not in (0, 1):
        raise SystemExit(f"{words[0]} ended with {process.returncode}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
