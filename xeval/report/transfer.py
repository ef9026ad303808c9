"""Models trained on each of several languages: source × target, and how the two directions of a pair differ."""

from collections.abc import Sequence
from itertools import combinations

from xeval.kinds.exhibit import LANGUAGE, Cell, Exhibit
from xeval.report import matrix_table
from xeval.report.matrix import Matrix, Row
from xeval.results.configurations import in_words
from xeval.support.text import one_decimal, printed_difference, signed

MOST_PAIRS = 15


def of(matrix: Matrix) -> list[Exhibit]:
    """Return two tables for each model and recipe with training runs on several languages.

    One has a line for each training language, or a column if many languages were tested. The other lists the pairs of
    languages whose directions differ most. Training languages whose data are machine translations are marked.
    """
    sources: dict[str, dict[str, Row]] = {}
    for row in matrix.ours:
        record = row.runs[0].record
        if not record.is_as_it_was and not record.computed_elsewhere:
            recipe = in_words(record.recipe.name, record.recipe.overrides, record.limits.model_dump())
            sources.setdefault(f"{record.model.id}, {recipe}", {}).setdefault(record.training_language, row)
    exhibits = []
    for name, of_model in sources.items():
        if len(of_model) > 1:
            exhibits += [_matrix(name, of_model, matrix.languages), _asymmetry(name, of_model)]
    return [exhibit for exhibit in exhibits if exhibit.rows]


def _matrix(name: str, sources: dict[str, Row], languages: Sequence[str]) -> Exhibit:
    shown = [language for language in languages if any(language in row.cells for row in sources.values())]
    lines: list[tuple[Cell, ...]] = [
        (_source(language, row), *(_share(row, target) for target in shown)) for language, row in sources.items()
    ]
    if not matrix_table.are_too_many(shown, len(sources)):
        return Exhibit(f"{name}: trained on (line), tested in (column)", ("trained on", *shown), lines)
    header = (LANGUAGE, *(str(line[0]) for line in lines))
    turned = list(zip(shown, *(line[1:] for line in lines), strict=True))
    return Exhibit(f"{name}: trained on (column), tested in (line)", header, turned)


def _asymmetry(name: str, sources: dict[str, Row]) -> Exhibit:
    """Return the points lost in b by training on a instead, and in a by training on b instead.

    Each loss is within one language, so a hard test set is not mistaken for poor transfer.
    """
    lost = []
    for a, b in combinations(sources, 2):
        if {a, b} <= sources[a].cells.keys() & sources[b].cells.keys():
            there = printed_difference(sources[b].cells[b], sources[a].cells[b])
            back = printed_difference(sources[a].cells[a], sources[b].cells[a])
            lost.append((a, b, there, back))
    lost.sort(key=lambda pair: -abs(pair[2] - pair[3]))
    lines: list[tuple[Cell, ...]] = [
        (f"{a} → {b}", one_decimal(there), one_decimal(back), signed(printed_difference(there, back)))
        for a, b, there, back in lost[:MOST_PAIRS]
    ]
    title = f"{name}: points lost in a language by training on another instead"
    return Exhibit(title, ("pair", "there", "and back", "asymmetry"), lines)


def _source(language: str, row: Row) -> str:
    return f"{language} (translate-train)" if row.runs[0].record.is_translate_train else language


def _share(row: Row, language: str) -> Cell:
    return row.cells[language] / 100 if language in row.cells else "–"
