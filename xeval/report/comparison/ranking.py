"""Ranking → terminal, Markdown, HTML, CSV, JSON. Percentages exist only here, and not in CSV and JSON."""

import csv
import io
import json
from typing import Any

from rich.console import Console

from xeval.judging.comparison.ranking import ALPHA, Pair, RankedModel, Ranking
from xeval.report.comparison.runs import Parts, markdown_parts, print_parts, shown_p
from xeval.report.formats.csv import harmless
from xeval.report.page.plain import page
from xeval.support.text import counted, metric_in_words, one_decimal, printed_difference


def show(found: Ranking, console: Console) -> None:
    """Print the table on `console`. Scores and differences are in points."""
    print_parts(parts(found), console)


def markdown(found: Ranking) -> str:
    return markdown_parts(parts(found))


def html(found: Ranking) -> str:
    """One file that needs nothing else, without a script."""
    shown = parts(found)
    return page(shown.title, shown.title, shown.header, shown.rows, shown.notes, above=[shown.conclusion])


def as_csv(found: Ranking) -> str:
    """A line for each model, the best first; scores, differences and deviations are fractions."""
    file = io.StringIO()
    content = lines(found)
    writer = csv.DictWriter(file, [*content[0]], quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writeheader()
    for line in content:
        writer.writerow({key: harmless(value) for key, value in line.items()})
    return file.getvalue()


def lines(found: Ranking) -> list[dict[str, Any]]:
    """A dictionary for each model, the best first, with its score in each language by the language's code."""
    return [_line(one) | one.model.languages for one in found.models]


def as_json(found: Ranking) -> str:
    """Everything as one object; scores, differences and deviations are fractions."""
    content = {
        key: getattr(found, key)
        for key in ("task", "title", "metric", "languages", "n_rows", "conclusion", "expected_sd", "is_assumed")
    }
    names = [one.model.name for one in found.models]
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
        for pair in found.pairs
    ]
    models = [
        _line(one) | {"seeds": one.model.seeds, "values": one.model.values, "languages": one.model.languages}
        for one in found.models
    ]
    content |= {"level": ALPHA, "models": models, "pairs": pairs, "notes": _notes(found)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _line(one: RankedModel) -> dict[str, Any]:
    below = one.next
    return {
        "model": one.model.name,
        "best_rank": one.best_rank,
        "worst_rank": one.worst_rank,
        "groups": one.letters,
        "value": one.model.value,
        "n_seeds": len(one.model.seeds),
        "seed_sd": one.seed_sd,
        "difference_to_next": below.pair.difference if below else None,
        "holm_p_to_next": below.pair.holm_p if below else None,
        "seeds_needed": below.seeds_needed if below else None,
        "rows_needed": below.rows_needed if below else None,
    }


def parts(found: Ranking) -> Parts:
    """What of the ranking is shown."""
    over = f"mean of {len(found.languages)}" if len(found.languages) > 1 else found.languages[0]
    title = f"{found.title}: models ranked by {metric_in_words(found.metric)} in %"
    header = ["model", over, "seeds", "SD of seeds", "ranks", "groups", "to the next", "Holm", "would tell them apart"]
    return Parts(title, [], found.conclusion, header, [_row(found, one) for one in found.models], _notes(found))


def _row(found: Ranking, one: RankedModel) -> list[str]:
    below = one.next
    return [
        one.model.name,
        one_decimal(100 * one.model.value),
        str(len(one.model.seeds)) if one.model.is_drawn else "–",
        one_decimal(100 * one.seed_sd) if one.seed_sd is not None else "–",
        f"{one.best_rank}" if one.best_rank == one.worst_rank else f"{one.best_rank}–{one.worst_rank}",
        one.letters,
        _to_next(found, below.pair) if below else "",
        shown_p(below.pair.holm_p) if below else "",
        _needed(found, one) if below else "",
    ]


def _to_next(found: Ranking, pair: Pair) -> str:
    """The difference of the two scores as they are printed."""
    better, worse = (100 * found.models[place].model.value for place in (pair.better, pair.worse))
    return one_decimal(printed_difference(better, worse))


def _needed(found: Ranking, one: RankedModel) -> str:
    """What would tell the model from the next."""
    below = one.next
    if below is None or below.pair.is_told_apart:
        return "–"
    ways = [f"{below.seeds_needed} seeds"] if below.seeds_needed else []
    ways += [counted(below.rows_needed, found.unit)] if below.rows_needed else []
    return " or ".join(ways) or "more seeds and more rows"


def _notes(found: Ranking) -> list[str]:
    where = ", ".join(found.languages)
    notes = [
        f"Over {where}. Ranks: at best and at worst, if at most {100 * ALPHA:.0f} % of such rankings may have even one"
        f" false separation. Groups: models that share a letter are not told apart. Holm: p of the difference to the"
        f" next model, with Holm's correction over {counted(len(found.pairs), 'pairs')}.",
        f"Would tell them apart: so many seeds of both, or so many {found.unit} in each language, if difference and"
        " spreads stayed as they are; with more than 50 seeds or 100 times the rows, it says that both are wanted.",
        _chance(found),
    ]
    return [*notes, *found.notes]


def _chance(found: Ranking) -> str:
    """What the tests take for chance."""
    if found.expected_sd is None:
        return f"What is chance here: other {found.grouped_by}. Nothing was trained, so there are no other seeds."
    source = "assumed, since too few models have several seeds" if found.is_assumed else "the average of these models"
    fixed = [one.model.name for one in found.models if not one.model.is_drawn]
    without = (
        f" Of {', '.join(fixed)}, evaluated as {'they are' if len(fixed) > 1 else 'it is'}, rows alone."
        if fixed
        else ""
    )
    return (
        f"What is chance here: other {found.grouped_by} and other trainings. The standard deviation between seeds is"
        f" {one_decimal(100 * found.expected_sd)} points, {source}, or that of a model's own seeds where it is larger."
        f"{without}"
    )
