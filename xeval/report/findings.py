"""The diagnosis of the runs in a report. Each finding names its runs."""

from collections import Counter
from collections.abc import Iterable

from xeval.checks.after.diagnose import diagnose_run
from xeval.definitions.reference import Reference
from xeval.definitions.task import Task
from xeval.results.configurations import Configuration
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.findings import Finding
from xeval.support.text import numbered

MANY_FILES = 500  # of predictions; from here on, counts in the records are trusted, and few files are decoded


def of(runs: Iterable[StoredRun], task: Task | None, reference: Reference | None) -> list[Finding]:
    """Find what is wrong with `runs`, errors first. A finding that several seeds share is listed once."""
    by_run: dict[Finding, list[RunRecord]] = {}
    runs = list(runs)
    has_many = sum(len(run.record.scores) for run in runs) >= MANY_FILES
    for run in runs:
        for finding in diagnose_run(run, task, reference, has_many):
            by_run.setdefault(finding, []).append(run.record)
    findings = [
        finding.model_copy(update={"name": f"{_names(records)}: {finding.name}"}) for finding, records in by_run.items()
    ]
    return sorted(findings, key=lambda finding: finding.severity != "error")  # errors make numbers worthless


def _names(records: list[RunRecord]) -> str:
    """Name all runs that share a finding, as `distilmbert hf-2019 seeds 1, 2`.

    If configurations have the same model and recipe, whatever else differs is added to the name.
    """
    seeds: dict[Configuration, list[int]] = {}
    for record in records:
        seeds.setdefault(Configuration.of(record), []).extend([record.seed] if record.has_seed else [])
    short = {own: f"{own.example.model.id} {own.example.recipe.name}" for own in seeds}
    shared = Counter(short.values())
    names = {own: name if shared[name] == 1 else f"{own.name(seeds)}," for own, name in short.items()}
    return "; ".join(
        f"{names[own]} {numbered('seeds', numbers)}" if numbers else names[own].rstrip(",")
        for own, numbers in seeds.items()
    )
