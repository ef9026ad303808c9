"""Matrix → Markdown that renders on the usual hosts and has an aligned source."""

import re

from xeval.judging.verdict import RowVerdict
from xeval.kinds.exhibit import Exhibit
from xeval.report import exhibits, in_short, matrix_table, transfer, verdicts, worst
from xeval.report.in_short import InShort
from xeval.report.matrix import Matrix
from xeval.report.pipe_table import pipe_table
from xeval.support.text import capitalised, one_line


def render(matrix: Matrix) -> str:
    """Render the whole report. Numbers are percentages; a dash means that there is no number, never zero."""
    names = [escape(row.name) if row.published else f"**{escape(row.name)}**" for row in matrix.rows]
    header, *body = matrix_table.lines(matrix, names, escape)
    numbers = pipe_table(body, header, ["left"] + ["right"] * (len(header) - 1))
    notes = [f"{capitalised(matrix.metric_in_words)} in %, {matrix.how}. {matrix.about_gap}".rstrip(), *matrix.footer]
    below = "\n".join(f"- {escape(note)}" for note in notes)
    short, findings = _in_short(matrix), findings_section(matrix)
    sections = _verdicts(matrix.verdicts) + _claims(matrix) + _transfer(matrix) + _exhibits(matrix)
    section = f"## {escape(capitalised(matrix.metric_in_words))}\n\n{numbers}\n\n{below}\n"
    return f"# {escape(matrix.title)}\n\n{short}{findings}\n{section}{sections}"


def _in_short(matrix: Matrix) -> str:
    """Return a line for each model, a line if the diagnosis found nothing, and when and how the report was made."""
    lines = [_line(entry, has_gap=bool(matrix.about_gap)) for entry in in_short.of(matrix)]
    lines += [f"{matrix.checked}."] if matrix.checked else []
    lines += [f"Made on {matrix.made}"] if matrix.made else []
    return "".join(f"- {line}\n" for line in lines)


def _line(entry: InShort, has_gap: bool) -> str:
    how, published = f" ({entry.how})" if entry.how else "", f", published {entry.published}" if entry.mark else ""
    by_language = f" {entry.by_language}." if entry.by_language else ""
    gap = f", gap {entry.gap}" if has_gap else ""
    text = f"{entry.mean} {entry.mark}".rstrip() + f"{published}{gap}.{by_language} {worst.of(entry.row)}"
    return f"**{escape(entry.name + how)}**: {escape(text)}"


def findings_section(matrix: Matrix) -> str:
    """Return the section with the findings of the diagnosis, or "" if there are none."""
    lines = [f"- {escape(finding.line)}" for finding in matrix.findings]
    return "\n".join(["", "## Findings", "", *lines, ""]) if lines else ""


def _verdicts(row_verdicts: list[RowVerdict]) -> str:
    """Return the section with the legend and, folded, every verdict's sentence, or "" if there is no verdict."""
    if not row_verdicts:
        return ""
    blocks = [f"- {escape(line)}" for verdict in row_verdicts for line in verdicts.sentences(verdict, row_verdicts)]
    folded = "<details>\n<summary>Every verdict in a sentence</summary>\n\n" + "\n".join(blocks) + "\n\n</details>\n"
    return f"\n## Reproduced?\n\n{escape(verdicts.legend(row_verdicts))}\n\n{folded}"


def _claims(matrix: Matrix) -> str:
    """Return the section on other claims in the published table's source, or "" if there are none."""
    lines = [f"- {escape(claim.sentence)}" for claim in matrix.claims]
    return "\n## Other claims of the source\n\n" + "\n".join(lines) + "\n" if lines else ""


def _transfer(matrix: Matrix) -> str:
    """Return the section with source × target, if models were trained on several languages, else ""."""
    tables = [f"**{escape(exhibit.title)}**\n\n{_table(exhibit)}\n" for exhibit in transfer.of(matrix)]
    return "\n## Transfer between languages\n\n" + "\n".join(tables) if tables else ""


def _exhibits(matrix: Matrix) -> str:
    """Return a section with the exhibits of each row of ours, or "" for a kind of task without exhibits."""
    sections = []
    for row in matrix.ours:
        tables = [
            f"**{escape(exhibit.title)}**\n\n{_table(exhibit)}\n" for exhibit in exhibits.of(row, matrix.languages)
        ]
        sections += [f"\n## Answers: {escape(row.name)}\n\n" + "\n".join(tables)] if tables else []
    return "".join(sections)


def _table(exhibit: Exhibit) -> str:
    body = [[escape(exhibits.in_words(cell)) for cell in line] for line in exhibit.rows]
    alignment = ["left" if is_text else "right" for is_text in exhibit.is_text]
    header = [escape(name) for name in exhibit.header]
    return pipe_table(body, header, alignment)


def escape(text: str) -> str:
    """Escape text for Markdown: the result is one line without markup. An underscore inside a word is no markup."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", text)
    return re.sub(r"^(\d*)(?=[-+#=]|[.)](?:\s|$))", r"\1\\", text)  # at the start of a line: headings, lists, rules
