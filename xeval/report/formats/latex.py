r"""Matrix → a LaTeX table to \input into a paper: booktabs, with the verdicts' marks, and footnotes below."""

import re

from xeval.report import verdicts
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


def render(matrix: Matrix) -> str:
    """Render one table* float, never wider than the page. Scores are percentages."""
    header = verdicts.header(matrix)
    lines = [
        "% Needs amssymb, booktabs and graphicx. Written by xeval report --format latex.",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape(matrix.title)}: {escape(matrix.metric_in_words)} in \%, {escape(matrix.how)}.}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * len(header)}}}",
        r"\toprule",
        _line("", header),
        r"\midrule",
        *(_line(row.name, verdicts.cells(row, matrix), bold=not row.published) for row in matrix.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize\raggedright",
        *(rf"{escape(note)}\par" for note in _notes(matrix)),
        r"\end{minipage}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _line(name: str, cells: list[str], bold: bool = False) -> str:
    # In braces, since LaTeX reads a * or [ at the start of a line as part of the \\ before it.
    first = (r"\textbf" if bold else "") + f"{{{escape(name)}}}"
    return " & ".join([first, *map(escape, cells)]) + r" \\"


def _notes(matrix: Matrix) -> list[str]:
    row_verdicts = matrix.verdicts
    sentences = [line for verdict in row_verdicts for line in verdicts.headlines(verdict, row_verdicts)]
    findings = [f"{finding.severity.capitalize()}: {finding.sentence}" for finding in matrix.findings]
    gap = [capitalised(matrix.about_gap)] if matrix.about_gap else []
    return [*findings, *gap, *matrix.footer, *([verdicts.legend(row_verdicts)] if row_verdicts else []), *sentences]


def escape(text: str) -> str:
    """Escape text for LaTeX: the result is one line without commands of its own."""
    written = "".join(_character(character) for character in one_line(text))
    return re.sub(r"-(?=-)", "-{}", written)  # else LaTeX would print -- as a dash


def _character(character: str) -> str:
    if character in _WRITTEN:
        return _WRITTEN[character]
    return character if character.isascii() or character in _GLYPHS else f"[U+{ord(character):04X}]"
