"""The footnotes of a matrix: the table it is compared with, how each row was produced, and which runs failed."""

from collections.abc import Mapping, Sequence
from typing import Any

from xeval.definitions.languages import describe
from xeval.definitions.recipe import LORA_KEYS
from xeval.definitions.reference import Reference
from xeval.kinds.registry import unit_of
from xeval.results.adaptations import in_words, settings_of
from xeval.results.configurations import Configuration, names_of_runs, sweep_of
from xeval.results.records import ANSWERS_ALONE, Environment, ModelRecord, RunRecord, Score, TrialRecord
from xeval.results.store import StoredRun
from xeval.support.text import counted, metric_in_words, one_decimal


def of(groups: Mapping[Configuration, list[StoredRun]], reference: Reference | None) -> list[str]:
    """Return every footnote, in the order in which reports show them."""
    seeds = [[run.record for run in runs] for runs in groups.values()]
    ours = [record for records in seeds for record in records]
    lines = sorted({record.task_note for record in ours if record.task_note})
    if reference:
        lines.append(f"Published rows: {reference.title}, {reference.source_url}. {reference.note}".strip())
        others = sorted({row.protocol for row in reference.rows if row.protocol != "zero-shot"})
        if others:
            lines.append(f"There are no verdicts on published rows that are not zero-shot: {', '.join(others)}.")
        unpublished = sorted({row.recipe for row in reference.rows if row.recipe and not row.recipe_published})
        if unpublished:
            chosen = ", ".join(unpublished)
            lines.append(f"The source does not name every row's recipe; the table's file chooses {chosen}.")
    lines += map(_produced_by, seeds)
    lines += _different_rows(groups)
    lines += budgets(groups)
    lines += filter(None, [_majorities(ours), *map(_against_float32, seeds)])
    lines += [f"Failed: {names_of_runs([record], groups)}: {record.failure}" for record in ours if record.failures]
    return lines


def _different_rows(groups: Mapping[Configuration, list[StoredRun]]) -> list[str]:
    """Return where the seeds of a row were evaluated on different test rows, as those of merged results may be."""
    lines = []
    for configuration, runs in groups.items():
        hashes: dict[str, set[str]] = {}
        for run in runs:
            rows = run.record.data.sha256.get("test", {})
            if run.record.data.source != ANSWERS_ALONE:  # which have other hashes without their texts
                for language in rows.keys() & run.record.scores.keys():
                    hashes.setdefault(language, set()).add(rows[language])
        if mixed := [language for language in sorted(hashes) if len(hashes[language]) > 1]:
            lines.append(
                f"Different test rows: the seeds of {configuration.name(groups)} were not evaluated on the same rows in"
                f" {', '.join(mixed)}; do not read their mean as a score on one test set."
            )
    return lines


def budgets(groups: Mapping[Configuration, list[StoredRun]]) -> list[str]:
    """Return what was tried before the recipe values of a row were chosen. Rows without a sweep have no footnote."""
    lines = []
    for configuration, runs in groups.items():
        sweep = sweep_of(run.record for run in runs)
        if sweep is not None:
            record = configuration.example
            seeds = {run.record.seed for run in runs}
            language = describe(record.training_language).name
            apart = ", which is a seed of this row too" if sweep.seed in seeds else "; the row has other seeds"
            lines.append(
                f"{configuration.name(groups)}: {sweep.in_words} on {language} dev alone:"
                f" {', '.join(map(_outcome, sweep.trials))} ({metric_in_words(record.metric)} in %). Each was trained"
                f" once, with seed {sweep.seed}{apart}."
            )
    return lines


def means(groups: Mapping[Configuration, list[StoredRun]]) -> list[str]:
    """Say which seeds means over languages are of, if those shown in a row do not all have the same languages."""
    for runs in groups.values():
        if len({frozenset(run.record.scores) for run in runs}) > 1:
            return ["Seeds have different languages: a mean over languages is of the seeds that have all of them."]
    return []


def _outcome(trial: TrialRecord) -> str:
    values = " and ".join(f"{key} {value}" for key, value in trial.values.items())
    return f"{values}: failed" if trial.score is None else f"{values}: {one_decimal(100 * trial.score)}"


def _majorities(records: list[RunRecord]) -> str:
    """Say what always answering the most frequent label would score. Empty if rows have no label."""
    scores: dict[str, Score] = {}
    for record in records:
        scores |= {language: score for language, score in record.scores.items() if language not in scores}
    known = {name: score.of_majority for name, score in scores.items()}
    shares = {name: one_decimal(100 * share) for name, share in known.items() if share is not None}
    labels = {score.majority.label for score in scores.values() if score.majority}
    if not shares:
        return ""
    label = f"{labels.pop()}, the most frequent label," if len(labels) == 1 else "the most frequent label"
    where = ", ".join(f"{share} in {name}" for name, share in shares.items())
    if len(shares) > 1 and len(set(shares.values())) == 1:
        where = f"{next(iter(shares.values()))} in each of {len(shares)} languages"
    return f"Always answering {label} gives {where}."


def _against_float32(seeds: list[RunRecord]) -> str:
    """Say how far the arithmetic of a configuration's runs is from float32. Empty if that was not checked."""
    checks = [check for record in seeds for check in record.float32_checks.values()]
    if not checks:
        return ""
    n_flips, n_examples = sum(check.n_flips for check in checks), sum(check.n_rows for check in checks)
    largest = max(check.max_logit_difference for check in checks)
    return (
        f"{seeds[0].model.id} in {seeds[0].dtype} against float32, on a sample of {counted(n_examples, 'rows')}:"
        f" {counted(n_flips, 'predictions')} differ, logits by at most {largest:.2g}."
    )


def _produced_by(seeds: list[RunRecord]) -> str:
    record = next((record for record in reversed(seeds) if record.training), seeds[-1])
    unit = unit_of(record.kind)
    values = record.recipe.values
    parts = [f"{record.model.id} ({_declared(seeds)})"]
    if record.declared is None:
        parts = [_of_model(record)]
    changed = [f"{key}={value}" for key, value in record.recipe.overrides.items()]
    changed = [f"changed from the recipe: {', '.join(changed)}"] if changed else []
    if record.training:
        adapted = f"{_adapted(values)}, " if settings_of(values) else ""
        parts.append(
            f"recipe {record.recipe.name}: {adapted}learning rate {values.get('learning_rate')}, effective batch size"
            f" {record.training.effective_batch_size}, {counted(record.training.n_steps, 'steps')} on"
            f" {counted(record.data.train_rows.get('used', 0), unit)}{_trained_on(record)},"
            f" checkpoint: {record.training.selection}"
        )
        parts += changed
    elif record.computed_elsewhere:
        parts.append("its predictions were computed elsewhere, and scored here")
    elif not record.is_as_it_was:
        parts += [f"recipe {record.recipe.name}: training was not finished", *changed]
    else:
        vectors = f", by the {values['pooling']} of layer {values['layer']}" if record.trains_nothing else ""
        parts.append(f"evaluated as it is, without training{vectors}")
    where = record.data.source + (f" at {record.data.revision[:12]}" if record.data.revision else "")
    parts.append(f"data: {where}")
    environments = [_made_with(environment, record) for record in seeds for environment in record.environments]
    parts.append(" and ".join(dict.fromkeys(environments)))
    return "; ".join(parts) + "."


def _trained_on(record: RunRecord) -> str:
    """Name the language trained on if it is not the task's own."""
    if record.trained_instead is None:
        return ""
    translated = " (machine translations)" if record.is_translate_train else ""
    return f" in {describe(record.training_language).name}{translated}"


def _declared(seeds: Sequence[RunRecord]) -> str:
    """Say which checkpoint each seed is, if the user declared them to be seeds of one configuration."""
    return ", ".join(f"seed {record.seed} is {record.declared}" for record in seeds if record.declared)


def _adapted(values: Mapping[str, Any]) -> str:
    lora = {key: values[key] for key in LORA_KEYS if key in values}
    of_lora = ", ".join(f"{key.removeprefix('lora_')} {value}" for key, value in lora.items())
    return in_words(values) + (f" ({of_lora})" if of_lora else "")


def _of_model(record: RunRecord) -> str:
    """Name the model, and its revision or else where it came from, which for predictions of others is not known."""
    if revision := record.model.revision:
        return f"{record.model.id} at revision {revision[:12]}"
    if record.computed_elsewhere and record.model.published_as is None:
        return record.model.id
    return f"{record.model.id} ({_origin(record.model)})"


def _origin(model: ModelRecord) -> str:
    """Say where a model came from. For a folder, also say which published model it counts as, and why."""
    if model.published_as is None:
        return model.origin
    why = "as the user stated" if model.published_by == "word" else "since its files have the same checksum"
    return f"{model.origin}, taken to be {model.published_as}, {why}"


def _made_with(environment: Environment, record: RunRecord) -> str:
    commit = f" ({environment.commit[:12]}{', modified' if environment.dirty else ''})" if environment.commit else ""
    xeval, torch, transformers = (environment.versions.get(name, "?") for name in ("xeval", "torch", "transformers"))
    if record.computed_elsewhere:
        return f"xeval {xeval}{commit}"
    where = f"{record.dtype} on {environment.processor}"
    return f"xeval {xeval}{commit}, torch {torch}, transformers {transformers}, {where}"
