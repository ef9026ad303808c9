"""The diagnosis of the runs that a report shows, each finding under the name of its run."""

from collections.abc import Iterable

from xeval.checks.after.diagnose import diagnose_run
from xeval.definitions.reference import Reference
from xeval.definitions.task import Task
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.findings import Finding


def of(runs: Iterable[StoredRun], task: Task | None, reference: Reference | None) -> list[Finding]:
    """What is wrong with `runs`. A finding that seeds have in common stands there once."""
    by_run: dict[Finding, list[RunRecord]] = {}
    for run in runs:
        for finding in diagnose_run(run, task, reference):
            by_run.setdefault(finding, []).append(run.record)
    return [
        finding.model_copy(update={"name": f"{_names(records)}: {finding.name}"}) for finding, records in by_run.items()
    ]


def _names(records: list[RunRecord]) -> str:
    """`distilmbert hf-2019 seeds 1, 2`, for all that share a finding."""
    seeds: dict[str, list[int]] = {}
    for record in records:
        own = seeds.setdefault(f"{record.model.id} {record.recipe.name}", [])
        own += [] if record.is_as_it_was or record.seed in own else [record.seed]
    return "; ".join(
        f"{name} seed{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}" if numbers else name
        for name, numbers in seeds.items()
    )
