"""Findings on everything that keeps later runs from being compared with a baseline. None of them is a drop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from xeval.judging.gate.baseline import Baseline, Blessed
from xeval.judging.gate.bless import name_in_words, settings
from xeval.judging.gate.findings import GateFinding, Kind
from xeval.judging.health import collapse
from xeval.results.records import RunRecord
from xeval.support.text import counted, numbered, one_line

_DRAWN_LATER = "max_eval now draws rows evenly, and version 0.1.0 blessed the first ones; bless new runs"


@dataclass(frozen=True)
class Comparable:
    """A blessed configuration, its new runs in the order of the seeds, and the languages that can be compared."""

    configuration: Blessed
    runs: list[RunRecord]
    languages: list[str]


def sort_out(baseline: Baseline, groups: Mapping[str, list[RunRecord]]) -> tuple[list[Comparable], list[GateFinding]]:
    """Return what can be compared of `groups`, the runs by configuration, and findings on everything else."""
    comparable: list[Comparable] = []
    findings: list[GateFinding] = []
    unmatched = dict(groups)
    matched = {configuration.key: unmatched.pop(configuration.key, None) for configuration in baseline.configurations}
    absent = [configuration for configuration in baseline.configurations if matched[configuration.key] is None]
    nearest = {own: unmatched.pop(key) for own, key in _nearest(absent, unmatched).items()}
    for configuration in baseline.configurations:
        runs = matched[configuration.key]
        if runs is None:
            findings.append(_absent(configuration, nearest.get(configuration.key)))
            continue
        mismatches = [*_seeds(configuration, runs), *_training_data(configuration, runs)]
        if not mismatches:
            mismatches = _languages(configuration, runs)
            unequal = {finding.what for finding in mismatches}
            languages = [language for language in configuration.languages if language not in unequal]
            comparable.append(Comparable(configuration, runs, languages))
        findings += mismatches
    for runs in unmatched.values():
        fact = "is not in the baseline; bless it, or keep it out of this results folder"
        findings.append(_finding("extra configuration", name_in_words(runs[0]), "configuration", fact))
    return comparable, findings


def _nearest(absent: Sequence[Blessed], unmatched: Mapping[str, list[RunRecord]]) -> dict[str, str]:
    """Pair each absent configuration with the `unmatched` runs that are this one with other settings: key → their key.

    Both are of the same task and model. Of several possible pairs, those with the fewest differences count.
    """
    pairs = [
        (len(_differences(configuration, runs[0])), configuration.key, key)
        for configuration in absent
        for key, runs in unmatched.items()
        if (runs[0].task, runs[0].model.id) == (configuration.task, configuration.model)
    ]
    nearest: dict[str, str] = {}
    taken = set[str]()
    for _, own, key in sorted(pairs, key=itemgetter(0)):
        if own not in nearest and key not in taken:
            nearest[own] = key
            taken.add(key)
    return nearest


def _absent(configuration: Blessed, nearest: Sequence[RunRecord] | None) -> GateFinding:
    """Report a configuration without runs. `nearest` are the runs that are this one with other settings."""
    if nearest is None:
        fact = "is in the baseline but was not run"
        return _finding("missing configuration", configuration.name, "configuration", fact)
    fact = f"was run with other settings: {'; '.join(_differences(configuration, nearest[0]))}"
    return _finding("other settings", configuration.name, "settings", fact)


def _differences(configuration: Blessed, record: RunRecord) -> list[str]:
    """Return what differs between the settings of `record` and the blessed ones, each in words."""
    now = {"metric": record.metric} | settings(record)
    blessed = {"metric": configuration.metric} | configuration.settings
    names = [name for name in {**blessed, **now} if blessed.get(name) != now.get(name)]
    if "max_eval" in names and "eval_seed" in names:
        names.remove("eval_seed")  # which only says how the rows of max_eval are drawn
    return [
        _DRAWN_LATER
        if name == "eval_seed" and name not in blessed
        else f"{name} is {now.get(name, 'not set')}, blessed {blessed.get(name, 'not set')}"
        for name in names
    ]


def _seeds(configuration: Blessed, runs: Sequence[RunRecord]) -> list[GateFinding]:
    seeds = {record.seed for record in runs}
    mismatches: list[tuple[Kind, int, str]] = [
        ("missing seed", n, "is in the baseline but was not run") for n in configuration.seeds if n not in seeds
    ]
    mismatches += [("extra seed", n, "is not in the baseline") for n in sorted(seeds) if n not in configuration.seeds]
    for record in runs:
        reason = collapse(record)
        if record.status == "failed" or "train" in record.failures:  # which may have scores of an earlier training run
            mismatches.append(("failed training", record.seed, f"failed: {one_line(record.failure)}"))
        elif reason:
            mismatches.append(("collapsed training", record.seed, f"collapsed in training: {one_line(reason)}"))
    return [_finding(kind, configuration.name, f"seed {seed}", fact) for kind, seed, fact in mismatches]


def _training_data(configuration: Blessed, runs: Sequence[RunRecord]) -> list[GateFinding]:
    """Report training or development rows that are not the blessed ones."""
    changed = [
        f"{split} rows"
        for split, blessed in configuration.data_sha256.items()
        if split != "test" and any(record.data.sha256.get(split) != blessed for record in runs)
    ]
    fact = "are not the blessed ones: the hash of their content differs"
    return [_finding("other data", configuration.name, what, fact) for what in changed]


def _languages(configuration: Blessed, runs: Sequence[RunRecord]) -> list[GateFinding]:
    mismatches = []
    kind: Kind
    for language, cell in configuration.languages.items():
        scores = [record.scores.get(language) for record in runs]
        failures = {record.seed: record.failures.get(f"evaluate/{language}") for record in runs}
        lacking = [n for n, score in zip(failures, scores, strict=True) if score is None or failures[n] is not None]
        counts = {score.n_rows for score in scores if score is not None}
        blessed = configuration.data_sha256.get("test", {}).get(language)
        if lacking:
            kind, fact = "missing language", f"is in the baseline but was not evaluated ({numbered('seeds', lacking)})"
            if reasons := "; ".join(dict.fromkeys(failure.reason for failure in failures.values() if failure)):
                fact += f": {reasons}"
        elif counts != {cell.n_examples}:
            rows = " or ".join(counted(count, "rows") for count in sorted(counts))
            kind, fact = "other number of rows", f"was evaluated on {rows}, blessed {cell.n_examples:,}"
        elif any(record.data.sha256.get("test", {}).get(language) != blessed for record in runs):
            kind, fact = (
                "other data",
                "was evaluated on rows other than the blessed ones: the hash of their content differs",
            )
        else:
            continue
        mismatches.append(_finding(kind, configuration.name, language, fact))
    return mismatches


def _finding(kind: Kind, name: str, what: str, fact: str) -> GateFinding:
    subject = name if what in ("configuration", "settings") else f"{name}: {what}"
    return GateFinding(kind, name, what, one_line(f"{subject} {fact}."))
