"""`python -m tools.microcosm.reference RESULTS`: runs of xnli-mini → its reference table, as TOML.

The table has this project's own measurements: the mean over seeds and their standard deviation, in points.
"""

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from xeval.data.embedded import MODELS
from xeval.definitions.registry import get_task
from xeval.results.records import RunRecord
from xeval.results.store import load_runs

_HEAD = """\
# Printed by `python -m tools.microcosm.reference RESULTS` after
#   xeval run xnli-mini{models}{seeds} --results RESULTS
# with {versions}, in {dtype}.

name = "xnli-mini"
title = "xnli-mini, measured by xeval"
task = "xnli-mini"
split = "test"
source_url = "xeval/data/microcosm/README.md"
note = "Measured by this project on its own synthetic corpus; says nothing about mBERT, DistilmBERT or XNLI."
languages = [{languages}]"""

_CLAIM = """
[[claims]]
model = "mini-distilmbert"
than = "mini-mbert"
what = "times_as_fast"
value = 2
tolerance = 0.5
printed = "about twice as fast, with half the layers"
source_url = "xeval/data/microcosm/README.md"
"""


def reference(
    results: Annotated[Path, typer.Argument(help="Runs of several seeds of each model.")],
) -> None:
    """Print the reference table of xnli-mini."""
    runs: dict[str, list[RunRecord]] = defaultdict(list)
    for record in (run.record for run in load_runs(results)):
        if record.task == "xnli-mini" and record.status == "complete":
            runs[record.model.id].append(record)
    if set(runs) != set(MODELS) or min(map(len, runs.values())) < 2:
        raise typer.BadParameter(f"{results}: wanted at least 2 finished seeds of each of {', '.join(MODELS)}")
    languages = get_task("xnli-mini").languages
    first = runs["mini-mbert"][0]
    versions = ", ".join(f"{name} {first.environments[0].versions[name]}" for name in ("torch", "transformers"))
    seeds = "".join(f" --seed {record.seed}" for record in sorted(runs["mini-mbert"], key=lambda run: run.seed))
    models = "".join(f" --model {name}" for name in MODELS)
    quoted = ", ".join(f'"{language}"' for language in languages)
    print(_HEAD.format(models=models, seeds=seeds, versions=versions, dtype=first.dtype, languages=quoted))
    for model in MODELS:
        print("\n".join(_row(model, runs[model], languages)))
    print(_CLAIM, end="")


def _row(model: str, runs: list[RunRecord], languages: tuple[str, ...]) -> list[str]:
    percent = {language: [100 * run.scores[language].value for run in runs] for language in languages}
    return [
        "",
        "[[rows]]",
        f'name = "{model}"',
        f'model = "{model}"',
        f'how = "mean of {len(runs)} seeds"',
        'selection = "last checkpoint"',
        'recipe = "mini"',
        "recipe_published = true",
        f"n_seeds = {len(runs)}",
        "[rows.cells]",
        *(f"{language} = {statistics.fmean(values):.1f}" for language, values in percent.items()),
        "[rows.spread]",
        *(f"{language} = {statistics.stdev(values):.2f}" for language, values in percent.items()),
    ]


if __name__ == "__main__":
    typer.run(reference)
