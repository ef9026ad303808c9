"""Signatures that show in a record's scores and training: what was learnt, what transfers, what the published row has.

Each function returns its finding, or None.
"""

import math
from collections.abc import Sequence

from xeval.definitions.languages import describe
from xeval.definitions.reference import ReferenceRow
from xeval.judging.health import NEAR_CHANCE, Level, collapse, level
from xeval.kinds.registry import unit_of
from xeval.results.records import RunRecord
from xeval.support.findings import Finding, by_language, error, warning
from xeval.support.text import counted, metric_in_words, one_decimal, percent, signed

LEARNT = 0.10  # this far above chance, something has been learnt
UNDERFITTED = 0.20  # even a short training run gets this far above chance
FEW_ROWS = 100  # below this many, a share of rows is not interpreted
NEARLY_CONSTANT = 0.95  # share of predictions with one label that counts as one label throughout
EPOCHS_ENOUGH = 0.5  # of the task's training rows
LOW = 1.5  # points below published, on the mean
LOW_EACH = 0.5  # and in every language
SELECTION_COSTS = 0.3, 4.0  # points on the mean that choosing on the target languages may account for


def broken_training(record: RunRecord) -> Finding | None:
    if "train" in record.failures:
        return error("training broke down", record.failures["train"].reason)
    if record.failures:
        return error("evaluation broke down", record.failure or "", "")
    return None


def labels_out_of_line(record: RunRecord) -> Finding | None:
    """Look for development data of the training language that are well predicted, and test data at chance."""
    home, dev = record.training_language, _chosen_value(record)
    test, floor = record.scores.get(home), level(record, home)
    if dev is None or floor is None or test is None or test.n_rows < FEW_ROWS or not _is_at_chance(record, home):
        return None
    if dev < floor.plus(LEARNT) or dev <= test.ci95[1]:  # few rows can differ by as much
        return None
    scores = {language: 100 * score.value for language, score in record.scores.items()}
    return error(
        "placeholder labels",
        f"{_metric(record)} on the {home} development data is {percent(dev)}, but on"
        f" test it is {by_language(scores, one_decimal)} %, where {floor.in_words}",
        "Take the test split from a copy that carries its own labels, in its own order (the hub's, or XNLI-1.0).",
    )


def too_few_steps(record: RunRecord) -> Finding | None:
    """Look for a training run that learnt hardly anything and saw fewer than half as many rows as the task has.

    Where the task's file does not say how many there are, as in another training language, those found are all.
    """
    training, reached, rows = record.training, _known_values(record), record.data.train_rows
    expected, floor = rows.get("expected") or rows.get("found", 0), level(record, record.training_language)
    if training is None or not reached or not expected or floor is None:
        return None
    if max(reached.values()) > floor.plus(UNDERFITTED):
        return None
    seen, unit = training.n_steps * training.effective_batch_size, unit_of(record.kind)
    if seen >= EPOCHS_ENOUGH * expected:
        return None
    on_rows = " and ".join(f"{percent(value)} on the {rows} rows" for rows, value in reached.items())
    return error(
        "too few steps",
        f"{counted(training.n_steps, 'steps')} of {counted(training.effective_batch_size, unit)} cover"
        f" {percent(seen / expected)} of {expected:,} training {unit} once; {_metric(record)} in"
        f" {record.training_language} is {on_rows}",
        "Train on all rows for the recipe's epochs (no --max-train, no --max-steps) with its effective batch size.",
    )


def collapsed_training(record: RunRecord) -> Finding | None:
    reason = collapse(record)
    if reason is None or all(score.n_rows < FEW_ROWS for score in record.scores.values()):
        return None
    curve = record.training.loss_curve if record.training else []
    loss, n_labels = "", len(record.labels or ())
    if curve and n_labels:
        loss = f"; the loss ended at {curve[-1][1]:.2f} where ln {n_labels} is {math.log(n_labels):.2f}"
    fix = "Lower the learning rate, add warm-up (--warmup-share 0.1), or take another seed."
    if record.training is None:
        fix = "Check that the checkpoint's head was fine-tuned on this task."
    return error("collapsed training", reason + loss, fix)


def chance_outside_latin_script(record: RunRecord) -> Finding | None:
    """Look for a run in which languages in Latin script are learnt, but those in other scripts are at chance."""
    targets = _targets(record)
    latin = {language: value for language, value in targets.items() if describe(language).script == "Latin"}
    others = {language: value for language, value in targets.items() if describe(language).script != "Latin"}
    at_chance = [language for language in others if _is_at_chance(record, language)]
    if not latin or not at_chance or 2 * len(at_chance) < len(others):
        return None
    if not all(_has_learnt(record, language) for language in latin):
        return None
    tokenized = [record.scores[language].tokenization for language in at_chance]
    unknown = max((each.unknown_piece_share for each in tokenized if each is not None), default=0.0)
    pieces = f"; up to {percent(unknown)} of their pieces are unknown" if unknown > 0.01 else ""
    return error(
        "chance outside Latin script",
        f"{by_language({language: others[language] for language in at_chance})}, against"
        f" {by_language(latin)} in Latin script{pieces}",
        "Check vocabulary and casing with xeval doctor: the weights and the tokenizer do not belong together, or the"
        " checkpoint was converted badly.",
    )


def no_transfer(record: RunRecord) -> Finding | None:
    """Look for a run in which the training language is learnt, but no other language is better than chance."""
    targets = _targets(record)
    learnt = _score(record, record.training_language)
    if learnt is None or not _has_learnt(record, record.training_language) or len(targets) < 2:
        return None
    if not all(_is_at_chance(record, language) for language in targets):
        return None
    return error(
        "no transfer",
        f"{record.training_language} {percent(learnt)}, but at chance: {by_language(targets)}",
        "Check that the encoder is multilingual and, with xeval doctor, that the tokenizer is its own.",
    )


def no_better_than_one_label(record: RunRecord) -> Finding | None:
    """Look for languages in which always giving the most common label would be right as often, or more often."""
    shares = {
        language: score.of_majority
        for language, score in record.scores.items()
        if score.n_rows >= FEW_ROWS
        and (score.n_most_predicted or 0) < NEARLY_CONSTANT * score.n_rows  # else `one_label_throughout` says so
    }
    below = {name: share for name, share in shares.items() if share is not None and _value(record, name) <= share}
    if not below:
        return None
    labels = sorted({majority.label for name in below if (majority := record.scores[name].majority) is not None})
    return warning(
        "no better than one label",
        f"{_metric(record)} is {by_language({name: _value(record, name) for name in below})}, while always answering"
        f" {' or '.join(labels)} gives {by_language(below)}",
        "Do not read these scores as transfer: a model that reads nothing scores as much.",
    )


def other_selection(record: RunRecord, published: ReferenceRow | None) -> Finding | None:
    """Look for a published row a little above ours whose checkpoints were chosen on target languages' development
    data."""
    difference = _mean_difference(record, published)
    if published is None or difference is None or not _sees_targets(published):
        return None
    least, most = SELECTION_COSTS
    if not -most <= difference <= -least:
        return None
    ours = "not known, since others computed the predictions"
    if not record.computed_elsewhere:
        ours = record.training.selection if record.training else "none, the checkpoint is evaluated as it is"
    return warning(
        "another selection rule",
        f"the mean is {one_decimal(-difference)} points below {published.name}, whose selection was:"
        f" {published.selection}; ours is: {ours}",
        "Expect 1 to 2 points less: a zero-shot run must not choose its checkpoint on target-language data.",
    )


def low_everywhere(record: RunRecord, published: ReferenceRow | None, hints: Sequence[Finding]) -> Finding | None:
    """Look for a run below the published row in every language, and by more than the source says that seeds differ.

    `hints` are preflight's findings on the tokenizer.
    """
    difference = _mean_difference(record, published)
    if published is None or difference is None or record.departure or not published.is_trained_zero_shot:
        return None
    between_seeds = sum(published.spread.values()) / max(1, len(published.spread))
    if difference > -max(LOW, 2 * between_seeds):
        return None
    points = {language: 100 * record.scores[language].value - cell for language, cell in published.cells.items()}
    if max(points.values()) > -LOW_EACH:
        return None
    fix = (
        "Compare tokenizer (xeval doctor), library versions and recipe with the source's: another seed alone rarely"
        " explains it."
    )
    if hints:
        fix = f"First fix the tokenizer: {hints[0].evidence}."
    return warning("low everywhere", f"points above or below {published.name}: {by_language(points, signed)}", fix)


def _sees_targets(published: ReferenceRow) -> bool:
    of_targets = ("all languages", "per language", "that language", "target")
    return any(words in told for words in of_targets for told in (published.protocol, published.selection))


def _mean_difference(record: RunRecord, published: ReferenceRow | None) -> float | None:
    """Return our mean minus the published one, in points, over the row's languages; None unless we have them all."""
    if published is None or not published.cells.keys() <= record.scores.keys():
        return None
    ours = [100 * record.scores[language].value for language in published.cells]
    return sum(ours) / len(ours) - published.average


def _metric(record: RunRecord) -> str:
    return metric_in_words(record.metric)


def _targets(record: RunRecord) -> dict[str, float]:
    """Return the metric by target language, for those with enough rows to tell it from chance."""
    return {
        language: score.value
        for language, score in record.scores.items()
        if language != record.training_language and score.n_rows >= FEW_ROWS
    }


def _is_at_chance(record: RunRecord, language: str) -> bool:
    """Return whether the score in `language` is little above that of answers given without reading, or no more than two
    standard errors above it."""
    floor = level(record, language)
    return floor is not None and _value(record, language) <= max(
        floor.plus(NEAR_CHANCE), floor.value + 2 * _standard_error(floor, record.scores[language].n_rows)
    )


def _standard_error(floor: Level, n_rows: int) -> float:
    return math.sqrt(floor.value * (1 - floor.value) / n_rows)


def _has_learnt(record: RunRecord, language: str) -> bool:
    floor = level(record, language)
    return floor is not None and _value(record, language) >= floor.plus(LEARNT)


def _value(record: RunRecord, language: str) -> float:
    return record.scores[language].value


def _score(record: RunRecord, language: str) -> float | None:
    score = record.scores.get(language)
    return score.value if score and score.n_rows >= FEW_ROWS else None


def _chosen_value(record: RunRecord) -> float | None:
    """Return the chosen checkpoint's metric on the training language's development data, if known."""
    if record.training is None:
        return None
    chosen = record.training.chosen_step
    return next((point.value for point in record.training.selection_curve if point.step == chosen), None)


def _known_values(record: RunRecord) -> dict[str, float]:
    """Return the metric in the training language by split, as far as it is known."""
    split = record.limits.test_split or "test"
    known = {split: _score(record, record.training_language), "development": _chosen_value(record)}
    return {rows: value for rows, value in known.items() if value is not None}
