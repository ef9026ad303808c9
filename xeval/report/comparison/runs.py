"""RunComparison → terminal, Markdown, JSON. Numbers become percentages only here, and not in JSON."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from rich.console import Console

from xeval.judging.comparison.compare import LanguageDifference, RunComparison
from xeval.judging.comparison.flips import FlippedRows
from xeval.judging.comparison.resampling import Interval
from xeval.report.comparison import flips
from xeval.report.comparison.parts import Parts, markdown_parts, print_parts
from xeval.report.tables import shown_p
from xeval.support.text import metric_in_words, one_decimal, printed_difference, seeds_in_words, signed


def show(comparison: RunComparison, flipped: FlippedRows | None, console: Console) -> None:
    """Print the comparison on `console`. Values are in percent, differences in points."""
    print_parts(parts(comparison), console)
    if flipped is not None:
        flips.show(flipped, console)


def parts(comparison: RunComparison) -> Parts:
    """Return the parts of the comparison to show."""
    title = f"{comparison.title}: {metric_in_words(comparison.metric)} in %, B minus A in points"
    return Parts(
        title, _sides(comparison), comparison.conclusion, _header(comparison), _rows(comparison), _notes(comparison)
    )


def markdown(comparison: RunComparison, flipped: FlippedRows | None) -> str:
    text = markdown_parts(replace(parts(comparison), title=f"{comparison.title}: B minus A"))
    return text if flipped is None else text + flips.markdown(flipped)


def as_json(comparison: RunComparison, flipped: FlippedRows | None) -> str:
    """Return everything as one object. Values, differences and bounds are fractions."""
    content = as_object(comparison) | {"conclusion": comparison.conclusion}
    for entry, difference in zip(content["languages"], comparison.languages, strict=True):
        entry["better"] = difference.better
    if flipped is not None:
        content["flips"] = flips.as_object(flipped)
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def lines(comparison: RunComparison) -> list[dict[str, Any]]:
    """Return a dictionary for each language. Values, differences and bounds are fractions."""
    return [
        {
            "language": difference.language,
            "n_rows": difference.n_rows,
            f"{comparison.metric}_a": difference.value_a,
            f"{comparison.metric}_b": difference.value_b,
            "difference": difference.interval.difference,
            "low": difference.interval.low,
            "high": difference.interval.high,
            f"{_group(comparison)}_p": difference.group_p,
            "holm_p": difference.holm_p,
            "better": difference.better,
        }
        for difference in comparison.languages
    ]


def as_object(comparison: RunComparison) -> dict[str, Any]:
    """Return the fields for programs. The keys of values are named after the metric, that of p after the groups."""
    content = asdict(comparison)
    names = {
        "value_a": f"{comparison.metric}_a",
        "value_b": f"{comparison.metric}_b",
        "group_p": f"{_group(comparison)}_p",
    }
    content["languages"] = [
        {names.get(key, key): value for key, value in entry.items()} for entry in content["languages"]
    ]
    for in_words in ("unit", "grouped_by", "is_share_of_rows", "trains_nothing"):
        del content[in_words]
    return content


def _group(comparison: RunComparison) -> str:
    """Return the word for one group of dependent rows."""
    return comparison.grouped_by.removesuffix("s")


def _sides(comparison: RunComparison) -> list[str]:
    return [
        f"{side}: {name}, {'without training' if comparison.trains_nothing else seeds_in_words(seeds)}"
        for side, name, seeds in (
            ("A", comparison.name_a, comparison.seeds_a),
            ("B", comparison.name_b, comparison.seeds_b),
        )
    ]


def _header(comparison: RunComparison) -> list[str]:
    tested = ["only A/B", "McNemar"] if _one_run_each(comparison) else []
    spread = ["SD of seeds"] if len(comparison.mean_seed_differences) > 1 else []
    return ["", "A", "B", "B − A", comparison.mean.name, *spread, *tested, "Holm", "better"]


def _rows(comparison: RunComparison) -> list[list[str]]:
    rows = [_row(comparison, difference) for difference in comparison.languages]
    if len(comparison.languages) > 1:
        spread = _spread(comparison.mean_seed_differences)
        blank = ["", ""] if _one_run_each(comparison) else []
        ahead = "B" if comparison.mean.difference > 0 else "A"
        better = ahead if comparison.mean.excludes_zero else "–"
        numbers = _numbers(comparison.mean_a, comparison.mean_b, comparison.mean)
        rows.append([f"mean of {len(comparison.languages)}", *numbers, *spread, *blank, "", better])
    return rows


def _row(comparison: RunComparison, difference: LanguageDifference) -> list[str]:
    tested = []
    if _one_run_each(comparison):
        tested = [f"{difference.only_a_right}/{difference.only_b_right}", shown_p(difference.mcnemar_p)]
    numbers = _numbers(difference.value_a, difference.value_b, difference.interval)
    return [
        difference.language,
        *numbers,
        *_spread(difference.seed_differences),
        *tested,
        shown_p(difference.holm_p),
        difference.better or "–",
    ]


def _numbers(value_a: float, value_b: float, interval: Interval) -> list[str]:
    difference = signed(printed_difference(100 * value_b, 100 * value_a))
    return [one_decimal(100 * value_a), one_decimal(100 * value_b), difference, interval.in_points]


def _spread(differences: list[float]) -> list[str]:
    return [one_decimal(100 * float(np.std(differences, ddof=1)))] if len(differences) > 1 else []


def _one_run_each(comparison: RunComparison) -> bool:
    """Return whether the rows that only one side gets right can be counted."""
    return comparison.is_share_of_rows and len(comparison.seeds_a) == len(comparison.seeds_b) == 1


def exchanged(comparison: RunComparison, answers: str = "A's and B's answers") -> str:
    """Name the test that gives the p values that Holm's method corrects."""
    test = "the exact test" if comparison.is_share_of_rows else "a randomisation test"
    return f"{test} that exchanges {answers} {_group(comparison)} by {_group(comparison)}"


def _notes(comparison: RunComparison) -> list[str]:
    mean = comparison.mean
    method = (
        f"Interval: paired bootstrap, {mean.n_resamples:,} resamples of {comparison.resampled}, seed {mean.seed}."
        f" Holm: p of {exchanged(comparison)}, corrected over the languages. Better:"
        " the better side, where p is at most 0.05 or, for the mean, where the interval excludes 0."
    )
    if _one_run_each(comparison):
        method += " Only A/B: rows that only one side gets right. McNemar: its exact p, if rows were independent draws."
    if len(comparison.mean_seed_differences) > 1:
        method += " SD of seeds: standard deviation of B minus A between the paired seeds, not part of any interval."
    return [method, *comparison.notes]
