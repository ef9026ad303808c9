"""Matrix → a matplotlib figure for notebooks and papers: ours minus published, with intervals and tolerance.

If nothing published can be compared with a model, its scores are plotted. Each outcome has its own marker, as on the
page.
"""

from typing import TYPE_CHECKING, Any

from xeval.definitions.languages import names_of
from xeval.judging.verdict import RowVerdict
from xeval.report.matrix import Matrix, Row
from xeval.support.errors import XevalError
from xeval.support.text import capitalised, one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, LINE_HEIGHT, MARGIN = 7.0, 0.26, 1.2  # inches
# Shapes, and colours that people with colour-vision deficiencies can tell apart (https://jfly.uni-koeln.de/color/).
_STYLES = {
    "reproduced": ("#009E73", "o"),
    "not reproduced": ("#D55E00", "X"),
    "agrees": ("#0072B2", "o"),
    "leans low": ("#B07D00", "<"),
    "leans high": ("#B07D00", ">"),
}


def draw(matrix: Matrix) -> "Figure":
    """Draw a plot for each row of ours. Raises XevalError if matplotlib is not installed."""
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise XevalError("plots need matplotlib, which is not installed: pip install matplotlib") from error
    rows = matrix.ours
    heights = [LINE_HEIGHT * max(len(row.cells), 2) + MARGIN for row in rows]
    figure: Figure
    figure, axes = pyplot.subplots(
        len(rows),
        figsize=(WIDTH, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for row, axis in zip(rows, axes[:, 0], strict=True):
        axis.set_title(one_line(row.name), loc="left", parse_math=False)
        if row.verdict is not None and any(cell.comparison for cell in row.verdict.cells.values()):
            _differences(axis, row.verdict)
        else:
            _scores(axis, row, matrix)
    pyplot.close(figure)  # a notebook would show it twice
    return figure


def _differences(axis: Any, verdict: RowVerdict) -> None:
    """Draw a line for each language, from the furthest below published to the furthest above."""
    compared = [(what, cell, cell.comparison) for what, cell in verdict.cells.items() if cell.comparison is not None]
    compared.sort(key=lambda item: item[2].difference)
    axis.axvspan(-verdict.tolerance.cell, verdict.tolerance.cell, color="0.9", zorder=0)
    axis.axvline(0, color="0.4", linestyle=":", linewidth=1)
    for place, (_, cell, comparison) in enumerate(compared):
        colour, marker = _STYLES[cell.outcome]
        face = "white" if cell.outcome == "agrees" else colour
        axis.hlines(place, comparison.low, comparison.high, color=colour)
        axis.plot(comparison.difference, place, marker, color=colour, markerfacecolor=face)
    names = names_of([what for what, _, _ in compared])
    axis.set_yticks(range(len(compared)), [*names.values()], parse_math=False)
    axis.invert_yaxis()
    axis.set_xlabel(f"ours minus published, points (90 % interval; band: ±{verdict.tolerance.cell})")


def _scores(axis: Any, row: Row, matrix: Matrix) -> None:
    """Draw a dot for each language and each of its seeds: the training language first, then by transfer."""
    languages = [language for language in matrix.by_transfer if language in row.cells]
    for place, language in enumerate(languages):
        seeds = [100 * run.record.scores[language].value for run in row.runs if language in run.record.scores]
        axis.plot(seeds, [place] * len(seeds), "o", color="0.6", markersize=4)
        axis.plot(row.cells[language], place, "o", color="#0072B2")
    axis.set_yticks(range(len(languages)), [*names_of(languages).values()], parse_math=False)
    axis.invert_yaxis()
    axis.set_xlabel(f"{capitalised(matrix.metric_in_words)} in %")
