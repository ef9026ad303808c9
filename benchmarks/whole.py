"""Times whole commands, from start to table: `python -m benchmarks.whole --data XNLI --model DIR --model DIR`.

`xeval run` fine-tunes each model on as many pairs as XNLI's English training set has, made by repeating those in
`--data`, and evaluates it in 15 languages. `xeval run --no-train` evaluates the fine-tuned models again. The Trainer
does the same evaluation as run_xnli.py sets it up: float32, padded to 128, batches of 8. That script evaluates one
language per command; it is timed like that, and with all languages in one command.

With `--evaluate`, the models are fine-tuned ones already, and nothing is trained.
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
_IMPORT = "import accelerate, datasets, torch, transformers.trainer, xeval.runs.grid"
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
    parser.add_argument("--evaluate", action="store_true", help="the models are fine-tuned ones")
    parser.add_argument("--languages", type=int, default=15, help="of the Trainer's one command for all of them")
    parser.add_argument("--commands", type=int, default=2, help="of the Trainer's, one language each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        lines, tuned = [], [Path(name) for name in options.model]
        _seconds(["-c", _IMPORT], home)  # otherwise only the first command would read the libraries from disk
        if not options.evaluate:
            _repeat(options.data, home / "data", options.train_rows)
            models = [word for name in options.model for word in ("--model", name)]
            trained = home / "trained"
            run = ["xeval", "run", "xnli", "--data", str(home / "data"), "--recipe", "hf-2019", *models]
            lines.append(("xeval run, all models", _seconds([*run, "--results", str(trained / "results")], trained)))
            tuned = [
                _with_tokenizer(weights, options.model, home / f"tuned-{number}")
                for number, weights in enumerate(sorted((trained / "weights").iterdir()))
            ]
        for number, model in enumerate(tuned):
            lines += _evaluations(model, options, home / f"{number}")
    print(
        tabulate([(name, f"{seconds:.1f}") for name, seconds in lines], ["command", "s"], "pipe", disable_numparse=True)
    )
    return 0


def _evaluations(model: Path, options: argparse.Namespace, home: Path) -> list[tuple[str, float]]:
    """Return the seconds that evaluations of a fine-tuned model take, by command."""
    run = ["xeval", "run", "xnli", "--data", str(options.data), "--no-train", "--model", str(model)]
    lines = [(f"xeval run --no-train, {model.name}", _seconds([*run, "--results", str(home / "results")], home))]
    languages = sorted(path.name for path in options.data.iterdir() if path.is_dir())
    trainer = ["-c", _EVALUATE_BY_TRAINER, str(model), str(options.data), str(home / "trainer")]
    for language in languages[: options.commands]:
        lines.append((f"Trainer, {language} alone, {model.name}", _seconds([*trainer, language], home)))
    if options.languages:
        together = languages[: options.languages]
        name = f"Trainer, {len(together)} languages in one command, {model.name}"
        lines.append((name, _seconds([*trainer, *together], home)))
    return lines


def _repeat(source: Path, target: Path, n_train: int) -> None:
    """Copy `source`, repeating its English training rows until there are `n_train`."""
    shutil.copytree(source, target)
    (path,) = target.glob("en/train-*.parquet")
    table = pq.read_table(path)
    path.chmod(0o644)
    pq.write_table(table.take(pa.array(np.arange(n_train) % len(table))), path)


def _with_tokenizer(weights: Path, models: list[str], target: Path) -> Path:
    """Return a folder with fine-tuned weights and the first model's tokenizer; all models share its vocabulary."""
    shutil.copytree(weights, target)
    for path in Path(models[0]).iterdir():
        if path.name.startswith(("tokenizer", "vocab")):
            shutil.copy(path, target)
    return target


def _seconds(arguments: list[str], cache: Path) -> float:
    """Return how long a command takes that caches weights and encoded rows in the folder `cache`."""
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
