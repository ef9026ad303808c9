"""What the gate says: a finding on each number, and on each thing that keeps a number from being compared."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    # these fail
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
    # these do not
    "drop within chance",
    "unchanged",
    "improvement",
    "not compared",
    "note",
]
PASSING: frozenset[Kind] = frozenset({"drop within chance", "unchanged", "improvement", "not compared", "note"})


@dataclass(frozen=True)
class Numbers:
    """Blessed and now in one unit. `p` is of a drop, one-sided and corrected for the number of questions."""

    blessed: float
    now: float
    p: float
    unit: Literal["%", "pairs/s"]


@dataclass(frozen=True)
class GateFinding:
    """One line of what the gate found. `sentence` can be quoted alone: it names the configuration."""

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
    """Drops that are let pass whatever the statistics say, in points; and the ratio that speed may fall to."""

    cell: float = 1.5
    mean: float = 1.0
    throughput: float = 0.7


@dataclass(frozen=True)
class Outcome:
    """All findings of one check, with the thresholds that they were made with."""

    findings: list[GateFinding]
    thresholds: Thresholds

    @property
    def failures(self) -> list[GateFinding]:
        return [finding for finding in self.findings if finding.fails]

    @property
    def passed(self) -> bool:
        return not self.failures
