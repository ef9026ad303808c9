"""Matrix → the evaluation part of a model card: metadata for the hub, results, and the cost of the runs.

The results are laid out as on the DistilmBERT card, with a row per model and a column per language. The metadata are
made by huggingface_hub's own classes, which are imported only when a card is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xeval.definitions.languages import names_of
from xeval.definitions.task import Task
from xeval.kinds.registry import get_kind
from xeval.report import matrix_table, verdicts
from xeval.report.formats.markdown import escape, findings_section
from xeval.report.matrix import Matrix, Row
from xeval.report.pipe_table import pipe_table
from xeval.results.adaptations import settings_of
from xeval.results.configurations import sweep_of
from xeval.results.records import NO_TRAINING, RunRecord
from xeval.support.errors import XevalError
from xeval.support.text import capitalised, one_line, seeds_in_words


@dataclass(frozen=True)
class Footprint:
    """Figures about the machine that xeval does not measure, given by the user."""

    watts: float | None = None  # average power of the whole machine under load
    grams_per_kwh: float | None = None  # CO2 equivalent of the machine's power grid


def render(matrix: Matrix, task: Task | None, footprint: Footprint) -> str:
    """Render the card of the one model in `matrix`. Metrics are fractions in the metadata, percentages in the table."""
    return f"---\n{metadata(matrix, task)}\n---\n\n{evaluation(matrix)}\n{_environment(matrix.ours, footprint)}"


def metadata(matrix: Matrix, task: Task | None, source: str | None = None) -> str:
    """Return the card's metadata as YAML, with the results in `model-index`. `source` is the URL of their records."""
    from huggingface_hub import EvalResult, ModelCardData

    model = _only_model(matrix)
    pipeline, in_words = _kind_of_task(matrix)
    results = [
        EvalResult(
            task_type=pipeline,
            task_name=f"Cross-lingual {in_words}" if _as_it_is(row) else f"Zero-shot cross-lingual {in_words}",
            dataset_type=task.hub.id if task and task.hub else one_line(matrix.task),
            dataset_name=one_line(matrix.title),
            dataset_split=task.splits.test if task and matrix.split == "test" else matrix.split,
            dataset_config=task.configuration(language) if task else one_line(language),
            dataset_revision=_revision(row),
            metric_type=matrix.metric,
            metric_value=round(row.cells[language] / 100, 4),
            metric_name=f"{matrix.metric_in_words} ({how})",
            source_name=source and "records of the runs, by xeval",
            source_url=source,
        )
        for row, language, how in _cells(matrix)
    ]
    card = ModelCardData(model_name=one_line(model), eval_results=results or None, metrics=[matrix.metric])
    return card.to_yaml()


def render_eval_results(matrix: Matrix, task: Task | None, source: str | None = None) -> str:
    """Render the entries for a file in the `.eval_results` folder of a model on the hub. Values are fractions.

    https://huggingface.co/docs/hub/eval-results describes the format. Raises XevalError for what no leaderboard takes:
    other splits, tasks without a data set on the hub, and only runs on part of the rows.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    _only_model(matrix)
    if matrix.split != "test":
        raise XevalError(f"task {matrix.task}: eval-results are for test splits, and these runs are on {matrix.split}")
    if task is None or task.hub is None:
        raise XevalError(f"task {matrix.task}: eval-results name a data set on the hub, and this task has none")
    partial = _partial(matrix)
    if len(partial) == len(matrix.ours):
        raise XevalError(
            f"task {matrix.task}: eval-results are for runs on all rows, and {next(iter(partial))} is not one:"
            f" {next(iter(partial.values()))}; run it on the whole data without limits"
        )
    entries = [
        EvalResultEntry(
            dataset_id=task.hub.id,
            task_id=task.configuration(language),
            dataset_revision=_revision(row),
            value=round(row.cells[language] / 100, 4),
            date=max(place.started_at for run in row.runs for place in run.record.environments),
            notes=f"{_zero_shot(row, matrix)}{how}, evaluated by xeval",
            source_url=source,
        )
        for row, language, how in _cells(matrix)
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)


def _kind_of_task(matrix: Matrix) -> tuple[str, str]:
    """Return the name of this kind of task on the hub, and its name in words."""
    name = matrix.ours[0].runs[0].record.kind
    try:
        kind = get_kind(name)
    except XevalError:  # its package is not installed here
        return "other", one_line(name)
    return kind.pipeline, kind.in_words


def _as_it_is(row: Row) -> bool:
    """Return whether the numbers come without a known training, and so without a source language."""
    record = row.runs[0].record
    return record.is_as_it_was or record.computed_elsewhere  # nothing but the predictions is known of the latter


def _zero_shot(row: Row, matrix: Matrix) -> str:
    return "" if _as_it_is(row) else f"zero-shot from {one_line(matrix.training_language)}, "


def _partial(matrix: Matrix) -> dict[str, str]:
    """Return our rows whose runs cover only part of the test or training rows, by name, and why.

    Leaderboards do not take them.
    """
    return {row.name: row.why_partial for row in matrix.ours if row.why_partial}


def _only_model(matrix: Matrix) -> str:
    models = sorted({run.record.model.id for row in matrix.ours for run in row.runs})
    if len(models) > 1:
        raise XevalError(f"a model card is about one model; choose one with --model ({', '.join(models)})")
    return models[0]


def _cells(matrix: Matrix) -> Iterator[tuple[Row, str, str]]:
    """Yield our row, the language, and how the number was made, for every number of ours on all rows."""
    partial = _partial(matrix)
    for row in matrix.ours:
        for language in row.cells if row.name not in partial else ():
            yield row, language, one_line(", ".join(_how(row, language)))


def _how(row: Row, language: str) -> list[str]:
    record = row.runs[0].record
    settings = settings_of(record.recipe.values) | record.recipe.overrides
    changed = [f"{key} {value}" for key, value in settings.items()]
    seeds = sorted(run.record.seed for run in row.runs if language in run.record.scores)
    counted = [seeds_in_words(seeds)] if record.has_seed else []
    if record.computed_elsewhere:
        return ["predictions that others computed", *counted]
    if record.recipe.name == NO_TRAINING:
        return ["trained elsewhere" if record.has_seed else "without training", *changed, *counted]
    if _as_it_is(row):
        return [f"without training, recipe {record.recipe.name}", *changed]
    sweep = sweep_of(run.record for run in row.runs)
    changed += [sweep.in_words] if sweep else []
    return [f"recipe {record.recipe.name}", *changed, *counted]


def _revision(row: Row) -> str | None:
    """Return the hub commit at which the data was read, or None for data from elsewhere."""
    revision = row.runs[0].record.data.revision
    return one_line(revision) if revision else None


def evaluation(matrix: Matrix, heading: str = "Evaluation") -> str:
    """Render the section on the evaluation: the table with its notes and findings."""
    lines = [["Model", *(escape(name) for name in names_of(matrix.languages).values())]]
    lines += [
        [
            escape(row.name) if row.published else f"**{escape(row.name)}**",
            *(verdicts.number(row.cells.get(name), verdicts.mark(row, name)) for name in matrix.languages),
        ]
        for row in matrix.rows
    ]
    if matrix_table.has_language_lines(matrix):
        lines = matrix_table.turned(lines)
        lines[0][0] = "Language"
    numbers = pipe_table(lines[1:], lines[0], ["left"] + ["right"] * (len(lines[0]) - 1))
    notes = [f"{name} has no entries for the hub: {why}." for name, why in _partial(matrix).items()]
    notes += [*matrix.footer, *verdicts.notes(matrix.verdicts)]
    warning = f"> **Note.** {escape(matrix.note)}\n\n" if matrix.note else ""
    return (
        f"# {escape(heading)}\n\n{escape(capitalised(matrix.metric_in_words))} in % on {escape(matrix.title)},"
        f" {escape(matrix.how)} of each language.\n\n{warning}{numbers}\n\n"
        + "\n".join(f"- {escape(note)}" for note in notes)
        + "\n"
        + findings_section(matrix)
    )


def _environment(rows: list[Row], footprint: Footprint) -> str:
    """Render the section on the cost of what was computed here. What others spent on predictions is not known."""
    records = [run.record for row in rows for run in row.runs if not run.record.computed_elsewhere]
    trials = {trial.identity: trial for record in records if record.sweep for trial in record.sweep.trials}
    training_h, evaluation_h = (_hours(records, training) for training in (True, False))
    training_h += sum(trial.wall_s or 0.0 for trial in trials.values()) / 3600
    of_trials = f" and {len(trials)} trials" if trials else ""
    hours = training_h + evaluation_h
    processors = {place.processor for record in records for place in record.environments}
    used = (
        f"{_short(hours)} ({_short(training_h)} fine-tuning, {_short(evaluation_h)} evaluation) in"
        f" {len(records)} run{'s' * (len(records) > 1)}{of_trials}; pretraining is not counted"
    )
    items: dict[str, Any] = {
        "Hardware Type": "; ".join(sorted(processors)) if records else "not recorded",
        "Hours used": used if records else "not recorded, since others computed the predictions",
        "Cloud Provider": "not recorded",
        "Compute Region": "not recorded",
        "Energy": "not measured",
        "Carbon Emitted": "not measured",
    }
    if footprint.watts is not None and records:
        kwh = hours * footprint.watts / 1000
        items["Energy"] = f"an estimate: {_short(kwh)} kWh, if the machine drew {footprint.watts:g} W throughout"
        if footprint.grams_per_kwh is not None:
            grams = kwh * footprint.grams_per_kwh
            items["Carbon Emitted"] = (
                f"an estimate: {_short(grams)} g of CO2 equivalent, if its grid emitted {footprint.grams_per_kwh:g} g"
                " per kWh"
            )
    lines = "\n".join(f"- **{name}:** {escape(str(value))}" for name, value in items.items())
    return f"# Environmental Impact\n\n{lines}\n"


def _hours(records: list[RunRecord], training: bool) -> float:
    timings = [item for record in records for item in record.timing.items()]
    return sum(timing.wall_s for phase, timing in timings if (phase == "train") is training) / 3600


def _short(number: float) -> str:
    """Format a number with three significant digits, and large ones without an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
