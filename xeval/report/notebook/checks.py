"""The results of `check` and `diagnose` for programs and notebooks. Nothing slow is imported."""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from xeval.judging.gate.findings import GateFinding, Numbers, Outcome
from xeval.report.formats.markdown import escape
from xeval.report.gate import summary
from xeval.report.gate.text import headline
from xeval.report.page.plain import fragment
from xeval.support.findings import Finding

if TYPE_CHECKING:
    import pandas as pd


class Checked(Outcome):
    """The outcome of the gate. A notebook shows it like the summary of a CI step; `frame` has a row per finding."""

    def frame(self) -> "pd.DataFrame":
        """Return a row per finding with whether it fails and its numbers, if it has some, in their `unit`."""
        import pandas as pd  # takes half a second

        rows = [asdict(finding) | {"fails": finding.fails} for finding in self.findings]
        of_each = [each.name for each in fields(GateFinding) if each.name != "numbers"]
        columns = [*of_each, "fails", *(each.name for each in fields(Numbers))]
        return pd.DataFrame([row | (row.pop("numbers") or {}) for row in rows], columns=columns)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {headline(self)}>"

    def _repr_markdown_(self) -> str:
        return summary.render(self)


class Findings(list[Finding]):
    """What is wrong with runs, errors first for each task. A notebook shows a line for each finding."""

    def frame(self) -> "pd.DataFrame":
        """Return a frame with one row per finding."""
        import pandas as pd  # takes half a second

        return pd.DataFrame([finding.model_dump() for finding in self], columns=list(Finding.model_fields))

    def _repr_markdown_(self) -> str:
        return "\n".join(f"- {escape(finding.line)}" for finding in self) or "✓ Nothing wrong was found."

    def _repr_html_(self) -> str:
        lines = [finding.line for finding in self] or ["✓ Nothing wrong was found."]
        return fragment(lines)
