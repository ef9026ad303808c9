"""The finding of a check, in preflight or diagnosis, with its evidence and its fix."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from xeval.support.text import percent

Severity = Literal["fine", "warning", "error"]
MARKS: dict[Severity, str] = {"fine": "✓", "warning": "!", "error": "✗"}
to_hundredths = partial(percent, places=2)  # for shares that matter below 0.1 %


_FIX = AliasChoices("fix", "mend")  # the second is in records of earlier versions


class Finding(BaseModel):
    """The outcome of one check. An error makes the numbers worthless or not what they claim to be."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    name: str
    severity: Severity
    evidence: str
    fix: str = Field(default="", validation_alias=_FIX)  # one sentence; empty if there is none, or if evidence has it

    @property
    def line(self) -> str:
        """The finding in one line, as terminals and logs show it."""
        return f"{MARKS[self.severity]} {self.sentence}"

    @property
    def sentence(self) -> str:
        return f"{self.name}: {self.evidence}" + f". {self.fix}" * bool(self.fix)


def fine(name: str, evidence: str) -> Finding:
    return Finding(name=name, severity="fine", evidence=evidence)


def warning(name: str, evidence: str, fix: str) -> Finding:
    return Finding(name=name, severity="warning", evidence=evidence, fix=fix)


def error(name: str, evidence: str, fix: str = "") -> Finding:
    return Finding(name=name, severity="error", evidence=evidence, fix=fix)


def wrong(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that are not fine, errors first."""
    return sorted((finding for finding in findings if finding.severity != "fine"), key=lambda finding: finding.severity)


def by_language(shares: dict[str, float], written: Callable[[float], str] = percent) -> str:
    """Return numbers by language, each `written` so, the largest first: `th 18.7 %, el 4.2 %, less in 3 more`.

    Numbers other than 0 that round to 0 are only counted, unless all of them do.
    """
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    traces = [name for name, number in ordered if number and written(abs(number)) == written(0)]
    if len(traces) == len(ordered):
        traces = []
    texts = [f"{name} {written(number)}" for name, number in ordered if name not in traces]
    return ", ".join([*texts, f"less in {len(traces)} more"] if traces else texts)


def at_most(shares: dict[str, float], written: Callable[[float], str] = percent) -> str:
    """Return the largest of numbers by language: `at most 18.7 % (th)`."""
    language, number = max(shares.items(), key=lambda item: item[1])
    return f"at most {written(number)} ({language})"
