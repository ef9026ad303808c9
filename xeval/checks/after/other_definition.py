"""Published numbers that our scores miss, but that another definition of the score would reach."""

from collections.abc import Mapping

from xeval.definitions.reference import ReferenceRow
from xeval.definitions.task import Task
from xeval.judging.forensics import OtherScores, definitions, scores_by_metric
from xeval.judging.verdict import Tolerance
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.findings import Finding, warning
from xeval.support.text import metric_in_words, one_decimal

NEAR = 0.5  # points
_FIX = "Find out which metric and which languages the source averages over; xeval score --explain lists them all."


def misses(record: RunRecord, published: ReferenceRow) -> bool:
    """Return whether our mean score, over the languages that both have, is too far from the published one."""
    shared = _shared(record, published)
    if record.departure or not shared:
        return False
    apart = sum(100 * record.scores[language].value - published.cells[language] for language in shared) / len(shared)
    return abs(apart) > Tolerance().of_mean(len(shared))


def other_definition(run: StoredRun, task: Task, published: ReferenceRow, others: OtherScores) -> Finding | None:
    """Look for another metric near the published value in each language, or else for averages near the published mean.

    `others` are the scores of the run's predictions by other metrics, by language.
    """
    by_metric = {
        name: values for name, values in scores_by_metric([run], [others]).items() if name != run.record.metric
    }
    shared = _shared(run.record, published)
    near = [name for name, values in by_metric.items() if _is_near(values, published, shared)]
    if near:
        first = near[0]
        values = ", ".join(
            f"{lang} {one_decimal(100 * by_metric[first][lang])} where {published.cells[lang]:g} is published"
            for lang in shared[:3]
        )
        where = f"in each of {len(shared)} languages" if len(shared) > 1 else f"in {shared[0]}"
        ours, other = metric_in_words(run.record.metric), metric_in_words(first)
        text = f"our {ours} does not match the published numbers, but our {other} does"
        return warning("another definition", f"{text}, within {NEAR} points {where} ({values})", _FIX)
    return _other_average(run, task, published, others) if len(shared) == len(published.cells) else None


def _other_average(run: StoredRun, task: Task, published: ReferenceRow, others: OtherScores) -> Finding | None:
    scores = run.record.scores
    ours = 100 * sum(scores[language].value for language in published.cells) / len(published.cells)
    every = definitions([run], task, [others])
    near = [
        definition
        for definition in every
        if definition.over not in scores and abs(100 * definition.value - published.average) <= NEAR
    ]
    if not near:
        return None
    values = ", ".join(
        f"{definition.metric} {one_decimal(100 * definition.value)} ({definition.over})" for definition in near[:3]
    )
    return warning(
        "another definition",
        f"the published mean {one_decimal(published.average)} is not our {one_decimal(ours)}, but lies near {values}",
        _FIX,
    )


def _shared(record: RunRecord, published: ReferenceRow) -> list[str]:
    return [language for language in published.cells if language in record.scores]


def _is_near(values: Mapping[str, float], published: ReferenceRow, languages: list[str]) -> bool:
    return all(
        language in values and abs(100 * values[language] - published.cells[language]) <= NEAR for language in languages
    )
