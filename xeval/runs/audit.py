"""Audits of a fine-tuned checkpoint's claimed score, on rows in random order until it is confirmed or refuted."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from xeval.data.corpus import Corpus
from xeval.data.hub import show_bars
from xeval.data.layouts import local_copy
from xeval.data.model_files import find_checkpoint
from xeval.data.source import open_source
from xeval.definitions import registry
from xeval.definitions.task import Task
from xeval.engine import devices
from xeval.engine.encoding import encode
from xeval.engine.loading import failures_named, hidden_size, load_tokenizer
from xeval.engine.prediction import predict
from xeval.engine.torch_modes import usual_modes
from xeval.judging.audit import Looked, interval, look
from xeval.judging.score import judge
from xeval.judging.verdict import Tolerance
from xeval.kinds.rows import Rows
from xeval.report.formats.markdown import escape
from xeval.report.page.plain import fragment
from xeval.results.records import Limits
from xeval.runs.objects import ModelAndTokenizer, Tables, folder_of_data, name_of_model
from xeval.runs.preflight import examine, stop_on_errors, tried_model
from xeval.runs.spec import RunSpec, fitting
from xeval.support.arguments import checked_arguments
from xeval.support.errors import ArgumentError, DefinitionError
from xeval.support.findings import wrong
from xeval.support.progress import Reporter, Silent
from xeval.support.text import metric_in_words, one_decimal, one_line

SEED = 20181101  # of the order of rows, by default
BATCH = 128  # rows between two looks, at least


@dataclass(frozen=True)
class Audit:
    """The outcome of an audit. Scores and the tolerance are fractions. A notebook shows the conclusion."""

    task: str
    model: str
    language: str
    metric: str
    unit: str  # what rows are called
    claimed: float
    tolerance: float
    seed: int  # of the order of rows
    n_rows: int  # in the test split
    looked: Looked
    low: float  # with `high`, bounds of the score on all rows at 95 % or more, wherever the audit stops
    high: float
    wall_s: float  # of encoding and prediction

    @property
    def conclusion(self) -> str:
        result, metric = self.looked, metric_in_words(self.metric)
        low, high = (one_decimal(100 * end) for end in (self.low, self.high))
        on_all = f", and between {low} and {high} on all (95 %, valid wherever the audit stops)"
        return (
            f"{result.outcome.capitalize()} after {result.n_rows:,} of {self.n_rows:,} {self.unit},"
            f" {self.wall_s:.1f} s: {metric} in {self.language} is claimed to be {100 * self.claimed:g}"
            f" ±{100 * self.tolerance:g} for {self.model}; it is {one_decimal(100 * result.score)} on these"
            f"{on_all * (result.n_rows < self.n_rows)}."
        )

    def frame(self) -> pd.DataFrame:
        """Return one row, with what was claimed and what was observed, on `n_rows_read` of the split's `n_rows`."""
        values = asdict(self)
        looked = values.pop("looked")
        return pd.DataFrame([values | {"n_rows_read": looked.pop("n_rows")} | looked])

    def _repr_markdown_(self) -> str:
        return escape(self.conclusion)

    def _repr_html_(self) -> str:
        return fragment([self.conclusion])


@checked_arguments
@usual_modes()
def audit(  # noqa: PLR0913  one parameter for each option
    task: str,
    model: "str | ModelAndTokenizer",
    language: str,
    claimed: float,
    *,
    tolerance: float = Tolerance.cell / 100,
    seed: int = SEED,
    data: "str | os.PathLike[str] | Tables | None" = None,
    device: str = "auto",
    dtype: str = "auto",
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
) -> Audit:
    """Check the claim that a fine-tuned checkpoint scores `claimed`, within ±`tolerance`, in a language.

    Both are fractions. Rows are drawn in random order, in groups that depend on each other, and evaluation stops as
    soon as the claim is confirmed or refuted. A true claim is refuted with a probability of at most 5 %, and a false
    one is confirmed with a probability of at most 5 % (betting test of Waudby-Smith and Ramdas 2024). Nothing is
    written. `model` and `data` may be objects, as for `xeval.run`.

    Raises XevalError for names, files or rows that cannot be used, and for a metric that is not a share of rows.
    """
    reporter = reporter or Silent()
    _check_fraction("claimed", claimed)
    _check_fraction("tolerance", tolerance)
    definition = registry.get_task(task, [Path(folder) for folder in tasks_dirs])
    [code] = registry.check_languages(definition, [language])
    _check_metric(definition)
    recipe = fitting(definition, registry.get_recipe(definition.default_recipe))
    show_bars(reporter.draws_bars)
    copy = local_copy(folder_of_data(data, lambda: definition, reporter))
    corpus = Corpus(open_source(definition, copy, [code], False), Limits())
    checkpoint = find_checkpoint(name_of_model(model, reporter))
    compute = devices.choose(device, dtype, hidden_size(checkpoint))
    rows = corpus.test(code)
    spec = RunSpec(
        task=definition,
        checkpoint=checkpoint,
        recipe=recipe,
        overrides={},
        seed=recipe.seed,
        train=False,
        corpus=corpus,
        compute=compute,
    )
    findings = wrong(examine(spec, recipe, [code]))
    stop_on_errors(checkpoint.id, findings)
    for finding in findings:
        reporter.say(one_line(f"{checkpoint.id}: {finding.line}"))
    loaded = tried_model(spec, {code: rows})
    order, sizes = shuffled(rows.groups, seed)
    tokenizer = load_tokenizer(checkpoint, recipe.max_length)
    started, right, result = time.monotonic(), np.zeros(0, np.int64), None
    with reporter.phase(f"audit {code}", len(rows), definition.of_kind.unit) as phase:
        while result is None or result.outcome == "open":
            own = _next(sizes, len(right))
            n_done = int(sizes[: len(right)].sum())
            is_right = _right(spec, loaded, tokenizer, rows.take(order[n_done : n_done + int(own.sum())]))
            right = np.concatenate([right, np.add.reduceat(is_right, np.cumsum(own) - own)])
            result = look(sizes, right, claimed, tolerance)
            phase.advance(int(own.sum()), one_decimal(100 * result.score))
    wall_s = time.monotonic() - started
    low, high = interval(sizes, right[: result.n_groups])
    return Audit(
        task=definition.name,
        model=checkpoint.id,
        language=code,
        metric=definition.metric,
        unit=definition.of_kind.unit,
        claimed=claimed,
        tolerance=tolerance,
        seed=seed,
        n_rows=len(rows),
        looked=result,
        low=low,
        high=high,
        wall_s=wall_s,
    )


def _next(sizes: np.ndarray, n_known: int) -> np.ndarray:
    """Return the sizes of the groups to answer next: at least BATCH rows, or all that are left."""
    rest = sizes[n_known:]
    return rest[: int(np.searchsorted(np.cumsum(rest), BATCH)) + 1]


def shuffled(groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) row numbers, group by group in random order, and (G,) the sizes of the groups."""
    _, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    place_of_group = np.argsort(drawn)
    return np.argsort(place_of_group[group_of_row], kind="stable"), sizes[drawn]


def _right(spec: RunSpec, model: Any, tokenizer: PreTrainedTokenizerBase, rows: Rows) -> np.ndarray:
    """Answer `rows` as a run without training does, and return (N,) int64: 1 for each that is answered right."""
    kind = spec.task.of_kind
    with failures_named(spec.checkpoint, f"its tokenizer fails on the rows of {rows.language}"):
        encoded = encode(kind, tokenizer, rows, spec.recipe.max_length)
    judged = judge(kind, predict(model, kind, encoded, spec.compute), encoded, rows)
    right: np.ndarray = kind.measure(spec.task.metric).right(judged.tally).astype(np.int64)
    return right


def _check_fraction(name: str, value: float) -> None:
    if not isinstance(value, Real) or not 0 <= value <= 1:
        hint = f"; write {value / 100:g}" if isinstance(value, Real) and 1 < value <= 100 else ""
        raise ArgumentError(f"{name}: wanted a fraction from 0 to 1, got {one_line(repr(value))[:80]}{hint}")


def _check_metric(task: Task) -> None:
    kind = task.of_kind
    if not kind.trains:
        raise DefinitionError(
            f"task {task.name} trains nothing, so no fine-tuned checkpoint can be claimed to score there"
        )
    if not kind.measure(task.metric).metric.is_share_of_rows:
        metric = metric_in_words(task.metric)
        raise DefinitionError(
            f"task {task.name} is scored by {metric}, and an audit needs a share of rows, such as accuracy;"
            f" evaluate all rows with xeval run {task.name} --no-train"
        )
