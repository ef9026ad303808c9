"""A change, and how likely it is by chance → whether it is a regression, in a sentence."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from xeval.judging.comparison.paired_tests import holm
from xeval.judging.gate.drops import Change
from xeval.judging.gate.findings import GateFinding, Kind, Numbers
from xeval.support.text import one_decimal, printed_difference, signed

Chance = Literal["training", "rows", "none"]


@dataclass(frozen=True)
class Question:
    """One number to be tested: has it dropped?"""

    configuration: str
    what: str
    change: Change
    chance: Chance  # the source of the change's standard error
    n_seeds: int  # on each side


@dataclass(frozen=True)
class Answer:
    """The answer to one question of a family. The p values are one-sided and corrected for the number of questions."""

    p_of_drop: float
    p_of_rise: float
    alpha: float
    least: float  # smallest drop that counts as one whatever the other answers are, in the change's unit

    @property
    def dropped(self) -> bool:
        return self.p_of_drop <= self.alpha

    @property
    def risen(self) -> bool:
        return self.p_of_rise <= self.alpha


Telling = Callable[[Question, Answer, float], GateFinding]


def answer(questions: Sequence[Question], alpha: float, threshold: float, tell: Telling) -> list[GateFinding]:
    """Return one finding per question. `alpha` is the chance of even one false alarm in the whole family."""
    falls = holm([question.change.p_of_drop() for question in questions])
    rises = holm([question.change.p_of_rise() for question in questions])
    return [
        tell(question, Answer(fall, rise, alpha, question.change.least(alpha / len(questions))), threshold)
        for question, fall, rise in zip(questions, falls, rises, strict=True)
    ]


def of_score(question: Question, answer: Answer, threshold: float) -> GateFinding:
    """Return the finding on a score in percent; `threshold` is in points."""
    change = question.change
    difference = printed_difference(change.now, change.blessed)
    both = f"from {one_decimal(change.blessed)} to {one_decimal(change.now)} %"
    size = f"{one_decimal(abs(difference))} points, {both}"
    change_in_points = round(change.difference, 9)  # 70.0 − 70.1 is not more than 0.1 below zero
    if change_in_points < -threshold and answer.dropped:
        kind: Kind = "regression"
        fact = f"fell by {size}, more than the allowed {threshold:g}, and {_no_chance(question, answer)}"
    elif change_in_points < -threshold:
        kind = "drop within chance"
        fact = (
            f"fell by {size}, more than the allowed {threshold:g}, but {_cause(question)} may explain it"
            f" ({_evidence(question, answer)}); it could not explain a drop of"
            f" {one_decimal(answer.least)} points or more"
        )
    elif change_in_points > threshold and answer.risen:
        kind = "improvement"
        fact = f"rose by {size}; bless it to make it the new baseline"
    else:
        kind = "unchanged"
        fact = f"changed by {signed(difference)} points, {both}"
    return _finding(kind, question, fact, Numbers(change.blessed, change.now, answer.p_of_drop, "%"))


def of_speed(question: Question, answer: Answer, threshold: float) -> GateFinding:
    """Return the finding on rows per second, whose change is in logarithms; speed may fall to `threshold` times."""
    ratio = math.exp(question.change.difference)
    numbers = Numbers(math.exp(question.change.blessed), math.exp(question.change.now), answer.p_of_drop, "pairs/s")
    fact = f"is {ratio:.2f} times the blessed one ({numbers.now:,.0f} rows/s, blessed {numbers.blessed:,.0f})"
    kind: Kind = "unchanged"
    if ratio < threshold and answer.dropped:
        kind = "regression"
        fact += (
            f", less than the allowed {threshold:g} times, and the spread of the seeds' own speeds does not explain it"
        )
    elif ratio < threshold:
        kind = "drop within chance"
        fact += f", less than the allowed {threshold:g} times, but the spread of the seeds' own speeds may explain it"
    elif ratio * threshold > 1 and answer.risen:  # with a threshold of 0, any speed is allowed and none an improvement
        kind = "improvement"
    evidence = "" if kind in ("unchanged", "improvement") else f" ({_evidence(question, answer)})"
    return _finding(kind, question, fact + evidence, numbers)


def _finding(kind: Kind, question: Question, fact: str, numbers: Numbers) -> GateFinding:
    sentence = f"{question.configuration}: {question.what} {fact}."
    return GateFinding(kind, question.configuration, question.what, sentence, numbers)


def _no_chance(question: Question, answer: Answer) -> str:
    if question.chance == "none":
        return "chance cannot explain it: the weights are the blessed ones bit for bit"
    return f"more than {_cause(question)} explains ({_evidence(question, answer)})"


def _cause(question: Question) -> str:
    return "chance in training" if question.chance == "training" else "chance in the choice of rows"


def _evidence(question: Question, answer: Answer) -> str:
    p = "p < 0.001" if answer.p_of_drop < 0.001 else f"p = {answer.p_of_drop:.3f}"
    seeds = f"{question.n_seeds} seeds each, " if question.n_seeds > 1 else ""
    return f"{seeds}{p}, wanted at most {answer.alpha:g}"
