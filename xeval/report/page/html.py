"""Matrix → one self-contained HTML file: no network, no other file, and only its own small script.

A content security policy, which names style and script by their hashes, enforces that in the browser.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from xeval.judging.verdict import NO_VERDICT, RowVerdict
from xeval.report import in_short, transfer, verdicts
from xeval.report.matrix import Matrix
from xeval.report.page import forest, heat, model_section
from xeval.results.store import StoredRun
from xeval.support.text import capitalised, counted, one_decimal, one_line

TEMPLATES = Path(__file__).parent / "templates"
MOST_MODELS = 50  # with more models, none has a section of its own
MOST_RECORDS = 100  # with more records, none is shown
MOST_LINKS = 8  # links to models at the top
MOST_WORST = 4  # with more models, there are no sentences on the worst language at the top
OUTCOMES = {
    "agrees": "agree",
    "leans low": "lean low",
    "leans high": "lean high",
    NO_VERDICT: "without a verdict",
}  # plural forms


def render(matrix: Matrix) -> str:
    """Render the whole page. If predictions cannot be read, what they would show is left out, with the reason."""
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "sort.js"))
    compared, differences = heat.difference_lines(matrix)
    row_verdicts, rows = matrix.verdicts, matrix.ours
    models = [model_section.build(row, matrix) for row in rows] if len(rows) <= MOST_MODELS else []
    board, cards = in_short.of(matrix), [_card(verdict) for verdict in row_verdicts]
    worst = [(entry.own_name, model.worst) for entry, model in zip(board, models, strict=False) if model.worst]
    worst = worst if len(rows) <= MOST_WORST else []
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            matrix=matrix,
            metric=capitalised(matrix.metric_in_words),
            style=Markup(style),
            script=Markup(script),
            style_hash=hash_of(style),
            script_hash=hash_of(script),
            scores=heat.score_lines(matrix),
            means=heat.mean_lines(matrix),
            compared=compared,
            differences=differences,
            has_gap=bool(matrix.about_gap),
            gaps=heat.gap_lines(matrix),
            transfers=[model_section.shown(exhibit) for exhibit in transfer.of(matrix)],
            legend=verdicts.legend(row_verdicts),
            marks=verdicts.MARKS,
            outcomes=OUTCOMES,
            board=board,
            worst=worst,
            cards=cards,
            has_plots=any(card.forest for card in cards),
            models=models,
            most_links=MOST_LINKS,
            records=[(_run_name(run), _record(run)) for run in matrix.runs] if len(matrix.runs) <= MOST_RECORDS else [],
            left_out=_left_out(matrix),
        )
        + "\n"
    )


@dataclass(frozen=True)
class Card:
    """A verdict on one published row."""

    name: str
    how: str
    tally: dict[str, int]
    forest: forest.Forest | None
    sentences: list[str]  # those that no line of the plot shows


def _card(verdict: RowVerdict) -> Card:
    drawn = forest.plot(verdict)
    tally, how = verdicts.tally(verdict), verdict.configuration.in_words
    if drawn is None:
        return Card(verdict.row, how, tally, drawn, [verdict.mean.sentence])
    in_forest = {line.verdict.what for line in (*drawn.languages, *([drawn.mean] if drawn.mean else []))}
    every = [verdict.mean, *verdict.cells.values()]
    return Card(verdict.row, how, tally, drawn, [cell.sentence for cell in every if cell.what not in in_forest])


def _left_out(matrix: Matrix) -> str:
    """Say what a page with so many runs leaves out."""
    parts = [f"a section for each of {len(matrix.ours)} models"] if len(matrix.ours) > MOST_MODELS else []
    parts += [f"the records of {len(matrix.runs)} runs"] if len(matrix.runs) > MOST_RECORDS else []
    return f"Left out for length: {' and '.join(parts)}; --model NAME reports on one model." if parts else ""


@cache
def environment() -> jinja2.Environment:
    """Return the environment that renders the page templates. It escapes every value and puts it on one line."""
    # Escaping is always on: select_autoescape goes by file extension and takes .html.j2 for plain text.
    jinja_environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja_environment.filters |= {"one_decimal": one_decimal, "counted": counted}
    return jinja_environment


def _shown(value: Any) -> Any:
    """Return text on one line, without control characters and without those that change the writing direction."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def hash_of(content: str) -> str:
    """Return the hash by which a content security policy allows a style or script."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _run_name(run: StoredRun) -> str:
    record = run.record
    drawn = f", seed {record.seed}" if record.has_seed else ""
    return f"{record.model.id}, {record.recipe.name}{drawn}: {record.status}"


def _record(run: StoredRun) -> Markup:
    """Return the record as JSON, with each line cleaned and escaped like any other text here."""
    lines = json.dumps(run.record.model_dump(mode="json"), indent=1, ensure_ascii=False).split("\n")
    indented = [line[: len(line) - len(line.lstrip(" "))] + one_line(line) for line in lines]
    return Markup("\n").join(escape(line) for line in indented)
