"""Whether a training learnt anything: one that collapsed is named and kept out of averages."""

from dataclasses import dataclass

from xeval.results.records import RunRecord, Score
from xeval.support.text import one_decimal

NEAR_CHANCE = 0.05  # the metric in the training language within so much of chance: nothing was learnt
CONSTANT_FROM = 100  # rows; that so many are given one label does not happen by chance


@dataclass(frozen=True)
class Level:
    """What is scored without reading the text: by drawing answers at random, or by always giving the same one."""

    value: float
    label: str | None = None  # that is always given; None for chance
    scale: float = 1.0  # the room above it, over the room above chance

    @property
    def in_words(self) -> str:
        """For instance `chance is 33.3 %`."""
        share = f"{one_decimal(100 * self.value)} %"
        return f"chance is {share}" if self.label is None else f"always answering {self.label} gives {share}"

    def plus(self, margin: float) -> float:
        """The score that lies above by `margin`, if chance were the level; by less where there is less room."""
        return self.value + margin * self.scale


def level(record: RunRecord, language: str) -> Level | None:
    """The higher of chance and of always answering the label that most rows of `language` have.

    None where `record` knows of neither.
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
    """Why the training of `record` is held to have collapsed, in words; None if it did not, or nothing tells."""
    language, floor = record.training_language, level(record, record.training_language)
    place, value = f"on {language} development rows", _selected_value(record)
    if language in record.scores:
        place, value = f"in {language}", record.scores[language].value
    if floor is not None and value is not None and value < floor.plus(NEAR_CHANCE):
        return f"{record.metric} {place} is {one_decimal(100 * value)} % where {floor.in_words}"
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
