"""A published mean that ours misses, and that another definition of the score would reach."""

from xeval.definitions.reference import ReferenceRow
from xeval.definitions.task import Task
from xeval.judging.forensics import definitions
from xeval.judging.verdict import Tolerance
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.findings import Finding, warning
from xeval.support.text import one_decimal

NEAR = 0.5  # points


def other_definition(run: StoredRun, task: Task, published: ReferenceRow) -> Finding | None:
    """Averages of other metrics, or over other languages, that lie near the published mean where our own does not."""
    scores, languages = run.record.scores, list(published.cells)
    if run.record.departure or not set(languages) <= scores.keys():
        return None
    ours = 100 * sum(scores[language].value for language in languages) / len(languages)
    if abs(ours - published.average) <= Tolerance().mean:
        return None
    try:
        made = definitions([run], task)
    except StoreError:  # which the diagnosis says in its own words
        return None
    near = [one for one in made if one.over not in scores and abs(100 * one.value - published.average) <= NEAR]
    if not near:
        return None
    said = ", ".join(f"{one.metric} {one_decimal(100 * one.value)} ({one.over})" for one in near[:3])
    return warning(
        "another definition",
        f"the published mean {one_decimal(published.average)} is not our {one_decimal(ours)}, but lies near {said}",
        "Find out which metric and which languages the source averages over; xeval score --explain lists them all.",
    )
