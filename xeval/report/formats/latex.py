r"""Matrix → a LaTeX table to \input into a paper: booktabs, with the verdicts' marks, and footnotes below."""

import math
import re
import textwrap
from collections.abc import Sequence
from typing import TypeVar

from xeval.report import matrix_table, verdicts
from xeval.report.matrix import Matrix
from xeval.support.text import capitalised, one_line

_WRITTEN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"{\char34}",  # babel makes it active in some languages
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "·": r"\textperiodcentered{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "✓": r"$\checkmark$",
    "≈": r"$\approx$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "✗": r"$\times$",
}
# pdflatex stops at a character without a glyph, so characters that are not listed are written as their code points.
_GLYPHS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ")


Item = TypeVar("Item")
_MOST_LINES = 36  # of 9.5 points: with heads and a caption they fit the smallest page that article has
_MOST_CHARACTERS = 125  # of 8 points on a line of 5 inches, if they are shrunk to four fifths
_MOST_IN_NOTES = 3000  # characters below a table: two thirds of article's page
_HEAD = 24  # characters in a line of a head that is turned upright


def render(matrix: Matrix) -> str:
    """Render a table* float, or several if languages are lines, never wider than the page. Scores are percentages."""
    comment = "% Needs amssymb, booktabs and graphicx. Written by xeval report --format latex."
    caption = rf"\caption{{{escape(matrix.title)}: {escape(matrix.metric_in_words)} in \%, {escape(matrix.how)}.}}"
    notes = [rf"{escape(note)}\par" for note in _notes(matrix)]
    floats = _several if matrix_table.has_language_lines(matrix) else _one
    lines = floats(matrix, caption, notes)
    return "\n".join([comment, *lines]) + "\n"


def _one(matrix: Matrix, caption: str, notes: Sequence[str]) -> list[str]:
    """Return a float with a line for each row, and the notes in it, or as text after it if they could fill its page."""
    names = [_name(row.name, bold=not row.published) for row in matrix.rows]
    header, *body = matrix_table.lines(matrix, names, escape)
    tabular = _tabular(header, [_line([name, *map(escape, cells)]) for name, *cells in body])
    if sum(map(len, notes)) > _MOST_IN_NOTES:
        return [*_float([caption, *_fitted(tabular)]), *_as_text(notes)]
    inside = [r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize\raggedright", *notes, r"\end{minipage}"]
    return _float([caption, *_fitted(tabular), *inside])


def _several(matrix: Matrix, caption: str, notes: Sequence[str]) -> list[str]:
    """Return floats with a line for each language, in parts side by side, and the notes as text after them.

    A longtable would need no parts, but LaTeX refuses one where the text has two columns.
    """
    heads = [_upright(row.name, bold=not row.published) for row in matrix.rows]
    header, *body = matrix_table.lines(matrix, heads, str)
    lines = [_line([_name(label), *map(escape, cells)]) for label, *cells in body]
    lines.insert(len(matrix.languages), r"\midrule")
    parts = [_tabular(header, part, "[t]") for part in _even(lines, _MOST_LINES)]
    width = sum(max(map(len, column)) + 2 for column in matrix_table.turned(body))
    written, title = list[str](), caption
    for first, *others in _even(parts, max(1, _MOST_CHARACTERS // width)):
        beside = [*first, *(line for part in others for line in (r"\qquad", *part))]
        written += _float([title, r"\fontsize{8}{9.5}\selectfont\setlength{\tabcolsep}{4pt}", *_fitted(beside)])
        title = r"Table \thetable{} (continued)\par\smallskip"
    return [*written, *_as_text(notes)]


def _as_text(notes: Sequence[str]) -> list[str]:
    """Return notes that may go on to another page, which those in a float cannot."""
    return [r"{\par\footnotesize\raggedright Notes on Table \thetable:\par", *notes, "}"]


def _even(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """Split `items` into as few parts of at most `most` as possible, about as long as each other."""
    size = math.ceil(len(items) / math.ceil(len(items) / most))
    return [items[start : start + size] for start in range(0, len(items), size)]


def _float(lines: Sequence[str]) -> list[str]:
    return [r"\begin{table*}", r"\centering", *lines, r"\end{table*}"]


def _fitted(lines: Sequence[str]) -> list[str]:
    """Return what shrinks `lines` to the width of the page if they are wider."""
    return [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", *lines[:-1], f"{lines[-1]}}}"]


def _tabular(header: Sequence[str], lines: Sequence[str], position: str = "") -> list[str]:
    columns = "l" + "r" * (len(header) - 1)
    start = [rf"\begin{{tabular}}{position}{{{columns}}}", r"\toprule", _line(["{}", *header[1:]]), r"\midrule"]
    return [*start, *lines, r"\bottomrule", r"\end{tabular}"]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _name(name: str, bold: bool = False) -> str:
    # In braces, since LaTeX reads a * or [ at the start of a line as part of the \\ before it.
    return (r"\textbf" if bold else "") + f"{{{escape(name)}}}"


def _upright(name: str, bold: bool) -> str:
    """Return a head that is read from below, so that it is as narrow as the numbers under it."""
    lines = [_name(line, bold) for line in textwrap.wrap(one_line(name), _HEAD, break_long_words=False)]
    return r"\rotatebox{90}{\shortstack[l]{" + r"\\".join(lines) + "}}"


def _notes(matrix: Matrix) -> list[str]:
    findings = [f"{finding.severity.capitalize()}: {finding.sentence}" for finding in matrix.findings]
    gap = [capitalised(matrix.about_gap)] if matrix.about_gap else []
    return [*findings, *gap, *matrix.footer, *verdicts.notes(matrix.verdicts)]


def escape(text: str) -> str:
    """Escape text for LaTeX: the result is one line without commands of its own."""
    written = "".join(_character(character) for character in one_line(text))
    return re.sub(r"-(?=-)", "-{}", written)  # else LaTeX would print -- as a dash


def _character(character: str) -> str:
    if character in _WRITTEN:
        return _WRITTEN[character]
    return character if character.isascii() or character in _GLYPHS else f"[U+{ord(character):04X}]"
