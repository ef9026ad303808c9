"""The formats of `xeval report`, by name and by file extension."""

from enum import StrEnum
from pathlib import Path

from xeval.definitions.task import Task
from xeval.report.formats import csv, json, latex, markdown, model_card
from xeval.report.formats.model_card import Footprint
from xeval.report.matrix import Matrix
from xeval.support.errors import XevalError


class Format(StrEnum):
    MARKDOWN = "markdown"
    HTML = "html"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    MODEL_CARD = "model-card"
    EVAL_RESULTS = "eval-results"


_BY_SUFFIX = {
    "": Format.MARKDOWN,
    ".md": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".tex": Format.LATEX,
    ".csv": Format.CSV,
    ".json": Format.JSON,
}


def format_of(output: Path | None) -> Format:
    """Return the format for a file of this name; Markdown for standard output. Raises XevalError for other names."""
    suffix = output.suffix.lower() if output else ""
    if suffix not in _BY_SUFFIX:
        known = ", ".join(filter(None, _BY_SUFFIX))
        raise XevalError(f"{output}: wanted a name that ends in {known}, got {suffix!r}; or add --format")
    return _BY_SUFFIX[suffix]


def render_as(chosen: Format, matrix: Matrix, task: Task | None, footprint: Footprint) -> str:
    """Render the whole report. `task` is the definition of the matrix's task, if known."""
    match chosen:
        case Format.HTML:
            from xeval.report.page import html  # numpy, pyarrow and jinja2

            return html.render(matrix)
        case Format.LATEX:
            return latex.render(matrix)
        case Format.CSV:
            return csv.render(matrix)
        case Format.JSON:
            return json.render(matrix)
        case Format.MODEL_CARD:
            return model_card.render(matrix, task, footprint)
        case Format.EVAL_RESULTS:
            return model_card.render_eval_results(matrix, task)
    return markdown.render(matrix)
