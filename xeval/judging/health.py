"""Whether a training learnt anything: one that collapsed is named and kept out of averages."""

from xeval.results.records import RunRecord, Score

NEAR_CHANCE = 0.05  # the metric in the training language within so much of chance: nothing was learnt
CONSTANT_FROM = 100  # rows; that so many are given one label does not happen by chance


def collapse(record: RunRecord) -> str | None:
    """Why the training of `record` is held to have collapsed, in words; None if it did not, or nothing tells."""
    language, chance = record.training_language, record.chance
    place, value = f"on {language} development rows", _selected_value(record)
    if language in record.scores:
        place, value = f"in {language}", record.scores[language].value
    if chance is not None and value is not None and value < chance + NEAR_CHANCE:
        return f"{record.metric} {place} is {100 * value:.1f} % where chance is {100 * chance:.1f} %"
    if record.scores and all(map(_is_one_label_throughout, record.scores.values())):
        where = f", in each of {len(record.scores)} languages" if len(record.scores) > 1 else ""
        return f"every prediction is one label{where}"
    return None


def _is_one_label_throughout(score: Score) -> bool:
    """Whether it is, though the gold labels are not. Equal scores alone say nothing: errors may coincide."""
    return CONSTANT_FROM <= score.n_rows == score.n_most_predicted and score.value < 1


def _selected_value(record: RunRecord) -> float | None:
    curve = record.training.selection_curve if record.training else []
    return max((point.value for point in curve), default=None)
