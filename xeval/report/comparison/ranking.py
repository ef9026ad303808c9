"""Ranking → terminal, Markdown, HTML, CSV, JSON. Numbers become percentages only here, and not in CSV and JSON."""

import json
from dataclasses import replace
from typing import Any

from rich.console import Console

from xeval.judging.comparison.ranking import ALPHA, Pair, RankedModel, Ranking
from xeval.report.comparison.parts import Parts, markdown_parts, print_around, print_parts
from xeval.report.formats.csv import csv_table
from xeval.report.page.plain import page
from xeval.report.tables import shown_p, table_of
from xeval.report.whole_words import fit
from xeval.support.text import counted, metric_in_words, one_decimal, printed_difference


def show(ranking: Ranking, console: Console) -> None:
    """Print the table on `console`. Scores are in percent, differences in points.

    If models' names leave too little room for the numbers, they are printed above the table, and their places in it.
    """
    shown = parts(ranking)
    table = table_of(shown.header, shown.rows, n_left=1)
    if fit(table, console):
        print_around(shown, table, console)
    else:
        names = [f"{place} {row[0]}" for place, row in enumerate(shown.rows, 1)]
        numbers = [[str(place), *row[1:]] for place, row in enumerate(shown.rows, 1)]
        print_parts(replace(shown, sides=names, rows=numbers), console)


def markdown(ranking: Ranking) -> str:
    return markdown_parts(parts(ranking))


def html(ranking: Ranking) -> str:
    """Return one self-contained file without a script."""
    shown = parts(ranking)
    return page(shown.title, shown.title, shown.header, shown.rows, shown.notes, above=[shown.conclusion])


def as_csv(ranking: Ranking) -> str:
    """Return a line for each model, the best first. Scores, differences and deviations are fractions."""
    content = lines(ranking)
    return csv_table([*content[0]], content)


def lines(ranking: Ranking) -> list[dict[str, Any]]:
    """Return a dictionary for each model, the best first, which also has its score under each language's code."""
    return [_line(entry) | entry.model.languages for entry in ranking.models]


def as_json(ranking: Ranking) -> str:
    """Return everything as one object. Scores, differences and deviations are fractions."""
    content = {
        key: getattr(ranking, key)
        for key in ("task", "title", "metric", "languages", "n_rows", "conclusion", "expected_sd", "is_assumed")
    }
    names = [entry.model.name for entry in ranking.models]
    pairs = [
        {
            "better": names[pair.better],
            "worse": names[pair.worse],
            "difference": pair.difference,
            "standard_error": pair.standard_error,
            "p": pair.p,
            "holm_p": pair.holm_p,
            "told_apart": pair.is_told_apart,
        }
        for pair in ranking.pairs
    ]
    models = [
        _line(entry) | {"seeds": entry.model.seeds, "values": entry.model.values, "languages": entry.model.languages}
        for entry in ranking.models
    ]
    content |= {"level": ALPHA, "models": models, "pairs": pairs, "notes": _notes(ranking)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _line(entry: RankedModel) -> dict[str, Any]:
    below = entry.next
    return {
        "model": entry.model.name,
        "best_rank": entry.best_rank,
        "worst_rank": entry.worst_rank,
        "groups": entry.letters,
        "value": entry.model.value,
        "n_seeds": len(entry.model.seeds),
        "seed_sd": entry.seed_sd,
        "difference_to_next": below.pair.difference if below else None,
        "holm_p_to_next": below.pair.holm_p if below else None,
        "seeds_needed": below.seeds_needed if below else None,
        "rows_needed": below.rows_needed if below else None,
    }


def parts(ranking: Ranking) -> Parts:
    """Return the parts of the ranking to show."""
    over = f"mean of {len(ranking.languages)}" if len(ranking.languages) > 1 else ranking.languages[0]
    title = f"{ranking.title}: models ranked by {metric_in_words(ranking.metric)} in %"
    header = ["model", over, "seeds", "SD of seeds", "ranks", "groups", "to the next", "Holm", "would tell them apart"]
    return Parts(
        title, [], ranking.conclusion, header, [_row(ranking, entry) for entry in ranking.models], _notes(ranking)
    )


def _row(ranking: Ranking, entry: RankedModel) -> list[str]:
    below = entry.next
    return [
        entry.model.name,
        one_decimal(100 * entry.model.value),
        str(len(entry.model.seeds)) if entry.model.is_drawn else "–",
        one_decimal(100 * entry.seed_sd) if entry.seed_sd is not None else "–",
        f"{entry.best_rank}" if entry.best_rank == entry.worst_rank else f"{entry.best_rank}–{entry.worst_rank}",
        entry.letters,
        _to_next(ranking, below.pair) if below else "",
        shown_p(below.pair.holm_p) if below else "",
        _needed(ranking, entry) if below else "",
    ]


def _to_next(ranking: Ranking, pair: Pair) -> str:
    """Return the difference between the two scores as printed."""
    better, worse = (100 * ranking.models[place].model.value for place in (pair.better, pair.worse))
    return one_decimal(printed_difference(better, worse))


def _needed(ranking: Ranking, entry: RankedModel) -> str:
    """Return how many seeds or rows would tell the model from the next."""
    below = entry.next
    if below is None or below.pair.is_told_apart:
        return "–"
    ways = [f"{below.seeds_needed} seeds"] if below.seeds_needed else []
    ways += [counted(below.rows_needed, ranking.unit)] if below.rows_needed else []
    return " or ".join(ways) or "more seeds and more rows"


def _notes(ranking: Ranking) -> list[str]:
    where = ", ".join(ranking.languages)
    notes = [
        f"Over {where}. Ranks: the best and the worst possible, if at most {100 * ALPHA:.0f} % of such rankings may"
        f" have even one false separation. Groups: models that share a letter cannot be distinguished. Holm: p of the"
        f" difference to the next model, with Holm's correction over {counted(len(ranking.pairs), 'pairs')}.",
        f"Would tell them apart: the number of seeds of both, or of {ranking.unit} in each language, if the difference"
        " and the spreads stayed the same; if neither 50 seeds nor 100 times the rows are enough, both are needed.",
        _chance(ranking),
    ]
    return [*notes, *ranking.notes]


def _chance(ranking: Ranking) -> str:
    """Say what the tests treat as chance."""
    if ranking.expected_sd is None:
        sampled = f"Chance here means a different sample of {ranking.grouped_by}."
        return f"{sampled} Nothing was trained, so there are no other seeds."
    source = "assumed, since too few models have several seeds" if ranking.is_assumed else "the average of these models"
    fixed = [entry.model.name for entry in ranking.models if not entry.model.is_drawn]
    without = (
        f" For {', '.join(fixed)}, evaluated as {'they are' if len(fixed) > 1 else 'it is'}, the sample alone counts."
        if fixed
        else ""
    )
    return (
        f"Chance here means a different sample of {ranking.grouped_by} and different training runs. The standard"
        f" deviation between seeds is {one_decimal(100 * ranking.expected_sd)} points, {source},"
        f" or that of a model's own seeds where it is larger.{without}"
    )
