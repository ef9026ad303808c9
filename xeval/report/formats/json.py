"""Matrix → JSON for programs. Scores are fractions, differences are in points; docs/files.md describes the keys."""

import json
from dataclasses import asdict
from typing import Any

from xeval.judging.claims import ClaimVerdict
from xeval.judging.verdict import NO_VERDICT, RowVerdict, Verdict
from xeval.report import exhibits, transfer
from xeval.report.matrix import Matrix, Row
from xeval.results.adaptations import settings_of
from xeval.results.store import StoredRun

REPORT_VERSION = 1


def render(matrix: Matrix) -> str:
    reference = matrix.reference
    report = {
        "report_version": REPORT_VERSION,
        "task": matrix.task,
        "title": matrix.title,
        "note": matrix.note,
        "training_language": matrix.training_language,
        "languages": matrix.languages,
        "reference": reference and {"name": reference.name, "title": reference.title, "url": reference.source_url},
        "rows": [_row(row, matrix) for row in matrix.rows],
        "claims": [_claim(claim) for claim in matrix.claims],
        "runs": [_run(run) for run in matrix.runs],
        **({"transfer": [asdict(exhibit) for exhibit in transfers]} if (transfers := transfer.of(matrix)) else {}),
        "findings": [finding.model_dump() for finding in matrix.findings],
        "footnotes": matrix.footer,
    }
    return json.dumps(report, indent=1, allow_nan=False) + "\n"


def _row(row: Row, matrix: Matrix) -> dict[str, Any]:
    metric = matrix.metric
    shown = [] if row.published else exhibits.of(row, matrix.languages)
    return {
        "name": row.name,
        "published": row.published,
        metric: {language: _fraction(value) for language, value in row.cells.items()},
        "mean_of_reference_languages": _fraction(row.mean_reference),
        "mean_of_all_languages": _fraction(row.mean_all),
        "gap_points": _points(row.gap),
        "seeds": sorted({run.record.seed for run in row.runs if run.record.has_seed}),
        "verdict": _verdicts(row.verdict, metric) if row.verdict else _no_verdict(row),
        "more_verdicts": [_verdicts(verdict, metric) for verdict in row.more_verdicts],
        "exhibits": [asdict(exhibit) for exhibit in shown],
    }


def _no_verdict(row: Row) -> dict[str, Any] | None:
    """Return why a row of ours has no verdict, or None for a published row."""
    return {"outcome": NO_VERDICT, "sentence": f"No verdict: {row.why_no_verdict}."} if row.why_no_verdict else None


def _run(run: StoredRun) -> dict[str, Any]:
    record = run.record
    return {
        "folder": str(run.folder),
        "identity": record.identity,
        "model": record.model.id,
        "recipe": record.recipe.name,
        **settings_of(record.recipe.values),
        "overrides": record.recipe.overrides,
        "seed": record.seed,
        "status": record.status,
        "failure": record.failure,
        "sweep": record.sweep and record.sweep.model_dump(),
        record.metric: {language: score.value for language, score in record.scores.items()},
    }


def _verdicts(verdict: RowVerdict, metric: str) -> dict[str, Any]:
    return {
        "published_row": verdict.row,
        "cells": {language: _verdict(cell, metric) for language, cell in verdict.cells.items()},
        "mean": _verdict(verdict.mean, metric),
    }


def _verdict(verdict: Verdict, metric: str) -> dict[str, Any]:
    comparison = verdict.comparison
    numbers = comparison and {
        "difference_points": _points(comparison.difference),
        "interval90_points": [_points(comparison.low), _points(comparison.high)],
        "seeds_needed": comparison.seeds_needed,
    }
    return {
        "outcome": verdict.outcome,
        "sentence": verdict.sentence,
        f"published_{metric}": _fraction(verdict.published),
        "tolerance_points": verdict.tolerance,
        "n_seeds": verdict.n_seeds,
        **(numbers or {}),
    }


def _claim(verdict: ClaimVerdict) -> dict[str, Any]:
    bounds = {} if verdict.low is None else {"interval90": [verdict.low, verdict.high]}
    return {
        **verdict.claim.model_dump(),
        "outcome": verdict.outcome,
        "sentence": verdict.sentence,
        "measured": verdict.measured,
        **bounds,
    }


def _fraction(percentage: float | None) -> float | None:
    """Divide by 100, without the last digits that floating point adds."""
    return None if percentage is None else round(percentage / 100, 12)


def _points(value: float | None) -> float | None:
    return None if value is None else round(value, 10)
