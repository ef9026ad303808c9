"""A row of ours → the page's section on this model: numbers by language, and drawings."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xeval.definitions.languages import describe, names_of
from xeval.kinds.exhibit import LANGUAGE, Exhibit
from xeval.kinds.exhibit import Cell as ExhibitCell
from xeval.kinds.registry import unit_of
from xeval.report import evidence, exhibits, worst
from xeval.report.evidence import Evidence
from xeval.report.matrix import Matrix, Row
from xeval.report.page import charts
from xeval.report.page.heat import LEVELS, Cell, Line, language_line
from xeval.results.records import RunRecord, Score
from xeval.support.language_codes import tag_of
from xeval.support.text import one_decimal

HEADER = ("SD of seeds", "pieces per word", "truncated", "unknown pieces", "confidence", "ECE")
OF_LOGITS = 2  # the last columns need logits


@dataclass(frozen=True)
class Confusion:
    title: str
    labels: list[str]
    rows: list[list[Cell]]  # by gold label: the share of its rows for which each label was predicted


@dataclass(frozen=True)
class ShownExhibit:
    title: str
    header: tuple[str, ...]
    is_text: list[bool]  # by column
    lines: list[Line]


@dataclass(frozen=True)
class ModelSection:
    name: str
    how: str  # how the numbers by language were made
    home: str  # the language trained on, in words
    unit: str  # what rows are called
    header: tuple[str, ...]
    by_language: list[Line]
    dots: charts.Dots | None
    reliability: list[tuple[str, charts.Reliability, float]]  # title, drawing, expected calibration error
    confusions: list[Confusion]  # the first two: the training language, and all others together
    loss: charts.Curves | None
    selection: charts.Curves | None
    exhibits: list[ShownExhibit]
    problems: list[str]  # with predictions that could not be read
    worst: str  # the worst language, and why


def build(row: Row, matrix: Matrix) -> ModelSection:
    of_seeds, problems = evidence.load(row)
    if problems:  # all or nothing: half of the seeds would look like all of them
        of_seeds = {}
    by_language = {language: evidence.together(seeds) for language, seeds in of_seeds.items()}
    home = matrix.home_of(row)
    two = _training_language_and_others(of_seeds, home)
    languages = sorted(row.cells, key=lambda language: -row.cells[language])
    published = row.beside.cells if row.beside else {}
    records = [run.record for run in row.runs]
    has_logits = bool(by_language or problems)  # it is the same for all runs of a kind of task
    lines = [_line(name, row, records, by_language.get(name)) for name in matrix.by_transfer if name in row.cells]
    names = names_of(languages)
    dots = [(names[language], _by_seed(records, language), published.get(language)) for language in languages]
    return ModelSection(
        name=row.name,
        how=f"mean of the seeds ({row.seeds})" if records[0].has_seed else "without training",
        home=describe(home).name,
        unit=unit_of(records[0].kind),
        header=(matrix.metric_in_words, *(HEADER if has_logits else HEADER[:-OF_LOGITS])),
        by_language=[replace(line, cells=line.cells if has_logits else line.cells[:-OF_LOGITS]) for line in lines],
        dots=charts.dots(dots) if records[0].has_seed else None,
        reliability=[
            (title, charts.reliability_diagram(own.bins), own.calibration_error) for title, own in two.items()
        ],
        confusions=[
            _confusion(title, own, records[0].labels) for title, own in (two | _named(by_language, languages)).items()
        ],
        loss=charts.curves(
            [(f"seed {record.seed}", record.training.loss_curve) for record in records if record.training]
        ),
        selection=charts.curves([(f"seed {record.seed}", _selection(record)) for record in records if record.training]),
        exhibits=[shown(exhibit) for exhibit in exhibits.of(row, matrix.languages)],
        problems=problems,
        worst=worst.of(
            row, {language: own.confusion for language, own in by_language.items()} if by_language else None
        ),
    )


def shown(exhibit: Exhibit) -> ShownExhibit:
    """Convert an exhibit into a table of the page."""
    is_of_languages, is_text = exhibit.header[0] == LANGUAGE, exhibit.is_text
    lines = []
    for first, *rest in exhibit.rows:
        name, code = exhibits.in_words(first), ""
        if is_of_languages:
            name, code = describe(name).name, name
        tags = [tag_of(code) if column in exhibit.quotes else "" for column in exhibit.header[1:]]
        cells = zip(rest, is_text[1:], tags, strict=True)
        lines.append(Line(name, (code,), [_exhibit_cell(cell, of_texts, tag) for cell, of_texts, tag in cells]))
    return ShownExhibit(exhibit.title, exhibit.header, is_text, lines)


def _exhibit_cell(cell: ExhibitCell, of_texts: bool, tag: str) -> Cell:
    """Convert a cell of a column of texts, or of one of numbers, in which a dash may stand for a missing one."""
    if isinstance(cell, str):
        return Cell(cell, colour="words", language=tag) if of_texts else Cell(cell)
    return Cell(exhibits.in_words(cell), float(cell))


def _training_language_and_others(
    of_seeds: Mapping[str, list[Evidence]], training_language: str
) -> dict[str, Evidence]:
    training = of_seeds.get(training_language, [])
    others = [seed for language, seeds in of_seeds.items() if language != training_language for seed in seeds]
    two = {describe(training_language).name: training, "Other languages together": others}
    return {title: evidence.together(parts) for title, parts in two.items() if parts}


def _named(by_language: Mapping[str, Evidence], languages: Sequence[str]) -> dict[str, Evidence]:
    return {name: by_language[language] for language, name in names_of(languages).items() if language in by_language}


def _by_seed(records: Sequence[RunRecord], language: str) -> dict[int, float]:
    return {record.seed: 100 * record.scores[language].value for record in records if language in record.scores}


def _selection(record: RunRecord) -> list[tuple[float, float]]:
    curve = record.training.selection_curve if record.training else []
    return [(point.step, 100 * point.value) for point in curve]


def _line(language: str, row: Row, records: Sequence[RunRecord], own: Evidence | None) -> Line:
    scores = [record.scores[language] for record in records if language in record.scores]
    seeds = [100 * score.value for score in scores]
    cells = [
        _cell(row.cells[language], one_decimal),
        _cell(statistics.stdev(seeds) if len(seeds) > 1 else None, "{:.2f}".format),
        _cell(_mean(scores, "pieces_per_word"), "{:.2f}".format),
        _cell(_mean(scores, "truncated_share"), exhibits.in_words),
        _cell(_mean(scores, "unknown_piece_share"), exhibits.in_words),
        _cell(own.confidence if own else None, "{:.2f}".format),
        _cell(own.calibration_error if own else None, "{:.3f}".format),
    ]
    return language_line(language, cells)


def _cell(value: float | None, in_words: Callable[[float], str]) -> Cell:
    return Cell("–") if value is None else Cell(in_words(value), value)


def _mean(scores: Sequence[Score], name: str) -> float | None:
    values: list[Any] = [getattr(score.tokenization, name, None) for score in scores]
    return None if None in values else statistics.fmean(values)


def _confusion(title: str, own: Evidence, names: Sequence[str] | None) -> Confusion:
    n_labels = len(own.confusion)
    labels = list(names) if names and len(names) == n_labels else [f"label {index}" for index in range(n_labels)]
    rows = []
    for counts in own.confusion.tolist():
        n = sum(counts)
        shares = [count / n if n else 0.0 for count in counts]
        rows.append(
            [
                Cell(f"{share:.0%}".replace("%", " %") if n else "–", share, f"heat-{round(LEVELS * share)}")
                for share in shares
            ]
        )
    return Confusion(title, labels, rows)
