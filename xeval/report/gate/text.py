"""Text that all formats of the gate's outcome share: the headline, and a finding's numbers as people read them."""

from collections import Counter
from collections.abc import Iterable

from xeval.judging.gate.findings import GateFinding, Outcome
from xeval.support.text import one_decimal, printed_difference, signed

COLUMNS = ("", "blessed", "now", "change", "p", "finding")


def headline(outcome: Outcome) -> str:
    """Return the outcome in one sentence."""
    thresholds = outcome.thresholds
    allowed = (
        f"{thresholds.cell:g} points in a language, {thresholds.mean:g} on the mean,"
        f" {thresholds.throughput:g} times the blessed speed"
    )
    if not outcome.passed:
        return f"Failed: {_counted(outcome.failures)} (allowed: {allowed})."
    others = [finding for finding in outcome.findings if finding.kind in ("drop within chance", "improvement")]
    also = f"; {_counted(others)}" if others else ""
    return f"Passed: no drop exceeds both chance and what is allowed ({allowed}){also}."


def _counted(findings: Iterable[GateFinding]) -> str:
    return ", ".join(f"{n} × {kind}" for kind, n in Counter(finding.kind for finding in findings).items())


def cells(finding: GateFinding) -> tuple[str, ...]:
    """Return a finding's cells under COLUMNS, without its configuration. A dash stands for a missing number."""
    numbers = finding.numbers
    if numbers is None:
        return (finding.what, "–", "–", "–", "–", finding.kind)
    if numbers.unit == "%":
        difference = signed(printed_difference(numbers.now, numbers.blessed))
        shown = f"{one_decimal(numbers.blessed)} %", f"{one_decimal(numbers.now)} %", difference
    else:
        shown = (
            f"{numbers.blessed:,.0f}/s",
            f"{numbers.now:,.0f}/s",
            f"× {numbers.now / numbers.blessed:.2f}",
        )
    return (finding.what, *shown, "< 0.001" if numbers.p < 0.001 else f"{numbers.p:.3f}", finding.kind)


def span_of_changes(findings: Iterable[GateFinding]) -> str:
    """Return the least and the greatest change among the findings on scores, in points."""
    changes = [
        printed_difference(finding.numbers.now, finding.numbers.blessed) for finding in findings if finding.numbers
    ]
    return " to ".join(dict.fromkeys(signed(change) for change in (min(changes), max(changes))))


def by_configuration(findings: Iterable[GateFinding]) -> dict[str, list[GateFinding]]:
    groups: dict[str, list[GateFinding]] = {}
    for finding in findings:
        groups.setdefault(finding.configuration, []).append(finding)
    return groups
