"""The results of `rank` and `compare` for programs. Notebooks show them as tables."""

from typing import TYPE_CHECKING

from xeval.judging.comparison.compare import RunComparison
from xeval.judging.comparison.ranking import Ranking
from xeval.report.comparison import ranking as of_ranking
from xeval.report.comparison import runs as of_runs
from xeval.report.comparison.parts import html_parts

if TYPE_CHECKING:
    import pandas as pd


class RankedModels(Ranking):
    """A ranking. A notebook shows its table, and `frame` has a row for each model, the best first."""

    def frame(self) -> "pd.DataFrame":
        """Return what `xeval rank --format csv` writes. Scores, differences and deviations are fractions."""
        import pandas as pd  # takes half a second

        return pd.DataFrame(of_ranking.lines(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.conclusion}>"

    def _repr_markdown_(self) -> str:
        return of_ranking.markdown(self)

    def _repr_html_(self) -> str:
        return html_parts(of_ranking.parts(self))


class Comparison(RunComparison):
    """A comparison of two sides. A notebook shows its table, and `frame` has a row for each language."""

    def frame(self) -> "pd.DataFrame":
        """Return values, differences and bounds as fractions, with the p values and the better side."""
        import pandas as pd  # takes half a second

        return pd.DataFrame(of_runs.lines(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.conclusion}>"

    def _repr_markdown_(self) -> str:
        return of_runs.markdown(self, None)

    def _repr_html_(self) -> str:
        return html_parts(of_runs.parts(self))
