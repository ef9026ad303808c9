"""Detect collapsed training runs, which learnt nothing. They are reported, and kept out of averages."""

from dataclasses import dataclass

from xeval.results.records import RunRecord, Score
from xeval.support.text import metric_in_words, percent

NEAR_CHANCE = 0.05  # nothing was learnt if the metric in the training language is less than this above chance
CONSTANT_FROM = 100  # rows; from so many on, one label for all of them is no accident


@dataclass(frozen=True)
class Level:
    """A score reached without reading the text: by answering at random, or by always giving the same answer."""

    value: float
    label: str | None = None  # the label that is always given; None for chance
    scale: float = 1.0  # 1 minus this level, over 1 minus chance

    @property
    def in_words(self) -> str:
        """The level as a clause, for instance `chance is 33.3 %`."""
        share = percent(self.value)
        return f"chance is {share}" if self.label is None else f"always answering {self.label} gives {share}"

    def plus(self, margin: float) -> float:
        """Return the score that lies `margin` above this level, with the margin scaled to the room left above it."""
        return self.value + margin * self.scale


def level(record: RunRecord, language: str) -> Level | None:
    """Return the higher of two levels: chance, and always answering the most frequent label of `language`.

    None if `record` does not know chance.
    """
    chance, score = record.chance, record.scores.get(language)
    if chance is None:
        return None
    majority = score.majority if score else None
    share = score.of_majority if score else None
    if majority is None or share is None or share <= chance:
        return Level(chance)
    return Level(share, majority.label, (1 - share) / (1 - chance))


def collapse(record: RunRecord) -> str | None:
    """Return why the training of `record` counts as collapsed, in words. None if it did not, or if nothing shows it."""
    language, floor = record.training_language, level(record, record.training_language)
    place, value = f"on {language} development rows", _best_on_development_rows(record)
    if language in record.scores:
        place, value = f"in {language}", record.scores[language].value
    if floor is not None and value is not None and value < floor.plus(NEAR_CHANCE):
        return f"{metric_in_words(record.metric)} {place} is {percent(value)} where {floor.in_words}"
    if record.scores and all(map(_is_one_label_throughout, record.scores.values())):
        where = f", in each of {len(record.scores)} languages" if len(record.scores) > 1 else ""
        return f"every prediction is one label{where}"
    return None


def _is_one_label_throughout(score: Score) -> bool:
    """Return whether every prediction is the same label although the gold labels differ.

    Equal scores alone do not show that: errors may coincide.
    """
    return CONSTANT_FROM <= score.n_rows == score.n_most_predicted and score.value < 1


def _best_on_development_rows(record: RunRecord) -> float | None:
    """Return the best value that the training measured, whichever checkpoint was kept. None if it measured none."""
    curve = record.training.selection_curve if record.training else []
    return max((point.value for point in curve), default=None)
