"""Baseline × records → findings: is anything worse than what was blessed, beyond a threshold and beyond chance?

Pure functions. `drops.py` has the arithmetic, `mismatches.py` reports what cannot be compared, and "The gate" in
`docs/statistics.md` describes the method.
"""

from collections.abc import Iterable
from statistics import NormalDist

import numpy as np

from xeval.judging.gate import drops
from xeval.judging.gate.answers import Chance, Question, answer, of_score, of_speed
from xeval.judging.gate.baseline import Baseline
from xeval.judging.gate.bless import group, in_percent, throughput
from xeval.judging.gate.drops import Change
from xeval.judging.gate.findings import GateFinding, Outcome, Thresholds
from xeval.judging.gate.mismatches import Comparable, sort_out
from xeval.results.store import StoredRun
from xeval.support.text import counted, one_line

# One level per family of questions, over all configurations. They add up to 5 %, the risk of a wrong check.
ALPHA_MEANS = 0.02
ALPHA_LANGUAGES = 0.02
ALPHA_THROUGHPUT = 0.01
_Z95 = NormalDist().inv_cdf(0.975)  # standard errors in half of a 95 % interval


def check(baseline: Baseline, runs: Iterable[StoredRun], thresholds: Thresholds | None = None) -> Outcome:
    """Compare `runs` with `baseline`. Raises StoreError for runs that are not seeds of one configuration."""
    thresholds = thresholds or Thresholds()
    comparable, findings = sort_out(baseline, group(runs))
    scores = [_scores(each) for each in comparable]
    means = [question for of_mean, _ in scores for question in of_mean]
    languages = [question for _, of_languages in scores for question in of_languages]
    speeds = [question for each in comparable for question in _throughput(each)]
    findings += answer(means, ALPHA_MEANS, thresholds.mean, of_score)
    findings += answer(languages, ALPHA_LANGUAGES, thresholds.cell, of_score)
    findings += answer(speeds, ALPHA_THROUGHPUT, thresholds.throughput, of_speed)
    for each in comparable:
        findings += _not_compared(each) + _notes(each)
    return Outcome(_in_order_of(baseline, findings), thresholds)


def _in_order_of(baseline: Baseline, findings: Iterable[GateFinding]) -> list[GateFinding]:
    """Return `findings` by configuration, as `baseline` has them; those on other configurations come last."""
    place_of: dict[str, int] = {}
    for place, configuration in enumerate(baseline.configurations):
        place_of.setdefault(configuration.name, place)  # two may have one name
    last = len(baseline.configurations)
    return sorted(findings, key=lambda finding: place_of.get(finding.configuration, last))


# ── questions ──


def _scores(each: Comparable) -> tuple[list[Question], list[Question]]:
    """Return the question on the mean, if it can be compared, and those on the languages."""
    if not each.languages:
        return [], []
    of_mean, of_languages = _changes(each)
    languages = [_question(each, *pair) for pair in zip(each.languages, of_languages, strict=True)]
    if len(each.languages) < max(2, len(each.configuration.languages)):
        return [], languages  # fewer languages would give another mean, and a mean over one is that language itself
    return [_question(each, f"mean of {len(each.languages)} languages", of_mean)], languages


def _changes(each: Comparable) -> tuple[Change, list[Change]]:
    """Return the changes of the mean over the compared languages, and of each of them."""
    cells = [each.configuration.languages[language] for language in each.languages]
    scores = [[record.scores[language] for record in each.runs] for language in each.languages]
    blessed = np.array([cell.scores for cell in cells]).T  # (S, L), in percent
    now = np.array([[in_percent(each.configuration.metric, score) for score in row] for row in scores]).T  # (S, L)
    if _same_weights(each):
        return drops.exact(blessed, now)
    if each.configuration.trained:
        return drops.of_mean(blessed, now), drops.of_languages(blessed, now)
    # Without training, every cell of a baseline has an interval.
    blessed_errors = [_standard_error(*cell.ci95_percent) for cell in cells if cell.ci95_percent is not None]
    now_errors = [_standard_error(*(100 * bound for bound in row[0].ci95)) for row in scores]
    return drops.as_drawn(blessed[0].tolist(), now[0].tolist(), blessed_errors, now_errors)


def _standard_error(ci95_low: float, ci95_high: float) -> float:
    return (ci95_high - ci95_low) / 2 / _Z95


def _same_weights(each: Comparable) -> bool:
    """Return whether every new number comes from the very weights that gave the blessed one."""
    if not each.configuration.trained:
        return all(record.model.sha256 == each.configuration.model_sha256 for record in each.runs)
    now = tuple(record.trained_weights_sha256 for record in each.runs)
    return now == each.configuration.weights_sha256


def _question(each: Comparable, what: str, change: Change) -> Question:
    chance: Chance = "none" if _same_weights(each) else "training" if each.configuration.trained else "rows"
    return Question(each.configuration.name, what, change, chance, len(each.runs))


def _throughput(each: Comparable) -> list[Question]:
    if not each.configuration.trained:
        return []  # a single time does not show its spread
    now = throughput(each.runs, list(each.configuration.languages))
    return [
        _question(each, f"{phase} throughput", drops.of_throughput(blessed, now[phase].rows_per_s))
        for phase, blessed in each.configuration.throughput_pairs_per_s.items()
        if phase in now and now[phase].is_on(each.configuration.hardware)
    ]


# ── other findings ──


def _not_compared(each: Comparable) -> list[GateFinding]:
    name, configuration = each.configuration.name, each.configuration
    reasons = []
    if len(each.languages) < len(configuration.languages):
        what = f"mean of {counted(len(configuration.languages), 'languages')}"
        reasons.append((what, "is not compared: not all of them could be"))
    now = throughput(each.runs, list(configuration.languages))
    for phase in configuration.throughput_pairs_per_s if configuration.trained else ():
        if phase not in now:
            reasons.append((f"{phase} throughput", "is not compared: these runs lack some of its times"))
        elif None in now[phase].machines:
            reasons.append((f"{phase} throughput", "is not compared: the hardware that it was timed on is not known"))
        elif not now[phase].is_on(configuration.hardware):
            reasons.append((f"{phase} throughput", "is not compared: the hardware is not the blessed one"))
    return [GateFinding("not compared", name, what, f"{name}: {what} {reason}.") for what, reason in reasons]


def _notes(each: Comparable) -> list[GateFinding]:
    """Return notes: equal weights, anything else that may explain a difference, and languages not in the baseline."""
    first, configuration = each.runs[0], each.configuration
    now = [environment.versions for record in each.runs for environment in record.environments]
    versions = {key: sorted({own.get(key, "none") for own in now}) for key in configuration.versions}
    differ = [key for key, value in configuration.versions.items() if versions[key] != [value]]
    notes = []
    if _same_weights(each):
        notes.append(("weights", "the weights are the blessed ones bit for bit"))
    if differ:
        changed = [f"{key} {' and '.join(versions[key])}, blessed {configuration.versions[key]}" for key in differ]
        notes.append(("versions", "; ".join(changed)))
    if first.model.sha256 != configuration.model_sha256:
        notes.append(("model", "the model's files are not the blessed ones"))
    extra = [language for language in first.scores if language not in configuration.languages]
    if extra:
        notes.append(("languages", f"{' '.join(extra)} not in the baseline and not compared"))
    name = configuration.name
    return [GateFinding("note", name, what, one_line(f"{name}: {note}.")) for what, note in notes]
