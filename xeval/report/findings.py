"""The diagnosis of the runs in a report. Each finding names its runs."""

from collections.abc import Iterable

from xeval.checks.after.diagnose import diagnose_run
from xeval.definitions.reference import Reference
from xeval.definitions.task import Task
from xeval.results.configurations import Configuration, names_of_runs
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.findings import Finding

MANY_FILES = 500  # of predictions; from here on, counts in the records are trusted, and few files are decoded


def of(runs: Iterable[StoredRun], task: Task | None, reference: Reference | None) -> list[Finding]:
    """Find what is wrong with `runs`, errors first. A finding that several seeds share is listed once."""
    by_run: dict[Finding, list[RunRecord]] = {}
    runs = list(runs)
    has_many = sum(len(run.record.scores) for run in runs) >= MANY_FILES
    for run in runs:
        for finding in diagnose_run(run, task, reference, has_many):
            by_run.setdefault(finding, []).append(run.record)
    among = {Configuration.of(run.record) for run in runs}
    findings = [
        finding.model_copy(update={"name": f"{names_of_runs(records, among)}: {finding.name}"})
        for finding, records in by_run.items()
    ]
    return sorted(findings, key=lambda finding: finding.severity != "error")  # errors make numbers worthless
