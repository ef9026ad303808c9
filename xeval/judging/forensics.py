"""Which definition of a score gives a published number? All metrics in use, over all sets of languages in use.

Two groups that report "F1" or "the average" of one task may mean numbers that differ by several points: old and new
seqeval, SQuAD's and MLQA's rules for articles, XQuAD over three different sets of languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xeval.definitions.registry import all_references, all_suites
from xeval.definitions.task import Task
from xeval.definitions.toml import Printed
from xeval.kinds.registry import get_kind
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.text import metric_in_words

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Definition:
    """One number that can be computed from a run: a metric, in one language or over several."""

    metric: str  # in words
    over: str
    value: float  # a fraction, the mean of the seeds

    def reaches(self, published: Printed) -> bool:
        """Return whether this value in percent prints as `published`, with as many decimals."""
        return abs(100 * self.value - float(published)) <= 0.5 * 0.1**published.decimals + 1e-9


OtherScores = Mapping[str, Mapping[str, float]]  # language → metric → score


def definitions(runs: Sequence[StoredRun], task: Task, others: Sequence[OtherScores] | None = None) -> list[Definition]:
    """Return every number that `runs`, the seeds of one configuration, can give: first averages, then languages.

    Averages are taken over all languages, over all but the training language, and over the sets of languages that
    suites, the task file and the published tables use. Pass the `other_scores` of each run as `others` if they are
    known already. Raises StoreError for predictions that cannot be read.
    """
    values = scores_by_metric(runs, others)
    languages = [language for language in task.languages if all(language in run.record.scores for run in runs)]
    sets = _sets(languages, task)
    definitions = []
    for metric, of_language in values.items():
        for name, members in sets.items():
            if set(members) <= of_language.keys():
                value = float(np.mean([of_language[language] for language in members]))
                definitions.append(Definition(metric_in_words(metric), name, value))
    for metric, of_language in values.items():
        definitions += [Definition(metric_in_words(metric), lang, of_language[lang]) for lang in languages]
    return definitions


def other_scores(record: RunRecord, predictions: pa.Table) -> Mapping[str, float]:
    """Score predictions in one language by the definitions in use that the record has no score for."""
    return get_kind(record.kind).other_scores(predictions, record.labels or ())


def scores_by_metric(
    runs: Sequence[StoredRun], others: Sequence[OtherScores] | None = None
) -> dict[str, dict[str, float]]:
    """Return metric → language → mean over the seeds. The run's own metric comes first, then others in use."""
    if others is None:
        others = [
            {language: other_scores(run.record, run.predictions(language)) for language in run.record.scores}
            for run in runs
        ]
    per_run: list[dict[str, dict[str, float]]] = []
    for run, own in zip(runs, others, strict=True):
        by_metric: dict[str, dict[str, float]] = {}
        for language, score in run.record.scores.items():
            for metric, value in {run.record.metric: score.value, **score.more, **own[language]}.items():
                by_metric.setdefault(metric, {})[language] = value
        per_run.append(by_metric)
    means: dict[str, dict[str, float]] = {}
    for metric, of_language in per_run[0].items():
        shared = [lang for lang in of_language if all(lang in other.get(metric, {}) for other in per_run)]
        means[metric] = {lang: float(np.mean([other[metric][lang] for other in per_run])) for lang in shared}
    return means | _means_of_two(means)


def _means_of_two(means: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Average exact match and F1 under the same rules, as XTREME does."""
    pairs = {metric: metric.replace("f1", "exact_match") for metric in means if "f1" in metric}
    return {
        f"mean of {exact} and {metric}": {
            lang: (value + means[exact][lang]) / 2 for lang, value in means[metric].items()
        }
        for metric, exact in pairs.items()
        if exact in means
    }


def _sets(languages: Sequence[str], task: Task) -> dict[str, Sequence[str]]:
    """Return the sets of languages to average over, each set once, by a name for people.

    Tables with a single language give no average: that language's score is not another definition of a mean.
    """
    named: dict[frozenset[str], tuple[str, Sequence[str]]] = {}
    rest = [language for language in languages if language != task.training_language]
    members_of = [
        (suite, member.languages)
        for suite in all_suites().values()
        for member in suite.tasks
        if member.task == task.name
    ]
    tables = [table for table in all_references().values() if table.task == task.name]
    candidates = [
        (f"mean of all {len(languages)}", languages),
        (f"mean of {len(rest)}, without {task.training_language}", rest),
        *((f"mean of {len(own)}, as {suite.title} averages", own) for suite, own in members_of),
        *((f"mean of {len(own)}, as {whose} averages", own) for whose, own in task.averages.items()),
        *((f"mean of {len(table.languages)}, as in {table.name}", table.languages) for table in tables),
    ]
    for name, members in candidates:
        if len(members) > 1 and set(members) <= set(languages):
            named.setdefault(frozenset(members), (name, members))
    return dict(named.values())
