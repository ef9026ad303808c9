"""Check what a source claims about its models apart from scores: their sizes, and how much faster one is than another.

Pure functions. A size is what the run counted. A speed is a ratio of rows per second in evaluation. It is taken only
between runs that one invocation of xeval timed on one device in one arithmetic. If the records cannot tell, there is
no verdict, and the sentence says why.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from xeval.definitions.reference import Claim, Reference
from xeval.judging.equivalence import ALPHA, read
from xeval.judging.verdict import NO_VERDICT
from xeval.results.records import Environment, RunRecord
from xeval.support.text import counted

FEWEST_RATIOS = 3  # languages, or pairs of seed and language; with fewer, a ratio has no spread

_SIZES = {
    "parameters": ("n_parameters", "parameters in its encoder"),
    "layers": ("n_layers", "layers"),
    "hidden_size": ("hidden_size", "dimensions"),
    "attention_heads": ("n_attention_heads", "attention heads in a layer"),
}


@dataclass(frozen=True)
class ClaimVerdict:
    claim: Claim
    outcome: str  # as in a verdict on a score
    sentence: str
    measured: float | None = None
    low: float | None = None  # 90 % interval of a ratio
    high: float | None = None


def check(records: Sequence[RunRecord], reference: Reference) -> list[ClaimVerdict]:
    """Judge every claim of `reference` about a model that has runs among `records`."""
    by_model: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.task == reference.task and record.model.published_id is not None:
            by_model.setdefault(record.model.published_id, []).append(record)
    return [
        _speed(claim, by_model[claim.model], by_model.get(claim.than, []))
        if claim.than
        else _size(claim, by_model[claim.model])
        for claim in reference.claims
        if claim.model in by_model
    ]


def _size(claim: Claim, records: list[RunRecord]) -> ClaimVerdict:
    attribute, unit = _SIZES[claim.what]
    sizes = {getattr(record.model, attribute) for record in records} - {None}
    if not sizes:
        return _no_verdict(claim, "none of its runs recorded it")
    if len(sizes) > 1:
        return _no_verdict(claim, f"its runs differ: {', '.join(f'{size:,}' for size in sorted(sizes))}")
    [size] = sizes
    agrees = size == claim.value or abs(size - claim.value) < claim.tolerance
    outcome = "reproduced" if agrees else "not reproduced"
    return ClaimVerdict(claim, outcome, _sentence(claim, f"{outcome}; it has {size:,} {unit}"), size)


def _speed(claim: Claim, records: list[RunRecord], others: list[RunRecord]) -> ClaimVerdict:
    if not others:
        return _no_verdict(claim, f"there is no run of {claim.than} to compare it with")
    ratios = [ratio for record in records for other in others for ratio in _ratios(record, other)]
    if len(ratios) < FEWEST_RATIOS:
        got = f"timed together only {counted(len(ratios), 'times')}" if ratios else "never timed together"
        return _no_verdict(
            claim,
            f"the two were {got} (in one invocation of xeval with one seed, on the same pairs, device and arithmetic);"
            " evaluate both models with one command in three languages or more",
        )
    values = [ratio.value for ratio in ratios]
    mean, low, high = _geometric_mean(values)
    outcome = read((low + high) / 2 - claim.value, (high - low) / 2, claim.tolerance)
    where = " and ".join(dict.fromkeys(ratio.where for ratio in ratios))
    text = (
        f"{outcome}; in evaluation it is {mean:.2f} times as fast, the geometric mean over {len(ratios)} languages and"
        f" seeds (from {min(values):.2f} to {max(values):.2f}), with a 90 % interval of {low:.2f} to {high:.2f};"
        f" {claim.value - claim.tolerance:g} to {claim.value + claim.tolerance:g} counts as {claim.value:g} ({where})"
    )
    return ClaimVerdict(claim, outcome, _sentence(claim, text), mean, low, high)


@dataclass(frozen=True)
class _Ratio:
    value: float
    where: str  # the arithmetic and the processor


def _ratios(record: RunRecord, other: RunRecord) -> list[_Ratio]:
    """Return rows per second of `record` over those of `other`, for each language that can be compared."""
    same = (
        record.seed == other.seed
        and record.dtype == other.dtype
        and record.recipe.values.get("max_length") == other.recipe.values.get("max_length")
    )
    ratios = []
    for phase, ours in record.timing.items() if same else ():
        theirs = other.timing.get(phase)
        environment = record.environment_of(ours.invocation)
        if not phase.startswith("evaluate/") or theirs is None or environment is None:
            continue
        if not _on_one_machine(environment, other.environment_of(theirs.invocation)):
            continue
        if ours.invocation == theirs.invocation and ours.rows == theirs.rows and theirs.wall_s > 0 < ours.wall_s:
            where = f"{record.dtype} on {environment.processor}"
            ratios.append(_Ratio(ours.rows_per_s / theirs.rows_per_s, where))
    return ratios


def _on_one_machine(environment: Environment, other: Environment | None) -> bool:
    return other is not None and (environment.device, environment.hardware) == (other.device, other.hardware)


def _geometric_mean(ratios: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean and its 90 % interval: Student's, on the logarithms."""
    from scipy.special import stdtrit  # takes half a second, which `xeval --help` must not wait for

    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    half = float(stdtrit(len(logs) - 1, 1 - ALPHA)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def _no_verdict(claim: Claim, reason: str) -> ClaimVerdict:
    return ClaimVerdict(claim, NO_VERDICT, _sentence(claim, f"{NO_VERDICT}; {reason}"))


def _sentence(claim: Claim, text: str) -> str:
    return f"{claim.model}, “{claim.printed}”: {text}."
