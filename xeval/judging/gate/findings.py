"""The findings of the gate: one on each number, and one on everything that keeps a number from being compared."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    # these fail the check
    "regression",
    "missing configuration",
    "extra configuration",
    "other settings",
    "missing seed",
    "extra seed",
    "failed training",
    "collapsed training",
    "missing language",
    "other number of rows",
    "other data",
    # these do not fail it
    "drop within chance",
    "unchanged",
    "improvement",
    "not compared",
    "note",
]
PASSING: frozenset[Kind] = frozenset({"drop within chance", "unchanged", "improvement", "not compared", "note"})


@dataclass(frozen=True)
class Numbers:
    """The blessed and the new number in one unit. `p` is for a drop, one-sided and corrected for multiple tests."""

    blessed: float
    now: float
    p: float
    unit: Literal["%", "pairs/s"]  # the latter, whatever rows are called: other programs read it


@dataclass(frozen=True)
class GateFinding:
    """One finding of the gate. Its `sentence` names the configuration, so it can be quoted alone."""

    kind: Kind
    configuration: str
    what: str  # a language, "mean of 15 languages", "train throughput", "seed 3" …
    sentence: str
    numbers: Numbers | None = None

    @property
    def fails(self) -> bool:
        return self.kind not in PASSING


@dataclass(frozen=True)
class Thresholds:
    """Drops that pass whatever the statistics say: scores in points, speed as the ratio that it may fall to."""

    cell: float = 1.5
    mean: float = 1.0
    throughput: float = 0.7


@dataclass(frozen=True)
class Outcome:
    """All findings of one check, with its thresholds."""

    findings: list[GateFinding]
    thresholds: Thresholds

    @property
    def failures(self) -> list[GateFinding]:
        return [finding for finding in self.findings if finding.fails]

    @property
    def passed(self) -> bool:
        return not self.failures
