"""The gate's outcome → JSON for other programs."""

import json
from dataclasses import asdict
from typing import Any

from xeval.judging.gate.check import ALPHA_LANGUAGES, ALPHA_MEANS, ALPHA_THROUGHPUT
from xeval.judging.gate.findings import GateFinding, Outcome
from xeval.report.gate.text import headline

FORMAT = 1


def render(outcome: Outcome) -> str:
    """Render the outcome. Scores are in percent, speeds in rows per second (unit "pairs/s").

    `p` is one-sided and corrected, and `alpha` is its limit.
    """
    content = {
        "format": FORMAT,
        "passed": outcome.passed,
        "headline": headline(outcome),
        "thresholds": {
            "cell_points": outcome.thresholds.cell,
            "mean_points": outcome.thresholds.mean,
            "throughput_ratio": outcome.thresholds.throughput,
        },
        "alpha": {"mean": ALPHA_MEANS, "languages": ALPHA_LANGUAGES, "throughput": ALPHA_THROUGHPUT},
        "findings": [_plain(finding) for finding in outcome.findings],
    }
    return json.dumps(content, indent=1) + "\n"


def _plain(finding: GateFinding) -> dict[str, Any]:
    content = {"fails": finding.fails, **asdict(finding)}
    if finding.numbers:  # the last digits differ from machine to machine
        content["numbers"] |= {key: round(getattr(finding.numbers, key), 6) for key in ("blessed", "now", "p")}
    return content
