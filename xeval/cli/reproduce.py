"""`xeval reproduce`: every row of a published table, then the comparison."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Data, Device, Dtype, Json, MaxEval, MaxTrain, Quiet, Results, Seeds, numbers
from xeval.cli.outcome import show_outcome


def reproduce(
    reference: Annotated[str, typer.Argument(help="Name or path of a published table.")],
    seed: Seeds = None,
    data: Data = None,
    results: Results = Path("results"),
    max_train: MaxTrain = None,
    max_eval: MaxEval = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the models of a published table on its languages, each by the recipe that the table's file names."""
    seeds = numbers(seed)
    from xeval import pipeline  # takes seconds: torch and transformers
    from xeval.progress import reporter

    records = pipeline.reproduce(
        reference,
        seeds=seeds,
        data=data,
        results=results,
        max_train=max_train,
        max_eval=max_eval,
        device=device,
        dtype=dtype,
        reporter=reporter(quiet),
    )
    show_outcome(records, reference=reference, as_json=json, results=results)
