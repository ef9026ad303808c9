"""SelectionComparison → terminal, Markdown, JSON. The oracle always has its label, "NOT zero-shot".

Numbers become percentages only here, and not in JSON.
"""

import json
from dataclasses import asdict

import numpy as np
from rich.console import Console

from xeval.judging.comparison.flips import FlippedRows
from xeval.judging.comparison.resampling import Interval
from xeval.judging.comparison.selection import SelectionComparison
from xeval.report.comparison import flips
from xeval.report.comparison.parts import Parts, markdown_parts, print_parts
from xeval.report.comparison.runs import as_object, exchanged
from xeval.report.tables import plain, shown_p
from xeval.support.text import metric_in_words, one_decimal, percent, printed_difference, seeds_in_words, signed, span

ORACLE = "NOT zero-shot: for each language, the checkpoint that is best on its own test labels"
_PLURALS = {"accuracy": "accuracies"}
_FLIPS = "Below, A is dev and B is last."


def show(comparison: SelectionComparison, flipped: FlippedRows | None, console: Console) -> None:
    """Print the table on `console`. Values are in percent, differences in points."""
    print_parts(_parts(comparison), console)
    if flipped is not None:
        console.print(plain(_FLIPS), style="dim")
        flips.show(flipped, console)


def markdown(comparison: SelectionComparison, flipped: FlippedRows | None) -> str:
    text = markdown_parts(_parts(comparison))
    return text if flipped is None else f"{text}- {_FLIPS}\n{flips.markdown(flipped)}"


def as_json(comparison: SelectionComparison, flipped: FlippedRows | None) -> str:
    """Return everything as one object. Values, differences and bounds are fractions."""
    metric = comparison.last_minus_dev.metric
    names = {"dev_value": f"dev_{metric}", "value": metric, "values": _PLURALS.get(metric, f"{metric}_by_step")}
    content = asdict(comparison) | {"last_minus_dev": as_object(comparison.last_minus_dev)}
    for part in ("choices", "oracle"):
        content[part] = [{names.get(key, key): value for key, value in entry.items()} for entry in content[part]]
    content |= {"conclusion": comparison.conclusion, "oracle_is": ORACLE}
    if flipped is not None:
        content["flips"] = flips.as_object(flipped)
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _parts(comparison: SelectionComparison) -> Parts:
    return Parts(
        _title(comparison),
        _sides(comparison),
        comparison.conclusion,
        _header(comparison),
        _rows(comparison),
        _notes(comparison),
    )


def _title(comparison: SelectionComparison) -> str:
    compared = comparison.last_minus_dev
    run = f"{comparison.model}, {comparison.configuration}"
    seeds, metric = seeds_in_words(compared.seeds_a), metric_in_words(compared.metric)
    return f"{compared.title}: which checkpoint of one training run? {run}, {seeds}; {metric} in %"


def _sides(comparison: SelectionComparison) -> list[str]:
    choices = comparison.choices
    dev = " ".join(f"{choice.dev_step:,} ({percent(choice.dev_value)})" for choice in choices)
    last = " ".join(f"{choice.last_step:,}" for choice in choices)
    step = "step" if len(choices) == 1 else "steps, by seed:"
    return [
        f"dev: {step} {dev}, the best on {comparison.training_language} development rows",
        f"last: {step} {last}",
        f"oracle*: {ORACLE}",
    ]


def _header(comparison: SelectionComparison) -> list[str]:
    interval = comparison.last_minus_dev.mean.name
    return ["", "dev", "last", "− dev", interval, "Holm", "oracle*", "− dev", *_if_one_seed(comparison, "at step")]


def _rows(comparison: SelectionComparison) -> list[list[str]]:
    rows = []
    for difference, oracle in zip(comparison.last_minus_dev.languages, comparison.oracle, strict=True):
        numbers = _numbers(difference.value_a, difference.value_b, difference.interval)
        best = _beside_dev(oracle.value, difference.value_a)
        step = _if_one_seed(comparison, f"{oracle.steps[0]:,}")
        rows.append([difference.language, *numbers, shown_p(difference.holm_p), *best, *step])
    n = len(rows)
    if n > 1:
        rows.append(_mean_row(comparison, f"mean of {n}", comparison.last_minus_dev.mean, without=None))
    if comparison.target_mean is not None:
        rows.append(
            _mean_row(
                comparison,
                f"without {comparison.training_language}",
                comparison.target_mean,
                comparison.training_language,
            )
        )
    return rows


def _mean_row(comparison: SelectionComparison, name: str, interval: Interval, without: str | None) -> list[str]:
    pairs = zip(comparison.last_minus_dev.languages, comparison.oracle, strict=True)
    numbers = [
        (difference.value_a, difference.value_b, best.value)
        for difference, best in pairs
        if difference.language != without
    ]
    dev, last, oracle = np.mean(numbers, axis=0).tolist()
    return [name, *_numbers(dev, last, interval), "", *_beside_dev(oracle, dev), *_if_one_seed(comparison, "")]


def _numbers(dev: float, last: float, interval: Interval) -> list[str]:
    return [one_decimal(100 * dev), *_beside_dev(last, dev), interval.in_points]


def _beside_dev(value: float, dev: float) -> list[str]:
    """Return a value, and how far it is above that of English dev's checkpoint."""
    return [one_decimal(100 * value), signed(printed_difference(100 * value, 100 * dev))]


def _if_one_seed(comparison: SelectionComparison, cell: str) -> list[str]:
    return [cell] if len(comparison.choices) == 1 else []


def _notes(comparison: SelectionComparison) -> list[str]:
    compared = comparison.last_minus_dev
    mean = compared.mean
    n_checkpoints = span([len(choice.steps) for choice in comparison.choices])
    of_each = " of each seed" if len(comparison.choices) > 1 else ""
    return [
        f"* The oracle is {ORACLE}, of {n_checkpoints}{of_each}. It is an upper bound on what any choice among"
        " them can reach, not a result: part of its lead is luck on these very rows, so it has no interval.",
        f"Interval: of last minus dev, paired bootstrap, {mean.n_resamples:,} resamples of"
        f" {compared.resampled}, seed {mean.seed}; it covers the draw of test {compared.unit}, not retraining. Holm: p"
        f" of {exchanged(compared, 'the answers of the two')}, corrected over the languages.",
        *compared.notes,
    ]
