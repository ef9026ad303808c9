"""Templates of the files that people write, with a comment wherever they have to fill something in.

Each template is valid as generated, so that trying it gives a run and not an error.
"""

import json
import shlex
from collections.abc import Sequence

from xeval.definitions.task import Task
from xeval.kinds.labels import LabelKeys
from xeval.kinds.registry import get_kind

SCHEMA_FOLDER = ".schemas"  # next to the file, so that editors find it without a network
_RECIPES = {
    "tagging": "xtreme-2020-pan-x",
    "answers": "xtreme-2020-squad",
    "sentence-retrieval": "xtreme-vectors",
    "bitext-mining": "xtreme-vectors",
    "multiple-choice": "xtreme-r-xcopa",
}


def takes_labels(kind: str) -> bool:
    """Return whether a task of this kind has labels from a fixed list."""
    return issubclass(get_kind(kind).keys_model, LabelKeys)


def task(name: str, path: str, kind: str, languages: Sequence[str], labels: Sequence[str]) -> str:
    """Return a task file that trains on the first of `languages`. It has `labels` only if the kind takes them."""
    of_kind = get_kind(kind)
    of_labels = f"labels = {_texts(labels)}  # in the order of their numbers, if the data have numbers\n"
    trains = (
        "train = 1000  # number of rows, for plans and warnings\nselection = {}  # leave it out if there are none\n"
    )
    return f"""\
{_schema_line("task")}
# Look at the rows: xeval doctor {path} --model mbert --data DIR
# Then run it:      xeval run {path} --model mbert --data DIR
name = {_text(name)}
title = {_text(name)}  # in reports
kind = {_text(kind)}
metric = {_text(of_kind.metrics[0].name)}
default_recipe = {_text(_RECIPES.get(kind, "hf-2019"))}
training_language = {_text(languages[0])}
languages = {_texts(languages)}
{of_labels if takes_labels(kind) else ""}licence = "not stated"  # of the data
citation = "not published"
source_url = "https://example.org"  # where the data are from

# Where the data are on the hub, at one commit; without it, --data names a local copy.
# [hub]
# id = "organisation/name"
# revision = "0123456789012345678901234567890123456789"

[splits]  # what files are called: DIR/<language>/<split>.parquet, .tsv, .csv or .jsonl
train = "train"
selection = "validation"
test = "test"

[expected_rows]  # with numbers instead of {{}}, xeval counts rows and refuses a copy that lacks some
{trains if of_kind.trains else ""}test = {{}}
"""


def recipe(name: str, path: str) -> str:
    """Return a recipe file with the values that are changed most often."""
    return f"""\
{_schema_line("recipe")}
# Use it: xeval run xnli --model mbert --recipe {path}
name = {_text(name)}
description = "What it is, and who made it"
source_url = ""  # where it is published
learning_rate = 2e-5
batch_size = 32
epochs = 3
max_length = 128
warmup_share = 0.1
weight_decay = 0.01
selection = "english-dev"  # or "last", or "english-dev-loss"
# learning_rate_by_model = {{ "FacebookAI/xlm-roberta-large" = 1e-5 }}
# adaptation = "lora"
"""


def table(name: str, path: str, of_task: Task, model: str, languages: Sequence[str]) -> str:
    """Return a file of a published table of `of_task`, with one row for `model`; all its numbers are 0."""
    cells = ", ".join(f"{_key(language)} = 0.0" for language in languages)
    return f"""\
{_schema_line("table")}
# Compare with it: xeval report --reference {path}
# Reproduce it:    xeval reproduce {path}
name = {_text(name)}
title = {_text(name)}  # in reports
task = {_text(of_task.name)}
metric = {_text(of_task.metric)}
split = "test"
source_url = "https://example.org"  # where it is printed
languages = {_texts(languages)}

[[rows]]
name = {_text(model.rsplit("/", 1)[-1])}  # as the table calls it
model = {_text(model)}
how = "as printed"  # computed by the authors, reported from elsewhere, a mean of seeds …
recipe = {_text(of_task.default_recipe)}  # what xeval reproduce trains with
# n_seeds = 5
cells = {{ {cells} }}  # percent, with the decimals that are printed
"""


def grid(path: str, task: str, model: str, languages: Sequence[str], trains: bool) -> str:
    """Return a grid file, with the parts that are rarely needed as comments, as are seeds unless the task `trains`."""
    evaluated = f"languages = {_texts(languages)}" if languages else '# languages = ["es", "ur"]'
    return f"""\
{_schema_line("grid")}
# What it takes: xeval plan {path}
# Run it:        xeval run {path}
tasks = [{_text(task)}]  # names or paths; a suite such as "xtreme" runs its tasks
models = [{_text(model)}]  # aliases, hub ids or folders
# recipes = ["hf-2019"]  # default: each task's own
{"" if trains else "# "}seeds = [1, 2, 3]
{evaluated}  # default: all; the training language is added, but not in a suite

# [values]  # to replace in every recipe
# learning_rate = 3e-5

# [sweep]  # values to choose from on development rows of the training language alone
# learning_rate = [1e-5, 2e-5, 5e-5]

# [data]  # folders with local copies, by task
# {_key(task) if "/" not in task and "." not in task else _text(task)} = "DIR"
"""


def ci(of_task: str, model: str, languages: Sequence[str], trains: bool) -> str:
    """Return a GitHub workflow that checks each pull request against a baseline, with seeds if the task `trains`."""
    run = f"xeval run {shlex.quote(of_task)} --model {shlex.quote(model)}"
    run += f" --language {','.join(languages)}" if languages else ""
    run += f"{' --seed 1,2,3' if trains else ''} --dtype float32 --results"
    return f"""\
# Run this once, review the baseline and commit it:
#   {run} blessed
#   xeval bless --results blessed --output baseline.toml
name: xeval
on: pull_request
permissions:
  contents: read
jobs:
  xeval:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v6
      - uses: actions/setup-python@v6
        with:
          python-version: "3.11"
      - run: pip install uv
      # until xeval is on PyPI: "crosslingual-eval @ git+https://github.com/OWNER/xeval@COMMIT" instead of the last word
      - run: uv pip install --system --torch-backend cpu crosslingual-eval
      - run: |
          {run} fresh
      - run: xeval check --results fresh --baseline baseline.toml --github --junit gate.xml
      - uses: actions/upload-artifact@v6
        if: always()
        with:
          name: xeval
          path: |
            gate.xml
            fresh/**/record.json
"""


def model_card(model: str, base: str, languages: Sequence[str]) -> str:
    """Return the README.md of a model on the hub, up to the place for its evaluation."""
    import yaml

    metadata = {"license": "other", "language": list(languages), "base_model": base, "library_name": "transformers"}
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"""\
---
{front}---

# {model}

What it is: {base}, fine-tuned on …

## How to use it

## How it was trained

## Evaluation

`xeval report --model {model} --format model-card` writes this section, and the metadata for the top of this file.
"""


def _schema_line(noun: str) -> str:
    """Return the comment that names the schema to editors (https://taplo.tamasfe.dev/configuration/directives.html)."""
    return f"#:schema {SCHEMA_FOLDER}/{noun}.json"


def _text(text: str) -> str:
    """Return `text` as a TOML string, which has the same escapes as JSON."""
    return json.dumps(text, ensure_ascii=False)


def _texts(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _key(text: str) -> str:
    return text if text.replace("_", "").replace("-", "").isascii() else _text(text)
