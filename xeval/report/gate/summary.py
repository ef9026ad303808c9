"""The gate's outcome → Markdown, as the summary of a CI step."""

from xeval.judging.gate.findings import Outcome
from xeval.report.formats.markdown import escape
from xeval.report.gate.text import COLUMNS, by_configuration, cells, headline
from xeval.report.pipe_table import pipe_table


def render(outcome: Outcome) -> str:
    """Render headline and failures first, since a long summary is cut at its end, then every number and the notes."""
    mark = "✅" if outcome.passed else "❌"
    blocks = [f"### {mark} xeval check", escape(headline(outcome))]
    if outcome.failures:
        blocks.append("\n".join(f"- {escape(finding.sentence)}" for finding in outcome.failures))
    for name, findings in by_configuration(outcome.findings).items():
        rows = [[escape(cell) for cell in cells(finding)] for finding in findings if finding.kind != "note"]
        alignment = ["left", "right", "right", "right", "right", "left"]
        table = pipe_table(rows, COLUMNS, alignment)
        notes = "".join(f"\n- {escape(finding.sentence)}" for finding in findings if finding.kind == "note")
        blocks.append(f"#### {escape(name)}\n\n{table}" + (f"\n{notes}" if notes else ""))
    return "\n\n".join(blocks) + "\n"
