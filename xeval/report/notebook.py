"""What `rank`, `compare`, `check` and `diagnose` give to programs: their results, which a notebook shows as tables."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from xeval.judging.comparison.compare import RunComparison
from xeval.judging.comparison.ranking import Ranking
from xeval.judging.gate.findings import Outcome
from xeval.report.comparison import ranking as of_ranking
from xeval.report.comparison import runs as of_runs
from xeval.report.formats.markdown import escape
from xeval.report.gate import summary
from xeval.report.gate.text import headline
from xeval.report.page.plain import fragment
from xeval.support.findings import Finding

if TYPE_CHECKING:
    import pandas as pd


class RankedModels(Ranking):
    """A ranking. A notebook shows its table, and `frame` has a row for each model, the best first."""

    def frame(self) -> "pd.DataFrame":
        """What `xeval rank --format csv` writes; scores, differences and deviations are fractions."""
        import pandas as pd  # half a second

        return pd.DataFrame(of_ranking.lines(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.conclusion}>"

    def _repr_markdown_(self) -> str:
        return of_ranking.markdown(self)

    def _repr_html_(self) -> str:
        return of_runs.html_parts(of_ranking.parts(self))


class Comparison(RunComparison):
    """A comparison of two sides. A notebook shows its table, and `frame` has a row for each language."""

    def frame(self) -> "pd.DataFrame":
        """Values, differences and bounds, as fractions, with the p values and the side that is better."""
        import pandas as pd  # half a second

        return pd.DataFrame(of_runs.lines(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.conclusion}>"

    def _repr_markdown_(self) -> str:
        return of_runs.markdown(self, None)

    def _repr_html_(self) -> str:
        return of_runs.html_parts(of_runs.parts(self))


class Checked(Outcome):
    """What the gate found. A notebook shows it as the summary of a CI step does, and `frame` has a row per finding."""

    def frame(self) -> "pd.DataFrame":
        """Each finding with its numbers, where it has some, and whether it fails."""
        import pandas as pd  # half a second

        rows = [asdict(finding) | {"fails": finding.fails} for finding in self.findings]
        return pd.DataFrame([row | (row.pop("numbers") or {}) for row in rows])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {headline(self)}>"

    def _repr_markdown_(self) -> str:
        return summary.render(self)


class Findings(list[Finding]):
    """What is wrong with runs, errors first. A notebook shows a line for each."""

    def frame(self) -> "pd.DataFrame":
        """One row per finding."""
        import pandas as pd  # half a second

        return pd.DataFrame([finding.model_dump() for finding in self], columns=list(Finding.model_fields))

    def _repr_markdown_(self) -> str:
        return "\n".join(f"- {escape(finding.line)}" for finding in self) or "✓ Nothing wrong was found."

    def _repr_html_(self) -> str:
        lines = [finding.line for finding in self] or ["✓ Nothing wrong was found."]
        return fragment(lines)
