"""Results of several configurations → the scores of each on the rows and languages that all of them have."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from xeval.judging.comparison.paired_runs import grouped_by, rows_of, shared_rows, usable
from xeval.judging.comparison.ranking import RankInterval, Scope, ScoredModel, pulls_of, rank_intervals
from xeval.judging.comparison.resampling import Places, drawn_together, shared_places
from xeval.judging.equivalence import Spread, assumed_spread, spread_of_mean
from xeval.judging.grouped import numbered, sums_of_numbered
from xeval.judging.verdict import assumed_of
from xeval.kinds.metric import Measure
from xeval.kinds.registry import get_kind
from xeval.results.configurations import Configuration
from xeval.results.predictions import column, groups_of, has_labels, ids_of, tally_of
from xeval.results.store import StoredRun
from xeval.support.errors import DataError, StoreError
from xeval.support.kept_arrays import made_once

_VERSION = 2  # of what the cache holds


@dataclass(frozen=True)
class Contest:
    """The arguments of `rank`."""

    models: list[ScoredModel]
    assumed: Spread
    scope: Scope


def load_rank_intervals(
    entered: Mapping[str, Sequence[StoredRun]], languages: Sequence[str]
) -> dict[str, RankInterval]:
    """Return the range of ranks that each of `entered` can have on the mean over `languages`, by name.

    Only entries scored on the same rows are ranked: if there are several sets of rows, those with the set that most
    entries share. Collapsed runs do not count. Empty if fewer than two entries remain. Raises StoreError if
    predictions cannot be read.
    """
    by_rows: dict[tuple[object, ...], dict[str, list[StoredRun]]] = {}
    for name, runs in entered.items():
        own = usable("", list(runs), [])
        if not all(language in run.record.scores for run in own for language in languages):
            continue
        rows = {tuple(rows_of(run.record, language) for language in languages) for run in own}
        if len(rows) == 1:
            by_rows.setdefault(rows.pop(), {})[name] = own
    ranked = max(by_rows.values(), key=len, default={})
    if len(ranked) < 2:
        return {}
    contest = _contest(ranked, languages, [], _Numbers.kept)
    return dict(zip(ranked, rank_intervals(contest.models, contest.assumed), strict=True))


def load_contest(configurations: Mapping[Configuration, list[StoredRun]], languages: Sequence[str] = ()) -> Contest:
    """Load the scores of `configurations` in `languages`, or else in all languages that every run has.

    Failed and collapsed runs are left out, and the notes name them. Raises StoreError if there are fewer than
    two configurations to rank, if they differ in task or metric, or if they have no language in common. Raises
    DataError if their rows differ.
    """
    settings = {own.in_words for own in configurations}
    names = {own: own.name(configurations, has_settings=len(settings) > 1) for own in configurations}
    notes = [f"All of them: {settings.pop()}."] if len(settings) == 1 else []
    entered: dict[str, list[StoredRun]] = {}
    for own, runs in configurations.items():
        if any(run.record.scores for run in runs):
            entered[names[own]] = usable(f"{names[own]}: ", runs, notes)
        else:
            notes.append(f"{names[own]} is left out: none of its runs has scores.")
    if len(entered) < 2:
        raise StoreError(f"a ranking needs at least two models with scores, got {len(entered)}")
    _check_alike(entered)
    return _contest(entered, _shared_languages(entered, languages, notes), notes, _Numbers.of)


def _contest(
    entered: Mapping[str, list[StoredRun]],
    shared: Sequence[str],
    notes: list[str],
    numbers_of: Callable[[Sequence[StoredRun], "_Tests", Measure], "_Numbers"],
) -> Contest:
    tests = _Tests.of(entered, shared)
    first = next(iter(entered.values()))[0].record
    kind = get_kind(first.kind)
    n_rows = {lang: first.scores[lang].n_rows for lang in shared}
    assumed = assumed_of(first.kind)
    spreads = [assumed_spread(assumed, lang == first.training_language, n_rows[lang]) for lang in shared]
    named = (first.task, first.task_title, first.metric, kind.unit, grouped_by(first))
    scope = Scope(*named, list(shared), max(n_rows.values()), notes)
    measure = kind.measure(first.metric)
    models = [_scored(name, runs, tests, numbers_of(runs, tests, measure)) for name, runs in entered.items()]
    return Contest(models, spread_of_mean(assumed, spreads), scope)


def _check_alike(entered: Mapping[str, Sequence[StoredRun]]) -> None:
    for what in ("task", "metric"):
        values = sorted({getattr(run.record, what) for runs in entered.values() for run in runs})
        if len(values) > 1:
            hint = "choose one with --task" if what == "task" else "name the models to rank"
            raise StoreError(f"a ranking covers one {what}, got {' and '.join(values)}; {hint}")


def _shared_languages(entered: Mapping[str, Sequence[StoredRun]], asked: Sequence[str], notes: list[str]) -> list[str]:
    every = {name: [run.record.scores for run in runs] for name, runs in entered.items()}
    known = {name: [lang for lang in own[0] if all(lang in scores for scores in own)] for name, own in every.items()}
    for name, own in known.items():
        lacking = [lang for lang in asked if lang not in own]
        if lacking:
            raise StoreError(f"{name}: not all of its runs have a score in {' '.join(lacking)}; it has {' '.join(own)}")
    if asked:
        return list(dict.fromkeys(asked))
    shared = [lang for lang in next(iter(known.values())) if all(lang in own for own in known.values())]
    if not shared:
        fewest = min(known, key=lambda name: len(known[name]))
        its = " ".join(known[fewest]) or "none"
        raise StoreError(f"no language in which all {len(known)} models have scores ({fewest}: {its}); name the models")
    rest = sorted({lang for own in every.values() for scores in own for lang in scores} - set(shared))
    if rest:
        notes.append(f"Languages that some runs lack are left out: {' '.join(rest)}.")
    return shared


@dataclass(frozen=True)
class _Tests:
    """The test rows that all models have, in blocks of languages whose groups of rows are the same."""

    blocks: list[list[str]]
    groups: list[np.ndarray]  # (N,) for each block, numbered from 0 on
    places: dict[str, Places]  # language → where its rows are in the block, if not all languages have all rows

    @property
    def languages(self) -> list[str]:
        return [language for block in self.blocks for language in block]

    @classmethod
    def of(cls, entered: Mapping[str, Sequence[StoredRun]], languages: Sequence[str]) -> "_Tests":
        """Load the tests in `languages`. Translations form one block: a row that is hard in one is hard in all."""
        [first, *others] = entered.items()
        for language in languages:
            for name, runs in others:
                try:
                    shared_rows(language, [run.record for run in (*first[1], *runs)])
                except DataError as error:
                    raise DataError(f"{first[0]} and {name}: {error}; or name the models to rank") from error
        groups, labels, ids = [], [], []
        for language in languages:
            table = first[1][0].predictions(language)
            known = groups_of(table)
            groups.append(np.arange(len(table)) if known is None else known)
            labels.append(column(table, "label") if has_labels(table) else np.zeros(len(table)))
            ids.append(ids_of(table))
        places = shared_places(ids, groups)
        if places is not None:
            groups = [own.groups(of_rows) for own, of_rows in zip(places, groups, strict=True)]
            labels = [np.zeros(own.n_rows) for own in places]
        parts = drawn_together(groups, labels)
        blocks = [[languages[place] for place in places] for places, _ in parts]
        by_language = dict(zip(languages, places or (), strict=False))
        return cls(blocks, [numbered(of_part) for _, of_part in parts], by_language)

    def tally(self, run: StoredRun, language: str) -> np.ndarray:
        """Read only the columns that the metric is computed from: most of a file is logits."""
        is_old = run.record.scores[language].n_groups is None
        tally = tally_of(run.predictions(language, ("label", "prediction") if is_old else ("tally",)))
        return self.places[language].tally(tally) if language in self.places else tally


@dataclass(frozen=True)
class _Numbers:
    """The numbers that predictions are read for."""

    values: np.ndarray  # (L, S) values of the metric
    pulls: np.ndarray  # (S, G), as in `ScoredModel`

    @classmethod
    def of(cls, runs: Sequence[StoredRun], tests: _Tests, measure: Measure) -> "_Numbers":
        values, pulls = list[np.ndarray](), []
        for block, groups in zip(tests.blocks, tests.groups, strict=True):
            without = []  # (S, G) of each language
            for language in block:
                sums = np.stack([sums_of_numbered(tests.tally(run, language), groups) for run in runs])  # (S, G, K)
                total = sums.sum(axis=1)  # (S, K)
                values.append(measure.value(total))
                without.append(measure.value(total[:, None] - sums))
            pulls.append(pulls_of(np.sum(without, axis=0) / len(tests.languages)))
        return cls(np.stack(values), np.concatenate(pulls, axis=1))

    @classmethod
    def kept(cls, runs: Sequence[StoredRun], tests: _Tests, measure: Measure) -> "_Numbers":
        """Return what `of` does, from the cache if it was computed before: leaderboards are rebuilt often."""
        predictions = [[run.record.scores[language].predictions_sha256 for language in tests.languages] for run in runs]
        places = [tests.places[language].rows for language in tests.languages if language in tests.places]
        arrays = [hashlib.sha256(own.tobytes()).hexdigest() for own in (*tests.groups, *places)]
        text = json.dumps([_VERSION, measure.metric.name, measure.counted, tests.blocks, arrays, predictions])
        key = hashlib.sha256(text.encode()).hexdigest()
        make = partial(cls.of, runs, tests, measure)
        numbers: _Numbers = made_once("ranks", key, make, vars, lambda arrays: cls(**arrays))[0]
        return numbers


def _scored(name: str, runs: Sequence[StoredRun], tests: _Tests, numbers: _Numbers) -> ScoredModel:
    return ScoredModel(
        name=name,
        seeds=[run.record.seed for run in runs],
        is_drawn=any(run.record.has_seed for run in runs),
        languages=dict(zip(tests.languages, numbers.values.mean(axis=1).tolist(), strict=True)),
        values=numbers.values.mean(axis=0).tolist(),
        pulls=numbers.pulls,
    )
