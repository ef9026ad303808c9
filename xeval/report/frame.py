"""Records → one tidy table with a row per run and language, as dictionaries or as a pandas frame."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xeval.kinds.tokenization import Tokenization
from xeval.results.configurations import Configuration
from xeval.results.store import StoredRun, load_runs
from xeval.support.arguments import checked_arguments
from xeval.support.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "task",
    "model",
    "revision",
    "configuration",
    "recipe",
    "seed",
    "n_trials",
    "language",
    "metric",
    "value",
    "n_rows",
    "n_groups",
    "ci95_low",
    "ci95_high",
    "truncated_share",
    "unknown_piece_share",
    "pieces_per_word",
    "pieces_per_row",
    "n_most_predicted",
    "status",
    "folder",
]


@checked_arguments
def load_results(results: str | os.PathLike[str]) -> "pd.DataFrame":
    """Load every score under the folder `results`, with one row for each run and language.

    `value` (of the `metric`), its interval and the shares are fractions. Rows that differ only in seed and language
    share a `configuration`. `n_trials` is how many training runs a sweep looked at before it chose recipe values. A run
    without scores has no row. Raises StoreError for a folder that does not exist and for a damaged record.
    """
    if not Path(results).is_dir():
        raise StoreError(f"{results}: wanted a folder of results, found none there; name the one that runs wrote to")
    return to_frame(load_runs(Path(results)))


def to_frame(runs: list[StoredRun]) -> "pd.DataFrame":
    import pandas as pd  # takes half a second

    return pd.DataFrame(tidy_rows(runs), columns=COLUMNS)


def tidy_rows(runs: list[StoredRun]) -> list[dict[str, Any]]:
    """Return a dictionary with the keys COLUMNS for each run and language."""
    return [
        {
            "task": run.record.task,
            "model": run.record.model.id,
            "revision": run.record.model.revision,
            "configuration": Configuration.of(run.record).key,
            "recipe": run.record.recipe.name,
            "seed": run.record.seed,
            "n_trials": run.record.sweep.budget if run.record.sweep else None,
            "language": language,
            "metric": run.record.metric,
            "value": score.value,
            "n_rows": score.n_rows,
            "n_groups": score.n_groups,
            "ci95_low": score.ci95[0],
            "ci95_high": score.ci95[1],
            **{name: getattr(score.tokenization, name, None) for name in Tokenization.model_fields},
            "n_most_predicted": score.n_most_predicted,
            "status": run.record.status,
            "folder": str(run.folder),
        }
        for run in runs
        for language, score in run.record.scores.items()
    ]
