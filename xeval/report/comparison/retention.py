"""Retention → terminal, Markdown, JSON. Numbers become percentages only here, and not in JSON."""

import json
from dataclasses import asdict

from rich.console import Console

from xeval.judging.comparison.flips import FlippedRows
from xeval.judging.comparison.retention import Cost, LanguageRetention, Retention, Share
from xeval.report.comparison import flips
from xeval.report.comparison.parts import Parts, markdown_parts, print_parts
from xeval.support.text import metric_in_words, one_decimal, printed_difference, signed

FLOAT32_BYTES = 4


def show(retention: Retention, flipped: FlippedRows | None, console: Console) -> None:
    """Print the table on `console`. Values and shares are in percent, losses in points."""
    print_parts(_parts(retention), console)
    if flipped is not None:
        flips.show(flipped, console)


def markdown(retention: Retention, flipped: FlippedRows | None) -> str:
    text = markdown_parts(_parts(retention))
    return text if flipped is None else text + flips.markdown(flipped)


def as_json(retention: Retention, flipped: FlippedRows | None) -> str:
    """Return everything as one object. Values, losses and shares are fractions."""
    content = asdict(retention) | {"conclusion": retention.conclusion}
    if flipped is not None:
        content["flips"] = flips.as_object(flipped)
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _parts(retention: Retention) -> Parts:
    title = f"{retention.title}: what B keeps of A; {metric_in_words(retention.metric)} in %"
    sides = [
        f"{side}: {name}{_in_words(cost)}"
        for side, name, cost in zip("AB", (retention.name_a, retention.name_b), retention.costs, strict=True)
    ]
    header = [
        "",
        "A",
        "B",
        "kept",
        "95 % interval",
        "above chance",
        "loss",
        "at home",
        "in transfer",
        "kappa",
        "script",
    ]
    losses = {row.language: _loss(row) for row in retention.languages}
    at_home = losses.get(retention.training_language)
    rows = [_row(row, losses[row.language], at_home) for row in retention.languages]
    if len(rows) > 1:
        means = one_decimal(100 * retention.mean_a), one_decimal(100 * retention.mean_b)
        loss = one_decimal(printed_difference(100 * retention.mean_a, 100 * retention.mean_b))
        rows.append([f"mean of {len(rows)}", *means, *_shown(retention.mean_kept), "", loss, "", "", "", ""])
    return Parts(title, sides, retention.conclusion, header, rows, _notes(retention))


def _in_words(cost: Cost) -> str:
    text = ""
    if cost.n_parameters is not None:
        size = cost.n_parameters * FLOAT32_BYTES / 1e6
        text += f", {cost.n_parameters / 1e6:,.1f} million parameters ({size:,.0f} MB in float32)"
    if cost.rows_per_s is not None:
        text += f", {1000 / cost.rows_per_s:.2f} ms per row"
    return text


def _loss(row: LanguageRetention) -> float:
    """Return A minus B in points, as printed."""
    return printed_difference(100 * row.value_a, 100 * row.value_b)


def _row(row: LanguageRetention, loss: float, at_home: float | None) -> list[str]:
    """Return the cells of a language. The two parts of its loss are printed so that they add up to it."""
    above = row.kept_above_chance
    parts = ("–", "–")
    if at_home is not None:
        parts = one_decimal(at_home), one_decimal(printed_difference(loss, at_home))
    return [
        row.language,
        one_decimal(100 * row.value_a),
        one_decimal(100 * row.value_b),
        *_shown(row.kept),
        one_decimal(100 * above.value) if above is not None else "–",
        one_decimal(loss),
        *parts,
        f"{row.kappa:.2f}" if row.kappa is not None else "–",
        row.script,
    ]


def _shown(share: Share | None) -> tuple[str, str]:
    if share is None:
        return "–", "–"
    return one_decimal(100 * share.value), share.bounds


def _notes(retention: Retention) -> list[str]:
    has_home = any(row.language == retention.training_language for row in retention.languages)
    parts = ": at home, the loss in the training language; in transfer, what is lost beyond that" if has_home else ""
    notes = [
        "Kept: B's score as a share of A's, with an interval by paired bootstrap over the test rows, with both models"
        f" held fixed; above chance: the same for the part above chance. Loss, in points{parts}. Kappa: Cohen's kappa"
        " between B's answers and A's."
    ]
    first, second = retention.costs
    if first.rows_per_s and second.rows_per_s:
        times = second.rows_per_s / first.rows_per_s
        saved = 1000 / first.rows_per_s - 1000 / second.rows_per_s
        price = f"; {_price(retention, saved, 1)} millisecond saved per row" if saved > 0 else ""
        notes.append(f"B was evaluated {times:.2f} times as fast as A on the same processor{price}.")
    if first.n_parameters and second.n_parameters and second.n_parameters < first.n_parameters:
        saved_mb = (first.n_parameters - second.n_parameters) * FLOAT32_BYTES / 1e6
        notes.append(f"B is {saved_mb:,.1f} MB smaller in float32; {_price(retention, saved_mb, 2)} MB saved.")
    if retention.fertility_correlation is not None:
        rho, p = retention.fertility_correlation
        shown = "no correlation is shown" if p > 0.05 else f"a correlation (p {p:.3f}), not a cause"
        notes.append(f"Share kept and pieces per word: Spearman's ρ {signed(rho, 2)} over the languages, {shown}.")
    return [*notes, *retention.notes]


def _price(retention: Retention, saved: float, places: int) -> str:
    """Return what B loses or gains on the mean for each unit saved, as `it loses 1.3 points for each`."""
    lost = 100 * (retention.mean_a - retention.mean_b)
    size = signed(abs(lost) / saved, places).removeprefix("+")
    return f"it {'gains' if lost < 0 else 'loses'} {size} points for each"
